"""The pattern of relative scores: does a data set with a backbone behave like the published ones (arXiv 2511.16674)?

Absolute accuracies of different worlds cannot be compared, relative ones can. Five numbers describe a cell: what LGM and
random images reach of full accuracy, and what LGM, centroid and neighbors recover of the gap between random images and full
data. The published pattern is their mean over the 16 published cells of four fine-grained and broad data sets. The distance
of a cell is the root mean square difference from it; the published cells themselves are 0.05 to 0.21 away.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, cell_name
from bench.analysis.report import Report
from bench.results import published

NUMBERS = ('lgm_share', 'random_share', 'lgm_gap', 'centroid_gap', 'neighbors_gap')
_METHODS = ('lgm', 'random', 'centroid', 'neighbors', 'full')
# The other published sets are near their ceiling (flowers102), near chance with one encoder (food101), or have few classes
# and misleading backgrounds.
_PUBLISHED_ON = ('imagenet100', 'imagenet1k', 'stanford_dogs', 'cub200')


def numbers_of(accuracy: Mapping[str, float]) -> dict[str, float]:
    """Return the five NUMBERS of a cell from its accuracies, in any unit. Gaps are NaN if full data are not above random.

    Args:
      accuracy: by method: lgm, random, centroid, neighbors and full.
    """
    full, random = accuracy['full'], accuracy['random']
    gap = full - random if full > random else math.nan
    gaps = {f'{name}_gap': (accuracy[name] - random) / gap for name in ('lgm', 'centroid', 'neighbors')}
    return {'lgm_share': accuracy['lgm'] / full, 'random_share': random / full, **gaps}


def distance(numbers: Mapping[str, float], pattern: Mapping[str, float]) -> float:
    """Return the root mean square difference of the five NUMBERS from those of a pattern."""
    return math.sqrt(sum((numbers[name] - pattern[name]) ** 2 for name in NUMBERS) / len(NUMBERS))


def published_cells(results_dir: Any) -> dict[str, dict[str, float]]:
    """Return the NUMBERS of each published cell, by the names of data set and backbone."""
    known = published.load(results_dir)
    pairs = sorted({(data, tested) for data, _, source, tested in known if data in _PUBLISHED_ON and source == tested})
    return {
        f'{data} x {tested}': numbers_of({name: known[data, name, tested, tested].mean for name in _METHODS})
        for data, tested in pairs
    }  # fmt: skip


def mean_pattern(cells: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each of the NUMBERS over cells."""
    return {name: float(np.mean([numbers[name] for numbers in cells.values()])) for name in NUMBERS}


def pattern(
    evidence: Evidence,
    *,
    dataset: str = 'aviary',
    backbones: Sequence[str] = (),
    method: str = 'lgm',
    protocol: str = 'paper-v1',
) -> Report:
    """Return the five numbers of each backbone, their mean, the published ones, and the distances.

    Args:
      evidence: gives the records; one image per class, source and eval backbone the same.
      dataset: label of a data set.
      backbones: labels.
      method: label of the method that stands for LGM.
      protocol: label of a probe protocol.

    Raises:
      Missing: if a cell has no record.
    """
    found: dict[str, dict[str, float]] = {}
    missing = []
    for backbone in backbones:
        accuracy = {}
        for name in _METHODS:
            label = method if name == 'lgm' else name
            source = evidence.source_of(label, backbone)
            scores = evidence.scores(
                dataset=dataset, method=label, source_backbone=source, eval_backbone=backbone,
                ipc=evidence.ipc_of(label, 1), protocol=protocol,
            )  # fmt: skip
            if scores is None:
                missing.append(cell_name(dataset, label, source, backbone, evidence.ipc_of(label, 1)))
            else:
                accuracy[name] = float(scores.mean_S.mean())
        found[backbone] = accuracy
    evidence.require(missing)
    cells = {backbone: numbers_of(accuracy) for backbone, accuracy in found.items()}
    of_paper = published_cells(evidence.results_dir)
    target = mean_pattern(of_paper)
    shown = {**cells, 'mean of these': mean_pattern(cells), 'published mean': target, **of_paper}
    rows = [{'cell': name, **numbers, 'distance': distance(numbers, target)} for name, numbers in shown.items()]
    text = (
        f'Relative scores on {dataset}, one image per class, probe {protocol}; {method} stands for LGM. Shares are of full '
        'accuracy, gaps are shares of the way from random images to full data. Distance: root mean square difference of the '
        f'five numbers from the published mean (arXiv 2511.16674: {", ".join(_PUBLISHED_ON)}, four backbones).'
    )
    formats = dict.fromkeys((*NUMBERS, 'distance'), '.2f')
    return Report(f'Relative scores on {dataset}', text, {'Cells': pd.DataFrame(rows)}, formats=formats)
