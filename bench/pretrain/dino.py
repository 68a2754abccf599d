"""DINO: from any crop, a student predicts the output of a momentum teacher for a large crop (arXiv 2104.14294).

Shape suffixes: N images, D embedding width, K prototypes.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyNetwork, TinyViT
from bench.core.errors import InputError
from bench.core.ranges import Fraction, Positive, PositiveFraction, PositiveInt
from bench.pretrain.train import Batch, Objective, follow


def dino(
    network: TinyNetwork,
    *,
    prototypes: PositiveInt = 1024,
    hidden_dim: PositiveInt = 512,
    bottleneck_dim: PositiveInt = 64,
    student_temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.04,
    momentum: Fraction = 0.99,
    centre_momentum: Fraction = 0.9,
    local_crops: PositiveInt = 2,
    local_side: PositiveInt = 32,
    local_area: PositiveFraction = 0.35,
) -> Objective:
    """Return the objective for a network that accepts pictures of any size.

    Args:
      network: the loss uses only its `embed`.
      prototypes: outputs of the head (K).
      hidden_dim: width of the head's hidden layers.
      bottleneck_dim: width of the unit vectors before the prototypes.
      student_temperature: temperature of the student's softmax.
      teacher_temperature: temperature of the teacher's softmax; lower is sharper.
      momentum: momentum of the teacher per step, rising to 1 along a half cosine.
      centre_momentum: momentum of the running mean that is subtracted from the teacher's outputs.
      local_crops: number of small crops for the student, in addition to the two large ones.
      local_side: side of the small crops in pixels.
      local_area: largest area of a small crop as a share of the picture; the smallest is a third of it.

    Raises:
      InputError: if the side of the small crops is not a multiple of the patch size.
    """
    patch = network.patch_embed.patch_size[0] if isinstance(network, TinyViT) else 1
    if local_side % patch:
        raise InputError(f'dino.local_side: expected a multiple of the patches of {patch} px, got {local_side}')
    student = nn.ModuleList([network, _Head(network.num_features, hidden_dim, bottleneck_dim, prototypes)])
    teacher = copy.deepcopy(student).requires_grad_(False)

    centre_K = torch.zeros(prototypes)

    def outputs(pair: Any, x_NCHW: Tensor) -> Tensor:
        return pair[1](pair[0].embed(x_NCHW)).float()

    def loss(batch: Batch) -> Tensor:
        nonlocal centre_K
        large = [batch.view(), batch.view()]
        small = [batch.view(area=(local_area / 3, local_area), side=local_side) for _ in range(local_crops)]
        with torch.no_grad():
            told_NK = outputs(teacher, torch.cat(large))
            centre_K = centre_K.to(told_NK)
            target_2NK = F.softmax((told_NK - centre_K) / teacher_temperature, dim=-1).chunk(2)
            centre_K = centre_momentum * centre_K + (1 - centre_momentum) * told_NK.mean(dim=0)
        said = outputs(student, torch.cat(large)).chunk(2) + outputs(student, torch.cat(small)).chunk(local_crops)
        log_p = [F.log_softmax(out_NK / student_temperature, dim=-1) for out_NK in said]
        pairs = [(t, s) for t in range(2) for s in range(len(said)) if s != t]
        losses = (-(target_2NK[t] * log_p[s]).sum(dim=-1).mean() for t, s in pairs)
        return sum(losses, start=torch.zeros(())) / len(pairs)

    return Objective(loss, student, after_step=lambda done: follow(teacher, student, momentum, done), frozen=teacher)


class _Head(nn.Module):
    """An MLP to unit vectors, followed by their cosines with the prototypes."""

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes_KD = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, f_ND: Tensor) -> Tensor:
        return F.linear(F.normalize(self.mlp(f_ND), dim=-1), F.normalize(self.prototypes_KD, dim=-1))
