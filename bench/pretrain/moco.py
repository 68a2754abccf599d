"""MoCo v3: a view finds the other view of its picture among the keys of a momentum encoder (arXiv 2104.02057).

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
      network: the loss sees its `embed` only.
      temperature: divides cosines in the loss.
      projection_dim: width of the projection and prediction heads' outputs.
      hidden_dim: width of their hidden layers.
      momentum: share of itself that the momentum encoder keeps each step, rising to 1 along a half cosine.
    """
    encoder = nn.Sequential(_Embed(network), mlp(network.num_features, hidden_dim, projection_dim))
    predictor = mlp(projection_dim, hidden_dim, projection_dim)
    keys = copy.deepcopy(encoder).requires_grad_(False)

    def loss(batch: Batch) -> Tensor:
        first_NCHW, second_NCHW = batch.view(), batch.view()
        with torch.no_grad():
            # each half by itself, so that batch norms see as many pictures on both sides
            key_1_ND, key_2_ND = keys(first_NCHW), keys(second_NCHW)
        query_1_ND, query_2_ND = predictor(encoder(first_NCHW)), predictor(encoder(second_NCHW))
        return _contrast(query_1_ND, key_2_ND, temperature) + _contrast(query_2_ND, key_1_ND, temperature)

    return Objective(
        loss, nn.ModuleList([encoder, predictor]), after_step=lambda done: follow(keys, encoder, momentum, done), frozen=keys
    )


class _Embed(nn.Module):
    """The network's `embed` as a module of its own, so that a copy of it can follow."""

    def __init__(self, network: TinyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network.embed(x_NCHW)


def _contrast(query_ND: Tensor, key_ND: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE: the key of a row is the one at the same place."""
    logits_NN = F.normalize(query_ND.float(), dim=1) @ F.normalize(key_ND.float(), dim=1).T / temperature
    return 2 * temperature * F.cross_entropy(logits_NN, torch.arange(len(logits_NN), device=logits_NN.device))
