"""Our method: images placed in feature space so that a probe trained on them becomes the ridge classifier of the real data.

Gradients of random probes contain little more than the class means, so a probe trained on gradient-matched images is at best
a nearest-mean classifier. This method first computes targets in feature space. The target of a class has the direction of
the class-balanced ridge classifier of all real views, at the real classes' distance from their common mean. The images are
then fitted to the targets themselves, not only to their direction, because a common offset of all synthetic features would
shift every decision. Hard labels, number of pixels and schedule are those of LGM; docs/lgm_plus.md reports the experiments.
"""

import torch
from torch import Tensor

from bench.core.ranges import Positive
from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm_fast'
TUNED = 'loss and strength; about twenty settings on held-out training images of plumage, after a first look at plumage test'


@synthesis
def lgm_plus(real: RealFeatures, *, strength: Positive = 10.0) -> Loss:
    """Return the loss: mean squared distance of class-mean features from their targets, in units of the classes' spread.

    Args:
      real: features of the training split.
      strength: ridge strength, relative to the mean eigenvalue of the features' covariance; large values give class means.
    """
    target_CD, spread = feature_targets(real, strength=strength)

    def loss(synthetic: Synthetic) -> Tensor:
        return (synthetic.class_means() - target_CD).square().sum(dim=1).mean() / spread

    return loss


def feature_targets(real: RealFeatures, *, strength: float) -> tuple[Tensor, Tensor]:
    """Return the target features t_CD of the classes, and the mean squared distance of the real class means from their mean.

    `t = mean + s * M (S + strength * trace(S) / D)^-1`, where S is the class-balanced covariance of all real views, M are
    the class means relative to the common mean, and s is chosen such that the targets are as far from the mean as M.
    """
    m_CD = real.class_means(views=True)
    mean_D = m_CD.mean(dim=0)
    covariance_DD = real.covariance(mean_D).double()
    relative_CD = (m_CD - mean_D).double()
    ridge = strength * covariance_DD.diagonal().mean() * torch.eye(len(mean_D), device=mean_D.device, dtype=torch.float64)
    direction_CD = torch.linalg.solve(covariance_DD + ridge, relative_CD.T).T
    spread = relative_CD.square().sum(dim=1).mean()
    direction_CD = direction_CD * (spread / direction_CD.square().sum(dim=1).mean()).sqrt()
    return mean_D + direction_CD.to(mean_D), spread.to(mean_D)
