"""95 % intervals of a mean and of a difference of two means."""

import math
from collections.abc import Sequence

import numpy as np


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean by Student's t, or None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # imported here because most callers need no interval

    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return round(mean - half, 10), round(mean + half, 10)  # scipy's last digits differ between versions


def welch_half_width(std_a: float, n_a: int, std_b: float, n_b: int, *, level: float = 0.95) -> float:
    """Return half the width of the interval of a difference of means; 0 if both standard deviations are 0.

    The samples are unpaired and may differ in variance. Standard deviations have ddof 1; each sample has at least two
    values.
    """
    from scipy.special import stdtrit  # imported here because the import takes a second

    a, b = std_a**2 / n_a, std_b**2 / n_b
    if a + b == 0:
        return 0.0
    freedom = (a + b) ** 2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))  # Welch-Satterthwaite
    return float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(a + b)
