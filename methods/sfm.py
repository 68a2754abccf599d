"""Class means instead of gradients: 1 - cos of the centred class-mean features, one global cosine (2602.05391).

Equals Linear Gradient Matching with probes of weight 0. As published, the real means are those of un-augmented images;
gin/methods/sfm.gin takes one view of each synthetic image per update. No table of the paper could be checked.
"""

import torch.nn.functional as F
from torch import Tensor

from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm'


@synthesis
def sfm(real: RealFeatures) -> Loss:
    """Return 1 - cos between the (C x D) residuals of the synthetic and of the real class means."""
    target_CD = residuals(real.class_means())

    def loss(synthetic: Synthetic) -> Tensor:
        return 1 - F.cosine_similarity(residuals(synthetic.class_means()).flatten(), target_CD.flatten(), dim=0)

    return loss


def residuals(m_CD: Tensor) -> Tensor:
    """Return how far the mean of the other classes lies from each class mean: `mean_{k != c} m_k - m_c`."""
    return (m_CD.mean(dim=0) - m_CD) * (len(m_CD) / max(len(m_CD) - 1, 1))
