"""Class-mean matching per image: the residual of each image is aligned with the residual of its class (FRF).

The residuals of class-mean matching are compared row by row instead of by one global cosine. With several images per class,
each image has its own target, the mean of one cluster of the class; otherwise all would become the same picture.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._synthesis import Loss, RealFeatures, Synthetic, synthesis

FOLLOWS = 'lgm_fast'
TUNED = 'nothing of its own'


@synthesis
def frf(real: RealFeatures) -> Loss:
    """Return the loss: the mean over images of `1 - cos(r_i(synthetic), r_i(real))`, `r_i = mean_{k != c} m_k - f_i`."""
    means_CD = real.class_means()

    def loss(synthetic: Synthetic) -> Tensor:
        labels_N, count = synthetic.all_labels_N, synthetic.num_classes
        position_N = torch.arange(len(labels_N), device=labels_N.device) % synthetic.ipc
        own_ND = real.cluster_means(synthetic.ipc)[labels_N, position_N]
        wanted_ND = _mean_of_others(means_CD, count)[labels_N] - own_ND
        f_ND = synthetic.gathered(synthetic.f_AND.mean(dim=0))
        found_ND = _mean_of_others(f_ND.unflatten(0, (count, -1)).mean(dim=1), count)[labels_N] - f_ND
        return 1 - F.cosine_similarity(found_ND, wanted_ND, dim=1).mean()

    return loss


def _mean_of_others(m_CD: Tensor, count: int) -> Tensor:
    return (m_CD.sum(dim=0) - m_CD) / max(count - 1, 1)
