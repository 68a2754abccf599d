"""A frozen encoder and its preprocessing.

Shape suffixes: N images, C colour channels, H height, W width, D feature width.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.backbones.freeze import freeze
from bench.backbones.readout import Readout
from bench.core.errors import InputError
from bench.core.hashing import hash_bytes
from bench.core.types import Precision


@dataclass(frozen=True)
class Backbone:
    """A frozen feature extractor; make one with `frozen_backbone`.

    `input_side` is in pixels, `mean` and `std` are per RGB channel for images in [0, 1], `interpolation` is the resize
    filter the weights were trained with. `fingerprint` is a hash of the loaded weights; it does not depend on the file they
    came from. `source` says where the weights came from. `feature` describes the output of the network (CLS token, mean of
    patches, ...); `readout` is applied to it.
    """

    name: str
    source: str
    network: nn.Module = field(repr=False)
    device: torch.device
    input_side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    feature: str
    feature_dim: int
    fingerprint: str
    precision: Precision
    readout: Readout = Readout()

    @property
    def output(self) -> str:
        """A description of the features that `encode` returns."""
        return f'{self.feature}{self.readout}'

    @property
    def dtype(self) -> torch.dtype:
        """The type of features, and of all that is computed from them."""
        return _dtype_of(self.precision)

    def encode(self, x_NCHW: Tensor) -> Tensor:
        """Return features f_ND of `dtype` of images in [0, 1] with side `input_side`; differentiable w.r.t. the images."""
        x_NCHW = x_NCHW.to(self.dtype)
        mean, std = (x_NCHW.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        x_NCHW = ((x_NCHW - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == 'bfloat16'):
            f_ND = self.network(x_NCHW)
        return self.readout(f_ND.to(self.dtype))

    def facts(self) -> dict[str, object]:
        """Return the facts that a record keeps of the backbone."""
        keys = ('source', 'input_side', 'mean', 'std', 'interpolation', 'feature_dim', 'fingerprint', 'precision')
        return {'feature': self.output, **{key: getattr(self, key) for key in keys}}


def frozen_backbone(
    network: nn.Module,
    *,
    name: str,
    source: str,
    device: torch.device,
    input_side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    interpolation: str,
    feature: str,
    precision: Precision,
) -> Backbone:
    """Freeze a network that maps normalised images to features (N, D), and determine its feature width.

    Raises:
      InputError: if the network does not return one feature row per image, or the device has no float64.
    """
    if precision == 'float64' and device.type == 'mps':
        raise InputError(f'backbone {name}: expected a device with float64, got mps; use --device=cpu')
    fingerprint = weights_fingerprint(network)
    network = freeze(network, device=device, input_side=input_side, double=precision == 'float64')
    with torch.inference_mode():
        probe = torch.zeros(1, 3, input_side, input_side, device=device, dtype=_dtype_of(precision))
        shape = tuple(network(probe.contiguous(memory_format=torch.channels_last)).shape)
    if len(shape) != 2:
        raise InputError(
            f'backbone {name}: expected features of shape (1, D), got {shape}; choose a pooling that returns one row '
            'per image'
        )
    return Backbone(
        name=name, source=source, network=network, device=device, input_side=input_side, mean=_rgb(mean),
        std=_rgb(std), interpolation=interpolation, feature=feature, feature_dim=shape[1],
        fingerprint=fingerprint, precision=precision,
    )


def _dtype_of(precision: Precision) -> torch.dtype:
    return torch.float64 if precision == 'float64' else torch.float32


def _rgb(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def weights_fingerprint(network: nn.Module) -> str:
    """Return a hash of every parameter and buffer: name, shape, dtype and bytes."""

    def chunks() -> Iterator[bytes]:
        for key, value in sorted(network.state_dict().items()):
            value = value.detach().cpu().contiguous()
            yield f'{key}{tuple(value.shape)}{value.dtype}'.encode()
            yield value.view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b''

    return hash_bytes(chunks())
