"""Views: how an image becomes a network input, for cached features, for the real side of methods and for probe training.

Shape suffixes: C colour channels, H height, W width.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from bench.core.hashing import derive_seed
from bench.features import crops

if TYPE_CHECKING:
    from PIL import Image

# The published test transform: resize the shorter side to 256, crop the central 224. Other sizes keep the ratio.
RESIZE_OVER_CROP = 256 / 224

# What crops are taken from: the whole image, or a square of `resize_side` pixels, after the shorter side was reduced to it.
Frame = Literal['whole', 'center', 'random']
# Fields of a view that were added later, with the value at which a view is as before: then they are in no key.
_BEFORE = {'frame': 'whole', 'overhang': False}


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

    The random choices depend only on `seed`, the image's `index` and the `view` number, so the number of workers and the
    order do not matter.

    Attributes:
      side: of the view, in pixels.
      interpolation: filter of all resizing; crops with `overhang` are always bilinear.
      seed: of the random choices.
      crop: whether there are crops; otherwise the view is that of `CenterView`.
      scale: area of a crop, uniform, in units of what it is taken from.
      ratio: width / height of a crop, log-uniform.
      flip_prob: probability of a flip.
      noise_std: standard deviation of the noise, for images in [0, 1].
      noise_mean: its mean.
      noise_prob: probability of noise.
      frame: what crops are taken from, see `Frame`; 'center' and 'random' say where the square lies.
      overhang: crops as released (`crops.boxes_as_released`), of which some leave the image. Otherwise as in torchvision:
        ten tries, then the central crop.
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
    frame: Frame = 'whole'
    overhang: bool = False

    def __call__(self, image: 'Image.Image', *, index: int, view: int) -> Tensor:
        """Return the view as CHW: uint8 in [0, 255], or float32 around [0, 1] after noise or a crop with `overhang`."""
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would seed every kind of device, which takes three times as long as the view itself
            torch.default_generator.manual_seed(derive_seed('view', self.seed, index, view))
            x_CHW = self._cropped(image)
            flip, noisy = torch.rand(2).tolist()
            if flip < self.flip_prob:
                x_CHW = x_CHW.flip(-1)
            if noisy < self.noise_prob and (self.noise_std or self.noise_mean):
                x_CHW = x_CHW if x_CHW.is_floating_point() else x_CHW.float() / 255
                return x_CHW + self.noise_mean + self.noise_std * torch.randn(x_CHW.shape)
        return x_CHW

    def _cropped(self, image: 'Image.Image') -> Tensor:
        """Return a random crop of an image at `side` pixels, or its centre. Draws from the default generator."""
        from torchvision.transforms.v2 import RandomCrop, RandomResizedCrop
        from torchvision.transforms.v2 import functional as F

        mode = F.InterpolationMode(self.interpolation)
        if not self.crop:
            image = F.resize(image, [resize_side(self.side)], interpolation=mode)
            return F.pil_to_tensor(F.center_crop(image, [self.side, self.side]))
        if self.frame != 'whole':
            square = resize_side(self.side)
            image = F.resize(image, [square], interpolation=mode)
            image = F.center_crop(image, [square, square]) if self.frame == 'center' else RandomCrop(square)(image)
        if not self.overhang:
            crop = RandomResizedCrop(self.side, scale=self.scale, ratio=self.ratio, interpolation=mode)
            return F.pil_to_tensor(crop(image))
        box_14 = crops.boxes_as_released(1, scale=self.scale, ratio=self.ratio, generator=torch.default_generator)
        # in double, so that the float32 result does not depend on the order of the operations
        x_1CHW = F.pil_to_tensor(image).double()[None] / 255
        no_flip_11 = torch.zeros(1, 1, dtype=torch.bool)
        return crops.sample(x_1CHW, box_14[None], no_flip_11, side=self.side, overhang=True)[0].float()

    def key(self) -> dict[str, object]:
        return _key('random', self)


View = CenterView | RandomView


def _key(kind: str, view: View) -> dict[str, object]:
    """Return the fields of the feature store's key. Version 1, and later fields at their earlier value, are left out."""
    fields = {name: value for name, value in asdict(view).items() if name not in _BEFORE or value != _BEFORE[name]}
    return {'kind': kind, **fields, **({'version': view.VERSION} if view.VERSION != 1 else {})}


def central_box(side: int) -> tuple[float, float, float, float]:
    """Return the box of the test view, (top, left, height, width) as fractions of a square image.

    On an image of `resize_side(side)` pixels it is the pixels of `CenterView`'s central crop.
    """
    square = resize_side(side)
    corner = round((square - side) / 2)
    return corner / square, corner / square, side / square, side / square
