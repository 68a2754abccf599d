"""Linear Gradient Matching: synthetic images that give random linear probes the same gradient as the real data.

Dataset Distillation for Pre-Trained Self-Supervised Vision Models, arXiv 2511.16674, section 3. The defaults are the
released settings, those of gin/methods/lgm_released.gin; docs/protocol.md lists the deviations.
"""

from typing import Literal

import torch
from torch import Tensor

from bench.core.ranges import NonNegative, PositiveInt
from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis
from methods._synthesis.gradient import gradient_distance, probe_gradient, random_probes


@synthesis
def lgm(
    real: RealFeatures,
    *,
    num_probes: PositiveInt = 1,
    probe_sigma: NonNegative = 0.01,
    real_gradient: Literal['batch', 'full'] = 'batch',
    class_balanced: bool = False,
) -> Loss:
    """Return the loss: `1 - cos` between the gradients of random linear probes on synthetic and on real features.

    Args:
      real: features of the training split.
      num_probes: random probes per update; they share the backbone pass.
      probe_sigma: standard deviation of the probes' weights; with 0, only the class means are matched.
      real_gradient: 'batch' takes ipc * A * C images from a shuffled pass, as in the release; 'full' takes every image.
      class_balanced: give equal weight to classes in the real gradient; False gives equal weight to images, as in the
        release.
    """

    def loss(synthetic: Synthetic) -> Tensor:
        w_PCD = random_probes(
            num_probes, num_classes=real.num_classes, dim=real.dim, sigma=probe_sigma, generator=real.generator,
            dtype=real.dtype,
        )
        views = len(synthetic.f_AND) * synthetic.total
        target_PCD = real.gradient(
            w_PCD, batch_size=None if real_gradient == 'full' else views, balanced=class_balanced
        )
        y_NC = synthetic.y_NC
        each = (probe_gradient(f_ND, y_NC, w_PCD, weights_N=1 / views) for f_ND in synthetic.f_AND)
        g_PCD = sum(each, start=torch.zeros(()))
        return gradient_distance(synthetic.world.sum(g_PCD), target_PCD)

    return loss
