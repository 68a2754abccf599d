"""Facts of the embedded encoders: input, networks and features. Does not import torch."""

from dataclasses import dataclass
from pathlib import Path

WEIGHTS_DIR = Path(__file__).parent / 'weights'
INPUT_SIDE = 64
# Per RGB channel over 4,000 pictures of the plumage stream (seed 0), images in [0, 1].
MEAN = (0.4763, 0.5128, 0.4583)
STD = (0.1658, 0.1572, 0.1968)


@dataclass(frozen=True)
class Architecture:
    """Descriptions of a network and its features, for model cards."""

    network: str
    feature: str


_POOLED = 'means over positions of two maps of the stem and after each block'
ARCHITECTURES = {
    'cnn': Architecture('timm ResNet, one basic block per stage', 'means over positions of the last three stages'),
    'vit': Architecture('timm vision transformer, 3 blocks of width 128, 3 x 3 convolutions to 64 patches of 8 px', _POOLED),
    'plain_vit': Architecture('timm vision transformer, 3 blocks of width 128, 64 patches of 8 px by themselves', _POOLED),
}  # fmt: skip
# A tiny encoder has seen the twenty species of plumage, a wild one random birds (`bench.datasets.plumage.wild`).
NETWORK_OF = {
    'tiny_simclr': 'cnn', 'tiny_moco': 'cnn', 'tiny_dino': 'vit', 'tiny_mim': 'plain_vit', 'tiny_clip': 'cnn',
    'wild_moco': 'cnn', 'wild_dino': 'vit', 'wild_clip': 'cnn',
}  # fmt: skip
# Protocols have fixed learning rates and expect features with a standard deviation of about one. The later encoders end in a
# standardisation or a whitening. tiny_simclr's features have a standard deviation of 0.23 and are multiplied: the published
# probe on the whole training split then gives 91.5 % instead of 86.1 %.
FEATURE_SCALE = {'tiny_simclr': 4.0}


def stream_of(name: str) -> str:
    """Return the stream that an encoder was trained on: plumage or wild."""
    return 'wild' if name.startswith('wild_') else 'plumage'


def is_whitened(name: str) -> bool:
    """Return whether the encoder ends in a whitening."""
    return stream_of(name) == 'wild'
