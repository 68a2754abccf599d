"""How different the images of one class look to a backbone.

Shape suffixes: N images, D feature width.
"""

import numpy as np

from bench.features.similarity import unit


def diversity(f_ND: np.ndarray, labels_N: np.ndarray) -> float | None:
    """Return the mean over classes of the mean of 1 - cosine over all pairs of a class's images.

    Args:
      f_ND: features.
      labels_N: classes; those with one image have no pair and do not count.

    Returns:
      A number in [0, 2]: 0 where the images of each class have one direction, 1 where they are orthogonal. None where no
      class has two images.
    """
    means = []
    for label in np.unique(labels_N):
        u_ND = unit(f_ND[labels_N == label]).astype(np.float64)
        if (count := len(u_ND)) < 2:
            continue
        # the squared length of the sum holds every ordered pair, and each image with itself
        sum_D = u_ND.sum(axis=0)
        pairs = (sum_D @ sum_D - np.square(u_ND).sum()) / (count * (count - 1))
        means.append(1 - pairs)
    return float(np.mean(means)) if means else None
