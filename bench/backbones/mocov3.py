"""MoCo v3's vision transformer: timm's network with the checkpoint of the original release.

The release (https://github.com/facebookresearch/moco-v3, CONFIG.md) holds two encoders, a predictor and the optimizer
state. Its linear evaluation uses the class token of the base encoder after the final norm, without the projection head.
Position embeddings are fixed sines and cosines, stored in the checkpoint like any other weight.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

from bench.backbones import timm_source
from bench.backbones.base import Backbone
from bench.backbones.catalogue import IMAGENET
from bench.backbones.weights import Weights
from bench.core.types import Precision

# as in its linear evaluation: ImageNet's mean and std, torchvision's default interpolation
_PREPROCESSING = {'mean': IMAGENET[0], 'std': IMAGENET[1], 'interpolation': 'bilinear'}


def load(
    argument: str,
    weights: Weights,
    device: torch.device,
    *,
    model_kwargs: Mapping[str, Any] | None = None,
    input_side: int | None = None,
    precision: Precision = 'float32',
) -> Backbone:
    """Return MoCo v3's encoder; `argument` is the name of timm's network. See `bench.backbones.timm_source.load`."""
    return timm_source.load(
        argument, weights, device, model_kwargs=model_kwargs, pretrained_cfg=_PREPROCESSING, input_side=input_side,
        precision=precision, conversions=(base_encoder,),
    )


def base_encoder(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of the base encoder without its projection head, under timm's keys (`module.base_encoder.` cut)."""
    matches = {key: re.fullmatch(r'(?:module\.)?base_encoder\.(?!head\.)(.+)', key) for key in state}
    return {match[1]: state[key] for key, match in matches.items() if match}
