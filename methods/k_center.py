"""Real images that cover the whole training set: global greedy farthest-point cover with a quota per class."""

import numpy as np

from bench.distilled import DistilledSet
from bench.task import Task, method


@method(seed=False, real=True)
def k_center(task: Task) -> DistilledSet:
    """Add the image farthest (L2) from all chosen ones, among the classes that still lack images.

    Sener and Savarese, Active learning for convolutional neural networks, 2018, algorithm 1, with `ipc` images for each
    class. It starts at the image nearest to the global mean, so nothing is drawn at random.
    """
    f_ND = np.asarray(task.features())
    labels_N = task.train.labels_N
    assert all(len(members) >= task.ipc for members in task.members())
    quota_C = np.full(task.train.num_classes, task.ipc)
    square_N = np.einsum('nd,nd->n', f_ND, f_ND)

    def distance_to(index: int) -> np.ndarray:
        return square_N - 2 * (f_ND @ f_ND[index]) + square_N[index]

    mean_D = f_ND.mean(axis=0)
    latest = int((square_N - 2 * (f_ND @ mean_D)).argmin())
    chosen, nearest_N = [latest], distance_to(latest)
    quota_C[labels_N[latest]] -= 1
    while quota_C.any():
        nearest_N[latest] = -np.inf
        latest = int(np.where(quota_C[labels_N] > 0, nearest_N, -np.inf).argmax())
        chosen.append(latest)
        quota_C[labels_N[latest]] -= 1
        nearest_N = np.minimum(nearest_N, distance_to(latest))
    indices_N = np.array(chosen)[np.argsort(labels_N[chosen], kind='stable')]
    return DistilledSet(labels_N[indices_N], indices_N=indices_N)
