"""One update of Linear Gradient Matching as in the released code, the reference of `benchmarks.lgm_step`.

The real images pass through the backbone in every update. The weights are not frozen, so autograd records a graph for real
and synthetic images and accumulates gradients of the weights. The gradients of the probe come from autograd, for synthetic
images with `create_graph`, so that the meta-loss is backpropagated through a backward pass.

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
    """Return features f_ND of images in [0, 1] from the network as created, in the precision of the frozen backbone."""
    mean, std = (torch.tensor(values, device=like.device).view(1, 3, 1, 1) for values in (like.mean, like.std))

    def encode(x_NCHW: Tensor) -> Tensor:
        with torch.autocast(like.device.type, dtype=torch.bfloat16, enabled=like.precision == 'bfloat16'):
            return network((x_NCHW - mean) / std).float()

    return encode


def head(w_CD: Tensor) -> Head:
    """Return weight and bias of a linear probe as leaf tensors."""
    return w_CD.clone().requires_grad_(), torch.zeros(len(w_CD), device=w_CD.device, requires_grad=True)


def real_side(encode: Encode, x_BCHW: Tensor, labels_B: Tensor, probe: Head) -> Head:
    """Return the gradient of the probe on decoded and augmented real images."""
    weight, bias = torch.autograd.grad(F.cross_entropy(F.linear(encode(x_BCHW), *probe), labels_B), probe)
    return weight, bias


def synthetic_side(encode: Encode, x_MCHW: Tensor, labels_M: Tensor, probe: Head, target: Head) -> Tensor:
    """Backpropagate `1 - cos` of the two gradients to the parameters of `x_MCHW`; return the detached loss."""
    loss = F.cross_entropy(F.linear(encode(x_MCHW), *probe), labels_M)
    gradient = torch.autograd.grad(loss, probe, create_graph=True)
    flat, flat_target = (torch.cat([part.flatten() for part in pair]) for pair in (gradient, target))
    meta_loss = 1 - F.cosine_similarity(flat, flat_target, dim=0)
    meta_loss.backward()
    return meta_loss.detach()
