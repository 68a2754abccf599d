"""One update of Linear Gradient Matching as the released code computes it: what `benchmarks.lgm_step` compares with.

The real images go through the backbone in every update; its weights are not frozen, so that a graph is recorded on both
sides and their gradients are accumulated in the backward pass; the probe's gradients come from autograd, that of the
synthetic images with `create_graph`, so that the meta-loss goes backward through a backward pass.

Shape suffixes: B real images, M synthetic views, C classes (in `NCHW`: channels), D feature width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones.base import Backbone

Encode = Callable[[Tensor], Tensor]
Head = tuple[Tensor, Tensor]


def encoder(network: nn.Module, like: Backbone) -> Encode:
    """Return images in [0, 1] -> features f_ND of the network as it was created, in the precision of a frozen backbone."""
    mean, std = (torch.tensor(values, device=like.device).view(1, 3, 1, 1) for values in (like.mean, like.std))

    def encode(x_NCHW: Tensor) -> Tensor:
        with torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=like.precision == 'bfloat16'):
            return network((x_NCHW - mean) / std).float()

    return encode


def head(w_CD: Tensor) -> Head:
    """Return weight and bias of a linear probe as leaves."""
    return w_CD.clone().requires_grad_(), torch.zeros(len(w_CD), device=w_CD.device, requires_grad=True)


def real_side(encode: Encode, x_BCHW: Tensor, labels_B: Tensor, probe: Head) -> Head:
    """Return the probe's gradient on decoded, augmented real images."""
    weight, bias = torch.autograd.grad(F.cross_entropy(F.linear(encode(x_BCHW), *probe), labels_B), probe)
    return weight, bias


def synthetic_side(encode: Encode, x_MCHW: Tensor, labels_M: Tensor, probe: Head, target: Head) -> Tensor:
    """Go backward from `1 - cos` of the two gradients to whatever `x_MCHW` was made from; returns the detached loss."""
    loss = F.cross_entropy(F.linear(encode(x_MCHW), *probe), labels_M)
    gradient = torch.autograd.grad(loss, probe, create_graph=True)
    flat, flat_target = (torch.cat([part.flatten() for part in pair]) for pair in (gradient, target))
    meta_loss = 1 - F.cosine_similarity(flat, flat_target, dim=0)
    meta_loss.backward()
    return meta_loss.detach()
