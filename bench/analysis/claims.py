"""The claims of arXiv 2511.16674, each decided from records by a stated test, never by hand.

A claim is a function `claim(suite) -> Verdict`. What it compares are bootstrap figures (`bench.analysis.bootstrap`): a
comparison is settled where the 95 % interval of the paired difference lies on one side.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bench.analysis.ablation import PUBLISHED as PUBLISHED_ABLATION
from bench.analysis.alignment import PUBLISHED as PUBLISHED_ALIGNMENT
from bench.analysis.bootstrap import Sample, Scores, mean_of
from bench.analysis.evidence import Evidence, ipc_of, short_name, source_of
from bench.analysis.transfer import REAL
from bench.results.record import ANY_SOURCE

HOLDS, FAILS, UNKNOWN = 'holds', 'does not hold', 'not enough records'
_RANKED = ('lgm', 'centroid', 'neighbors', 'random')


@dataclass(frozen=True)
class Verdict:
    """What came out: `numbers` in words, with intervals."""

    outcome: str
    numbers: str


class NotEnough(Exception):
    """A figure that a claim needs has no record; the message names it."""


@dataclass(frozen=True)
class Suite:
    """Data sets and backbones whose records are judged together.

    `analyses` names the tables of analyses, for claims that rest on features.
    """

    name: str
    evidence: Evidence
    dataset: str
    backbones: Sequence[str]
    coarse: str = ''
    spurious: str = ''
    distiller: str = ''  # the backbone of the DINO family
    protocol: str = 'paper-v1'
    convex: str = 'ridge-v1'
    analyses: Mapping[str, Path] = field(default_factory=dict)

    def scores(
        self, method: str, source: str, tested: str, *, dataset: str = '', protocol: str = ''
    ) -> Scores:
        """Return the scores of a cell at one image a class (or full data).

        Raises:
          NotEnough: if there is no record.
        """
        found = self.evidence.scores(
            dataset=dataset or self.dataset, method=method, source_backbone=source, eval_backbone=tested,
            ipc=ipc_of(method, 1), protocol=protocol or self.protocol,
        )
        if found is None:
            origin = '' if source in (tested, ANY_SOURCE) else f' from {source}'
            rules = f', {protocol}' if protocol else ''
            raise NotEnough(f'{method}{origin} on {dataset or self.dataset} x {tested}{rules}')
        return found

    def own(self, method: str, backbone: str, **where: str) -> Sample:
        """Return the accuracy of a method's images on the backbone they were made or chosen through."""
        return self.scores(method, source_of(method, backbone), backbone, **where).accuracy()

    def average(self, method: str, **where: str) -> Sample:
        """Return the mean of `own` over the backbones."""
        return mean_of([self.own(method, b, **where) for b in self.backbones])

    def best_real(self, backbone: str, **where: str) -> Sample:
        """Return the most accurate real-image baseline of a backbone."""
        return max((self.own(method, backbone, **where) for method in REAL), key=lambda figure: figure.mean)

    def moved(self, method: str, source: str, tested: str) -> Sample:
        """Return the accuracy of images made through one backbone on another."""
        return self.scores(method, source, tested).accuracy()

    def short(self, backbone: str) -> str:
        """Return a backbone's name without what all have in common."""
        return short_name(backbone)

    def analysis(self, name: str) -> pd.DataFrame:
        """Return the table of an analysis.

        Raises:
          NotEnough: if it was not run.
        """
        path = self.analyses.get(name)
        if path is None or not path.is_file():
            raise NotEnough(f'the analysis {path or name}')
        return pd.read_csv(path)


@dataclass(frozen=True)
class Claim:
    """One claim: what is said, how it is decided, what was published (or a function of the suite), and who decides."""

    number: int
    text: str
    test: str
    published: str | Callable[[Suite], str]
    decide: Callable[[Suite], Verdict]

    def published_for(self, suite: Suite) -> str:
        """Return what was published on the nearest to a suite's data."""
        return self.published(suite) if callable(self.published) else self.published


def judge(claim: Claim, suite: Suite) -> Verdict:
    """Return the verdict on a claim, UNKNOWN where a record is missing."""
    try:
        return claim.decide(suite)
    except NotEnough as error:
        return Verdict(UNKNOWN, f'missing: {error}')


# --- the claims -------------------------------------------------------------------------------------------------------


def _beats_real(suite: Suite) -> Verdict:
    gaps = {(m, b): suite.own('lgm', b) - suite.own(m, b) for m in REAL for b in suite.backbones}
    lost = [f'{m} on {suite.short(b)} ({gap})' for (m, b), gap in gaps.items() if gap.low <= 0]
    best = '; '.join(f'{suite.short(b)} {suite.own("lgm", b)} against {suite.best_real(b)}' for b in suite.backbones)
    ending = f'. Not above: {"; ".join(lost)}' if lost else ''
    return _verdict(not lost, f'LGM against the best real baseline: {best}{ending}')


