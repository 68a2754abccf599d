"""The claims of arXiv 2511.16674. Each is decided from records by a stated test, never by hand.

A claim is a function `claim(suite) -> Verdict`. Its decorator gives the text of the claim, the test and the published
result. The texts say LGM; the suite names the method that stands for it. Claims compare estimates
(`bench.results.statistics`): a comparison is significant if the 95 % interval of the paired difference excludes 0. Claims
about features or images run the analysis that they need.
"""

import math
from collections.abc import Callable

import numpy as np

from bench.analysis.ablation import PUBLISHED as PUBLISHED_ABLATION
from bench.analysis.alignment import PUBLISHED as PUBLISHED_ALIGNMENT
from bench.analysis.evidence import short_name
from bench.analysis.suite import BASELINES, FAILS, HOLDS, Claim, NotEnough, Suite, Verdict
from bench.results.statistics import Estimate, mean_of, worst_group

_ALL = 'each of them significant'
CLAIMS: list[Claim] = []


def claim(
    number: int, text: str, *, test: str, published: str | Callable[[Suite], str]
) -> Callable[[Callable[[Suite], Verdict]], Callable[[Suite], Verdict]]:
    """Decorator that adds a function to CLAIMS."""

    def add(decide: Callable[[Suite], Verdict]) -> Callable[[Suite], Verdict]:
        CLAIMS.append(Claim(number, text, test, published, decide))
        return decide

    return add


def _verdict(holds: bool, numbers: str) -> Verdict:
    return Verdict(HOLDS if holds else FAILS, numbers)


@claim(
    1, 'LGM beats random, centroid, neighbors, herding and k-center on every backbone',
    test=f'LGM - baseline above 0 for every backbone and baseline, {_ALL}',
    published='CUB-200, LGM / best real: CLIP 62.2 / 54.3, DINOv2 86.0 / 78.5, EVA-02 74.1 / 59.9, MoCo-v3 42.5 / 30.2',
)
def beats_real(suite: Suite) -> Verdict:
    gaps = {(m, b): suite.own(suite.method, b) - suite.own(m, b) for m in BASELINES for b in suite.backbones}
    lost = [f'{m} on {short_name(b)} ({gap})' for (m, b), gap in gaps.items() if gap.low <= 0]
    best = {b: max((suite.own(m, b) for m in BASELINES), key=lambda sample: sample.mean) for b in suite.backbones}
    shown = '; '.join(f'{short_name(b)} {suite.own(suite.method, b)} against {real}' for b, real in best.items())
    ending = f'. Not above: {"; ".join(lost)}' if lost else ''
    return _verdict(not lost, f'{suite.method} against the best real baseline: {shown}{ending}')


@claim(
    2, 'Order: LGM, then centroid, neighbors, random',
    test=f'each difference between successive methods above 0 in the mean over backbones, {_ALL}',
    published='CUB-200, mean of four: 66.2, 55.7, 49.3, 41.3',
)
def order(suite: Suite) -> Verdict:
    methods = (suite.method, 'centroid', 'neighbors', 'random')
    means = [suite.average(method) for method in methods]
    steps = [first - second for first, second in zip(means, means[1:], strict=False)]
    shown = ', '.join(f'{method} {mean}' for method, mean in zip(methods, means, strict=True))
    return _verdict(all(step.low > 0 for step in steps), f'{shown}; steps {", ".join(map(str, steps))}')


@claim(
    3, 'One image per class reaches at least 90 % of full accuracy',
    test='lower end of the interval of the mean share at least 90 %',
    published='share of full, mean of four backbones: ImageNet-100 94 %, CUB-200 90 %, Stanford Dogs 87 %',
)
def share_of_full(suite: Suite) -> Verdict:
    shares = {b: suite.own(suite.method, b) / suite.own('full', b) for b in suite.backbones}
    mean = mean_of(list(shares.values()))
    each = ', '.join(f'{short_name(b)} {share}' for b, share in shares.items())
    return _verdict(mean.low >= 0.9, f'share of full accuracy, %: mean {mean}; {each}')


