"""A toy world, registered as a plug-in would: three classes of coloured squares and a tiny random network.

`python -m bench.run --plugin=tests/toy.py ...` runs anything on it in a second.
"""

import numpy as np
import torch
from PIL import Image
from torch import nn

from bench.backbones.base import frozen_backbone
from bench.backbones.remembered import weights_in
from bench.config.registry import Row, register
from bench.core.errors import InputError
from bench.core.hashing import hash_bytes, numpy_generator
from bench.core.types import Dataset, Precision, Split

CLASSES = ('red', 'green', 'blue', 'grey', 'white', 'black')
_COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [128, 128, 128], [230, 230, 230], [20, 20, 20]])


class _Squares:
    """Noisy plain pictures of 20 x 16 pixels."""

    def __init__(self, name, labels_N):
        self.name, self.labels_N = name, labels_N

    def __len__(self):
        return len(self.labels_N)

    def __getitem__(self, i):
        noise = numpy_generator('toy', self.name, i).normal(0, 30, (16, 20, 3))
        return Image.fromarray(np.clip(_COLOURS[self.labels_N[i]] + noise, 0, 255).astype(np.uint8))


def toy_data(places, *, per_class: int = 6, num_classes: int = 6):
    """Six colours; the class sizes differ by one, so that balance matters."""

    def split(name, extra):
        labels_N = np.repeat(np.arange(num_classes), per_class + extra * (np.arange(num_classes) % 2))
        fingerprint = hash_bytes([name.encode(), labels_N.tobytes()])
        return Split(name, _Squares(name, labels_N), labels_N, CLASSES[:num_classes], fingerprint)

    return Dataset('toy_data', split('train', 1), split('test', 0), licence='none', source='made here')


class ToyNetwork(nn.Module):
    """A convolution and a pool: 8 features that tell colours apart."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, 8, 3, stride=2, bias=False)
            self.norm = nn.BatchNorm2d(8)

    def forward(self, x_NCHW):
        return torch.relu(self.norm(self.conv(x_NCHW))).mean(dim=(2, 3))


def no_files(places, **settings):
    """The network is drawn at random: its seed tells all."""
    return []


@weights_in(no_files)
def toy_net(places, device, *, seed: int = 0, broken: bool = False, precision: Precision = 'float32'):
    """A random network for 8 px images."""
    if broken:
        raise InputError('toy_net: its weights are missing; put them there')
    return frozen_backbone(
        ToyNetwork(seed), name='toy_net', source=f'toy {seed}', device=device, input_side=8, mean=(0.5,) * 3,
        std=(0.5,) * 3, interpolation='bilinear', feature='pooled', precision=precision,
    )


register('dataset', Row('toy_data', toy_data, 'coloured squares'))
register('backbone', Row('toy_net', toy_net, 'random network for 8 px'))
