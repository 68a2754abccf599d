"""Cosines between features, class by class: the nearest ones, and how different the images of a class are.

Shape suffixes: N queries, M candidates, D feature width, K neighbours.
"""

import numpy as np


def unit(f_ND: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32; a row of zeros stays one, so that its cosine with anything is 0."""
    f_ND = np.asarray(f_ND, dtype=np.float32)
    return f_ND / np.maximum(np.linalg.norm(f_ND, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def nearest_in_class(
    f_ND: np.ndarray, labels_N: np.ndarray, f_MD: np.ndarray, labels_M: np.ndarray, *, count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rank, for each query, the candidates of its own class by cosine.

    Args:
      f_ND: features of the queries.
      labels_N: their classes.
      f_MD: features of the candidates.
      labels_M: their classes.
      count: neighbours wanted.

    Returns:
      For each query (rows of f_MD, cosines), highest cosine first, the lower row first among equals; fewer than `count`
      where the class has fewer.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, np.int64), np.empty(0, np.float32))] * len(labels_N)
    for label in np.unique(labels_N):
        queries, members = np.flatnonzero(labels_N == label), np.flatnonzero(labels_M == label)
        for query, cosine_M in zip(queries, unit(f_ND[queries]) @ unit(f_MD[members]).T, strict=True):
            order_K = np.argsort(-cosine_M, kind='stable')[:count]
            found[query] = (members[order_K], cosine_M[order_K])
    return found


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