@claim(
    4, 'Every cross-model transfer beats random images on the eval model',
    test=f'difference above 0 for every pair, {_ALL}',
    published='ImageNet-100: 12 of 12 (61.6 to 86.8, random 56.6 to 74.8)',
)
def transfer_beats_random(suite: Suite) -> Verdict:
    gaps = {(s, t): suite.moved(suite.method, s, t) - suite.own('random', t) for s, t in suite.pairs()}
    lost = [f'{short_name(s)} to {short_name(t)} ({gap})' for (s, t), gap in gaps.items() if gap.low <= 0]
    numbers = f'{len(gaps) - len(lost)} of {len(gaps)} pairs above random, mean {mean_of(list(gaps.values()))} points'
    return _verdict(not lost, numbers + (f'. Not above: {"; ".join(lost)}' if lost else ''))


@claim(
    5, 'On every backbone, images made through it are the best',
    test=f'own - best other source above 0 for every eval backbone, {_ALL}',
    published='ImageNet-100: 4 of 4 backbones',
)
def diagonal_is_best(suite: Suite) -> Verdict:
    gaps, pairs = {}, suite.pairs()
    for tested in suite.backbones:
        others = [suite.moved(suite.method, s, t) for s, t in pairs if t == tested]
        gaps[tested] = suite.own(suite.method, tested) - max(others, key=lambda sample: sample.mean)
    shown = ', '.join(f'{short_name(b)} {gap}' for b, gap in gaps.items())
    return _verdict(all(gap.low > 0 for gap in gaps.values()), f'own images minus the best other source: {shown}')


@claim(
    6, 'Images made through the DINO family transfer best on average',
    test='ranked first, and its lead over the second above 0',
    published='ImageNet-100, mean on the three others: DINOv2 80.9, MoCo-v3 78.2, EVA-02 76.6, CLIP 75.4',
)
def best_source(suite: Suite) -> Verdict:
    lgm, pairs = suite.method, suite.pairs()
    means = {source: mean_of([suite.moved(lgm, s, t) for s, t in pairs if s == source]) for source in suite.backbones}
    ranked = sorted(means, key=lambda s: -means[s].mean)
    lead = means[ranked[0]] - means[ranked[1]]
    shown = ', '.join(f'{short_name(s)} {means[s]}' for s in ranked)
    return _verdict(
        ranked[0] == suite.distiller and lead.low > 0, f'mean accuracy on the others: {shown}; lead of the first {lead}'
    )


def _published_ablation() -> str:
    same, other = (', '.join(f'{variant} {values[i]}' for variant, values in PUBLISHED_ABLATION.items()) for i in (0, 1))
    return f'ImageNet-100 over four backbones: same model {same}; other models {other}'


@claim(
    7, 'Removing augmentation hurts most, then the pyramid, then decorrelation, same-model and cross-model',
    test=f'each difference between successive variants above 0, same-model and cross-model, {_ALL}',
    published=_published_ablation(),
)
def ablation_order(suite: Suite) -> Verdict:
    order = (suite.method, 'no_decorrelation', 'no_pyramid', 'no_augmentation')
    said, steps = [], []
    for which, accuracy in (('same model', suite.same), ('other models', suite.other)):
        means = [accuracy(variant) for variant in order]
        steps += [first - second for first, second in zip(means, means[1:], strict=False)]
        said.append(f'{which}: ' + ', '.join(f'{variant} {mean}' for variant, mean in zip(order, means, strict=True)))
    return _verdict(all(step.low > 0 for step in steps), '; '.join(said))


@claim(
    8, 'The pyramid matters more cross-model than same-model',
    test='difference of the two accuracy losses above 0',
    published='ImageNet-100, accuracy loss without pyramid: same model 1.5, other models 10.7',
)
def pyramid_matters_across(suite: Suite) -> Verdict:
    within, across = (accuracy(suite.method) - accuracy('no_pyramid') for accuracy in (suite.same, suite.other))
    return _verdict((across - within).low > 0, f'accuracy loss without pyramid: same model {within}, other models {across}')


