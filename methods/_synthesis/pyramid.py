"""The parameters of synthetic images: an image pyramid (or plain pixels), and its decoding to images in [0, 1].

Shape suffixes: N images, C colour channels, H height, W width, S side of the images, K total rows of all levels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.hashing import derive_seed

# Colour correlation of natural images (Olah et al., Feature Visualization, 2017); columns are independent colour axes.
_COLOUR = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]


class Pyramid:
    """N images as sums of levels with sides of 1, 2, 4, ... pixels, up to `image_size` (arXiv 2511.16674, section 3.3).

    Growing preserves the scale of the image: with n levels, each level is distributed as N(0, 1) / n. A pyramid with a
    single level of `image_size` is the plain pixel parameterisation. Each image has its own random streams, so a block of
    images (`first`, `count`) is the same whichever process holds it.

    Attributes:
      levels: leaf tensors (N, 3, side, side) of `dtype`, coarse to fine; the start noise is the same for every type.
    """

    def __init__(
        self,
        count: int,
        *,
        image_size: int,
        start_size: int,
        decorrelate: bool,
        seed: int,
        first: int = 0,
        device: torch.device | str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.count, self.first, self.image_size, self.decorrelate = count, first, image_size, decorrelate
        self.seed, self.device, self.dtype, self.sizes = seed, torch.device(device), dtype, level_sizes(image_size)
        sizes = self.sizes[: self.sizes.index(start_size) + 1] if start_size < image_size else [image_size]
        if start_size == image_size:
            self.sizes = sizes
        self._colour_33 = colour_33(dtype).to(self.device)
        self._up_KS = _upsampling(self.sizes, dtype).to(self.device)
        self.levels = [(self._noise(size) / len(sizes)).requires_grad_() for size in sizes]

    @property
    def complete(self) -> bool:
        """Whether the finest level has the images' full size."""
        return self.levels[-1].shape[-1] == self.image_size

    def grow(self) -> None:
        """Add the next finer level. The caller must create a new optimizer, because the old levels are rescaled."""
        old, new = len(self.levels), len(self.levels) + 1
        scaled = [level.detach() * (old / new) for level in self.levels]
        self.levels = [level.requires_grad_() for level in [*scaled, self._noise(self.sizes[old]) / new]]

    def decode(self, rows: slice = slice(None)) -> Tensor:
        """Return the images x_NCHW in [0, 1] of the given rows; differentiable with respect to the levels."""
        levels = self.levels if len(range(self.count)[rows]) == self.count else [_rows(level, rows) for level in self.levels]
        coarse = levels[:-1] if self.complete else levels
        x_NCHW = self._upsampled(coarse) if coarse else levels[-1]
        if coarse and self.complete:
            x_NCHW = x_NCHW + levels[-1]
        if self.decorrelate:
            x_NCHW = (self._colour_33 @ x_NCHW.flatten(2)).view_as(x_NCHW)
        return torch.sigmoid(2 * x_NCHW)

    def start_from(self, x_NCHW: Tensor) -> None:
        """Set all levels so that the images decode to `x_NCHW` (in [0, 1]): the finest holds them, the others are zero."""
        logit = torch.logit(x_NCHW.to(self.dtype).clamp(0.02, 0.98)) / 2
        if self.decorrelate:
            logit = torch.einsum('dc,nchw->ndhw', torch.linalg.inv(colour_33(self.dtype)).to(logit), logit)
        coarse = [logit.new_zeros(self.count, 3, size, size, device=self.device) for size in self.sizes[:-1]]
        self.levels = [level.requires_grad_() for level in [*coarse, logit.to(self.device)]]

    def _upsampled(self, levels: list[Tensor]) -> Tensor:
        """Return the sum of the levels' bilinear upsamples.

        One matrix product per level upsamples its rows. One more, of the stacked levels, upsamples the columns and sums.
        Making a full-size image per level (F.interpolate) takes three times as long on a CPU, and four times in the backward
        pass.
        """
        sides = [level.shape[-1] for level in levels]
        up_KS = self._up_KS[: sum(sides)]
        wide_NCKS = torch.cat([level @ up for level, up in zip(levels, up_KS.split(sides), strict=True)], dim=2)
        return up_KS.T @ wide_NCKS

    def _noise(self, size: int) -> Tensor:
        generator = torch.Generator(self.device)
        noise = torch.empty(self.count, 3, size, size, device=self.device)
        for i in range(self.count):
            generator.manual_seed(derive_seed('pyramid', self.seed, self.first + i, size))
            noise[i].normal_(generator=generator)
        return noise.to(self.dtype)


def _rows(level: Tensor, rows: slice) -> Tensor:
    """Return some images of a level; their gradient is added directly to the corresponding rows of the level's gradient.

    Plain indexing would create a gradient of the whole level, mostly zeros, for every block of images. With many blocks that
    takes longer than the blocks themselves, and as much additional memory as the images.
    """
    part = level.detach()[rows]
    if torch.is_grad_enabled():

        def add(part: Tensor) -> None:
            assert part.grad is not None, 'the hook is called once it is there'
            if level.grad is None:
                level.grad = torch.zeros_like(level)
            level.grad[rows] += part.grad
            part.grad = None

        part.requires_grad_().register_post_accumulate_grad_hook(add)
    return part


def level_sizes(image_size: int) -> list[int]:
    """Return the level sides 1, 2, 4, ... below `image_size`, then `image_size` itself."""
    sizes = [1]
    while sizes[-1] * 2 < image_size:
        sizes.append(sizes[-1] * 2)
    return [*sizes, image_size] if image_size > 1 else sizes


def colour_33(dtype: torch.dtype) -> Tensor:
    """Return the colour matrix, whose longest column has length 1."""
    c_33 = torch.tensor(_COLOUR, dtype=dtype)
    return c_33 / c_33.norm(dim=0).max()


def _upsampling(sizes: list[int], dtype: torch.dtype) -> Tensor:
    """Return the stacked matrices up_KS that upsample a row of each size to S pixels (the last size).

    They hold the weights of bilinear interpolation with half-pixel centres (align_corners False). K is the sum of the sizes.
    """
    eyes = [torch.eye(size, dtype=dtype)[None] for size in sizes]
    return torch.cat([F.interpolate(eye, sizes[-1], mode='linear', align_corners=False)[0] for eye in eyes])
