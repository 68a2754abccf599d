"""One meaning for every mark: accuracies, their differences and ratios, with 95 % intervals from crossed components.

An accuracy is a mean over *units* and test images. The units are what is drawn again when an experiment is repeated: the
distilled sets of a method that draws them, else the probe seeds. All units of a cell are tested on the same images, so
units and images are crossed, as readers and cases are in a study of diagnostic accuracy: the analysis is that of Hillis
(Statistics in Medicine 26, 2007, and 33, 2014), in which

    variance = V_units + max(0, V_images - V_rest)

where V_units, V_images and V_rest are the mean squares of units, images and their interaction, each divided by units x
images. The degrees of freedom are Satterthwaite's, the interval is Student's t.

Estimates can be added, subtracted and divided. Cells that were tested on the same images share them, and cells that share
their distilled sets (one set, several eval backbones) share these too, so a difference is paired in both.

Shape suffixes: S distilled sets, P probe seeds, N test images, U units.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bench.results.record import Scored

LEVEL = 0.95
POWER = 0.8
GAP = 0.30  # a recovered gap is a ratio: below this distance of full data from random images it says little


@dataclass(frozen=True)
class Estimate:
    """A figure made of accuracies, with its components of variance.

    `parts` maps (units, images) to x_UN, what each unit gives on each image; the figure varies as the sum of their means.
    `n` is the smallest number of distilled sets behind it. `one_set` says that a method which draws its sets has a single
    one here: the interval leaves out how much sets differ, and the figure takes no part in ranks.
    """

    mean: float
    parts: Mapping[tuple[Hashable, Hashable], np.ndarray]
    n: int = 1
    one_set: bool = False

    def __add__(self, other: 'Estimate') -> 'Estimate':
        return _combined(self.mean + other.mean, [(1, self), (1, other)])

    def __sub__(self, other: 'Estimate') -> 'Estimate':
        return _combined(self.mean - other.mean, [(1, self), (-1, other)])

    def __mul__(self, factor: float) -> 'Estimate':
        return _combined(factor * self.mean, [(factor, self)])

    def __truediv__(self, other: 'Estimate') -> 'Estimate':
        """Return the ratio, whose variance is that of its linear part at the two means (the delta method)."""
        ratio = self.mean / other.mean
        return _combined(ratio, [(1 / other.mean, self), (-ratio / other.mean, other)])

    @cached_property
    def _terms(self) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
        """The (variance, degrees of freedom) of each group of units, and of each group of images without interaction."""
        by_units: dict[Hashable, np.ndarray] = {}
        by_images: dict[Hashable, np.ndarray] = {}
        rest: dict[Hashable, float] = {}
        for (units, images), x_UN in self.parts.items():
            by_units[units] = by_units.get(units, 0) + x_UN.mean(axis=1)
            by_images[images] = by_images.get(images, 0) + x_UN.mean(axis=0)
            rest[images] = rest.get(images, 0.0) + _interaction(x_UN)
        found = [(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in by_units.values() if len(x) > 1]
        cases = [
            (max(0.0, float(x.var(ddof=1)) / len(x) - rest[images]), len(x) - 1)
            for images, x in by_images.items() if len(x) > 1
        ]  # fmt: skip
        return found, cases

    @property
    def variance(self) -> float:
        """Variance of the figure."""
        return sum(value for terms in self._terms for value, _ in terms)

    @property
    def error_of_units(self) -> float:
        """Standard error from distilled sets or, of a method that draws none, probe seeds."""
        return math.sqrt(sum(value for value, _ in self._terms[0]))

    @property
    def error_of_images(self) -> float:
        """Standard error from the choice of test images."""
        return math.sqrt(sum(value for value, _ in self._terms[1]))

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom; infinite for a figure without variance."""
        below = sum(value**2 / freedom for terms in self._terms for value, freedom in terms)
        return self.variance**2 / below if below else math.inf

    @property
    def half(self) -> float:
        """Half of the 95 % interval: what stands behind ±."""
        return _t_quantile(self.freedom) * math.sqrt(self.variance)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.mean + self.half

    def p_above(self, bound: float = 0.0) -> float:
        """Return the one-sided p-value of the figure being above a bound."""
        return _t_tail(self.mean - bound, self.variance, self.freedom)

    @property
    def p_above_0(self) -> float:
        """The one-sided p-value of the figure being above 0."""
        return self.p_above()

    @property
    def p(self) -> float:
        """The two-sided p-value of the figure being 0; 1 for two equal things."""
        return min(1.0, 2 * _t_tail(abs(self.mean), self.variance, self.freedom))

    @property
    def detectable(self) -> float:
        """The difference from 0 that a test at 5 %, two-sided, would have found with a chance of 80 %."""
        return (_t_quantile(self.freedom) + _t_quantile(self.freedom, POWER)) * math.sqrt(self.variance)

    def __str__(self) -> str:
        return f'{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]'


def _combined(mean: float, weighted: Iterable[tuple[float, Estimate]]) -> Estimate:
    parts: dict[tuple[Hashable, Hashable], np.ndarray] = {}
    weighted = list(weighted)
    for weight, estimate in weighted:
        for key, x_UN in estimate.parts.items():
            parts[key] = parts[key] + weight * x_UN if key in parts else weight * x_UN
    each = [estimate for _, estimate in weighted]
    return Estimate(mean, parts, n=min(e.n for e in each), one_set=any(e.one_set for e in each))


