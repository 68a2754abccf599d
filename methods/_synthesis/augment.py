"""Differentiable random views of the synthetic images: crop, flip and noise, with the same geometry as for real images.

Shape suffixes: N images, A views per image, C colour channels, H height, W width.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_TRIES = 10


@dataclass(frozen=True)
class ViewParameters:
    """The random choices for A views of each of N images, so that a second pass can draw the same views again.

    `boxes_NA4` are (top, left, height, width) as fractions of the image side. `noisy_NA` is on the CPU, so that the loop can
    read it without waiting for the device. `noise_seed` reproduces the noise.
    """

    boxes_NA4: Tensor
    flip_NA: Tensor
    noisy_NA: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Augmentation:
    """Crop area uniform in `scale`, aspect log-uniform in `ratio`; noise in units of image intensity in [0, 1]."""

    crop: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.5
    noise_std: float = 0.2
    noise_mean: float = 0.0
    noise_prob: float = 0.5

    def sample(
        self, count: int, views: int, *, side: int, generator: torch.Generator, device: torch.device | str = 'cpu'
    ) -> ViewParameters:
        """Draw the parameters of `views` views of each of `count` square images of `side` pixels.

        Crops have integer corners inside the image and are drawn as in torchvision: the first of ten tries that fits, else
        the whole image. `generator` is on the CPU: it draws few numbers, and they are the same for every device.
        """

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        total = count * views
        flip_M, noisy_M = uniform(total) < self.flip_prob, uniform(total) < self.noise_prob
        noise_seed = int(torch.randint(2**62, (1,), generator=generator))
        boxes_M4 = torch.tensor([0.0, 0.0, side, side]).repeat(total, 1)
        if self.crop:
            area = side * side * (self.scale[0] + (self.scale[1] - self.scale[0]) * uniform(_TRIES, total))
            low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
            aspect = torch.exp(low + (high - low) * uniform(_TRIES, total))
            sides_2TM = torch.stack([torch.sqrt(area / aspect), torch.sqrt(area * aspect)]).round().clamp(min=1)
            corners_2TM = torch.floor(uniform(2, _TRIES, total) * (side - sides_2TM + 1))
            fits_TM = (sides_2TM <= side).all(dim=0)
            first_M = fits_TM.float().argmax(dim=0)
            found = torch.cat([corners_2TM, sides_2TM])[:, first_M, torch.arange(total)].T
            boxes_M4 = torch.where(fits_TM.any(dim=0)[:, None], found, boxes_M4)
        return ViewParameters(
            (boxes_M4 / side).view(count, views, 4).to(device, non_blocking=True),
            flip_M.view(count, views).to(device, non_blocking=True),
            noisy_M.view(count, views),
            noise_seed,
        )

    def apply(
        self, x_NCHW: Tensor, views: ViewParameters, *, images: slice = slice(None), copies: slice = slice(None), side: int
    ) -> Tensor:
        """Return views of images in [0, 1] at `side` pixels, (N * A, C, side, side), differentiable.

        `views` holds the parameters for all images; `x_NCHW` are the images that `images` selects, and `copies` selects some
        of their A views. Resampling is bilinear with half-pixel centres, as in torchvision.
        """
        boxes_NA4, flip_NA = views.boxes_NA4[images, copies], views.flip_NA[images, copies]
        count, copies_count = flip_NA.shape
        # all views of an image are sampled as one tall picture, so that neither the image nor its gradient is copied
        tall = _grid(boxes_NA4, flip_NA, side=side).view(2, count, copies_count * side, side).permute(1, 2, 3, 0)
        x_NCHW = F.grid_sample(x_NCHW, tall, mode='bilinear', padding_mode='border', align_corners=False)
        x_MCHW = x_NCHW.view(count, 3, copies_count, side, side).transpose(1, 2).flatten(0, 1)
        if self.noise_prob and (self.noise_std or self.noise_mean):
            self._add_noise(x_MCHW, views, images, copies, side=side)
        return x_MCHW

    def _add_noise(self, x_MCHW: Tensor, views: ViewParameters, images: slice, copies: slice, *, side: int) -> None:
        """Add noise to some views in place. Each view has its own random stream, so chunks and processes do not matter."""
        first_image, _, _ = images.indices(len(views.noisy_NA))
        first_copy, _, _ = copies.indices(views.noisy_NA.shape[1])
        noisy_NA = views.noisy_NA[images, copies]
        generator = torch.Generator(x_MCHW.device)
        noise = torch.empty(3, side, side, device=x_MCHW.device)
        for image, copy in noisy_NA.nonzero().tolist():
            stream = (first_image + image) * views.noisy_NA.shape[1] + first_copy + copy
            generator.manual_seed(views.noise_seed + stream)
            noise.normal_(self.noise_mean, self.noise_std, generator=generator)
            with torch.no_grad():  # a constant, so not part of the graph
                x_MCHW[image * noisy_NA.shape[1] + copy] += noise


def _grid(boxes_NA4: Tensor, flip_NA: Tensor, *, side: int) -> Tensor:
    """Return the sampling position of each output pixel: xy in [-1, 1], as two planes (2, N * A, side, side).

    grid_sample accepts the permuted planes as well as pairs. affine_grid would take longer than the sampling itself.
    """
    top_M1, left_M1, height_M1, width_M1 = boxes_NA4.reshape(-1, 4, 1).unbind(1)
    centres_S = (2 * torch.arange(side, device=boxes_NA4.device) + 1) / side - 1
    mirrored_M1 = torch.where(flip_NA.reshape(-1, 1), -width_M1, width_M1)
    x_MS = mirrored_M1 * centres_S + (2 * left_M1 + width_M1 - 1)
    y_MS = height_M1 * centres_S + (2 * top_M1 + height_M1 - 1)
    return torch.stack([x_MS[:, None, :].expand(-1, side, -1), y_MS[:, :, None].expand(-1, -1, side)])