@claim(
    9, 'More augmented views per update help (A = 1, 3, 10)',
    test=f'each difference between successive variants above 0, {_ALL}',
    published='stated without a table',
)
def more_views_help(suite: Suite) -> Verdict:
    order = ('one_view', 'three_views', 'ten_views')
    means = [suite.same(variant) for variant in order]
    steps = [second - first for first, second in zip(means, means[1:], strict=False)]
    shown = ', '.join(f'{variant} {mean}' for variant, mean in zip(order, means, strict=True))
    return _verdict(all(step.low > 0 for step in steps), f'{shown}; steps {", ".join(map(str, steps))}')


@claim(
    10, 'Alignment of two backbones predicts transfer between them',
    test='Spearman of transfer (accuracy of the linear probe) with mutual k-NN above 0, permutation p < 0.05 (with four '
    'backbones: the best of 24 permutations)',
    published='other data and another measure of transfer, as in gin/suites/paper_table6.gin: '
    f'{PUBLISHED_ALIGNMENT}, which are not independent',
)
def alignment_predicts(suite: Suite) -> Verdict:
    table = suite.correlations()
    row = table[(table.measure == 'mutual_knn') & (table['with'] == 'transfer')].iloc[0]
    numbers = f'Pearson {row.pearson:.2f} (p = {row.p_pearson:.3f}), Spearman {row.spearman:.2f} (p = {row.p_spearman:.3f})'
    return _verdict(row.p_spearman < 0.05 and row.spearman > 0, f'{numbers} over {row.pairs} ordered pairs')


# LGM / best choice of real images, for each backbone
_PUBLISHED_SPURIOUS = {
    'waterbirds':
        'Waterbirds, LGM / best real: CLIP 77.9 / 74.6, DINOv2 82.1 / 67.3, EVA-02 78.0 / 74.3, MoCo-v3 77.8 / 67.4 '
        '(mean difference +8; always answering "land bird" scores 77.8)',
    'spawrious':
        'Spawrious, LGM / best real: CLIP 43.1 / 46.2, DINOv2 80.8 / 80.2, EVA-02 36.5 / 40.7, MoCo-v3 32.7 / 33.0 '
        '(mean difference -2)',
}  # fmt: skip


def _published_spurious(suite: Suite) -> str:
    """Return the published results for the suite's spurious data set, or for both published ones if it is another one."""
    return _PUBLISHED_SPURIOUS.get(suite.spurious) or '; '.join(_PUBLISHED_SPURIOUS.values())


@claim(
    11, 'LGM has no advantage on data with spurious backgrounds',
    test='mean difference to the best real baseline not above 0',
    published=_published_spurious,
)
def no_spurious_advantage(suite: Suite) -> Verdict:
    if not suite.spurious:
        raise NotEnough('a data set with a spurious background')
    where = {'dataset': suite.spurious}
    gaps = {b: suite.own(suite.method, b, **where) - suite.best_real(b, **where) for b in suite.backbones}
    rows = suite.evidence.rows(dataset=suite.spurious, method=suite.method, ipc=1, protocol=suite.protocol)
    rows = rows[rows.source_backbone == rows.eval_backbone]
    worst = ', '.join(
        f'{short_name(b)} {100 * worst_group(list(rows.groups[rows.eval_backbone == b])):.1f}' for b in suite.backbones
    )
    mean = mean_of(list(gaps.values()))
    shown = ', '.join(f'{short_name(b)} {gap}' for b, gap in gaps.items())
    numbers = f'{suite.method} minus the best real baseline: mean {mean}; {shown}. Its worst-group accuracy, %: {worst}'
    return _verdict(mean.low <= 0, numbers)


