"""Measures one pair of a data set and a backbone for the gate, on held-out training images.

Shape suffixes: N images, C classes, D feature width.
"""

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import InputError
from bench.core.hashing import numpy_generator
from bench.core.types import Split
from bench.probes.chosen_ridge import MOST_JUDGES, STRENGTHS, best, cross_validated, folds, hits, sample, solve, sums, total
from bench.results.gate import Pair

# Fold 0 is held out, the others are the fit part, and choose the strength of the best linear probe among themselves.
FOLDS = 5
DRAWS = 20


def measure(f_ND: np.ndarray, train: Split, *, dataset: str, backbone: str, weights: str) -> Pair:
    """Return the gate's numbers of a training split and a backbone.

    One in `FOLDS` images of each class is held out. The best linear probe is ridge regression on the fit part with the
    strength that is best in cross-validation there. For `random`, one image per class is drawn from the fit part `DRAWS`
    times; the strength is the one that is best on other fit images, as in the protocol ridge-v2.

    Args:
      f_ND: features of the test views of all training images; they may be memory-mapped.
      train: the training split.
      dataset: label of the data set.
      backbone: label of the backbone.
      weights: fingerprint of the backbone's weights.

    Raises:
      InputError: if a class has fewer than two images.
      FloatingPointError: if a feature is not finite.
    """
    labels_N, classes = np.asarray(train.labels_N), train.num_classes
    counts = np.bincount(labels_N, minlength=classes)
    if counts.min() < 2:
        name = train.class_names[int(counts.argmin())]
        raise InputError(
            f'{dataset}: expected two training images of each class or more, one to fit and one held out, got '
            f'{counts.min()} of {name!r}; add images, or leave the class out'
        )

    def targets(rows: slice) -> Tensor:
        return _one_hot(labels_N[rows], classes)

    # --- one pass over all features
    fold_N = folds(labels_N, FOLDS, 'gate')
    held, *parts = sums(f_ND, targets, fold_N, FOLDS, num_classes=classes)
    fit = total(parts)
    value_D = torch.linalg.eigvalsh(total([held, fit]).covariance_DD).clamp(min=0)
    held_N, fit_N = sample(np.flatnonzero(fold_N == 0), MOST_JUDGES), np.flatnonzero(fold_N > 0)

    def accuracy(w_CD: Tensor, b_C: Tensor) -> float:
        return 100 * float(hits(w_CD[None], b_C[None], f_ND, labels_N, held_N)[0]) / len(held_N)

    # --- the three classifiers
    s = best(cross_validated(parts, f_ND, labels_N, fold_N - 1)[0])
    w_SCD, b_SC = solve(fit, STRENGTHS)
    mean_CD = fit.class_means_CD
    # the nearest mean m has the largest m x - |m|^2 / 2
    nearest = accuracy(mean_CD, -0.5 * mean_CD.square().sum(dim=1))
    random = np.mean([accuracy(*_one_each(f_ND, labels_N, fit_N, draw=draw)) for draw in range(DRAWS)])
    return Pair(
        dataset=dataset, backbone=backbone, nearest_mean=nearest, best_linear=accuracy(w_SCD[s], b_SC[s]),
        random=float(random), strength=float(STRENGTHS[s]),
        participation_ratio=float(value_D.sum() ** 2 / value_D.square().sum().clamp(min=1e-200)),
        five_components=float(value_D[-5:].sum() / value_D.sum().clamp(min=1e-200)),
        n_fit=len(fit_N), n_held=len(held_N), data=train.listing or train.fingerprint, weights=weights,
    )  # fmt: skip


def _one_each(f_ND: np.ndarray, labels_N: np.ndarray, fit_N: np.ndarray, *, draw: int) -> tuple[Tensor, Tensor]:
    """Return w_CD and b_C of ridge regression on one fit image per class; other fit images choose the strength."""
    order_N = numpy_generator('gate', draw).permutation(fit_N)
    _, first_C = np.unique(labels_N[order_N], return_index=True)
    own_C = np.sort(order_N[first_C])
    f_CD, labels_C = np.array(f_ND[own_C]), labels_N[own_C]
    classes = len(own_C)
    (few,) = sums(f_CD, lambda rows: _one_hot(labels_C[rows], classes), np.zeros(classes, np.int64), 1, num_classes=classes)
    w_SCD, b_SC = solve(few, STRENGTHS)
    others_N = sample(np.setdiff1d(fit_N, own_C), MOST_JUDGES)
    s = best(hits(w_SCD, b_SC, f_ND, labels_N, others_N))
    return w_SCD[s], b_SC[s]


def _one_hot(labels_B: np.ndarray, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(np.array(labels_B)), classes).double()
