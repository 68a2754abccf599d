"""Soft labels: the predictions of a linear teacher, trained on features of the training split, for distilled images.

They give the probe C numbers per image instead of one class. Sets with soft labels are ranked in separate tables.

Shape suffixes: N training images, M distilled images, B block, C classes, D feature width.
"""

import numpy as np

# Number of training images whose features are held in float64 at a time.
_BLOCK = 4096
# Margin by which an image's class leads if the teacher prefers another class: enough to survive rounding to float32.
_LEAD = 1e-6


def teacher_labels(
    f_ND: np.ndarray,
    labels_N: np.ndarray,
    f_MD: np.ndarray,
    labels_M: np.ndarray,
    *,
    num_classes: int,
    temperature: float,
    strength: float = 0.1,
) -> np.ndarray:
    """Return a distribution over the classes for each distilled image: softmax(teacher's scores / `temperature`).

    The class of an image stays the most likely one. The image was made for that class and counts towards its ipc, and a
    label with another class on top would silently swap the images of two classes. If the teacher prefers another class, just
    enough of the one-hot label is mixed in to break the tie, which preserves as much of the teacher as possible. At low
    temperatures the label then tends to one half for each of the two classes, and to one-hot if the teacher agrees. At high
    temperatures it tends to uniform, up to the tie-break of 1e-6.

    Args:
      f_ND: features of the training images in the test view; never those of the test split.
      labels_N: their classes.
      f_MD: features of the stored distilled images in the same view.
      labels_M: the classes they were made for.
      num_classes: C.
      temperature: in units of the teacher's average lead (`teacher_scores`), so that a value means the same for every
        backbone and number of classes. With 0.1, the right class of a typical training image gets exp(10) times the weight
        of an average class.
      strength: see `teacher_scores`.

    Returns:
      soft_labels_MC, float32; rows sum to 1 and are largest at `labels_M`.

    Raises:
      ValueError: if the temperature is not positive, or for the reasons of `teacher_scores`.
    """
    if not temperature > 0:
        raise ValueError(f'the temperature of soft labels must be positive, got {temperature}; use hard labels for one-hot')
    scores_MC = teacher_scores(f_ND, labels_N, f_MD, num_classes=num_classes, strength=strength)
    p_MC = np.exp((scores_MC - scores_MC.max(axis=1, keepdims=True)) / temperature)
    p_MC /= p_MC.sum(axis=1, keepdims=True)

    one_hot_MC = np.eye(num_classes)[labels_M]
    other_M = np.where(one_hot_MC == 1, 0, p_MC).max(axis=1)
    behind_M1 = np.maximum(other_M - (one_hot_MC * p_MC).sum(axis=1), -_LEAD)[:, None]
    # (1 - share) * behind - share = -lead, solved for the share of the one-hot label; 0 where the class leads
    share_M1 = (behind_M1 + _LEAD) / (1 + behind_M1)
    return ((1 - share_M1) * p_MC + share_M1 * one_hot_MC).astype(np.float32)


def teacher_scores(
    f_ND: np.ndarray, labels_N: np.ndarray, f_MD: np.ndarray, *, num_classes: int, strength: float = 0.1
) -> np.ndarray:
    """Return scores_MC of the teacher for some images: class-balanced ridge regression of the one-hot labels.

    Every class has weight 1/C, whatever its size. As in `ridge_probe`, features are centred and divided by their root mean
    square norm, and targets are centred. The right-hand side is then the class means / C, and the solution is exact. Ridge
    regression shrinks the scores, the more so the more classes there are. They are therefore divided by the average lead:
    averaged over the training images with equal weight per class, the right class then scores 1 and the mean of all
    classes is 0.

    Args:
      f_ND: features of the training images.
      labels_N: their classes.
      f_MD: features of the images to score.
      num_classes: C.
      strength: added to the eigenvalues of the mean outer product of the scaled features, as in `ridge-v1`.

    Raises:
      ValueError: if a class has no training image.
    """
    counts_C = np.bincount(labels_N, minlength=num_classes)
    if len(counts_C) != num_classes or not counts_C.all():
        raise ValueError(f'a teacher needs training images of all {num_classes} classes, got {counts_C.tolist()}')
    dim = f_ND.shape[1]
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(f_ND), _BLOCK)]

    mean_CD = np.zeros((num_classes, dim))
    for rows in blocks:
        mean_CD += np.eye(num_classes)[labels_N[rows]].T @ np.asarray(f_ND[rows], dtype=np.float64)
    mean_CD /= counts_C[:, None]
    mean_D = mean_CD.mean(axis=0)

    outer_DD = np.zeros((dim, dim))
    for rows in blocks:
        weight_B1 = (1 / np.sqrt(num_classes * counts_C[labels_N[rows]]))[:, None]
        z_BD = weight_B1 * (np.asarray(f_ND[rows], dtype=np.float64) - mean_D)
        outer_DD += z_BD.T @ z_BD
    scale = max(float(np.sqrt(np.trace(outer_DD))), 1e-12)

    z_CD = (mean_CD - mean_D) / scale
    w_DC = np.linalg.solve(outer_DD / scale**2 + strength * np.eye(dim), z_CD.T / num_classes)
    lead = float(np.einsum('cd,dc->', z_CD, w_DC)) / num_classes
    # If all class means are equal, there is nothing to learn, and all scores are 0.
    return (np.asarray(f_MD, dtype=np.float64) - mean_D) / scale @ w_DC / (lead or 1)
