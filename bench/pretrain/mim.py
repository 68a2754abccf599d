"""Masked image modelling: the network encodes visible patches, a small decoder predicts the hidden ones (MAE, 2111.06377).

Shape suffixes: N images, T patches, V visible patches, P values per patch, C colour channels, D embedding width.
"""

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyViT
from bench.core.errors import InputError
from bench.core.ranges import PositiveFraction, PositiveInt
from bench.pretrain.train import Batch, Objective

_HEADS = 4


def mim(
    network: TinyViT,
    *,
    hidden_share: PositiveFraction = 0.6,
    decoder_dim: PositiveInt = 96,
    decoder_depth: PositiveInt = 2,
) -> Objective:
    """Return the objective for a vision transformer (`bench.backbones.tiny.networks.tiny_network('plain_vit')`).

    Args:
      network: sees only the visible patches, which makes it nearly three times cheaper.
      hidden_share: share of the patches that are hidden.
      decoder_dim: width of the decoder, which is discarded after training.
      decoder_depth: number of transformer blocks of the decoder.

    Raises:
      InputError: if no patch or every patch would be hidden, or the width is not divisible by the number of heads.
    """
    total = network.patch_embed.num_patches
    hidden = round(hidden_share * total)
    if not 0 < hidden < total:
        raise InputError(f'mim.hidden_share: expected some of {total} patches hidden and some not, got {hidden_share}')
    if decoder_dim % _HEADS:
        raise InputError(f'mim.decoder_dim: expected a multiple of {_HEADS} heads, got {decoder_dim}')
    decoder = _Decoder(network, decoder_dim, decoder_depth)

    def loss(batch: Batch) -> Tensor:
        x_NCHW = batch.view()
        patches_NTP = _patches(x_NCHW, network.patch_embed.patch_size[0])
        order_NT = torch.rand(len(x_NCHW), total, generator=batch.rng).argsort(dim=1).to(x_NCHW.device)
        visible_NV = order_NT[:, : total - hidden]
        painted_NTP = decoder(network.encode_visible(x_NCHW, visible_NV), visible_NV).float()
        target_NTP = F.layer_norm(patches_NTP, patches_NTP.shape[-1:])  # normalised per patch, as in MAE
        error_NT = (painted_NTP - target_NTP).square().mean(dim=-1)
        hidden_NT = torch.ones_like(error_NT).scatter(1, visible_NV, 0.0)
        return (error_NT * hidden_NT).sum() / hidden_NT.sum()

    return Objective(loss, nn.ModuleList([network, decoder]))


class _Decoder(nn.Module):
    """A small transformer over all patches that outputs pixels; hidden patches enter as one learned token."""

    def __init__(self, network: TinyViT, width: int, depth: int) -> None:
        super().__init__()
        total, side = network.patch_embed.num_patches, network.patch_embed.patch_size[0]
        self.enter = nn.Linear(network.embed_dim, width)
        self.hidden_D = nn.Parameter(0.02 * torch.randn(width))
        self.position_TD = nn.Parameter(0.02 * torch.randn(total, width))
        self.blocks = nn.Sequential(*(Block(width, num_heads=_HEADS, mlp_ratio=2.0, qkv_bias=True) for _ in range(depth)))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * side * side))

    def forward(self, f_NVD: Tensor, visible_NV: Tensor) -> Tensor:
        f_NVD = self.enter(f_NVD)
        count, width = len(f_NVD), f_NVD.shape[-1]
        tokens_NTD = self.hidden_D.to(f_NVD.dtype).expand(count, len(self.position_TD), width)
        tokens_NTD = tokens_NTD.scatter(1, visible_NV[..., None].expand(-1, -1, width), f_NVD)
        return self.leave(self.blocks(tokens_NTD + self.position_TD))


def _patches(x_NCHW: Tensor, side: int) -> Tensor:
    """Return patches_NTP in the order of the network's tokens."""
    return F.unfold(x_NCHW, side, stride=side).transpose(1, 2)
