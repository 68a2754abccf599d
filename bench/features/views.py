"""Views: how an image becomes a network input, for cached features, for the real side of methods and for probe training.

Shape suffixes: C colour channels, H height, W width.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from bench.core.hashing import derive_seed

if TYPE_CHECKING:
    from PIL import Image

# The published test transform: resize the shorter side to 256, crop the central 224. Other sizes keep the ratio.
RESIZE_OVER_CROP = 256 / 224


def resize_side(input_side: int) -> int:
    """Return the shorter side, in pixels, to which an image is resized before the central crop."""
    return round(input_side * RESIZE_OVER_CROP)


@dataclass(frozen=True)
class CenterView:
    """The test view: resize the shorter side to 256/224 of `side`, then crop the central `side` x `side` pixels."""

    # raise it when the same image gives a different view
    VERSION: ClassVar[int] = 1
    side: int
    interpolation: str

    def __call__(self, image: 'Image.Image', *, index: int, view: int) -> Tensor:
        """Return the view as uint8 CHW; it is the same for every view number."""
        from torchvision.transforms.v2 import functional as F

        image = F.resize(image, [resize_side(self.side)], interpolation=F.InterpolationMode(self.interpolation))
        return F.pil_to_tensor(F.center_crop(image, [self.side, self.side]))

    def key(self) -> dict[str, object]:
        return _key('center', self)


@dataclass(frozen=True)
class RandomView:
    """A random training view: random resized crop, flip, and (for distillation) Gaussian noise.

    Crops lie inside the image and are sampled as in torchvision (area uniform in `scale`, aspect log-uniform in `ratio`, ten
    tries, then the central crop). The random choices depend only on `seed`, the image's `index` and the `view` number, so
    the number of workers and the order do not matter.
    """

    # raise it when the same image, index and view number give a different view
    VERSION: ClassVar[int] = 1
    side: int
    interpolation: str
    seed: int
    crop: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.5
    noise_std: float = 0.0
    noise_mean: float = 0.0
    noise_prob: float = 0.0

    def __call__(self, image: 'Image.Image', *, index: int, view: int) -> Tensor:
        """Return the view as CHW: uint8 in [0, 255], or float32 around [0, 1] if noise was added."""
        from torchvision.transforms.v2 import RandomResizedCrop
        from torchvision.transforms.v2 import functional as F

        mode = F.InterpolationMode(self.interpolation)
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed every kind of device, which takes three times as long as the view itself
            torch.default_generator.manual_seed(derive_seed('view', self.seed, index, view))
            if self.crop:
                crop = RandomResizedCrop(self.side, scale=self.scale, ratio=self.ratio, interpolation=mode)
                image = crop(image)
            else:
                image = F.resize(image, [resize_side(self.side)], interpolation=mode)
                image = F.center_crop(image, [self.side, self.side])
            flip, noisy = torch.rand(2).tolist()
            x_CHW = F.pil_to_tensor(F.horizontal_flip(image) if flip < self.flip_prob else image)
            if noisy < self.noise_prob and (self.noise_std or self.noise_mean):
                return x_CHW.float() / 255 + self.noise_mean + self.noise_std * torch.randn(x_CHW.shape)
        return x_CHW

    def key(self) -> dict[str, object]:
        return _key('random', self)


View = CenterView | RandomView


def _key(kind: str, view: View) -> dict[str, object]:
    """Return the fields of the feature store's key. Version 1 is left out."""
    return {'kind': kind, **asdict(view), **({'version': view.VERSION} if view.VERSION != 1 else {})}
