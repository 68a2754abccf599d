"""Closed-form linear probing: the ridge probe of the synthetic features should classify the real ones (2605.07194).

The inner problem is solved exactly in sample space: `W = Z^T (Z Z^T + strength I)^-1 Y`. The outer loss is the cross-entropy
of `softmax(f W / temperature)` on real features. The paper does not give strength, temperature and number of updates; here
they are settings with our own defaults.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.ranges import Positive, PositiveInt
from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm_fast'
TUNED = 'strength and temperature; number of settings not recorded'


@synthesis
def clp(
    real: RealFeatures, *, strength: Positive = 0.1, temperature: Positive = 0.1, batch_size: PositiveInt | None = 1024
) -> Loss:
    """Return the loss: the cross-entropy, on real features, of the ridge probe solved on synthetic features.

    Args:
      real: features of the training split.
      strength: ridge strength, relative to the mean squared norm of the synthetic features.
      temperature: temperature of the softmax; scores lie near 0 and 1.
      batch_size: real images per update, from a shuffled pass; None takes all. Classes have equal weight.
    """

    def loss(synthetic: Synthetic) -> Tensor:
        f_AND = synthetic.gathered(synthetic.f_AND)
        z_MD = f_AND.flatten(0, 1)
        y_MC = F.one_hot(synthetic.all_labels_N, real.num_classes).to(z_MD).repeat(len(f_AND), 1)
        gram_MM = z_MD @ z_MD.T
        ridge = strength * gram_MM.diagonal().mean().detach() * torch.eye(len(z_MD), device=z_MD.device, dtype=z_MD.dtype)
        w_DC = z_MD.T @ torch.linalg.solve(gram_MM + ridge, y_MC)
        f_BD, labels_B = real.batch(batch_size)
        weights_C = real.counts_C.max() / real.counts_C.clamp(min=1).to(f_BD)
        return F.cross_entropy(f_BD @ w_DC / temperature, labels_B, weight=weights_C)

    return loss
