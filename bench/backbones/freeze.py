"""Make a frozen network cheap to run and to differentiate with respect to its input, without changing what it computes.

Forward + backward time per image on a CPU in bfloat16: MobileNetV2 (144 px, two cores) takes 12.9 ms as created and 5.8 ms
after the rewrites; ViT-S/16 (224 px, one core) takes 165 ms and 115 ms. Each rewrite is exact up to rounding, and its
output is compared with the original network's before it is used.

Shape suffixes: N images, T tokens, D feature width, C colour channels, H height, W width.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from timm.models.vision_transformer import Block

# Relative to the largest feature. Rounding gives differences of about 1e-5, a wrong rewrite 1e-1 or more.
_TOLERANCE = 1e-3


def freeze(network: nn.Module, *, device: torch.device, input_side: int, double: bool = False) -> nn.Module:
    """Return the network on the device: eval mode, no weight gradients, channels last, rewritten for speed.

    Args:
      network: maps normalised images (N, 3, `input_side`, `input_side`) to features.
      device: where it runs.
      input_side: in pixels.
      double: compute in float64; otherwise in the type of the weights.
    """
    dtype = torch.float64 if double else None
    network = network.to(device, dtype).eval().requires_grad_(False)
    rewrites = [_fold_batch_norms, _skip_unpooled_tokens]
    if device.type == 'cpu':
        rewrites += [_split_strided_depthwise, _patches_by_matmul, _plain_attention]
    probe = torch.randn(2, 3, input_side, input_side, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    for rewrite in rewrites:
        network = _rewritten_if_equal(network, rewrite, probe)
    return network.to(memory_format=torch.channels_last)


@torch.no_grad()
def _rewritten_if_equal(network: nn.Module, rewrite: Callable[[nn.Module], bool], probe: Tensor) -> nn.Module:
    """Return a rewritten copy, or the network itself if there is nothing to rewrite or the output changes.

    The output changes if modules do not run in the order in which they are listed, or if the network's `forward` bypasses
    the rewritten module.
    """
    rewritten = copy.deepcopy(network)
    if not rewrite(rewritten):
        return network
    expected = network(probe)
    error = (rewritten(probe) - expected).abs().max()
    return rewritten if error <= _TOLERANCE * expected.abs().max() else network


def _fold_batch_norms(module: nn.Module) -> bool:
    """Fold each batch norm listed directly after a convolution into its weights: in eval mode it is an affine map."""
    previous: nn.Module | None = None
    found = False
    for name, child in list(module.named_children()):
        if (
            isinstance(previous, nn.Conv2d)
            and isinstance(child, nn.BatchNorm2d)
            and child.running_mean is not None
            and child.running_var is not None
            and previous.out_channels == child.num_features
        ):
            scale_C = child.weight / torch.sqrt(child.running_var + child.eps)
            bias_C = torch.zeros_like(scale_C) if previous.bias is None else previous.bias
            previous.weight = _constant(previous.weight * scale_C.view(-1, 1, 1, 1))
            previous.bias = _constant(child.bias + (bias_C - child.running_mean) * scale_C)
            # timm's norm layers carry the activation that follows them
            setattr(module, name, getattr(child, 'act', nn.Identity()))
            found = True
        else:
            found |= _fold_batch_norms(child)
        previous = child
    return found


def _split_strided_depthwise(network: nn.Module) -> bool:
    return _replace_convs(network, _is_strided_depthwise, _StridedDepthwise)


def _patches_by_matmul(network: nn.Module) -> bool:
    return _replace_convs(network, _is_patch_conv, _PatchMatmul)


def _replace_convs(module: nn.Module, wanted: Callable[[nn.Conv2d], bool], make: Callable[[nn.Conv2d], nn.Module]) -> bool:
    found = False
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and child.dilation == (1, 1) and child.padding_mode == 'zeros' and wanted(child):
            setattr(module, name, make(child))
            found = True
        else:
            found |= _replace_convs(child, wanted, make)
    return found


def _is_strided_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels > 1 and max(conv.stride) > 1


def _is_patch_conv(conv: nn.Conv2d) -> bool:
    """Return whether the windows tile the image. Windows below 4 pixels do not count: there convolution is as fast."""
    return conv.groups == 1 and conv.stride == conv.kernel_size and conv.padding == (0, 0) and min(conv.stride) >= 4


def _plain_attention(network: nn.Module) -> bool:
    """Let timm compute attention as separate operations (matmul, softmax, matmul).

    In bfloat16 the fused CPU kernel takes 50 of ViT-S/16's 165 ms, mostly in the backward pass; the separate operations
    take 23 ms. In float32 both take the same time.
    """
    fused: list[Any] = [module for module in network.modules() if getattr(module, 'fused_attn', False) is True]
    for module in fused:
        module.fused_attn = False
    return bool(fused)


def _skip_unpooled_tokens(network: nn.Module) -> bool:
    """Compute the last block of a vision transformer for the class token alone, if the class token is the feature."""
    from timm.models.vision_transformer import Attention, Block, VisionTransformer

    if type(network) is not VisionTransformer or network.global_pool != 'token' or not network.has_class_token:
        return False
    last = network.blocks[-1]
    if type(last) is not Block or type(last.attn) is not Attention or getattr(last.attn, 'gate', None) is not None:
        return False
    network.blocks[-1] = _ClassTokenBlock(last)
    return True


class _StridedDepthwise(nn.Module):
    """A strided depthwise convolution, computed with stride 1 and then subsampled.

    The input gradient of the strided form has no fast CPU kernel in bfloat16: for 81 images of 96 x 72 x 72 it takes
    207 ms. This form takes 22 ms, although its forward pass does four times the work.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = _constant(conv.weight), None if conv.bias is None else _constant(conv.bias)
        self.stride, self.kernel_size, self.groups = conv.stride, conv.kernel_size, conv.groups
        # timm's Conv2dSame pads so that the output is ceil(input / stride), whatever `padding` says
        self.same = type(conv).__name__ == 'Conv2dSame'
        self.padding = conv.padding

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if self.same:
            total = [
                max((-(-size // stride) - 1) * stride + kernel - size, 0)
                for size, stride, kernel in zip(x_NCHW.shape[-2:], self.stride, self.kernel_size, strict=True)
            ]
            top, left = (t // 2 for t in total)
            x_NCHW = F.pad(x_NCHW, [left, total[1] - left, top, total[0] - top])
        padding = 0 if self.same else self.padding
        y_NCHW = F.conv2d(x_NCHW, self.weight, self.bias, padding=padding, groups=self.groups)
        return y_NCHW[..., :: self.stride[0], :: self.stride[1]]


class _PatchMatmul(nn.Module):
    """A convolution whose windows tile the image, computed as one matrix product over the patches.

    For ViT-S/16 in bfloat16, the input gradient of the convolution takes 3.9 ms per image; this form takes 0.6 ms.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.kernel_size = conv.kernel_size
        self.weight = _constant(conv.weight.permute(0, 2, 3, 1).flatten(1))
        self.bias = None if conv.bias is None else _constant(conv.bias)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        (tall, wide), (count, channels) = self.kernel_size, x_NCHW.shape[:2]
        rows, columns = x_NCHW.shape[2] // tall, x_NCHW.shape[3] // wide
        x_NHWC = x_NCHW[:, :, : rows * tall, : columns * wide].permute(0, 2, 3, 1)
        strips = x_NHWC.reshape(count, rows, tall, columns, wide * channels).transpose(2, 3)
        patches = strips.reshape(count, rows, columns, tall * wide * channels)
        return F.linear(patches, self.weight, self.bias).permute(0, 3, 1, 2)


class _ClassTokenBlock(nn.Module):
    """timm's `Block` with the class token as its only output; the other tokens only provide keys and values."""

    def __init__(self, block: 'Block') -> None:
        super().__init__()
        attn: Any = block.attn  # timm's `Attention`
        self.block, qkv, width = block, attn.qkv, attn.num_heads * attn.head_dim
        self.query_weight, self.rest_weight = _constant(qkv.weight[:width]), _constant(qkv.weight[width:])
        self.query_bias = None if qkv.bias is None else _constant(qkv.bias[:width])
        self.rest_bias = None if qkv.bias is None else _constant(qkv.bias[width:])

    def forward(self, x_NTD: Tensor) -> Tensor:
        block = self.block
        attn: Any = block.attn
        y_NTD = block.norm1(x_NTD)
        query = F.linear(y_NTD[:, :1], self.query_weight, self.query_bias).unflatten(2, (1, attn.num_heads, -1))
        rest = F.linear(y_NTD, self.rest_weight, self.rest_bias).unflatten(2, (2, attn.num_heads, -1))
        (query,), (key, value) = query.permute(2, 0, 3, 1, 4), rest.permute(2, 0, 3, 1, 4)
        weights = (attn.q_norm(query) * attn.scale) @ attn.k_norm(key).transpose(-2, -1)
        y_NTD = (weights.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        x_NTD = x_NTD[:, :1] + block.ls1(attn.proj(attn.norm(y_NTD)))
        return x_NTD + block.ls2(block.mlp(block.norm2(x_NTD)))


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=False)
