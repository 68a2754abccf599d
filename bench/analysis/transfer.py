"""Transfer: images chosen or made through one backbone, tested through another (arXiv 2511.16674, section 4.2)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.bootstrap import Sample, mean_of
from bench.analysis.evidence import Evidence, cell_name, check_backbones, ipc_of, short_name, source_of
from bench.analysis.report import Report
from bench.core.ranges import PositiveInt
from bench.results.record import ANY_SOURCE

REAL = ('random', 'centroid', 'herding', 'k_center', 'neighbors')
METHODS = ('lgm', 'lgm_plus', 'sfm', 'frf', 'dm', 'clp', 'neighbors', 'centroid', 'k_center', 'random')


def transfer(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
) -> Report:
    """Return the source x eval matrix of every method.

    Args:
      evidence: records.
      dataset: a data set's label.
      backbones: labels; rows and columns of the matrices.
      methods: labels; `random` looks at no backbone and has one row.
      ipc: images per class.
      protocol: a probe protocol.

    Raises:
      Missing: if a cell of the matrices has no record.
    """
    check_backbones(backbones, least=1, analysis='transfer')
    found, missing = {}, []
    for method in dict.fromkeys([*methods, *REAL, 'full']):
        for tested in backbones:
            for source in sources_of(method, backbones):
                scores = evidence.scores(
                    dataset=dataset, method=method, source_backbone=source, eval_backbone=tested, protocol=protocol,
                    ipc=ipc_of(method, ipc),
                )
                # of what is only a reference, the diagonal will do, and herding is centroid at one image a class
                needed = method in methods or (source in (tested, ANY_SOURCE) and method != 'herding')
                if scores is None and needed:
                    missing.append(cell_name(dataset, method, source, tested, ipc_of(method, ipc)))
                elif scores is not None:
                    found[method, source, tested] = scores.accuracy()
    evidence.require(missing)
    best = {tested: _best_real(found, tested) for tested in backbones}
    full = {tested: found['full', ANY_SOURCE, tested] for tested in backbones}
    cells = pd.DataFrame([
        _row(method, source, tested, figure, best[tested], full[tested])
        for (method, source, tested), figure in found.items()
        if method in methods
    ])
    summary = pd.DataFrame([_summary(found, method, backbones, best) for method in methods])
    names = ', '.join(f'{tested} {method}' for tested, (method, _) in best.items())
    text = (
        f'Test accuracy in percent on {dataset}, {ipc} image(s) a class, probe {protocol}, with 95 % intervals (bootstrap '
        'over method seeds and test images). Rows of a heat map: the backbone through which the images were made or '
        'chosen; columns: the one whose probe was trained on them. `minus best real` compares with the best real baseline '
        f'chosen through the eval backbone itself ({names}).'
    )
    tables = {'Means': summary, 'Cells': cells}
    return Report(f'Transfer on {dataset}', text, tables, _figure(found, methods, backbones, best))


def sources_of(method: str, backbones: Sequence[str]) -> Sequence[str]:
    """Return the source backbones of a method's records: all, or 'any' where it looks at none."""
    return tuple(dict.fromkeys(source_of(method, backbone) for backbone in backbones))


def _best_real(found: dict[tuple[str, str, str], Sample], tested: str) -> tuple[str, Sample]:
    own = {
        method: figure for (method, source, to), figure in found.items()
        if method in REAL and to == tested and source in (tested, ANY_SOURCE)
    }  # fmt: skip
    return max(own.items(), key=lambda item: item[1].mean)


def _row(
    method: str, source: str, tested: str, figure: Sample, best: tuple[str, Sample], full: Sample
) -> dict[str, Any]:
    above = figure - best[1]
    return {
        'method': method, 'source': source, 'eval': tested, 'accuracy': 100 * figure.mean, 'low': 100 * figure.low,
        'high': 100 * figure.high, 'seeds': figure.n, 'minus_best_real': 100 * above.mean,
        'minus_best_real_low': 100 * above.low, 'minus_best_real_high': 100 * above.high, 'best_real': best[0],
        'percent_of_full': 100 * figure.mean / full.mean,
    }  # fmt: skip


def _summary(
    found: dict[tuple[str, str, str], Sample], method: str, backbones: Sequence[str], best: dict[str, tuple[str, Sample]]
) -> dict[str, Any]:
    same = [found[method, s, t] for s in sources_of(method, backbones) for t in backbones if s in (t, ANY_SOURCE)]
    row = {'method': method, 'same_model': 100 * mean_of(same).mean, 'same_model_interval': _interval(mean_of(same))}
    pairs = [(s, t) for s in sources_of(method, backbones) for t in backbones if s not in (t, ANY_SOURCE)]
    if not pairs:
        return row
    crossed = mean_of([found[method, s, t] for s, t in pairs])
    above = mean_of([found[method, s, t] - best[t][1] for s, t in pairs])
    by_source = {s: np.mean([found[method, s, t].mean for s2, t in pairs if s2 == s]) for s in backbones}
    source = max(by_source, key=by_source.get)
    return row | {
        'other_models': 100 * crossed.mean, 'other_models_interval': _interval(crossed),
        'other_minus_best_real': 100 * above.mean, 'other_minus_best_real_interval': _interval(above),
        'best_source': f'{source} ({100 * by_source[source]:.1f})',
    }  # fmt: skip


def _interval(figure: Sample) -> str:
    return f'{100 * figure.low:.1f} to {100 * figure.high:.1f}'


def _figure(
    found: dict[tuple[str, str, str], Sample], methods: Sequence[str], backbones: Sequence[str],
    best: dict[str, tuple[str, Sample]],
) -> Any:
    """Heat maps of all methods on one colour scale; bold where a cell is above the best real baseline of its column."""
    from matplotlib.figure import Figure

    columns = min(4, len(methods))
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.5 * rows + 0.4), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    high = max(f.mean for (method, _, _), f in found.items() if method in methods)
    short = [short_name(name) for name in backbones]
    for axis, method in zip(axes, methods, strict=False):
        sources = sources_of(method, backbones)
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
