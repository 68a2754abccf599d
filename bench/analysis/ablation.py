"""Ablation: the contribution of each part of a method, same-model and cross-model (arXiv 2511.16674, ablation tables)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import OTHERS, Evidence, check_backbones, with_others
from bench.analysis.report import Report
from bench.core.ranges import PositiveInt
from bench.results.statistics import Estimate, mean_of

# Label of a variant in gin/suites/ablation.gin -> displayed name; other variants are displayed by their label.
SHOWN = {
    'no_decorrelation': '- decorrelation', 'no_pyramid': '- pyramid', 'no_augmentation': '- augmentation',
    'one_view': 'A = 1', 'three_views': 'A = 3', 'ten_views': 'A = 10',
}  # fmt: skip
# ImageNet-100, means over the four backbones of the paper: (same model, mean over the three other models)
PUBLISHED = {
    'full': (87.2, 77.8), 'no_decorrelation': (86.5, 76.4), 'no_pyramid': (85.7, 67.1), 'no_augmentation': (68.7, 33.3),
}  # fmt: skip


def ablation(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    variants: Sequence[str] = ('lgm', OTHERS),
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
) -> Report:
    """Return the accuracy of each variant: same-model, and the mean over the other models.

    Args:
      evidence: gives the records.
      dataset: label of a data set.
      backbones: labels; each backbone is used as source and as eval backbone.
      variants: labels; the first is the full method. '*' means all its other variants (`label=name`) with complete records.
      ipc: images per class.
      protocol: label of a probe protocol.

    Raises:
      Missing: if a cell has no record.
    """
    check_backbones(backbones, least=2, analysis='ablation')
    where: dict[str, Any] = {'dataset': dataset, 'ipc': ipc, 'protocol': protocol}
    found, missing = evidence.matrix(list(dict.fromkeys(name for name in variants if name != OTHERS)), backbones, **where)
    if OTHERS in variants:
        others, gaps = evidence.matrix(evidence.variants_of(variants[0], **where), backbones, **where)
        variants = with_others(variants, [name for name in gaps if not gaps[name]])
        found |= others
    evidence.require(cell for cells in missing.values() for cell in cells)
    settings = {
        'same model': {v: [found[v, s, s] for s in backbones] for v in variants},
        'other models': {v: [found[v, s, t] for s in backbones for t in backbones if s != t] for v in variants},
    }
    rows = [
        _row(variant, which, samples, variants[0]) for which, samples in settings.items() for variant in variants
    ]
    cells = pd.DataFrame([
        {
            'variant': v, 'source': s, 'eval': t, 'accuracy': 100 * found[v, s, t].mean, 'low': 100 * found[v, s, t].low,
            'high': 100 * found[v, s, t].high, 'seeds': found[v, s, t].n,
        }
        for v in variants for s in backbones for t in backbones
    ])  # fmt: skip
    text = (
        f'Test accuracy in percent on {dataset}, probe {protocol}: mean over {len(backbones)} backbones, with 95 % '
        'intervals (`bench.results.statistics`). Same model: source and eval backbone are the same. Other '
        f'models: all other pairs. Full: {variants[0]}. Published: ImageNet-100 with four large backbones (arXiv '
        '2511.16674).'
    )
    tables = {'Variants': pd.DataFrame(rows), 'Cells': cells}
    return Report(f'Ablation on {dataset}', text, tables, _figure(settings, variants))


def _row(variant: str, which: str, samples: dict[str, list[Estimate]], full: str) -> dict[str, Any]:
    mean = mean_of(samples[variant])
    change = mean_of([a - b for a, b in zip(samples[variant], samples[full], strict=True)])
    published = PUBLISHED.get('full' if variant == full else variant, (np.nan, np.nan))
    return {
        'setting': which, 'variant': _shown(variant, full), 'accuracy': 100 * mean.mean, 'low': 100 * mean.low,
        'high': 100 * mean.high, 'minus_full': 100 * change.mean, 'minus_full_low': 100 * change.low,
        'minus_full_high': 100 * change.high, 'pairs': len(samples[variant]), 'seeds': mean.n,
        'published': published[which != 'same model'],
    }  # fmt: skip


def _shown(variant: str, full: str) -> str:
    return 'full' if variant == full else SHOWN.get(variant, variant)


def _figure(settings: dict[str, dict[str, list[Estimate]]], variants: Sequence[str]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.2), layout='constrained')
    for axis, (which, samples) in zip(figure.subplots(1, 2, sharey=True), settings.items(), strict=True):
        means = [mean_of(samples[v]) for v in variants]
        heights = [100 * m.mean for m in means]
        ends = [[100 * (m.mean - m.low) for m in means], [100 * (m.high - m.mean) for m in means]]
        axis.bar(range(len(variants)), heights, yerr=np.maximum(ends, 0), capsize=3, color='#4878a8')
        axis.axhline(heights[0], color='#c8452c', linewidth=0.8)
        shown = [_shown(v, variants[0]) for v in variants]
        axis.set_xticks(range(len(variants)), shown, rotation=40, ha='right', fontsize=8)
        axis.set_title(which, fontsize=10)
        axis.set_ylabel('test accuracy, %' if which == 'same model' else '')
    return figure
