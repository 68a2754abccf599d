"""Real images whose running mean feature stays nearest to the class mean (herding)."""

import numpy as np

from bench.distilled import DistilledSet
from bench.task import Task, method


@method(seed=False, real=True)
def herding(task: Task) -> DistilledSet:
    """Greedily add the image that brings the mean of the chosen features nearest (L2) to the class mean.

    Welling, Herding dynamical weights to learn, 2009; Rebuffi et al., iCaRL, 2017, algorithm 4. One image per class is
    the centroid's.
    """
    f_ND = task.features()
    chosen = [members[herd(f_ND[members], task.ipc)] for members in task.members()]
    indices_N = np.concatenate(chosen)
    return DistilledSet(task.train.labels_N[indices_N], indices_N=indices_N)


def herd(f_MD: np.ndarray, count: int) -> list[int]:
    """Return `count` distinct row numbers of f_MD, in the order in which they were chosen."""
    mean_D, sum_D = f_MD.mean(axis=0), np.zeros(f_MD.shape[1])
    chosen: list[int] = []
    for step in range(1, count + 1):
        distance_M = np.linalg.norm((sum_D + f_MD) / step - mean_D, axis=1)
        distance_M[chosen] = np.inf
        chosen.append(int(distance_M.argmin()))
        sum_D = sum_D + f_MD[chosen[-1]]
    return chosen
