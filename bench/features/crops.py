"""Crop boxes and the sampling of views from them: one geometry for real and for synthetic images.

A box is (top, left, height, width) in fractions of the sides of an image. There are two rules for random boxes:
`boxes_inside` is torchvision's, `boxes_as_released` that of the code released with arXiv 2511.16674.

Shape suffixes: M boxes, N images, A boxes per image, C colour channels, H height, W width, S side of a view.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_TRIES = 10


def boxes_inside(
    count: int, *, side: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Return random boxes_M4 inside a square image of `side` pixels, with integer corners, as torchvision draws them.

    A box is the first of ten tries that fits, else the whole image. `generator` is on the CPU.
    """
    area = side * side * _uniform(scale, _TRIES, count, generator=generator)
    aspect = torch.exp(_uniform((math.log(ratio[0]), math.log(ratio[1])), _TRIES, count, generator=generator))
    sides_2TM = torch.stack([torch.sqrt(area / aspect), torch.sqrt(area * aspect)]).round().clamp(min=1)
    corners_2TM = torch.floor(torch.rand(2, _TRIES, count, generator=generator) * (side - sides_2TM + 1))
    fits_TM = (sides_2TM <= side).all(dim=0)
    first_M = fits_TM.float().argmax(dim=0)
    found_M4 = torch.cat([corners_2TM, sides_2TM])[:, first_M, torch.arange(count)].T
    whole_M4 = torch.tensor([0.0, 0.0, side, side]).repeat(count, 1)
    return torch.where(fits_TM.any(dim=0)[:, None], found_M4, whole_M4) / side


def boxes_as_released(
    count: int, *, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Return random boxes_M4 with real-valued corners, as the release draws them: no try is rejected.

    With the published `scale` and `ratio`, 14 % of the boxes are longer than the image in one direction. Such a box contains
    the image's full extent in that direction, at a random position; `sample` makes the rest black.
    """
    area = _uniform(scale, count, generator=generator)
    aspect = torch.exp(_uniform((math.log(ratio[0]), math.log(ratio[1])), count, generator=generator))
    sides_2M = torch.stack([torch.sqrt(area / aspect), torch.sqrt(area * aspect)])
    corners_2M = torch.rand(2, count, generator=generator) * (1 - sides_2M)
    return torch.cat([corners_2M, sides_2M]).T


def sample(x_NCHW: Tensor, boxes_NA4: Tensor, flip_NA: Tensor, *, side: int, overhang: bool) -> Tensor:
    """Return the views x_MCHW of A boxes of each image at `side` pixels, (N * A, C, side, side); differentiable.

    Resampling is bilinear with half-pixel centres and without antialiasing.

    Args:
      x_NCHW: the images.
      boxes_NA4: the boxes.
      flip_NA: which views are mirrored.
      side: of the views, in pixels.
      overhang: whether boxes may leave the image. Outside it is black, and a view fades to black within half a pixel of the
        border; otherwise the border's own pixels are repeated.
    """
    count, copies = flip_NA.shape
    # all views of an image are sampled as one tall picture, so that neither the image nor its gradient is copied
    tall = _grid(boxes_NA4.to(x_NCHW), flip_NA, side=side).view(2, count, copies * side, side).permute(1, 2, 3, 0)
    x_NCHW = F.grid_sample(
        x_NCHW, tall, mode='bilinear', padding_mode='zeros' if overhang else 'border', align_corners=False
    )
    return x_NCHW.view(count, 3, copies, side, side).transpose(1, 2).flatten(0, 1)


def _uniform(interval: tuple[float, float], *shape: int, generator: torch.Generator) -> Tensor:
    return interval[0] + (interval[1] - interval[0]) * torch.rand(*shape, generator=generator)


def _grid(boxes_NA4: Tensor, flip_NA: Tensor, *, side: int) -> Tensor:
    """Return the sampling position of each output pixel: xy in [-1, 1], as two planes (2, N * A, side, side).

    grid_sample accepts the permuted planes as well as pairs. affine_grid would take longer than the sampling itself.
    """
    top_M1, left_M1, height_M1, width_M1 = boxes_NA4.reshape(-1, 4, 1).unbind(1)
    centres_S = (2 * torch.arange(side, device=boxes_NA4.device) + 1).to(boxes_NA4) / side - 1
    mirrored_M1 = torch.where(flip_NA.reshape(-1, 1), -width_M1, width_M1)
    x_MS = mirrored_M1 * centres_S + (2 * left_M1 + width_M1 - 1)
    y_MS = height_M1 * centres_S + (2 * top_M1 + height_M1 - 1)
    return torch.stack([x_MS[:, None, :].expand(-1, side, -1), y_MS[:, :, None].expand(-1, -1, side)])
