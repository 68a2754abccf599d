"""The readout of a backbone: what is done to its features before anything uses them.

Vision transformers end in a LayerNorm, which bounds the norm of a feature; CNNs do not. With a readout, CNNs can be compared
on bounded features. Every readout is differentiable, and all but `layernorm` are affine.

Shape suffixes: N images, D feature width.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.errors import InputError
from bench.core.ranges import Since

Kind = Literal['none', 'layernorm', 'standardize', 'whiten']
# The type of the setting `readout` of every loader.
ReadoutKind = Annotated[Kind, Since('2026-11', neutral='none')]
# Added to every eigenvalue before whitening, relative to their mean: directions without variance stay small.
RIDGE = 0.01
# Number of images whose features are held in float64 at a time.
_ROWS = 16384


@dataclass(frozen=True)
class Readout:
    """A function of features f_ND, of the same shape.

    - `none`: the features themselves.
    - `layernorm`: mean 0 and variance 1 over the D entries of each feature, without parameters.
    - `standardize`: mean 0 and variance 1 of each entry over the training images.
    - `whiten`: mean 0 and, but for `RIDGE`, identity covariance over the training images; symmetric (ZCA).

    The last two wait for statistics of training images, see `fitted`. `of` says of which.
    """

    kind: Kind = 'none'
    of: str = ''
    mean_D: Tensor | None = field(default=None, repr=False)
    factor: Tensor | None = field(default=None, repr=False)  # (D,) or (D, D)

    @property
    def waits(self) -> bool:
        """Whether it needs statistics that it does not have yet."""
        return self.kind in ('standardize', 'whiten') and self.factor is None

    def __call__(self, f_ND: Tensor) -> Tensor:
        if self.kind == 'none':
            return f_ND
        if self.kind == 'layernorm':
            return F.layer_norm(f_ND, f_ND.shape[1:])
        if self.mean_D is None or self.factor is None:
            raise InputError(f'readout {self.kind!r}: expected statistics of training images; here no data set is chosen')
        z_ND = f_ND - self.mean_D
        return z_ND * self.factor if self.kind == 'standardize' else z_ND @ self.factor

    def __str__(self) -> str:
        made_from = f' by {self.of}' if self.of else ''
        return '' if self.kind == 'none' else f', {self.kind}{made_from}'

    def fitted(self, f_ND: np.ndarray, *, of: str, device: torch.device, dtype: torch.dtype) -> 'Readout':
        """Return the readout with the statistics of training features before the readout, which may be memory-mapped.

        Args:
          f_ND: features of the test views of all training images.
          of: names the images, such as the fingerprint of their split.
          device: of the features that the readout is applied to.
          dtype: of these features.
        """
        mean_D = torch.from_numpy(np.mean(f_ND, axis=0, dtype=np.float64))
        covariance_DD = torch.zeros(len(mean_D), len(mean_D), dtype=torch.float64)
        for first in range(0, len(f_ND), _ROWS):
            z_ND = torch.from_numpy(np.asarray(f_ND[first : first + _ROWS], dtype=np.float64)) - mean_D
            covariance_DD += z_ND.T @ z_ND / len(f_ND)
        if self.kind == 'standardize':
            variance_D = covariance_DD.diagonal()
            factor = (variance_D + 1e-6 * variance_D.mean()).rsqrt()  # an entry that is always the same stays 0
        else:
            value_D, vector_DD = torch.linalg.eigh(covariance_DD)
            factor = (vector_DD * (value_D.clamp(min=0) + RIDGE * value_D.mean()).rsqrt()) @ vector_DD.T
        return replace(self, of=of, mean_D=mean_D.to(device, dtype), factor=factor.to(device, dtype))
