"""The networks of the embedded encoders: timm's, with concatenated features of several depths.

Early layers see the marks without their surroundings. They also stay less invariant than the last layer, which the
objective shapes. For the CNN they added 4 points to the probe (79 to 84 %, render version 1).

Shape suffixes: N images, C colour channels, H height, W width, T tokens, V visible ones, D feature width.
"""

from typing import Any

import torch
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from bench.backbones.tiny.facts import ARCHITECTURES, INPUT_SIDE
from bench.core.errors import InputError

_WIDTH, _DEPTH = 128, 3


def tiny_network(
    kind: str, *, feature_scale: float = 1.0, standardised: bool = False, whitened: bool = False
) -> 'TinyNetwork':
    """Return a network with random weights: normalised images (N, 3, 64, 64) -> features (N, 448 or 480).

    Its `embed` maps images to the pooled output of the last layer (N, `num_features`), on which pre-training works.

    Args:
      kind: a key of `ARCHITECTURES`.
      feature_scale: factor for the features.
      standardised: standardise the features at the end with the buffers `feature_mean` and `feature_std`.
      whitened: whiten the features at the end with the buffers `feature_mean` and `whitening_DD`.

    Raises:
      InputError: for an unknown kind.
    """
    if kind not in ARCHITECTURES:
        raise InputError(f'pretrain.network: expected one of {", ".join(ARCHITECTURES)}, got {kind!r}')
    # The marks are 2-8 px: the CNN's last stage keeps stride 16 (4 x 4 positions at 64 px).
    network: TinyNetwork
    if kind == 'cnn':
        network = PooledStages(
            BasicBlock,  # type: ignore[arg-type]  # timm means the class
            (1, 1, 1, 1), num_classes=0, channels=(32, 64, 128, 256), stem_width=24, output_stride=16,
        )  # fmt: skip
    else:
        network = TinyViT(overlapping=kind == 'vit')
    network.feature_scale = feature_scale
    if standardised or whitened:
        network.register_buffer('feature_mean', torch.zeros(network.feature_dim))
    if standardised:
        network.register_buffer('feature_std', torch.ones(network.feature_dim))
    if whitened:
        network.register_buffer('whitening_DD', torch.eye(network.feature_dim))
    return network


class TinyNetwork(nn.Module):
    """Implements `forward` and `embed` with `pooled`, which returns the features of each depth, the deepest last.

    Only a network that ends in a standardisation has `feature_mean` and `feature_std`, only one that ends in a whitening
    `feature_mean` and `whitening_DD`.
    """

    num_features: int
    feature_dim: int
    feature_scale: float
    feature_mean: Tensor
    feature_std: Tensor
    whitening_DD: Tensor

    def pooled(self, x_NCHW: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def forward(self, x_NCHW: Tensor) -> Tensor:
        f_ND = torch.cat(self.pooled(x_NCHW), dim=1)
        if hasattr(self, 'feature_std'):
            f_ND = (f_ND - self.feature_mean) / self.feature_std
        if hasattr(self, 'whitening_DD'):
            # never in bfloat16: the small components are differences of large numbers
            with torch.autocast(f_ND.device.type, enabled=False):
                f_ND = (f_ND.to(self.whitening_DD.dtype) - self.feature_mean) @ self.whitening_DD
        return self.feature_scale * f_ND

    def embed(self, x_NCHW: Tensor) -> Tensor:
        return self.pooled(x_NCHW)[-1]


class PooledStages(TinyNetwork, ResNet):
    """A ResNet whose features are the spatial means of its last three stages, concatenated."""

    feature_dim = 448

    def pooled(self, x_NCHW: Tensor) -> list[Tensor]:
        maps: Any = self.forward_intermediates(x_NCHW, indices=[2, 3, 4], intermediates_only=True)
        return [map_NCHW.mean((2, 3)) for map_NCHW in maps]


class TinyViT(TinyNetwork, VisionTransformer):  # type: ignore[misc]  # its `forward` takes no mask
    """A vision transformer whose features are the spatial means of its stem's first two maps and of each block's output.

    With `overlapping`, patches come from 3 x 3 convolutions, which speed up training (arXiv 2106.14881). Without it, a patch
    sees only its own pixels, as masked image modelling requires.
    """

    feature_dim = _WIDTH // 4 + _WIDTH // 2 + _DEPTH * _WIDTH

    def __init__(self, *, overlapping: bool) -> None:
        super().__init__(
            img_size=INPUT_SIDE, patch_size=8, embed_dim=_WIDTH, depth=_DEPTH, num_heads=4, mlp_ratio=3.0, num_classes=0,
            class_token=False, global_pool='avg', fc_norm=False, dynamic_img_size=True,
        )
        self.patch_embed.proj = _Stem(overlapping)
        blocks: Any = self.blocks
        for block in blocks:
            # the backward pass of the fused CPU kernel is half as fast in bfloat16
            block.attn.fused_attn = False

    def pooled(self, x_NCHW: Tensor) -> list[Tensor]:
        maps = self.patch_embed.proj.maps(x_NCHW)
        x_NTD = self._pos_embed(maps[-1].permute(0, 2, 3, 1).contiguous())
        found = [map_NCHW.mean((2, 3)) for map_NCHW in maps[:-1]]
        for block in self.blocks:
            x_NTD = block(x_NTD)
            found.append(x_NTD.mean(dim=1))
        return [*found[:-1], self.norm(x_NTD).mean(dim=1)]

    def encode_visible(self, x_NCHW: Tensor, visible_NV: Tensor) -> Tensor:
        """Return the normalised last tokens f_NVD of the visible patches; the network does not see the others.

        Args:
          x_NCHW: the images.
          visible_NV: indices of the visible patches.
        """
        x_NTD = self._pos_embed(self.patch_embed(x_NCHW))
        x_NTD = x_NTD.gather(1, visible_NV[..., None].expand(-1, -1, x_NTD.shape[-1]))
        for block in self.blocks:
            x_NTD = block(x_NTD)
        return self.norm(x_NTD)


class _Stem(nn.Module):
    """Three convolutions from pixels to patches of 8 px, each followed by a batch norm; ReLU in between."""

    def __init__(self, overlapping: bool) -> None:
        super().__init__()
        kernel, padding = (3, 1) if overlapping else (2, 0)
        widths = (3, _WIDTH // 4, _WIDTH // 2, _WIDTH)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inward, outward, kernel, stride=2, padding=padding, bias=False), nn.BatchNorm2d(outward))
            for inward, outward in zip(widths, widths[1:], strict=False)
        )

    def maps(self, x_NCHW: Tensor) -> list[Tensor]:
        """Return the output of each stage; the last one enters the transformer without an activation."""
        found = []
        for stage in self.stages[:-1]:
            x_NCHW = torch.relu(stage(x_NCHW))
            found.append(x_NCHW)
        return [*found, self.stages[-1](x_NCHW)]

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.maps(x_NCHW)[-1]
