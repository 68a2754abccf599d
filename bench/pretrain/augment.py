"""Random augmentations for pre-training, computed for a whole batch at a time.

Shape suffixes: N images, C colour channels, H height, W width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones.tiny.facts import MEAN, STD


@dataclass(frozen=True)
class Augmentation:
    """A square crop inside the image, flip, exposure, contrast, colour cast, grey, blur and noise, drawn per image.

    The fields are those of `bench.pretrain.train.pretrain`; `rng` is a generator on the CPU.
    """

    rng: torch.Generator
    min_crop_area: float
    brightness: float
    contrast: float
    colour_cast: float
    gray_prob: float
    blur_prob: float
    noise_std: float

    def draw(self, x_NCHW: Tensor, *, area: tuple[float, float] | None = None, side: int | None = None) -> Tensor:
        """Return one augmented, normalised view of each image in [0, 1].

        Args:
          x_NCHW: the images.
          area: smallest and largest crop as shares of the image; None takes (`min_crop_area`, 1).
          side: side of the views in pixels; None keeps that of the images.
        """
        count, device = len(x_NCHW), x_NCHW.device
        side = side or x_NCHW.shape[-1]

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return (low + (high - low) * torch.rand(count, *shape, generator=self.rng)).to(device)

        share = uniform(*(area or (self.min_crop_area, 1.0))).sqrt()
        theta = torch.zeros(count, 2, 3, device=device)
        theta[:, 0, 0] = share * torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
        theta[:, 1, 1] = share
        theta[:, :, 2] = (1 - share)[:, None] * uniform(-1, 1, 2)
        grid = F.affine_grid(theta, [count, x_NCHW.shape[1], side, side], align_corners=False)
        x_NCHW = F.grid_sample(x_NCHW, grid, mode='bilinear', padding_mode='border', align_corners=False)

        cast = uniform(1 - self.colour_cast, 1 + self.colour_cast, 3, 1, 1)
        x_NCHW = x_NCHW * (uniform(1 - self.brightness, 1 + self.brightness, 1, 1, 1) * cast)
        middle = x_NCHW.mean((1, 2, 3), keepdim=True)
        x_NCHW = middle + (x_NCHW - middle) * uniform(1 - self.contrast, 1 + self.contrast, 1, 1, 1)
        x_NCHW = torch.where(uniform(0, 1, 1, 1, 1) < self.gray_prob, x_NCHW.mean(1, keepdim=True), x_NCHW)
        blurred = F.avg_pool2d(x_NCHW, 3, stride=1, padding=1, count_include_pad=False)
        x_NCHW = torch.where(uniform(0, 1, 1, 1, 1) < self.blur_prob, blurred, x_NCHW)
        noise = torch.randn(x_NCHW.shape, generator=self.rng).to(device)
        return normalised((x_NCHW + self.noise_std * noise).clamp(0, 1))


def normalised(x_NCHW: Tensor) -> Tensor:
    """Normalise images in [0, 1] for the embedded encoders."""
    mean, std = (torch.tensor(value, device=x_NCHW.device).view(1, 3, 1, 1) for value in (MEAN, STD))
    return (x_NCHW - mean) / std