def _order(suite: Suite) -> Verdict:
    means = [suite.average(method) for method in _RANKED]
    steps = [first - second for first, second in zip(means, means[1:], strict=False)]
    shown = ', '.join(f'{method} {mean}' for method, mean in zip(_RANKED, means, strict=True))
    return _verdict(all(step.low > 0 for step in steps), f'{shown}; steps {", ".join(map(str, steps))}')


def _share_of_full(suite: Suite) -> Verdict:
    shares = {b: suite.own('lgm', b) / suite.own('full', b) for b in suite.backbones}
    mean = mean_of(list(shares.values()))
    each = ', '.join(f'{suite.short(b)} {share}' for b, share in shares.items())
    return _verdict(mean.low >= 0.9, f'share of full accuracy, %: mean {mean}; {each}')


def _transfer_beats_random(suite: Suite) -> Verdict:
    gaps = {(s, t): suite.moved('lgm', s, t) - suite.own('random', t) for s, t in _pairs(suite)}
    lost = [f'{suite.short(s)} to {suite.short(t)} ({gap})' for (s, t), gap in gaps.items() if gap.low <= 0]
    numbers = f'{len(gaps) - len(lost)} of {len(gaps)} pairs above random, mean {mean_of(list(gaps.values()))} points'
    return _verdict(not lost, numbers + (f'. Not above: {"; ".join(lost)}' if lost else ''))


def _diagonal_is_best(suite: Suite) -> Verdict:
    gaps, pairs = {}, _pairs(suite)
    for tested in suite.backbones:
        others = [suite.moved('lgm', s, t) for s, t in pairs if t == tested]
        gaps[tested] = suite.own('lgm', tested) - max(others, key=lambda figure: figure.mean)
    shown = ', '.join(f'{suite.short(b)} {gap}' for b, gap in gaps.items())
    return _verdict(all(gap.low > 0 for gap in gaps.values()), f'own images minus the best of the others: {shown}')


def _best_source(suite: Suite) -> Verdict:
    pairs = _pairs(suite)
    means = {source: mean_of([suite.moved('lgm', s, t) for s, t in pairs if s == source]) for source in suite.backbones}
    ranked = sorted(means, key=lambda s: -means[s].mean)
    lead = means[ranked[0]] - means[ranked[1]]
    shown = ', '.join(f'{suite.short(s)} {means[s]}' for s in ranked)
    return _verdict(
        ranked[0] == suite.distiller and lead.low > 0, f'mean accuracy on the others: {shown}; lead of the first {lead}'
    )


def _ablation_order(suite: Suite) -> Verdict:
    order = ('lgm', 'no_decorrelation', 'no_pyramid', 'no_augmentation')
    said, steps = [], []
    for which, figure in (('same model', _same), ('other models', _other)):
        means = [figure(suite, variant) for variant in order]
        steps += [first - second for first, second in zip(means, means[1:], strict=False)]
        said.append(f'{which}: ' + ', '.join(f'{variant} {mean}' for variant, mean in zip(order, means, strict=True)))
    return _verdict(all(step.low > 0 for step in steps), '; '.join(said))


def _pyramid_matters_across(suite: Suite) -> Verdict:
    within, across = (figure(suite, 'lgm') - figure(suite, 'no_pyramid') for figure in (_same, _other))
    return _verdict((across - within).low > 0, f'loss without pyramid: same model {within}, other models {across}')


def _more_views_help(suite: Suite) -> Verdict:
    order = ('one_view', 'three_views', 'ten_views')
    means = [_same(suite, variant) for variant in order]
    steps = [second - first for first, second in zip(means, means[1:], strict=False)]
    shown = ', '.join(f'{variant} {mean}' for variant, mean in zip(order, means, strict=True))
    return _verdict(all(step.low > 0 for step in steps), f'{shown}; steps {", ".join(map(str, steps))}')


def _alignment_predicts(suite: Suite) -> Verdict:
    table = suite.analysis('alignment')
    row = table[(table.measure == 'mutual_knn') & (table['with'] == 'transfer')].iloc[0]
    numbers = f'Pearson {row.pearson:.2f} (p = {row.p_pearson:.3f}), Spearman {row.spearman:.2f} (p = {row.p_spearman:.3f})'
    return _verdict(row.p_spearman < 0.05 and row.spearman > 0, f'{numbers} over {row.pairs} ordered pairs')


