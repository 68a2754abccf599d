"""Linear Gradient Matching: synthetic images that give random linear probes the same gradient as the real data.

Dataset Distillation for Pre-Trained Self-Supervised Vision Models, arXiv 2511.16674, section 3. The defaults are the
released settings, those of gin/methods/lgm_released.gin; docs/protocol.md lists the deviations.
"""

from typing import Annotated, Literal

import torch
from torch import Tensor

from bench.core.ranges import NonNegative, PositiveInt, Since
from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis
from methods._synthesis.gradient import gradient_distance, probe_gradient, random_probes

TUNED = 'nothing, the released settings'


@synthesis
def lgm(
    real: RealFeatures,
    *,
    num_probes: PositiveInt = 1,
    probe_sigma: NonNegative = 0.01,
    real_gradient: Literal['batch', 'full'] = 'batch',
    class_balanced: bool = False,
    moments: Annotated[NonNegative, Since('2026-11', neutral=0.0)] = 0.0,
) -> Loss:
    """Return the loss: `1 - cos` between the gradients of random linear probes on synthetic and on real features.

    The cosine does not see the mean and the scale of all synthetic features. A probe trained on them does see both: features
    that no LayerNorm bounds drift away. `moments` adds a term for both, which is not part of the published loss.

    Args:
      real: features of the training split.
      num_probes: random probes per update; they share the backbone pass.
      probe_sigma: standard deviation of the probes' weights; with 0, only the class means are matched.
      real_gradient: 'batch' takes ipc * A * C images from a shuffled pass, as in the release; 'full' takes every image.
      class_balanced: give equal weight to classes in the real gradient; False gives equal weight to images, as in the
        release.
      moments: weight of `moment_distance` to the class means of the cached random views; 0 is the published loss.
    """
    means_CD = real.class_means(views=True) if moments else None

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
        distance = gradient_distance(synthetic.world.sum(g_PCD), target_PCD)
        return distance if means_CD is None else distance + moments * moment_distance(synthetic.class_means(), means_CD)

    return loss


def moment_distance(m_CD: Tensor, target_CD: Tensor) -> Tensor:
    """Return how far the mean and the spread of class means are from those of `target_CD`, relative to the latter's spread.

    It is `|mean - target mean|^2 / spread^2 + (spread of m / spread - 1)^2`. A spread is the root mean square distance of
    class means from their mean.
    """
    (mean_D, spread), (target_D, wanted) = _moments(m_CD), _moments(target_CD)
    return (mean_D - target_D).square().sum() / wanted.square() + (spread / wanted - 1).square()


def _moments(m_CD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the spread of class means."""
    mean_D = m_CD.mean(dim=0)
    # a small constant, because the root has no gradient at 0, where all images are the same at first
    return mean_D, ((m_CD - mean_D).square().sum(dim=1).mean() + 1e-12).sqrt()
