"""Cosine similarity of features within classes: nearest neighbours, and the diversity of a class's images.

Shape suffixes: N queries, M candidates, D feature width, K neighbours.
"""

import numpy as np


def unit(f_ND: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1, float64 if they were, else float32.

    A row of zeros stays zero, so its cosine with any other row is 0.
    """
    f_ND = np.asarray(f_ND)
    f_ND = f_ND if f_ND.dtype == np.float64 else f_ND.astype(np.float32)
    return f_ND / np.maximum(np.linalg.norm(f_ND, axis=1, keepdims=True), np.finfo(f_ND.dtype).tiny)


def nearest_in_class(
    f_ND: np.ndarray, labels_N: np.ndarray, f_MD: np.ndarray, labels_M: np.ndarray, *, count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rank, for each query, the candidates of its own class by cosine.

    Args:
      f_ND: features of the queries.
      labels_N: their classes.
      f_MD: features of the candidates.
      labels_M: their classes.
      count: number of neighbours.

    Returns:
      For each query, a pair (rows of f_MD, cosines), sorted by descending cosine and then by row; fewer than `count` if the
      class has fewer candidates.
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
      labels_N: classes; classes with a single image have no pairs and are left out.

    Returns:
      A number in [0, 2]: 0 if the features of each class have the same direction, 1 if they are orthogonal. None if no class
      has two images.
    """
    means = []
    for label in np.unique(labels_N):
        u_ND = unit(f_ND[labels_N == label]).astype(np.float64)
        if (count := len(u_ND)) < 2:
            continue
        # the squared norm of the sum contains every ordered pair, and every image with itself
        sum_D = u_ND.sum(axis=0)
        pairs = (sum_D @ sum_D - np.square(u_ND).sum()) / (count * (count - 1))
        means.append(1 - pairs)
    return float(np.mean(means)) if means else None