@claim(
    12, 'The margin over real images is larger on fine-grained classes than on coarse ones',
    test='difference of the two margins above 0',
    published='margin, mean of four: CUB-200 10.5, Stanford Dogs 11.5, ImageNet-100 6.6 points',
)
def margin_fine_over_coarse(suite: Suite) -> Verdict:
    if not suite.coarse:
        raise NotEnough('a coarse labelling of the same images')

    def margin(dataset: str) -> Estimate:
        where = {'dataset': dataset}
        return mean_of([suite.own(suite.method, b, **where) - suite.best_real(b, **where) for b in suite.backbones])

    fine, coarse = margin(suite.dataset), margin(suite.coarse)
    return _verdict((fine - coarse).low > 0, f'{suite.method} minus the best real baseline: fine {fine}, coarse {coarse}')


@claim(
    13, 'Distilled images lie outside the cluster of their class',
    test='more than half beyond the 95th percentile, binomial p < 0.05, for every backbone',
    published='shown in figures only',
)
def outside_the_cluster(suite: Suite) -> Verdict:
    from scipy import stats  # imported here because the import takes a second

    images, origin = suite.distances()
    said, outcomes = [], []
    for backbone in suite.backbones:
        part = images[images.backbone == backbone]
        beyond = int((part.percentile > 95).sum())
        p = stats.binomtest(beyond, len(part), 0.5, alternative='greater').pvalue
        said.append(f'{short_name(backbone)} {beyond} of {len(part)} (p = {p:.2g})')
        outcomes.append(p < 0.05)
    numbers = f'images farther from their class mean than 95 % of the real images: {", ".join(said)}{origin}'
    return _verdict(all(outcomes), numbers)


@claim(
    14, 'The spread over seeds is smaller for LGM than for random',
    test='F-test of pooled variances, p < 0.05',
    published='CUB-200: LGM 0.1 to 0.2, random 0.5 to 1.6',
)
def smaller_spread(suite: Suite) -> Verdict:
    from scipy import stats  # imported here because the import takes a second

    spreads, freedom = {}, {}
    for method in (suite.method, 'random'):
        seeds = [suite.scores(method, suite.evidence.source_of(method, b), b).mean_S for b in suite.backbones]
        freedom[method] = sum(len(mean_S) - 1 for mean_S in seeds)
        if not freedom[method]:
            raise NotEnough(f'a second seed of {method}')
        squares = sum(float(np.square(mean_S - mean_S.mean()).sum()) for mean_S in seeds)
        spreads[method] = math.sqrt(squares / freedom[method])
    ratio = (spreads['random'] / max(spreads[suite.method], 1e-12)) ** 2
    p = float(stats.f.sf(ratio, freedom['random'], freedom[suite.method]))
    shown = ', '.join(f'{method} {100 * spreads[method]:.2f} ({freedom[method]} degrees of freedom)' for method in spreads)
    return _verdict(p < 0.05, f'standard deviation over seeds, points, pooled over backbones: {shown}; F-test p = {p:.2g}')


@claim(
    15, 'The ranking is the same under a convex protocol',
    test='no pair of methods with significant differences of opposite sign under the two protocols',
    published='not published',
)
def same_ranking(suite: Suite) -> Verdict:
    methods = (suite.method, 'random', 'centroid', 'k_center', 'neighbors')
    one = {m: suite.average(m) for m in methods}
    two = {m: suite.average(m, protocol=suite.convex) for m in methods}
    turned = [
        f'{a} over {b}' for a in methods for b in methods if (one[a] - one[b]).low > 0 and (two[b] - two[a]).low > 0
    ]
    ranked = sorted(methods, key=lambda m: -one[m].mean)
    shown = ', '.join(f'{m} {100 * one[m].mean:.1f} / {100 * two[m].mean:.1f}' for m in ranked)
    ending = f'. Reversed: {", ".join(turned)}' if turned else ''
    return _verdict(not turned, f'{suite.protocol} / {suite.convex}: {shown}{ending}')
