"""The embedded encoders: small networks for 64 px pictures, trained on streams of drawn birds by `bench.pretrain`.

They represent the families of arXiv 2511.16674 (self-distillation, momentum contrast, masked image modelling, image-text
contrast). They ship with the project, so that everything can be tried without a download.
"""

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from bench.backbones.base import Backbone, frozen_backbone
from bench.backbones.readout import Readout, ReadoutKind
from bench.backbones.remembered import weights_in
from bench.backbones.tiny.facts import (
    ARCHITECTURES,
    FEATURE_SCALE,
    INPUT_SIDE,
    MEAN,
    NETWORK_OF,
    STD,
    WEIGHTS_DIR,
    is_whitened,
)  # fmt: skip
from bench.backbones.tiny.networks import tiny_network
from bench.core.errors import InputError
from bench.core.types import Places, Precision


def _weights(name: str, places: Places, **settings: Any) -> list[Path]:
    return [WEIGHTS_DIR / f'{name}.safetensors']


@weights_in(_weights)
def tiny(
    name: str, places: Places, device: torch.device, *, precision: Precision = 'float32', readout: ReadoutKind = 'none'
) -> Backbone:
    """Return an embedded encoder, frozen.

    Args:
      name: a key of `NETWORK_OF`.
      places: not used; the weights ship with the project.
      device: where it runs.
      precision: `bfloat16` runs convolutions and matrix products in bfloat16; features are float64 with `float64`, else
        float32.
      readout: what is done to the features (`bench.backbones.readout`); the label of the backbone has to name it.
    """
    encoder = encoder_from_file(WEIGHTS_DIR / f'{name}.safetensors', name=name, device=device, precision=precision)
    return replace(encoder, readout=Readout(readout))


def encoder_from_file(
    path: Path, *, device: torch.device, name: str = 'tiny_simclr', precision: Precision = 'float32'
) -> Backbone:
    """Return an encoder with weights from a file written by `bench.pretrain`.

    Raises:
      InputError: if the file is missing or its tensors do not match the network.
    """
    kind, scale, whitened = NETWORK_OF[name], FEATURE_SCALE.get(name), is_whitened(name)
    network = tiny_network(
        kind, feature_scale=scale or 1.0, standardised=not (scale or whitened), whitened=whitened
    )
    try:
        state = {key: value.float() if value.is_floating_point() else value for key, value in load_file(path).items()}
        network.load_state_dict(state)
    except (OSError, SafetensorError) as error:
        raise InputError(f'{path}: expected safetensors weights ({error}); run bench.pretrain') from None
    except RuntimeError as error:
        reason = textwrap.shorten(str(error), 200, placeholder=' ...')
        raise InputError(f'{path}: does not match {name}; restore it or run bench.pretrain ({reason})') from None
    ending = f'times {scale:g}' if scale else 'whitened' if whitened else 'standardised'
    return frozen_backbone(
        network, name=name, source=name, device=device, input_side=INPUT_SIDE, mean=MEAN, std=STD,
        interpolation='bilinear', feature=f'{ARCHITECTURES[kind].feature}, {ending}', precision=precision,
    )
