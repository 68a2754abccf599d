"""Class-mean matching: one minus the global cosine of the centred class-mean features (arXiv 2602.05391).

It equals Linear Gradient Matching with probes of weight 0. As published, the real means are those of unaugmented images, and
gin/methods/sfm.gin uses one view of each synthetic image per update. We could not check any table of the paper.
"""

import torch.nn.functional as F
from torch import Tensor

from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm_fast'
TUNED = 'nothing, one view per update as published'


@synthesis
def sfm(real: RealFeatures) -> Loss:
    """Return the loss: 1 - cos between the (C x D) residuals of the synthetic and the real class means."""
    target_CD = residuals(real.class_means())

    def loss(synthetic: Synthetic) -> Tensor:
        return 1 - F.cosine_similarity(residuals(synthetic.class_means()).flatten(), target_CD.flatten(), dim=0)

    return loss


def residuals(m_CD: Tensor) -> Tensor:
    """Return the mean of the other classes relative to each class mean: `mean_{k != c} m_k - m_c`."""
    return (m_CD.mean(dim=0) - m_CD) * (len(m_CD) / max(len(m_CD) - 1, 1))
