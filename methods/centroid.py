"""The real images nearest to their class's mean feature."""

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method

TUNED = 'nothing to tune'


@method(seed=False, real=True)
def centroid(task: Task) -> DistilledSet:
    """Take the `ipc` images per class whose features are nearest (L2) to the class mean."""
    f_ND = task.features()
    chosen = []
    for members in task.members():
        f_MD = f_ND[members]
        distance_M = np.linalg.norm(f_MD - f_MD.mean(axis=0), axis=1)
        chosen.append(members[np.argsort(distance_M, kind='stable')[: task.ipc]])
    indices_N = np.concatenate(chosen)
    return DistilledSet(task.train.labels_N[indices_N], indices_N=indices_N)
