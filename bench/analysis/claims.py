"""The claims of arXiv 2511.16674. Each is decided from records by a stated rule, never by hand.

A claim is a function `claim(suite) -> Verdict`. Its decorator gives the text of the claim, the rule and the published
result. The texts say LGM; the suite names the method that stands for it. Most claims are that some differences are above 0:
`bench.analysis.suite.decide` says on how many of them that holds. Claims about features or images run the analysis that they
need. Claims that need nothing but the published tables are also decided there (`bench.analysis.tables`): a rule that the
paper's own numbers fail is not the paper's claim.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from bench.analysis.ablation import PUBLISHED as PUBLISHED_ABLATION
from bench.analysis.alignment import PUBLISHED as PUBLISHED_ALIGNMENT
from bench.analysis.evidence import short_name
from bench.analysis.suite import (
    HOLDS,
    MARGIN,
    OPEN,
    REVERSED,
    Claim,
    NotEnough,
    Suite,
    Verdict,
    decide,
    decide_no_advantage,
)
from bench.results.statistics import Estimate, holm, mean_of, worst_group

LEAST_SHARE = 0.75  # of full accuracy; the lowest published mean over four backbones is 77 %, of Food-101
_EACH = 'each, at 5 % after Holm'
CLAIMS: list[Claim] = []


def claim(
    number: int, text: str, *, rule: str, published: str | Callable[[Suite], str], in_tables: bool = False,
    variants: bool = False,
) -> Callable[[Callable[[Suite], Verdict]], Callable[[Suite], Verdict]]:
    """Decorator that adds a function to CLAIMS."""

    def add(decided: Callable[[Suite], Verdict]) -> Callable[[Suite], Verdict]:
        CLAIMS.append(Claim(number, text, rule, published, decided, in_tables, variants))
        return decided

    return add


def _verdict(cases: dict[str, Estimate], *, effect: Estimate | str, numbers: str) -> Verdict:
    """Return the verdict of a claim that each case is above 0; the numbers end with the cases that are not."""
    outcome, others = decide(cases)
    ending = f'. Not above: {"; ".join(f"{name} ({cases[name]})" for name in others)}' if others and len(cases) > 1 else ''
    return Verdict(outcome, str(effect), numbers + ending)


def _listed(figures: dict[str, Estimate]) -> str:
    return ', '.join(f'{name} {figure}' for name, figure in figures.items())


@claim(
    1, 'LGM beats random, centroid, neighbors, herding and k-center on every backbone',
    rule=f'LGM - baseline above 0 for every baseline and backbone, {_EACH}; effect: LGM - best baseline, mean of backbones',
    published='CUB-200, LGM / best real: CLIP 62.2 / 54.3, DINOv2 86.0 / 78.5, EVA-02 74.1 / 59.9, MoCo-v3 42.5 / 30.2 '
    '(mean difference 10.5)', in_tables=True,
)  # fmt: skip
def beats_real(suite: Suite) -> Verdict:
    ours = {b: suite.own(suite.method, b) for b in suite.backbones}
    cases = {f'{m} on {short_name(b)}': ours[b] - suite.own(m, b) for m in suite.baselines for b in suite.backbones}
    best = {b: max((suite.own(m, b) for m in suite.baselines), key=lambda real: real.mean) for b in suite.backbones}
    shown = '; '.join(f'{short_name(b)} {ours[b]} against {real}' for b, real in best.items())
    effect = mean_of([ours[b] - best[b] for b in suite.backbones])
    return _verdict(cases, effect=effect, numbers=f'{suite.method} against the best real baseline: {shown}')


@claim(
    2, 'Order: LGM, then centroid, neighbors, random',
    rule=f'each difference between successive methods above 0 in the mean over backbones, {_EACH}; effect: LGM - random',
    published='CUB-200, mean of four: 66.2, 55.7, 49.3, 41.3 (difference 24.9)', in_tables=True,
)
def order(suite: Suite) -> Verdict:
    means = {method: suite.average(method) for method in (suite.method, 'centroid', 'neighbors', 'random')}
    cases = {f'{a} over {b}': means[a] - means[b] for a, b in itertools.pairwise(means)}
    return _verdict(cases, effect=means[suite.method] - means['random'], numbers=f'{_listed(means)}; steps {_listed(cases)}')


@claim(
    3, 'One image per class recovers most of full accuracy',
    rule=f'share of full accuracy above {100 * LEAST_SHARE:.0f} %, mean over backbones; effect: that share in percent',
    published='share of full, mean of four backbones: ImageNet-100 94 %, Waterbirds 92 %, CUB-200 90 %, Spawrious 88 %, '
    'Flowers 88 %, Stanford Dogs 87 %, ImageNet-1k 85 %, Food-101 77 %', in_tables=True,
)  # fmt: skip
def share_of_full(suite: Suite) -> Verdict:
    shares = {short_name(b): suite.own(suite.method, b) / suite.own('full', b) for b in suite.backbones}
    mean = mean_of(list(shares.values()))
    above = Estimate(mean.mean - LEAST_SHARE, mean.parts, n=mean.n, one_set=mean.one_set)
    return _verdict({'mean': above}, effect=mean, numbers=f'share of full accuracy, %: {_listed(shares)}')


@claim(
    4, 'Every cross-model transfer beats random images on the eval model',
    rule=f'transfer - random above 0 for every pair of backbones, {_EACH}; effect: mean over pairs',
    published='ImageNet-100: transfer 61.6 to 86.8, random 56.6 to 74.8', in_tables=True,
)
def transfer_beats_random(suite: Suite) -> Verdict:
    cases = {
        f'{short_name(s)} to {short_name(t)}': suite.moved(suite.method, s, t) - suite.own('random', t)
        for s, t in suite.pairs()
    }
    return _verdict(cases, effect=mean_of(list(cases.values())), numbers=f'{len(cases)} pairs')


@claim(
    5, 'On every backbone, images made through it are the best',
    rule=f'own - best other source above 0 for every eval backbone, {_EACH}; effect: mean over backbones',
    published='ImageNet-100: 4 of 4 backbones', in_tables=True,
)
def diagonal_is_best(suite: Suite) -> Verdict:
    cases, pairs = {}, suite.pairs()
    for tested in suite.backbones:
        others = [suite.moved(suite.method, s, t) for s, t in pairs if t == tested]
        best = max(others, key=lambda moved: moved.mean)
        cases[short_name(tested)] = suite.own(suite.method, tested) - best
    effect = mean_of(list(cases.values()))
    return _verdict(cases, effect=effect, numbers=f'own images minus the best other source: {_listed(cases)}')


@claim(
    6, 'Images made through the DINO family transfer best',
    rule=f'DINO - other source above 0 on the targets that the two have in common, for every other source, {_EACH}; effect: '
    'mean over sources',
    published='ImageNet-100, mean on the three others: DINOv2 80.9, MoCo-v3 78.2, EVA-02 76.6, CLIP 75.4', in_tables=True,
)  # fmt: skip
def best_source(suite: Suite) -> Verdict:
    if suite.distiller not in suite.backbones or len(suite.backbones) < 3:
        raise NotEnough('a backbone of the DINO family and two others')
    cases = {}
    for other in suite.backbones:
        common = [t for t in suite.backbones if t not in (other, suite.distiller)]
        if other != suite.distiller:
            ahead = [suite.moved(suite.method, suite.distiller, t) - suite.moved(suite.method, other, t) for t in common]
            cases[f'over {short_name(other)}'] = mean_of(ahead)
    effect = mean_of(list(cases.values()))
    return _verdict(cases, effect=effect, numbers=f'{short_name(suite.distiller)} as source: {_listed(cases)}')


def _published_ablation() -> str:
    same, other = (', '.join(f'{variant} {values[i]}' for variant, values in PUBLISHED_ABLATION.items()) for i in (0, 1))
    return f'ImageNet-100 over four backbones: same model {same}; other models {other}'


@claim(
    7, 'Removing augmentation hurts most, then the pyramid, then decorrelation, same-model and cross-model',
    variants=True,
    rule=f'each difference between successive variants above 0, same-model and cross-model, {_EACH}; effect: LGM without '
    'augmentation - LGM, same-model',
    published=_published_ablation(), in_tables=True,
)  # fmt: skip
def ablation_order(suite: Suite) -> Verdict:
    said: list[str] = []
    cases: dict[str, Estimate] = {}
    effect: Estimate | None = None
    for which, accuracy in (('same model', suite.same), ('other models', suite.other)):
        means = {v: accuracy(v) for v in (suite.method, 'no_decorrelation', 'no_pyramid', 'no_augmentation')}
        cases |= {f'{a} over {b}, {which}': means[a] - means[b] for a, b in itertools.pairwise(means)}
        effect = effect or means['no_augmentation'] - means[suite.method]
        said.append(f'{which}: {_listed(means)}')
    assert effect is not None
    return _verdict(cases, effect=effect, numbers='; '.join(said))


@claim(
    8, 'The pyramid matters more cross-model than same-model',
    variants=True,
    rule='difference of the two accuracy losses above 0, at 5 %; effect: that difference',
    published='ImageNet-100, accuracy loss without pyramid: same model 1.5, other models 10.7 (difference 9.2)',
    in_tables=True,
)
def pyramid_matters_across(suite: Suite) -> Verdict:
    within, across = (accuracy(suite.method) - accuracy('no_pyramid') for accuracy in (suite.same, suite.other))
    numbers = f'accuracy loss without pyramid: same model {within}, other models {across}'
    return _verdict({'difference': across - within}, effect=across - within, numbers=numbers)


@claim(
    9, 'More augmented views per update help (A = 1, 3, 10)',
    variants=True,
    rule=f'each difference between successive variants above 0, {_EACH}; effect: ten views - one view',
    published='stated without a table',
)
def more_views_help(suite: Suite) -> Verdict:
    means = {variant: suite.same(variant) for variant in ('ten_views', 'three_views', 'one_view')}
    cases = {f'{a} over {b}': means[a] - means[b] for a, b in itertools.pairwise(means)}
    effect = means['ten_views'] - means['one_view']
    return _verdict(cases, effect=effect, numbers=f'{_listed(means)}; steps {_listed(cases)}')


@claim(
    10, 'Alignment of two backbones predicts transfer between them',
    rule='Spearman of transfer (accuracy of the linear probe) with mutual k-NN, permutation of backbones, p < 0.05; effect: '
    'that correlation',
    published='other data and another measure of transfer, as in gin/suites/paper_table6.gin: '
    f'{PUBLISHED_ALIGNMENT}, which are not independent',
)  # fmt: skip
def alignment_predicts(suite: Suite) -> Verdict:
    table = suite.correlations()
    row = table[(table.measure == 'mutual_knn') & (table['with'] == 'transfer')].iloc[0]
    least = 1 / math.factorial(len(suite.backbones))
    outcome = (HOLDS if row.spearman > 0 else REVERSED) if row.p_spearman < 0.05 else OPEN
    numbers = (
        f'Pearson {row.pearson:.2f} (p = {row.p_pearson:.3f}), Spearman {row.spearman:.2f} (p = {row.p_spearman:.3f}) over '
        f'{row.pairs} ordered pairs; with {len(suite.backbones)} backbones p is at least {least:.3f}'
    )
    return Verdict(outcome, f'{row.spearman:.2f}', numbers)


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
    rule=f'LGM - best real baseline, mean over backbones, below {100 * MARGIN:g} points by a one-sided test at 5 %; effect: '
    'that difference',
    published=_published_spurious, in_tables=True,
)  # fmt: skip
def no_spurious_advantage(suite: Suite) -> Verdict:
    if not suite.spurious:
        raise NotEnough('a data set with a spurious background')
    where = {'dataset': suite.spurious}
    gaps = {short_name(b): suite.own(suite.method, b, **where) - suite.best_real(b, **where) for b in suite.backbones}
    mean = mean_of(list(gaps.values()))
    numbers = f'{suite.method} minus the best real baseline: {_listed(gaps)}{_worst_groups(suite)}'
    return Verdict(decide_no_advantage(mean), str(mean), numbers)


def _worst_groups(suite: Suite) -> str:
    rows = suite.evidence.rows(dataset=suite.spurious, method=suite.method, ipc=1, protocol=suite.protocol)
    said = []
    for backbone in suite.backbones if len(rows) else ():
        groups = rows.groups[(rows.source_backbone == backbone) & (rows.eval_backbone == backbone)]
        if len(groups) and groups.iloc[0]:
            said.append(f'{short_name(backbone)} {100 * worst_group(list(groups)):.1f}')
    return f'. Its worst-group accuracy, %: {", ".join(said)}' if said else ''


@claim(
    12, 'The margin over real images is larger on fine-grained classes than on coarse ones',
    rule='difference of the two margins above 0, at 5 %, each the share of the way from random images to full data by which '
    'LGM is ahead of the best real baseline, mean over backbones where that way is 30 points on both; effect: that '
    'difference',
    published='margin, mean of four: CUB-200 10.5, Stanford Dogs 11.5, ImageNet-100 6.6 points', in_tables=True,
)  # fmt: skip
def margin_fine_over_coarse(suite: Suite) -> Verdict:
    if not suite.coarse:
        raise NotEnough('a coarse labelling of the same images')
    fine = {b: suite.gap_margin(b) for b in suite.backbones}
    coarse = {b: suite.gap_margin(b, dataset=suite.coarse) for b in suite.backbones}
    both = {short_name(b): (x, y) for b in suite.backbones if (x := fine[b]) is not None and (y := coarse[b]) is not None}
    if not both:
        where = f'{suite.dataset} and {suite.coarse}'
        raise NotEnough(f'a backbone with 30 points between random images and full data on {where}')
    means = [mean_of([pair[i] for pair in both.values()]) for i in (0, 1)]
    numbers = f'margin of {suite.method}: fine {means[0]}, coarse {means[1]}, over {", ".join(both)}'
    return _verdict({'difference': means[0] - means[1]}, effect=means[0] - means[1], numbers=numbers)


@claim(
    13, 'Distilled images lie outside the cluster of their class',
    rule='more of them than the 5 % of real images beyond the 95th percentile of distances to the class mean, binomial, for '
    'every backbone, at 5 % after Holm; effect: their share in percent',
    published='shown in figures only',
)  # fmt: skip
def outside_the_cluster(suite: Suite) -> Verdict:
    from scipy import stats  # imported here because the import takes a second

    images, origin = suite.distances()
    said, p_more, p_fewer, beyond, count = [], [], [], 0, 0
    for backbone in suite.backbones:
        part = images[images.backbone == backbone]
        far = int((part.percentile > 95).sum())
        more, fewer = (stats.binomtest(far, len(part), 0.05, alternative=side).pvalue for side in ('greater', 'less'))
        said.append(f'{short_name(backbone)} {far} of {len(part)} (p = {more:.2g})')
        p_more.append(more)
        p_fewer.append(fewer)
        beyond, count = beyond + far, count + len(part)
    held = sum(p < 0.05 for p in holm(p_more))
    turned = sum(p < 0.05 for p in holm(p_fewer))
    n = len(suite.backbones)
    outcome = HOLDS if held == n else f'holds on {held} of {n}' if held else REVERSED if turned else OPEN
    low, high = stats.binomtest(beyond, count).proportion_ci()
    numbers = f'images farther from their class mean than 95 % of the real images: {", ".join(said)}{origin}'
    return Verdict(outcome, f'{100 * beyond / count:.1f} [{100 * low:.1f}, {100 * high:.1f}]', numbers)


@claim(
    14, 'The spread over seeds is smaller for LGM than for random',
    rule='F-test of the variances of distilled sets, of random choices and of LGM alike, pooled over backbones, two-sided '
    'at 5 %; effect: ratio of the standard deviations, random / LGM',
    published='CUB-200: LGM 0.1 to 0.2, random 0.5 to 1.6, but the first is over probe seeds of one set',
)  # fmt: skip
def smaller_spread(suite: Suite) -> Verdict:
    from scipy import stats  # imported here because the import takes a second

    spreads, freedom = {}, {}
    for method in (suite.method, 'random'):
        seeds = [suite.scores(method, suite.evidence.source_of(method, b), b).mean_S for b in suite.backbones]
        freedom[method] = sum(len(mean_S) - 1 for mean_S in seeds)
        if not freedom[method]:
            raise NotEnough(f'a second seed of {method}')
        squares = sum(float(np.square(mean_S - mean_S.mean()).sum()) for mean_S in seeds)
        spreads[method] = max(math.sqrt(squares / freedom[method]), 1e-12)
    ratio, pair = (spreads['random'] / spreads[suite.method]) ** 2, (freedom['random'], freedom[suite.method])
    low, high = (float(stats.f.ppf(p, *pair)) for p in (0.025, 0.975))
    outcome = HOLDS if ratio > high else REVERSED if ratio < low else f'{OPEN} (a ratio of {math.sqrt(high):.1f} is needed)'
    shown = ', '.join(f'{method} {100 * spreads[method]:.2f} ({freedom[method]} degrees of freedom)' for method in spreads)
    effect = f'{math.sqrt(ratio):.1f} [{math.sqrt(ratio / high):.1f}, {math.sqrt(ratio / low):.1f}]'
    return Verdict(outcome, effect, f'standard deviation over sets, points, pooled over backbones: {shown}')


@claim(
    15, 'The ranking is the same under a convex protocol',
    rule='pairs of methods that differ under both protocols, each at 5 % after Holm, differ in the same direction, over all '
    'methods with records under both; effect: share of the pairs, in percent',
    published='not published',
)  # fmt: skip
def same_ranking(suite: Suite) -> Verdict:
    methods = suite.common_methods(suite.protocol, suite.convex)
    one = {m: suite.average(m) for m in methods}
    two = {m: suite.average(m, protocol=suite.convex) for m in methods}
    pairs = list(itertools.combinations(methods, 2))
    sides = []
    for means in (one, two):
        differences = [means[a] - means[b] for a, b in pairs]
        adjusted = holm([1.0 if d.one_set else d.p for d in differences])
        sides.append([float(np.sign(d.mean)) if p < 0.05 else 0.0 for d, p in zip(differences, adjusted, strict=True)])
    products = [x * y for x, y in zip(*sides, strict=True)]
    same, turned = products.count(1.0), [f'{a} and {b}' for (a, b), x in zip(pairs, products, strict=True) if x < 0]
    n = same + len(turned)
    outcome = OPEN if not n else HOLDS if not turned else f'holds on {same} of {n}' if same else REVERSED
    ranked = sorted(methods, key=lambda m: -one[m].mean)
    shown = ', '.join(f'{m} {100 * one[m].mean:.1f} / {100 * two[m].mean:.1f}' for m in ranked)
    ending = f'. Reversed: {", ".join(turned)}' if turned else ''
    numbers = f'{n} of {len(pairs)} pairs differ under both; {suite.protocol} / {suite.convex}: {shown}{ending}'
    return Verdict(outcome, f'{100 * same / n:.0f}' if n else '', numbers)
