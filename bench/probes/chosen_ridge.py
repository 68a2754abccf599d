"""The convex probe with a chosen strength: ridge regression whose strength is the best one on training images.

Shape suffixes: N images, B images in a block, S strengths, C classes, D feature width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.core.hashing import numpy_generator
from bench.core.types import ProbeScore, Split
from bench.features.views import CenterView
from bench.probes.task import ProbeTask, score

# Added to the eigenvalues of the mean outer product of centred features, in units of its trace. The smallest one is least
# squares on whitened features, up to the last bits of float32; with the largest one the class means decide.
STRENGTHS = np.array([1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])
FOLDS = 5
# The strength is chosen on at most this many images: the time to choose one does not grow with the data set.
MOST_JUDGES = 20_000
# Number of images whose features are held in float64 at a time.
_BLOCK = 8192


def chosen_ridge_probe(task: ProbeTask) -> ProbeScore:
    """Solve ridge regression onto the labels with the best of `STRENGTHS` on training images. There is one repeat.

    The rule is the same for all. A strength is judged by its accuracy on training images that the probe is not trained on:
    the test views of those not in the distilled set. On the whole split, each of `FOLDS` parts is judged in turn, by
    a probe that is trained on the others. Of equal strengths the largest is taken.

    Features are centred on the mean of the set, and strengths are relative to their variance, so neither origin nor scale
    matters. They are not whitened with statistics of the training split: the probe knows the set and one number.

    Args:
      task: see `ProbeTask`; `task.real` is needed.

    Raises:
      FloatingPointError: if a feature is not finite.
    """
    assert task.real is not None, 'this protocol reads the training split'
    view = CenterView(task.backbone.input_side, task.backbone.interpolation)

    def features(split: Split) -> np.ndarray:
        return task.store.features(split, task.backbone, view)[0]

    def targets(rows: slice) -> Tensor:
        return task.targets_of(rows, dtype=torch.float64, device=torch.device('cpu'))

    f_ND, labels_N = features(task.train), np.asarray(task.train.labels_N)
    fold_N = folds(labels_N, FOLDS, 'ridge-v2') if task.is_full else np.zeros(len(f_ND), np.int64)
    parts = sums(f_ND, targets, fold_N, FOLDS if task.is_full else 1, num_classes=task.num_classes)
    w_SCD, b_SC = solve(total(parts), STRENGTHS)
    if task.is_full:
        hits_S, judges = cross_validated(parts, f_ND, labels_N, fold_N)
    else:
        others = np.ones(len(task.real), bool)
        others[[] if task.own_N is None else task.own_N] = False
        rows_N = sample(np.flatnonzero(others), MOST_JUDGES)
        hits_S, judges = hits(w_SCD, b_SC, features(task.real), np.asarray(task.real.labels_N), rows_N), len(rows_N)
    s = best(hits_S)
    facts = {
        'strength': float(STRENGTHS[s]), 'strength_top1': float(hits_S[s] / max(1, judges)), 'strength_images': judges,
    }  # fmt: skip
    # in float64: at a small strength weights are large, and their products with the mean feature almost cancel
    return score(task, w_SCD[s : s + 1], b_SC[s : s + 1], curves={}, facts=facts)


# --- ridge regression at many strengths -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """What ridge regression needs of a set of images: sums over its features minus `shift_D`, and over its targets."""

    count: int
    shift_D: Tensor
    sum_D: Tensor
    sum_C: Tensor
    gram_DD: Tensor
    cross_DC: Tensor

    def without(self, part: 'Sums') -> 'Sums':
        """Return the sums without a part of the images."""
        return Sums(
            self.count - part.count, self.shift_D, self.sum_D - part.sum_D, self.sum_C - part.sum_C,
            self.gram_DD - part.gram_DD, self.cross_DC - part.cross_DC,
        )  # fmt: skip

    @property
    def covariance_DD(self) -> Tensor:
        mean_D = self.sum_D / self.count
        return self.gram_DD / self.count - torch.outer(mean_D, mean_D)

    @property
    def class_means_CD(self) -> Tensor:
        """The mean feature of each class; not finite for a class without images."""
        return self.shift_D + (self.cross_DC / self.sum_C).T


def sums(
    f_ND: np.ndarray, targets: Callable[[slice], Tensor], fold_N: np.ndarray, num_folds: int, *, num_classes: int
) -> list[Sums]:
    """Return the sums of each fold, in float64, from one pass over memory-mapped features.

    Args:
      f_ND: features.
      targets: gives the targets of some rows as float64 distributions over classes.
      fold_N: the fold of each image, in [0, num_folds).
      num_folds: number of folds.
      num_classes: number of classes.
    """
    dim = f_ND.shape[1]
    blocks = [slice(first, min(first + _BLOCK, len(f_ND))) for first in range(0, len(f_ND), _BLOCK)]
    # close to the mean of every fold, so that subtracting their products from the sums loses no digits
    shift_D = torch.stack([_double(f_ND[rows]).sum(dim=0) for rows in blocks]).sum(dim=0) / len(f_ND)
    count_K = np.bincount(fold_N, minlength=num_folds)
    parts = [
        Sums(
            int(count), shift_D, torch.zeros(dim).double(), torch.zeros(num_classes).double(),
            torch.zeros(dim, dim).double(), torch.zeros(dim, num_classes).double(),
        )
        for count in count_K
    ]  # fmt: skip
    for rows in blocks:
        z_BD, y_BC = _double(f_ND[rows]) - shift_D, targets(rows)
        for number, part in enumerate(parts):
            mine_B = torch.from_numpy(fold_N[rows] == number)
            z_D, y_C = z_BD[mine_B], y_BC[mine_B]
            part.sum_D.add_(z_D.sum(dim=0))
            part.sum_C.add_(y_C.sum(dim=0))
            part.gram_DD.add_(z_D.T @ z_D)
            part.cross_DC.add_(z_D.T @ y_C)
    return parts


def total(parts: list[Sums]) -> Sums:
    """Return the sums of all images of all parts."""
    return Sums(
        sum(part.count for part in parts), parts[0].shift_D,
        *(torch.stack([getattr(p, name) for p in parts]).sum(dim=0) for name in ('sum_D', 'sum_C', 'gram_DD', 'cross_DC')),
    )  # fmt: skip


def solve(whole: Sums, strengths_S: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return w_SCD and b_SC of ridge regression at each strength, from one eigendecomposition.

    Raises:
      FloatingPointError: if a feature is not finite.
    """
    if not whole.gram_DD.isfinite().all():
        raise FloatingPointError('a feature is not finite, so there is no ridge regression')
    mean_D, mean_C = whole.sum_D / whole.count, whole.sum_C / whole.count
    value_D, vector_DD = torch.linalg.eigh(whole.covariance_DD)
    value_D = value_D.clamp(min=0)
    moment_DC = vector_DD.T @ (whole.cross_DC / whole.count - torch.outer(mean_D, mean_C))
    # features that are all equal have no variance: their weights are 0
    added_S = torch.from_numpy(strengths_S) * value_D.sum().clamp(min=1e-200)
    w_SCD = torch.stack([(vector_DD @ (moment_DC / (value_D + added)[:, None])).T for added in added_S])
    return w_SCD, mean_C - w_SCD @ (mean_D + whole.shift_D)


