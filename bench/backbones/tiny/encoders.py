"""The embedded encoders: small networks for 64 px pictures, trained on the plumage stream by `bench.pretrain`.

They stand for the families of arXiv 2511.16674 (self-distillation, momentum contrast, masked image modelling, image-text
contrast) and ship with the project, so that everything can be tried without a download.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import InputError
from bench.core.types import Places, Precision

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.backbones.base import Backbone

WEIGHTS_DIR = Path(__file__).parent / 'weights'
INPUT_SIDE = 64
# Per RGB channel over 4,000 pictures of the plumage stream (seed 0), images in [0, 1].
MEAN = (0.4763, 0.5128, 0.4583)
STD = (0.1658, 0.1572, 0.1968)


@dataclass(frozen=True)
class Architecture:
    """What a network is and what its features are, in words for model cards."""

    network: str
    feature: str


_POOLED = 'means over positions of two maps of the stem and after each block'
ARCHITECTURES = {
    'cnn': Architecture('timm ResNet, one basic block a stage', 'means over positions of the last three stages'),
    'vit': Architecture('timm vision transformer, 3 blocks of width 128, 3 x 3 convolutions to 64 patches of 8 px', _POOLED),
    'plain_vit': Architecture('timm vision transformer, 3 blocks of width 128, 64 patches of 8 px by themselves', _POOLED),
}  # fmt: skip
NETWORK_OF = {'tiny_simclr': 'cnn', 'tiny_moco': 'cnn', 'tiny_dino': 'vit', 'tiny_mim': 'plain_vit', 'tiny_clip': 'cnn'}
# Protocols have fixed learning rates, and expect features whose spread is about one. The later encoders end in a
# standardisation of their own; tiny_simclr's features have a spread of 0.23 and are multiplied (the published probe on the
# whole training split: 91.5 % instead of 86.1 %).
FEATURE_SCALE = {'tiny_simclr': 4.0}


def tiny_network(kind: str, *, feature_scale: float = 1.0, standardised: bool = False) -> 'nn.Module':
    """Return a network with random weights: normalised images (N, 3, 64, 64) -> features (N, 448 or 480).

    Its `embed` maps images to the last layer's pooled output (N, `num_features`), which pre-training works on.

    Args:
      kind: a key of `ARCHITECTURES`.
      feature_scale: factor for the features.
      standardised: end in a standardisation by the buffers `feature_mean` and `feature_std`.

    Raises:
      InputError: for an unknown kind.
    """
    if kind not in ARCHITECTURES:
        raise InputError(f'pretrain.network: expected one of {", ".join(ARCHITECTURES)}, got {kind!r}')
    from bench.backbones.tiny import networks as tiny_networks

    return tiny_networks.make(kind, feature_scale=feature_scale, standardised=standardised)


def tiny(name: str, places: Places, device: 'torch.device', *, precision: Precision = 'float32') -> 'Backbone':
    """Return an embedded encoder, frozen.

    Args:
      name: a key of `NETWORK_OF`.
      places: not used; the weights ship with the project.
      device: where it runs.
      precision: `bfloat16` runs convolutions and matrix products in bfloat16; features are float32 either way.
    """
    return encoder_from_file(WEIGHTS_DIR / f'{name}.safetensors', name=name, device=device, precision=precision)


def encoder_from_file(
    path: Path, *, device: 'torch.device', name: str = 'tiny_simclr', precision: Precision = 'float32'
) -> 'Backbone':
    """Return the encoder with the weights of a file written by `bench.pretrain`.

    Raises:
      InputError: if the file is missing or its tensors do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from bench.backbones.base import frozen_backbone

    kind, scale = NETWORK_OF[name], FEATURE_SCALE.get(name)
    network = tiny_network(kind, feature_scale=scale or 1.0, standardised=scale is None)
    try:
        state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
        network.load_state_dict(state)
    except (OSError, SafetensorError) as error:
        raise InputError(f'{path}: expected safetensors weights ({error}); run bench.pretrain') from None
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 200, placeholder=' ...')
        raise InputError(f'{path}: does not fit {name}; restore it or run bench.pretrain ({reason})') from None
    ending = f'times {scale:g}' if scale else 'standardised'
    return frozen_backbone(
        network, name=name, source=name, device=device, input_side=INPUT_SIDE, mean=MEAN, std=STD,
        interpolation='bilinear', feature=f'{ARCHITECTURES[kind].feature}, {ending}', precision=precision,
    )
