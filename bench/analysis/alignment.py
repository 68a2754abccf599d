"""Alignment: how similar are two backbones, and does this predict transfer between them? (arXiv 2511.16674, section 4.2)

Shape suffixes: N images, K neighbours, D feature width, M backbones.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, cell_name, check_backbones, short_name
from bench.analysis.report import Report
from bench.core.hashing import numpy_generator
from bench.core.ranges import PositiveInt
from bench.features.similarity import unit
from bench.results.statistics import Estimate

MEASURES = ('mutual_knn', 'cka')
# What a row of the table is called -> the axis of the figure.
_AXES = {'transfer': 'transfer: test accuracy, %', 'percent_of_own': 'transfer: % of the accuracy with the own set'}
# The published experiment is cited with its setup, which is this data and protocol, with relative accuracies
# (gin/suites/paper_table6.gin).
_ITS_DATA, _ITS_PROTOCOL = 'imagenet1k', 'nn1-v1'
PUBLISHED = (
    'sets distilled on ImageNet-1k, and 1-nearest-neighbour accuracy relative to that of a set made through the eval model '
    '(arXiv 2511.16674, Table 6). The paper prints the cells but no coefficient; computed from the cells, with mutual k-NN: '
    'Pearson 0.83, Spearman 0.85 over 12 ordered pairs of four backbones'
)
_EXACT = 5040  # up to this number, all permutations are evaluated
_BLOCK = 1024


def alignment(
    evidence: Evidence,
    *,
    dataset: str = 'plumage',
    backbones: Sequence[str] = (),
    method: str = 'lgm',
    neighbors: PositiveInt = 10,
    ipc: PositiveInt = 1,
    protocol: str = 'paper-v1',
    relative: bool = False,
) -> Report:
    """Return the similarity of backbones on the test images, and its correlation with transfer between them.

    Args:
      evidence: gives records and features.
      dataset: label of a data set.
      backbones: labels.
      method: label of the method whose transfer is correlated.
      neighbors: k of the mutual k-nearest-neighbours measure.
      ipc: images per class.
      protocol: label of a probe protocol.
      relative: draw transfer, and give its intervals, as a share of the accuracy with the set made through the eval backbone
        (as published, with the protocol nn1-v1). Both numbers are in the table either way.

    Raises:
      Missing: if a pair of backbones has no record.
    """
    check_backbones(backbones, least=3, analysis='alignment')  # two backbones have one similarity: no correlation
    pairs = [(s, t) for s in backbones for t in backbones if s != t]
    scores = {
        pair: evidence.scores(
            dataset=dataset, method=method, source_backbone=pair[0], eval_backbone=pair[1], ipc=ipc, protocol=protocol
        )
        for pair in [*pairs, *((b, b) for b in backbones)]
    }
    evidence.require(cell_name(dataset, method, *pair, ipc) for pair, found in scores.items() if found is None)
    accuracy = {pair: found.accuracy() for pair, found in scores.items() if found}
    data = evidence.dataset(dataset)
    features = {name: np.asarray(evidence.features(data.test, evidence.backbone(name, data))) for name in backbones}
    alike = {
        'mutual_knn': _matrix(features, lambda a, b: mutual_knn(a, b, count=neighbors)),
        'cka': _matrix(features, linear_cka),
    }
    position = {name: i for i, name in enumerate(backbones)}
    shown = 'percent_of_own' if relative else 'transfer'
    rows = pd.DataFrame([
        {
            'source': s, 'eval': t, **{measure: float(alike[measure][position[s], position[t]]) for measure in MEASURES},
            **_percent(accuracy[s, t], 'transfer', interval=not relative),
            **_percent(accuracy[s, t] / accuracy[t, t], 'percent_of_own', interval=relative),
        }
        for s, t in pairs
    ])  # fmt: skip
    correlations = pd.DataFrame([
        _correlation(measure, target, alike[measure], rows, backbones)
        for measure in MEASURES
        for target in ('transfer', 'percent_of_own')
    ])
    text = _meaning(
        dataset, len(data.test), method, neighbors=neighbors, ipc=ipc, protocol=protocol, backbones=len(backbones)
    )
    is_it = (dataset, protocol, method, ipc, relative) == (_ITS_DATA, _ITS_PROTOCOL, 'lgm', 1, True)
    text += f' The published experiment is {"this" if is_it else "another"} one: {PUBLISHED}.'
    formats = dict.fromkeys(('mutual_knn', 'cka', 'p_pearson', 'p_spearman'), '.3f') | {'pearson': '.2f', 'spearman': '.2f'}
    return Report(
        f'Alignment and transfer on {dataset}', text, {'Correlation': correlations, 'Pairs': rows}, _figure(rows, shown),
        formats,
    )  # fmt: skip


def _percent(sample: Estimate, name: str, *, interval: bool) -> dict[str, float]:
    """Return the columns of a share in percent: its mean and, where wanted, its interval."""
    ends = {'low': 100 * sample.low, 'high': 100 * sample.high} if interval else {}
    return {name: 100 * sample.mean, **ends}


def _meaning(dataset: str, count: int, method: str, *, neighbors: int, ipc: int, protocol: str, backbones: int) -> str:
    """Return the text that explains the tables."""
    tried = min(math.factorial(backbones), _EXACT)
    return (
        f'Alignment on the {count} test images of {dataset}: mutual k-NN (k = {neighbors}, cosine) is the share of the '
        'nearest neighbours of an image that two backbones have in common; CKA is linear centred kernel alignment. Transfer '
        f'is the test accuracy of {method} ({ipc} image(s) per class, {protocol}), also given as a percentage of the '
        'accuracy with images made through the eval backbone itself. P-values are one-sided. They come from permutations of '
        f'the backbones, because pairs that share a backbone are not independent. With {tried} permutations the smallest '
        f'possible p-value is {1 / tried:.3g}.'
    )


def mutual_knn(a_ND: np.ndarray, b_ND: np.ndarray, *, count: int) -> float:
    """Return the mean share of the `count` nearest neighbours (cosine) that two feature spaces have in common.

    Platonic representation hypothesis (arXiv 2405.07987), appendix A.
    """
    a_NK, b_NK = _nearest(a_ND, count), _nearest(b_ND, count)
    common = sum(len(np.intersect1d(a_K, b_K, assume_unique=True)) for a_K, b_K in zip(a_NK, b_NK, strict=True))
    return common / a_NK.size


def linear_cka(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """Return linear centred kernel alignment of two feature spaces, in [0, 1] (arXiv 1905.00414, section 3)."""
    a_ND, b_ND = (np.asarray(f_ND, np.float64) - np.mean(f_ND, axis=0, dtype=np.float64) for f_ND in (a_ND, b_ND))
    cross = np.square(a_ND.T @ b_ND).sum()
    return float(cross / (np.linalg.norm(a_ND.T @ a_ND) * np.linalg.norm(b_ND.T @ b_ND)))


def permutation_p(x_MM: np.ndarray, y_MM: np.ndarray, statistic: Any) -> float:
    """Return the one-sided p-value of Mantel's permutation test for the correlation of two matrices.

    Args:
      x_MM: one value per ordered pair of backbones; the diagonal is ignored. Its rows and columns are permuted.
      y_MM: the other values.
      statistic: function of two vectors, larger for stronger correlation. If it is NaN (constant vector), the result is NaN.
    """
    size = len(x_MM)
    off = ~np.eye(size, dtype=bool)
    observed = statistic(x_MM[off], y_MM[off])
    if math.isnan(observed):
        return math.nan
    if math.factorial(size) <= _EXACT:
        orders = list(itertools.permutations(range(size)))
    else:
        rng = numpy_generator('permutations', size)
        orders = [tuple(range(size)), *(tuple(rng.permutation(size)) for _ in range(_EXACT - 1))]
    reached = [statistic(x_MM[np.ix_(order, order)][off], y_MM[off]) >= observed - 1e-12 for order in orders]
    return float(np.mean(reached))


def _nearest(f_ND: np.ndarray, count: int) -> np.ndarray:
    f_ND, found = unit(f_ND), []
    for start in range(0, len(f_ND), _BLOCK):
        cosine_BN = f_ND[start : start + _BLOCK] @ f_ND.T
        cosine_BN[np.arange(len(cosine_BN)), start + np.arange(len(cosine_BN))] = -np.inf
        found.append(np.argpartition(-cosine_BN, count, axis=1)[:, :count])
    return np.concatenate(found)


def _matrix(features: dict[str, np.ndarray], measure: Any) -> np.ndarray:
    names = list(features)
    values_MM = np.eye(len(names))
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        values_MM[i, j] = values_MM[j, i] = measure(features[a], features[b])
    return values_MM


def _correlation(
    measure: str, target: str, alike_MM: np.ndarray, rows: Any, backbones: Sequence[str]
) -> dict[str, Any]:
    from scipy import stats  # imported here because the import takes a second

    target_MM = rows.pivot(index='source', columns='eval', values=target).loc[list(backbones), list(backbones)].to_numpy()
    found = {'measure': measure, 'with': target, 'pairs': len(rows)}
    for name, test in (('pearson', stats.pearsonr), ('spearman', stats.spearmanr)):
        def statistic(x: np.ndarray, y: np.ndarray, test: Any = test) -> float:
            return float(test(x, y).statistic)

        found[name] = statistic(rows[measure].to_numpy(), rows[target].to_numpy())
        found[f'p_{name}'] = permutation_p(alike_MM, target_MM, statistic)
    return found


def _figure(rows: Any, shown: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout='constrained')
    for axis, measure in zip(figure.subplots(1, 2, sharey=True), MEASURES, strict=True):
        for source, part in rows.groupby('source', sort=False):
            ends = [part[shown] - part.low, part.high - part[shown]]
            axis.errorbar(part[measure], part[shown], yerr=ends, fmt='o', capsize=2, markersize=5, label=f'from {source}')
            for _, row in part.iterrows():
                # A pair and its reverse share their alignment: one label on each side of it.
                at, anchor = ((-4, 3), 'right') if row.source < row['eval'] else ((4, 3), 'left')
                axis.annotate(f'on {short_name(row["eval"])}', (row[measure], row[shown]), fontsize=7,
                              xytext=at, textcoords='offset points', ha=anchor)  # fmt: skip
        axis.margins(x=0.25)
        axis.set_xlabel({'mutual_knn': 'mutual k-NN', 'cka': 'CKA'}[measure])
    figure.axes[0].set_ylabel(_AXES[shown])
    figure.axes[0].legend(fontsize=7)
    return figure