def _no_spurious_advantage(suite: Suite) -> Verdict:
    if not suite.spurious:
        raise NotEnough('a data set with a spurious background')
    where = {'dataset': suite.spurious}
    gaps = {b: suite.own('lgm', b, **where) - suite.best_real(b, **where) for b in suite.backbones}
    rows = suite.evidence.rows(dataset=suite.spurious, method='lgm', ipc=1, protocol=suite.protocol)
    rows = rows[rows.source_backbone == rows.eval_backbone]
    worst = ', '.join(
        f'{suite.short(b)} {100 * rows[rows.eval_backbone == b].worst_group.mean():.1f}' for b in suite.backbones
    )
    mean = mean_of(list(gaps.values()))
    shown = ', '.join(f'{suite.short(b)} {gap}' for b, gap in gaps.items())
    numbers = f'LGM minus the best real baseline: mean {mean}; {shown}. LGM in its worst group, %: {worst}'
    return _verdict(mean.low <= 0, numbers)


def _margin_fine_over_coarse(suite: Suite) -> Verdict:
    if not suite.coarse:
        raise NotEnough('a coarse labelling of the same pictures')

    def margin(dataset: str) -> Sample:
        return mean_of([suite.own('lgm', b, dataset=dataset) - suite.best_real(b, dataset=dataset) for b in suite.backbones])

    fine, coarse = margin(suite.dataset), margin(suite.coarse)
    return _verdict((fine - coarse).low > 0, f'LGM minus the best real baseline: fine {fine}, coarse {coarse}')


def _outside_the_cluster(suite: Suite) -> Verdict:
    from scipy import stats  # here, because it takes a second

    images = suite.analysis('embedding_images')
    said, outcomes = [], []
    for backbone in suite.backbones:
        part = images[images.backbone == backbone]
        if part.empty:
            raise NotEnough(f'{backbone} in the analysis embedding')
        beyond = int((part.percentile > 95).sum())
        p = stats.binomtest(beyond, len(part), 0.5, alternative='greater').pvalue
        said.append(f'{suite.short(backbone)} {beyond} of {len(part)} (p = {p:.2g})')
        outcomes.append(p < 0.05)
    return _verdict(all(outcomes), f'images farther from their class mean than 95 % of the real ones: {", ".join(said)}')


def _smaller_spread(suite: Suite) -> Verdict:
    from scipy import stats  # here, because it takes a second

    spreads, freedom = {}, {}
    for method in ('lgm', 'random'):
        seeds = [suite.scores(method, source_of(method, b), b).mean_S for b in suite.backbones]
        freedom[method] = sum(len(mean_S) - 1 for mean_S in seeds)
        if not freedom[method]:
            raise NotEnough(f'a second seed of {method}')
        squares = sum(float(np.square(mean_S - mean_S.mean()).sum()) for mean_S in seeds)
        spreads[method] = math.sqrt(squares / freedom[method])
    ratio = (spreads['random'] / max(spreads['lgm'], 1e-12)) ** 2
    p = float(stats.f.sf(ratio, freedom['random'], freedom['lgm']))
    shown = ', '.join(f'{method} {100 * spreads[method]:.2f} ({freedom[method]} degrees)' for method in spreads)
    return _verdict(p < 0.05, f'standard deviation over seeds, points, pooled over backbones: {shown}; F-test p = {p:.2g}')


def _same_ranking(suite: Suite) -> Verdict:
    methods = ('lgm', 'random', 'centroid', 'k_center', 'neighbors')
    one = {m: suite.average(m) for m in methods}
    two = {m: suite.average(m, protocol=suite.convex) for m in methods}
    turned = [
        f'{a} over {b}' for a in methods for b in methods if (one[a] - one[b]).low > 0 and (two[b] - two[a]).low > 0
    ]
    ranked = sorted(methods, key=lambda m: -one[m].mean)
    shown = ', '.join(f'{m} {100 * one[m].mean:.1f} / {100 * two[m].mean:.1f}' for m in ranked)
    ending = f'. Turned round: {", ".join(turned)}' if turned else ''
    return _verdict(not turned, f'{suite.protocol} / {suite.convex}: {shown}{ending}')


def _verdict(holds: bool, numbers: str) -> Verdict:
    return Verdict(HOLDS if holds else FAILS, numbers)


def _pairs(suite: Suite) -> list[tuple[str, str]]:
    if len(suite.backbones) < 2:
        raise NotEnough('a second backbone')
    return [(s, t) for s in suite.backbones for t in suite.backbones if s != t]


def _same(suite: Suite, variant: str) -> Sample:
    return mean_of([suite.moved(variant, b, b) for b in suite.backbones])


def _other(suite: Suite, variant: str) -> Sample:
    return mean_of([suite.moved(variant, s, t) for s, t in _pairs(suite)])


