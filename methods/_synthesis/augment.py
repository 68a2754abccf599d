"""Differentiable random views of the synthetic images: crop, flip and noise, with the same geometry as for real images.

Shape suffixes: N images, A views per image, C colour channels, H height, W width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.features import crops

# 2: without crops, a synthetic image is seen through the same central box as a real one
VERSION = 2


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
    """Random views of synthetic images; `bench.features.views.RandomView` makes the like of real ones.

    Attributes:
      crop: whether there are random crops; otherwise every view is the box `centre`.
      scale: area of a crop as a fraction of the image, uniform.
      ratio: width / height of a crop, log-uniform.
      overhang: crops as released, of which some leave the image; otherwise all lie inside it.
      flip_prob: probability of a flip.
      noise_std: standard deviation of the noise, for images in [0, 1].
      noise_mean: its mean.
      noise_prob: probability of noise.
      centre: the box of a view without a crop, see `bench.features.views.central_box`.
    """

    crop: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    overhang: bool = False
    flip_prob: float = 0.5
    noise_std: float = 0.2
    noise_mean: float = 0.0
    noise_prob: float = 0.5
    centre: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def sample(
        self, count: int, views: int, *, side: int, generator: torch.Generator, device: torch.device | str = 'cpu'
    ) -> ViewParameters:
        """Draw the parameters of `views` views of each of `count` square images of `side` pixels.

        `generator` is on the CPU: it draws few numbers, and they are the same for every device.
        """
        total = count * views
        flip_M = torch.rand(total, generator=generator) < self.flip_prob
        noisy_M = torch.rand(total, generator=generator) < self.noise_prob
        noise_seed = int(torch.randint(2**62, (1,), generator=generator))
        if not self.crop:
            boxes_M4 = torch.tensor(self.centre).repeat(total, 1)
        elif self.overhang:
            boxes_M4 = crops.boxes_as_released(total, scale=self.scale, ratio=self.ratio, generator=generator)
        else:
            boxes_M4 = crops.boxes_inside(total, side=side, scale=self.scale, ratio=self.ratio, generator=generator)
        return ViewParameters(
            boxes_M4.view(count, views, 4).to(device, non_blocking=True),
            flip_M.view(count, views).to(device, non_blocking=True),
            noisy_M.view(count, views),
            noise_seed,
        )

    def apply(
        self, x_NCHW: Tensor, views: ViewParameters, *, images: slice = slice(None), copies: slice = slice(None), side: int
    ) -> Tensor:
        """Return views of images in [0, 1] at `side` pixels, (N * A, C, side, side), differentiable.

        `views` holds the parameters for all images; `x_NCHW` are the images that `images` selects, and `copies` selects some
        of their A views.
        """
        boxes_NA4, flip_NA = views.boxes_NA4[images, copies], views.flip_NA[images, copies]
        x_MCHW = crops.sample(x_NCHW, boxes_NA4, flip_NA, side=side, overhang=self.overhang)
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
