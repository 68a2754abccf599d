"""Real images that cover the training set: global greedy k-center (farthest point) with a quota per class.

Shape suffixes: N images, D feature width, C classes, P images in the pool, K chosen images, B block.
"""

from collections.abc import Iterator

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method

# Number of images whose features are held in float64 at a time.

TUNED = 'nothing to tune'


_BLOCK = 4096
# Size of the pool of farthest images, in which the next choices are searched without a pass over all images, and the maximum
# number of choices from one pool.
_POOL, _PICKS = 4096, 512
# Distances that differ by less than this share of the largest squared norm count as equal.
_ROUNDING = 1e-12


@method(seed=False, real=True)
def k_center(task: Task) -> DistilledSet:
    """Repeatedly add the image farthest (L2) from all chosen ones, among the classes that still need images.

    Sener and Savarese, Active learning for convolutional neural networks, 2018, algorithm 1, with `ipc` images per class. It
    starts from the image nearest to the global mean, so nothing is random. Ties go to the first image.
    """
    labels_N = task.train.labels_N
    assert all(len(members) >= task.ipc for members in task.members())
    chosen = cover(np.asarray(task.features()), labels_N, quota_C=np.full(task.train.num_classes, task.ipc))
    indices_N = chosen[np.argsort(labels_N[chosen], kind='stable')]
    return DistilledSet(labels_N[indices_N], indices_N=indices_N)


def cover(f_ND: np.ndarray, labels_N: np.ndarray, *, quota_C: np.ndarray, pool_size: int = _POOL) -> np.ndarray:
    """Return the chosen images in the order of selection, `quota_C` per class.

    Distances to the chosen set can only shrink. After a pass over all images, the next choices can therefore be made among
    the farthest `pool_size` images, as long as the farthest of them is farther than every other image was at that pass. The
    result is the same as with one pass per choice.

    Args:
      f_ND: features.
      labels_N: classes.
      quota_C: number of images to choose per class; no class may have fewer.
      pool_size: at least 1; it does not change the result.

    Raises:
      FloatingPointError: if a feature is not finite.
    """
    quota_C = quota_C.copy()
    square_N = np.concatenate([np.square(f_BD).sum(axis=1) for _, f_BD in _blocks(f_ND, np.arange(len(f_ND)))])
    if not np.isfinite(square_N.max()):
        raise FloatingPointError('the features are not finite; the backbone or its precision is out of range')
    rounding = _ROUNDING * square_N.max()
    chosen = [_nearest_to_mean(f_ND, square_N, rounding)]
    quota_C[labels_N[chosen]] -= 1
    nearest_N = np.full(len(f_ND), np.inf)
    passed = 0
    while quota_C.any():
        nearest_N[chosen[passed:]] = -np.inf
        open_M = np.flatnonzero((quota_C[labels_N] > 0) & (nearest_N > -np.inf))
        _bring_nearer(nearest_N, f_ND, square_N, rows=open_M, centres=chosen[passed:])
        passed = len(chosen)

        farthest_first_M = np.argsort(-nearest_N[open_M], kind='stable')
        pool_P = np.sort(open_M[farthest_first_M[:pool_size]])
        beyond = nearest_N[open_M[farthest_first_M[pool_size:]]].max(initial=-np.inf)
        f_PD, distance_P = f_ND[pool_P].astype(np.float64), nearest_N[pool_P]
        best = nearest_N[open_M].max()
        latest = int(open_M[np.argmax(nearest_N[open_M] >= best - rounding)])
        while True:
            chosen.append(latest)
            quota_C[labels_N[latest]] -= 1
            f_D = f_ND[latest].astype(np.float64)
            distance_P = np.minimum(distance_P, square_N[pool_P] - 2 * (f_PD @ f_D) + square_N[latest])
            distance_P[(pool_P == latest) | (quota_C[labels_N[pool_P]] == 0)] = -np.inf
            best = distance_P.max()
            if best - rounding <= beyond or best == -np.inf or len(chosen) - passed == _PICKS:
                break
            latest = int(pool_P[np.argmax(distance_P >= best - rounding)])
    return np.array(chosen)


def _nearest_to_mean(f_ND: np.ndarray, square_N: np.ndarray, rounding: float) -> int:
    everything = np.arange(len(f_ND))
    mean_D = sum(f_BD.sum(axis=0) for _, f_BD in _blocks(f_ND, everything)) / len(f_ND)
    distance_N = square_N - 2 * np.concatenate([f_BD @ mean_D for _, f_BD in _blocks(f_ND, everything)])
    return int(np.argmax(distance_N <= distance_N.min() + rounding))


def _bring_nearer(
    nearest_N: np.ndarray, f_ND: np.ndarray, square_N: np.ndarray, *, rows: np.ndarray, centres: list[int]
) -> None:
    """Lower the squared distances of `rows` to their distances from `centres`, where these are smaller."""
    f_KD, square_K = f_ND[centres].astype(np.float64), square_N[centres]
    for rows_B, f_BD in _blocks(f_ND, rows):
        distance_BK = f_BD @ (-2 * f_KD.T)
        distance_BK += square_K
        nearest_N[rows_B] = np.minimum(nearest_N[rows_B], distance_BK.min(axis=1) + square_N[rows_B])


def _blocks(f_ND: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and their features in float64, block by block."""
    for first in range(0, len(rows), _BLOCK):
        rows_B = rows[first : first + _BLOCK]
        yield rows_B, f_ND[rows_B].astype(np.float64)