def _published_ablation() -> str:
    same, other = (', '.join(f'{variant} {values[i]}' for variant, values in PUBLISHED_ABLATION.items()) for i in (0, 1))
    return f'ImageNet-100 over four backbones: same model {same}; other models {other}'


# LGM / best real image of each backbone
_PUBLISHED_SPURIOUS = {
    'waterbirds':
        'Waterbirds, LGM / best real: CLIP 77.9 / 74.6, DINOv2 82.1 / 67.3, EVA-02 78.0 / 74.3, MoCo-v3 77.8 / 67.4 '
        '(mean difference +8; "land bird" for every image scores 77.8)',
    'spawrious':
        'Spawrious, LGM / best real: CLIP 43.1 / 46.2, DINOv2 80.8 / 80.2, EVA-02 36.5 / 40.7, MoCo-v3 32.7 / 33.0 '
        '(mean difference -2)',
}  # fmt: skip


def _published_spurious(suite: Suite) -> str:
    """Return what was published on the suite's own spurious set, or on both where it is neither of them."""
    return _PUBLISHED_SPURIOUS.get(suite.spurious) or '; '.join(_PUBLISHED_SPURIOUS.values())


_ALL = 'all of them settled'
CLAIMS = (
    Claim(1, 'LGM beats random, centroid, neighbors, herding and k-center on every backbone',
          f'LGM - baseline above 0 for every backbone and baseline, {_ALL}',
          'CUB-200, LGM / best real: CLIP 62.2 / 54.3, DINOv2 86.0 / 78.5, EVA-02 74.1 / 59.9, MoCo-v3 42.5 / 30.2',
          _beats_real),
    Claim(2, 'Order: LGM, then centroid, neighbors, random', f'each step above 0 in the mean over backbones, {_ALL}',
          'CUB-200, mean of four: 66.2, 55.7, 49.3, 41.3', _order),
    Claim(3, 'One image a class reaches at least 90 % of full accuracy', 'lower end of the mean share at least 90 %',
          'share of full, mean of four backbones: ImageNet-100 94 %, CUB-200 90 %, Stanford Dogs 87 %', _share_of_full),
    Claim(4, "Every off-diagonal transfer beats the eval model's random", f'difference above 0 for every pair, {_ALL}',
          'ImageNet-100: 12 of 12 (61.6 to 86.8, random 56.6 to 74.8)', _transfer_beats_random),
    Claim(5, "The diagonal is each column's best", f'own - best other source above 0 for every column, {_ALL}',
          'ImageNet-100: 4 of 4 columns', _diagonal_is_best),
    Claim(6, 'Images made through the DINO family transfer best on average', 'first, and its lead over the second above 0',
          'ImageNet-100, mean on the three others: DINOv2 80.9, MoCo-v3 78.2, EVA-02 76.6, CLIP 75.4', _best_source),
    Claim(7, 'Removing augmentation is worst, then the pyramid, then decorrelation, same-model and cross-model',
          f'each step above 0 in both settings, {_ALL}', _published_ablation(), _ablation_order),
    Claim(8, 'The pyramid matters more across models than within', 'difference of the two losses above 0',
          'ImageNet-100, loss without pyramid: 1.5 within, 10.7 across', _pyramid_matters_across),
    Claim(9, 'More augmented views an update help (A = 1, 3, 10)', f'each step above 0, {_ALL}',
          'said, without a table we could check', _more_views_help),
    Claim(10, 'Alignment of two backbones predicts transfer between them',
          'Spearman with mutual k-NN above 0, permutation p < 0.05 (of four backbones: the best of 24 arrangements)',
          f'another experiment: {PUBLISHED_ALIGNMENT}, which are not independent', _alignment_predicts),
    Claim(11, 'No advantage of LGM on a spurious background', 'mean difference to the best real baseline not above 0',
          _published_spurious, _no_spurious_advantage),
    Claim(12, 'The margin over real images is larger on fine-grained classes than on coarse ones',
          'difference of the two margins above 0',
          'margin, mean of four: CUB-200 10.5, Stanford Dogs 11.5, ImageNet-100 6.6 points', _margin_fine_over_coarse),
    Claim(13, 'Distilled images lie outside the cluster of their class',
          'more than half beyond the 95th percentile, binomial p < 0.05, for every backbone', 'shown as pictures',
          _outside_the_cluster),
    Claim(14, 'The spread over seeds is smaller for LGM than for random', 'F-test of pooled variances, p < 0.05',
          'CUB-200: LGM 0.1 to 0.2, random 0.5 to 1.6', _smaller_spread),
    Claim(15, 'The ranking is the same under a convex protocol',
          'no pair settled one way by one and the other way by the other', 'not published', _same_ranking),
)  # fmt: skip
