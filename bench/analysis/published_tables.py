"""The published tables as suites, so that the rules of the claims are tried on the paper's own numbers.

A published accuracy is a mean and a ± over five runs (`bench.results.published`). It stands here as five units with that
mean and spread; a cell without ± has no variance. Cells share nothing, because the paper does not say what each run got
right.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.evidence import Evidence
from bench.analysis.suite import Claim, Suite, Verdict, judge
from bench.results import published
from bench.results.published import RUNS, Accuracy, Condition
from bench.results.record import ANY_SOURCE
from bench.results.statistics import Scores

BACKBONES = ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'mocov3_vitb16')
BASELINES = ('random', 'centroid', 'neighbors')
_COARSE = 'imagenet100'
_SPURIOUS = ('waterbirds', 'spawrious')
_NO_SOURCE = ('random', 'full')


class Tables(Evidence):
    """Evidence whose scores are the published accuracies."""

    def __init__(self, accuracies: Mapping[Condition, Accuracy]) -> None:
        super().__init__(Path('nowhere'))
        self._accuracies = accuracies

    def source_of(self, method: str, backbone: str) -> str:
        return ANY_SOURCE if method in _NO_SOURCE else backbone

    def ipc_of(self, method: str, ipc: int) -> int | None:
        return None if method == 'full' else ipc

    def real_methods(self, **where: Any) -> list[str]:
        return list(BASELINES)

    def rows(self, **where: Any) -> list[Any]:
        return []

    def scores(self, **where: Any) -> Scores | None:
        tested = where['eval_backbone']
        source = tested if where['source_backbone'] == ANY_SOURCE else where['source_backbone']
        cell = (where['dataset'], where['method'], source, tested)
        found = self._accuracies.get(cell)
        return None if found is None else _scores(found, name=cell)


def _scores(accuracy: Accuracy, *, name: Condition) -> Scores:
    units_P = np.arange(RUNS) - (RUNS - 1) / 2
    units_P = units_P / units_P.std(ddof=1) * (accuracy.sample_std or 0.0) + accuracy.mean
    return Scores(units_P[None, :, None] / 100, sets=(name,), probes=name, images=name, drawn=False)


def suites(results_dir: Path | str) -> list[Suite]:
    """Return one suite for each data set that has published accuracies of LGM through the four backbones.

    Raises:
      InputError: if the published accuracies cannot be read.
    """
    accuracies = {**published.load(results_dir), **_moved_ablations(results_dir)}
    names = sorted({dataset for dataset, method, *_ in accuracies if method == 'lgm'})
    return [
        Suite(
            evidence=Tables(accuracies), name=name, dataset=name, backbones=BACKBONES, baselines=BASELINES,
            distiller='dinov2_vitb14', coarse='' if name in (_COARSE, 'imagenet1k', *_SPURIOUS) else _COARSE,
            spurious=name if name in _SPURIOUS else '',
        )
        for name in names
    ]  # fmt: skip


def _moved_ablations(results_dir: Path | str) -> dict[Condition, Accuracy]:
    """Return the ablations on other backbones: their published mean over three targets stands for each of these."""
    found = {}
    for dataset, variant, source, mean in published.means_over_others(results_dir):
        for tested in BACKBONES:
            if tested != source and variant != 'full':
                found[dataset, variant, source, tested] = Accuracy(mean, None)
    return found


def judged(claims: Iterable[Claim], results_dir: Path | str) -> list[tuple[Claim, dict[str, Verdict]]]:
    """Return the verdicts of the claims that the published tables can decide, by data set."""
    tables = suites(results_dir)
    return [(claim, {suite.name: judge(claim, suite) for suite in tables}) for claim in claims if claim.in_tables]
