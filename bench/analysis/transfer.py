"""Transfer: images chosen or made through one backbone, tested on another (arXiv 2511.16674, section 4.2)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import OTHERS, Accuracies, Evidence, check_backbones, short_name, with_others
from bench.analysis.report import Report
from bench.core.ranges import PositiveInt
from bench.results.record import ANY_SOURCE
from bench.results.statistics import Estimate, mean_of

FULL = 'full'

def transfer(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    methods: Sequence[str] = (OTHERS,),
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
) -> Report:
    """Return the source x eval matrix of every method.

    Args:
      evidence: gives the records.
      dataset: label of a data set.
      backbones: labels of the rows and columns of the matrices.
      methods: labels; a method that uses no backbone has a single row. '*' means all other methods with a complete matrix,
        without variants (`label=name`) and without methods that picked the same images as another method.
      ipc: images per class.
      protocol: label of a probe protocol.

    Raises:
      Missing: if a cell of the matrices has no record, or a backbone has no record of full data or of real images.
    """
    check_backbones(backbones, least=1, analysis='transfer')
    where = {'dataset': dataset, 'protocol': protocol}
    real = evidence.real_methods(**where, ipc=ipc)
    asked = list(dict.fromkeys(name for name in methods if name != OTHERS))
    known = dict.fromkeys([*asked, *real, *(evidence.named_methods(**where, ipc=ipc) if OTHERS in methods else ()), FULL])
    found, missing = evidence.matrix(list(known), backbones, ipc=ipc, **where)
    whole = [name for name in known if not missing[name] and name != FULL]
    methods = with_others(methods, _distinct(evidence, asked, whole, backbones, ipc=ipc, **where))
    evidence.require(cell for name in [*methods, FULL] for cell in missing[name])
    own = {tested: _own_real(found, real, tested) for tested in backbones}
    evidence.require(f'{dataset} x {tested}: a choice of real images ipc {ipc}' for tested in backbones if not own[tested])
    best = {tested: max(own[tested].items(), key=lambda item: item[1].mean) for tested in backbones}
    full = {tested: found[FULL, evidence.source_of(FULL, tested), tested] for tested in backbones}
    cells = [_row(*cell, sample, best[cell[2]], full[cell[2]]) for cell, sample in found.items() if cell[0] in methods]
    sources = {method: evidence.sources_of(method, backbones) for method in methods}
    means = [_summary(found, method, sources[method], backbones, best) for method in methods]
    names = ', '.join(f'{tested} {method}' for tested, (method, _) in best.items())
    text = (
        f'Test accuracy in percent on {dataset}, {ipc} image(s) per class, probe {protocol}, with 95 % intervals '
        '(`bench.results.statistics`). Rows of a heat map: the source backbone, through which the images were made or '
        'chosen. Columns: the eval backbone of the probe. `minus best real` is the difference to the best real baseline '
        f'chosen through the eval backbone itself ({names}), out of {", ".join(real)}.'
    )
    tables = {'Means': pd.DataFrame(means), 'Cells': pd.DataFrame(cells)}
    return Report(f'Transfer on {dataset}', text, tables, _figure(found, sources, backbones, best))


def _distinct(
    evidence: Evidence, asked: Sequence[str], methods: Sequence[str], backbones: Sequence[str], **where: Any
) -> list[str]:
    """Return the methods without those that chose the same images as another one, as herding and centroid do at ipc 1."""
    kept: dict[frozenset[Any], str] = {}
    for method in [*asked, *methods]:
        rows = evidence.rows(method=method, **where)
        rows = rows[rows.source_backbone.isin([*backbones, ANY_SOURCE])]
        images = frozenset(zip(rows.source_backbone, rows.seed, rows.distilled_hash, strict=True))
        kept.setdefault(images, method)
    return list(kept.values())


def _own_real(found: Accuracies, real: Sequence[str], tested: str) -> dict[str, Estimate]:
    """Return the real-image baselines whose images were chosen through the eval backbone itself or without a backbone."""
    return {
        method: sample for (method, source, to), sample in found.items()
        if method in real and to == tested and source in (tested, ANY_SOURCE)
    }  # fmt: skip


def _row(
    method: str, source: str, tested: str, sample: Estimate, best: tuple[str, Estimate], full: Estimate
) -> dict[str, Any]:
    above = sample - best[1]
    return {
        'method': method, 'source': source, 'eval': tested, 'accuracy': 100 * sample.mean, 'low': 100 * sample.low,
        'high': 100 * sample.high, 'seeds': sample.n, 'minus_best_real': 100 * above.mean,
        'minus_best_real_low': 100 * above.low, 'minus_best_real_high': 100 * above.high, 'best_real': best[0],
        'percent_of_full': 100 * sample.mean / full.mean,
    }  # fmt: skip


def _summary(
    found: Accuracies, method: str, sources: Sequence[str], backbones: Sequence[str], best: dict[str, tuple[str, Estimate]]
) -> dict[str, Any]:
    same = [found[method, s, t] for s in sources for t in backbones if s in (t, ANY_SOURCE)]
    row = {'method': method, 'same_model': 100 * mean_of(same).mean, 'same_model_interval': _interval(mean_of(same))}
    pairs = [(s, t) for s in sources for t in backbones if s not in (t, ANY_SOURCE)]
    if not pairs:
        return row
    crossed = mean_of([found[method, s, t] for s, t in pairs])
    above = mean_of([found[method, s, t] - best[t][1] for s, t in pairs])
    by_source = {s: np.mean([found[method, s, t].mean for s2, t in pairs if s2 == s]) for s in backbones}
    source = max(by_source, key=lambda s: by_source[s])
    return row | {
        'other_models': 100 * crossed.mean, 'other_models_interval': _interval(crossed),
        'other_minus_best_real': 100 * above.mean, 'other_minus_best_real_interval': _interval(above),
        'best_source': f'{source} ({100 * by_source[source]:.1f})',
    }  # fmt: skip


def _interval(sample: Estimate) -> str:
    return f'{100 * sample.low:.1f} to {100 * sample.high:.1f}'


def _figure(
    found: Accuracies, sources_of: dict[str, Sequence[str]], backbones: Sequence[str], best: dict[str, tuple[str, Estimate]]
) -> Any:
    """Draw heat maps of all methods on one colour scale. Cells above the best real baseline of their column are bold."""
    from matplotlib.figure import Figure

    methods = list(sources_of)
    columns = min(4, len(methods))
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows + 0.4), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    high = max(f.mean for (method, _, _), f in found.items() if method in methods)
    short = [short_name(name) for name in backbones]
    for axis, method in zip(axes, methods, strict=False):
        sources = sources_of[method]
        values = np.array([[100 * found[method, s, t].mean for t in backbones] for s in sources])
        image = axis.imshow(values, vmin=0, vmax=100 * high, cmap='viridis')
        for (i, j), value in np.ndenumerate(values):
            above = (found[method, sources[i], backbones[j]] - best[backbones[j]][1]).low > 0
            axis.text(
                j, i, f'{value:.0f}', ha='center', va='center', fontsize=9, fontweight='bold' if above else 'normal',
                color='black' if value > 60 * high else 'white',
            )
        axis.set_title(method, fontsize=10)
        axis.set_xticks(range(len(short)), short, fontsize=8)
        axis.set_yticks(range(len(sources)), short if len(sources) > 1 else ['any'], fontsize=8)
    for axis in axes[len(methods):]:
        axis.remove()
    figure.colorbar(image, ax=list(axes[: len(methods)]), label='test accuracy, %', shrink=0.6)
    figure.suptitle('rows: source, columns: eval; bold: above the best real baseline of the column (95 %)', fontsize=9)
    return figure
