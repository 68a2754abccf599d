"""MoCo v3: contrast of a view with the keys that a momentum encoder computes from the other view (arXiv 2104.02057).

Shape suffixes: N images, D embedding width.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyNetwork
from bench.core.ranges import Fraction, Positive, PositiveInt
from bench.pretrain.train import Batch, Objective, follow, mlp


def moco(
    network: TinyNetwork,
    *,
    temperature: Positive = 0.2,
    projection_dim: PositiveInt = 128,
    hidden_dim: PositiveInt = 512,
    momentum: Fraction = 0.99,
) -> Objective:
    """Return the objective for a network.

    Args:
      network: the loss uses only its `embed`.
      temperature: divides the cosines in the loss.
      projection_dim: output width of the projection and prediction heads.
      hidden_dim: width of their hidden layers.
      momentum: momentum of the momentum encoder per step, rising to 1 along a half cosine.
    """
    encoder = nn.Sequential(_Embed(network), mlp(network.num_features, hidden_dim, projection_dim))
    predictor = mlp(projection_dim, hidden_dim, projection_dim)
    keys = copy.deepcopy(encoder).requires_grad_(False)

    def loss(batch: Batch) -> Tensor:
        first_NCHW, second_NCHW = batch.view(), batch.view()
        with torch.no_grad():
            # each view separately, so that batch norms see the same number of pictures on both sides
            key_1_ND, key_2_ND = keys(first_NCHW), keys(second_NCHW)
        query_1_ND, query_2_ND = predictor(encoder(first_NCHW)), predictor(encoder(second_NCHW))
        return _contrast(query_1_ND, key_2_ND, temperature) + _contrast(query_2_ND, key_1_ND, temperature)

    return Objective(
        loss, nn.ModuleList([encoder, predictor]), after_step=lambda done: follow(keys, encoder, momentum, done), frozen=keys
    )


class _Embed(nn.Module):
    """The network's `embed` as a separate module, so that the momentum encoder can be a copy of it."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network.embed(x_NCHW)


def _contrast(query_ND: Tensor, key_ND: Tensor, temperature: float) -> Tensor:
    """Return the InfoNCE loss; the positive key of a query is the one in the same row."""
    logits_NN = F.normalize(query_ND.float(), dim=1) @ F.normalize(key_ND.float(), dim=1).T / temperature
    return 2 * temperature * F.cross_entropy(logits_NN, torch.arange(len(logits_NN), device=logits_NN.device))
