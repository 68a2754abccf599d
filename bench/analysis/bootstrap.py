"""The statistical test of analyses and claims: a bootstrap over method seeds and test images.

Shape suffixes: S method seeds, N test images, B bootstrap draws.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.core.hashing import numpy_generator
from bench.results.store import load

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Sample:
    """An estimate and its bootstrap draws; `n` is the smallest number of method seeds that it is based on.

    For the same test images, corresponding draws of two estimates use the same images, so `a - b` is a paired difference.
    """

    mean: float
    draws_B: np.ndarray
    n: int

    def __sub__(self, other: 'Sample') -> 'Sample':
        return Sample(self.mean - other.mean, self.draws_B - other.draws_B, min(self.n, other.n))

    def __truediv__(self, other: 'Sample') -> 'Sample':
        return Sample(self.mean / other.mean, self.draws_B / other.draws_B, min(self.n, other.n))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return float(np.percentile(self.draws_B, 50 * (1 - LEVEL)))

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return float(np.percentile(self.draws_B, 50 * (1 + LEVEL)))

    @property
    def p_above_0(self) -> float:
        """The one-sided p-value of the estimate being above 0: the share of draws at or below 0, but never exactly 0."""
        return float(((self.draws_B <= 0).sum() + 1) / (len(self.draws_B) + 1))

    def __str__(self) -> str:
        return f'{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]'


def mean_of(samples: Sequence[Sample]) -> Sample:
    """Return the mean of several estimates."""
    return Sample(
        float(np.mean([s.mean for s in samples])), np.mean([s.draws_B for s in samples], axis=0), min(s.n for s in samples)
    )


@dataclass(frozen=True)
class Scores:
    """Correctness of each test image, mean over probe repeats, with one row per method seed: correct_SN.

    `name` seeds the bootstrap over method seeds, so that different scores have independent draws of seeds.
    """

    correct_SN: np.ndarray
    name: str = ''

    @property
    def mean_S(self) -> np.ndarray:
        return self.correct_SN.mean(axis=1)

    @property
    def spread(self) -> float:
        """Standard deviation of the means of the method seeds; NaN for one seed."""
        return float(self.mean_S.std(ddof=1)) if len(self.correct_SN) > 1 else float('nan')

    def accuracy(self) -> Sample:
        """Return the mean accuracy, with bootstrap draws over images and seeds."""
        seeds, count = self.correct_SN.shape
        by_seed_SB = self.correct_SN @ _image_draws(count)
        drawn_BS = numpy_generator('bootstrap', 'seeds', self.name).multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
        return Sample(float(self.correct_SN.mean()), (drawn_BS.T / seeds * by_seed_SB).sum(axis=0), seeds)


def scores_of(paths: Iterable[str]) -> Scores:
    """Read the correctness of each test image from records that differ only in the method seed."""
    paths = sorted(paths)
    rows = [load(path).correct_RN.mean(axis=0) for path in paths]
    return Scores(np.stack(rows), name=' '.join(Path(path).stem for path in paths))


@lru_cache(maxsize=4)
def _image_draws(count: int) -> np.ndarray:
    """Return the weight of each test image in each draw, (N, B)."""
    draws_BN = numpy_generator('bootstrap', 'images', count).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return (draws_BN / count).T
