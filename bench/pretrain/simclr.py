"""SimCLR: contrast of two augmented views of each picture within a batch (arXiv 2002.05709).

Shape suffixes: N images, D embedding width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyNetwork
from bench.core.ranges import Positive, PositiveInt
from bench.pretrain.train import Batch, Objective


def simclr(network: TinyNetwork, *, temperature: Positive = 0.15, projection_dim: PositiveInt = 128) -> Objective:
    """Return the objective for a network.

    Args:
      network: the loss uses only its `embed`; the earlier features stay less invariant.
      temperature: divides the cosines in the loss.
      projection_dim: output width of the projection head, which is discarded after training.
    """
    width = network.num_features
    head = nn.Sequential(
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, projection_dim)
    )

    def loss(batch: Batch) -> Tensor:
        views_NCHW = torch.cat([batch.view(), batch.view()])
        return nt_xent(head(network.embed(views_NCHW)).float(), temperature=temperature)

    return Objective(loss, nn.ModuleList([network, head]))


def nt_xent(z_ND: Tensor, *, temperature: float) -> Tensor:
    """Return the contrastive loss of embeddings whose first and second halves are two views of the same images."""
    z_ND = F.normalize(z_ND, dim=1)
    count = len(z_ND)
    logits_NN = z_ND @ z_ND.T / temperature
    logits_NN.fill_diagonal_(float('-inf'))
    partner_N = torch.arange(count, device=z_ND.device).roll(count // 2)
    return F.cross_entropy(logits_NN, partner_N)
