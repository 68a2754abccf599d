"""Real images whose running mean feature stays nearest to the class mean (herding)."""

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method

# Candidates whose distances differ by less than this share of the largest squared norm are compared by the exact formula.

TUNED = 'nothing to tune'


_ROUNDING = 1e-10


@method(seed=False, real=True)
def herding(task: Task) -> DistilledSet:
    """Greedily add the image that brings the mean of the chosen features nearest (L2) to the class mean.

    Welling, Herding dynamical weights to learn, 2009; Rebuffi et al., iCaRL, 2017, algorithm 4. At one image per class it is
    the same as the centroid method.
    """
    f_ND = task.features()
    chosen = [members[herd(f_ND[members], task.ipc)] for members in task.members()]
    indices_N = np.concatenate(chosen)
    return DistilledSet(task.train.labels_N[indices_N], indices_N=indices_N)


def herd(f_MD: np.ndarray, count: int) -> list[int]:
    """Return `count` distinct row indices of f_MD, in the order of selection.

    A step minimises |(sum + f) / step - mean|^2. The expression |f|^2 + 2 f (sum - step * mean) has the same order of rows
    and needs a single matrix-vector product. Rows that are equal up to rounding are compared by the first formula.

    Raises:
      FloatingPointError: if a feature is not finite.
    """
    mean_D, sum_D = f_MD.mean(axis=0), np.zeros(f_MD.shape[1])
    wide_MD = f_MD.astype(np.float64)
    square_M = np.einsum('md,md->m', wide_MD, wide_MD)
    longest = np.sqrt(square_M.max())
    if not np.isfinite(longest):
        raise FloatingPointError('the features are not finite; the backbone or its precision is out of range')
    chosen: list[int] = []
    for step in range(1, count + 1):
        ahead_D = sum_D - step * mean_D.astype(np.float64)
        score_M = square_M + 2 * (wide_MD @ ahead_D)
        score_M[chosen] = np.inf
        doubt = _ROUNDING * (longest + np.linalg.norm(sum_D) + step * np.linalg.norm(mean_D)) ** 2
        rows = np.flatnonzero(score_M <= score_M.min() + doubt)
        distance_R = np.linalg.norm((sum_D + f_MD[rows]) / step - mean_D, axis=1)
        chosen.append(int(rows[distance_R.argmin()]))
        sum_D = sum_D + f_MD[chosen[-1]]
    return chosen