def hits(w_SCD: Tensor, b_SC: Tensor, f_ND: np.ndarray, labels_N: np.ndarray, rows_N: np.ndarray) -> np.ndarray:
    """Return for each strength how many of the images `rows_N` get their own class, as int64."""
    found_S = np.zeros(len(w_SCD), np.int64)
    for rows_B in np.array_split(rows_N, max(1, -(-len(rows_N) // _BLOCK))):
        f_BD, labels_B = _double(f_ND[rows_B]), torch.from_numpy(labels_N[rows_B])
        for s, (w_CD, b_C) in enumerate(zip(w_SCD, b_SC, strict=True)):
            found_S[s] += int(((f_BD @ w_CD.T + b_C).argmax(dim=1) == labels_B).sum())
    return found_S


def cross_validated(
    parts: list[Sums], f_ND: np.ndarray, labels_N: np.ndarray, fold_N: np.ndarray
) -> tuple[np.ndarray, int]:
    """Judge each strength on one fold after the other, for probes trained on the other folds.

    Args:
      parts: the sums of the folds 0, 1, ...
      f_ND: features.
      labels_N: classes.
      fold_N: the fold of each image; images of none of the `parts` have another number.

    Returns:
      The hits of each strength, and the number of images that they are of.
    """
    whole, hits_S, judges = total(parts), np.zeros(len(STRENGTHS), np.int64), 0
    chosen_N = sample(np.flatnonzero((fold_N >= 0) & (fold_N < len(parts))), MOST_JUDGES)
    for number, part in enumerate(parts):
        rows_N = chosen_N[fold_N[chosen_N] == number]
        if len(rows_N) and part.count < whole.count:
            hits_S += hits(*solve(whole.without(part), STRENGTHS), f_ND, labels_N, rows_N)
            judges += len(rows_N)
    return hits_S, judges


def best(hits_S: np.ndarray) -> int:
    """Return which strength has the most hits, of equal ones the largest."""
    return int(np.flatnonzero(hits_S == hits_S.max())[-1])


# --- images that judge ------------------------------------------------------------------------------------------------


def folds(labels_N: np.ndarray, count: int, purpose: str) -> np.ndarray:
    """Deal the images of each class to folds 0, 1, ... in turn, in a random order that depends on the purpose alone."""
    order_N = numpy_generator('folds', purpose).permutation(len(labels_N))
    order_N = order_N[np.argsort(labels_N[order_N], kind='stable')]
    sorted_N = labels_N[order_N]
    fold_N = np.empty(len(labels_N), np.int64)
    fold_N[order_N] = (np.arange(len(labels_N)) - np.searchsorted(sorted_N, sorted_N)) % count
    return fold_N


def sample(rows_N: np.ndarray, most: int) -> np.ndarray:
    """Return the rows, or if they are more than `most` that many of them, chosen at random, in their order."""
    if len(rows_N) <= most:
        return rows_N
    return np.sort(numpy_generator('judges').choice(rows_N, most, replace=False))


def _double(f_BD: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(f_BD)).double()