def _interaction(x_UN: np.ndarray) -> float:
    """Return the mean square of the interaction of units and images, divided by units x images."""
    count, cases = x_UN.shape
    if count < 2 or cases < 2:
        return 0.0
    rest_UN = x_UN - x_UN.mean(axis=0) - x_UN.mean(axis=1, keepdims=True) + x_UN.mean()
    return float(np.square(rest_UN).sum()) / ((count - 1) * (cases - 1)) / (count * cases)


def _t_quantile(freedom: float, upper: float = (1 + LEVEL) / 2) -> float:
    from scipy.special import ndtri, stdtrit  # imported here because most callers need no interval

    return float(ndtri(upper) if math.isinf(freedom) else stdtrit(freedom, upper))


def _t_tail(distance: float, variance: float, freedom: float) -> float:
    """Return the probability that Student's t is above distance / standard error."""
    from scipy.special import ndtr, stdtr  # imported here because most callers need no interval

    if not variance:
        return 0.5 if not distance else float(distance < 0)
    t = distance / math.sqrt(variance)
    return float(ndtr(-t) if math.isinf(freedom) else stdtr(freedom, -t))


# --- from records to estimates ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Which test images each probe of a cell classified correctly, for one distilled set after the other.

    `sets` names the S sets, `probes` the P probe seeds and what else decides the probes, `images` the test images: cells
    that agree in a name share what it names. `drawn` says whether the method draws its sets, so that another seed would
    give another set.
    """

    correct_SPN: np.ndarray
    sets: tuple[Hashable, ...] = ()
    probes: Hashable = ''
    images: Hashable = ''
    drawn: bool = True
    _kept: dict[str, Estimate] = field(default_factory=dict, compare=False, repr=False)

    @property
    def mean_S(self) -> np.ndarray:
        """Accuracy of each distilled set."""
        return self.correct_SPN.mean(axis=(1, 2))

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracies of the sets; NaN for one set."""
        return float(self.mean_S.std(ddof=1)) if len(self.correct_SPN) > 1 else math.nan

    @property
    def correct_SN(self) -> np.ndarray:
        """Correctness of each test image, mean over the probe seeds."""
        return self.correct_SPN.mean(axis=1)

    def accuracy(self) -> Estimate:
        """Return the mean accuracy."""
        if 'accuracy' not in self._kept:
            several = len(self.correct_SPN) > 1
            x_UN = self.correct_SN if several else self.correct_SPN[0].astype(float)
            units: Hashable = ('sets', self.sets) if several else ('probes', self.probes, len(x_UN))
            parts = {(units, self.images): x_UN}
            mean, n = float(x_UN.mean()), len(self.correct_SPN)
            self._kept['accuracy'] = Estimate(mean, parts, n=n, one_set=self.drawn and not several)
        return self._kept['accuracy']


def scores_of(scored: Sequence[Scored]) -> Scores:
    """Return the scores of finished records (`Record.scored`) that differ only in the method seed, at least one.

    If their numbers of probe seeds differ, the mean over these stands for them.
    """
    scored = sorted(scored, key=lambda record: record.seed)
    first, correct = scored[0], [record.correct.unpack() for record in scored]
    if len({len(correct_PN) for correct_PN in correct}) > 1:
        correct = [correct_PN.mean(axis=0, keepdims=True) for correct_PN in correct]
    sets = tuple(record.made for record in scored)
    return Scores(np.stack(correct), sets=sets, probes=first.probes, images=first.images, drawn=first.drawn)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of several estimates: a statement about these, as if no others could be drawn."""
    weight = 1 / len(estimates)
    return _combined(float(np.mean([e.mean for e in estimates])), [(weight, e) for e in estimates])


def mean_over_tasks(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of several estimates as a statement about all tasks (columns) from which these could be drawn.

    The tasks are units too: their spread holds the errors of sets and probes. The shared test images stay a component.
    """
    here = mean_of(estimates)
    x_U = np.array([e.mean for e in estimates]) - here.mean
    parts: dict[tuple[Hashable, Hashable], np.ndarray] = {('tasks', 'no images'): x_U[:, None]}
    for (_, images), x_UN in here.parts.items():
        x_N = x_UN.mean(axis=0, keepdims=True)
        parts[('mean', images)] = parts.get(('mean', images), 0) + x_N
    return Estimate(here.mean, parts, n=here.n, one_set=here.one_set)


def recovered_gap(method: Estimate, *, random: Estimate, full: Estimate) -> Estimate | None:
    """Return (method - random) / (full - random), or None if full data is less than `GAP` above random images."""
    gap = full - random
    return (method - random) / gap if gap.mean >= GAP else None


def worst_group(accuracies: Sequence[Mapping[str, float]]) -> float:
    """Return the lowest accuracy of a group, each the mean over records; not the mean of each record's lowest one."""
    return min(float(np.mean([groups[name] for groups in accuracies])) for name in accuracies[0])


# --- many comparisons -----------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values: the chance of any false finding among them stays below their level."""
    found, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        found[i] = worst
    return found


def rank_intervals(estimates: Mapping[str, Estimate]) -> dict[str, tuple[int, int]]:
    """Return the first and last rank that each name can have: 1 + the number that beat it, and the number that it beats.

    All pairs are compared, paired, two-sided at 5 % after Holm. Estimates of a single drawn set are left out.
    """
    names = [name for name, estimate in estimates.items() if not estimate.one_set]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    differences = [estimates[a] - estimates[b] for a, b in pairs]
    adjusted = holm([difference.p for difference in differences])
    above, below = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for (a, b), difference, p in zip(pairs, differences, adjusted, strict=True):
        if p < 1 - LEVEL:
            better, worse = (a, b) if difference.mean > 0 else (b, a)
            below[better] += 1
            above[worse] += 1
    return {name: (1 + above[name], len(names) - below[name]) for name in names}
