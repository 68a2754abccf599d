"""Cosines between features, class by class.

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
