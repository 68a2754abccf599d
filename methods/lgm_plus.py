"""Ours: images whose class-mean features lie where a probe trained on them becomes the ridge classifier of the real data.

Gradients of random probes only tell the class means, so a probe of gradient-matched images is at best a nearest-mean
classifier. The feature-space targets are solved first: for each class the direction of the class-balanced ridge
classifier of all real views, at the real classes' distance from their common mean. Images are then fitted to the targets
themselves, not to their direction: a common offset of all synthetic features would shift every decision. Hard labels, same
pixels and same schedule as LGM; docs/lgm_plus.md says what was tried.
"""

import torch
from torch import Tensor

from bench.core.ranges import Positive
from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm'


@synthesis
def lgm_plus(real: RealFeatures, *, strength: Positive = 10.0) -> Loss:
    """Return the mean squared distance of class-mean features from their targets, in units of the real classes' spread.

    Args:
      real: the training split's features.
      strength: of the ridge, relative to the mean eigenvalue of the features' covariance; large values give the class means.
    """
    target_CD, spread = feature_targets(real, strength=strength)

    def loss(synthetic: Synthetic) -> Tensor:
        return (synthetic.class_means() - target_CD).square().sum(dim=1).mean() / spread

    return loss


def feature_targets(real: RealFeatures, *, strength: float) -> tuple[Tensor, Tensor]:
    """Return the target features t_CD of the classes and the real class means' mean squared distance from their centre.

    With class-balanced weights, S the covariance of all real views and M the class means relative to the common mean:
    `t = mean + s * M (S + strength * trace(S) / D)^-1`, `s` such that the targets are as far from the mean as M.
    """
    m_CD = real.class_means(views=True)
    mean_D = m_CD.mean(dim=0)
    covariance_DD = real.covariance(mean_D).double()
    relative_CD = (m_CD - mean_D).double()
    ridge = strength * covariance_DD.diagonal().mean() * torch.eye(len(mean_D), device=mean_D.device, dtype=torch.float64)
    direction_CD = torch.linalg.solve(covariance_DD + ridge, relative_CD.T).T
    spread = relative_CD.square().sum(dim=1).mean()
    direction_CD = direction_CD * (spread / direction_CD.square().sum(dim=1).mean()).sqrt()
    return mean_D + direction_CD.float(), spread.float()
