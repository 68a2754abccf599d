"""Real images drawn uniformly at random from each class."""

import numpy as np

from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method

TUNED = 'nothing to tune'


@method(backbone=False, real=True)
def random(task: Task) -> DistilledSet:
    """Draw `ipc` images per class without replacement; every seed draws different ones."""
    generator = task.generator('random')
    chosen_CI = [generator.choice(members, task.ipc, replace=False) for members in task.members()]
    indices_N = np.concatenate(chosen_CI)
    return DistilledSet(task.train.labels_N[indices_N], indices_N=indices_N)
