"""Crops have the distributions of the two rules, and every view of an image has a crop and noise of its own."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from bench.features import crops
from bench.features.views import RandomView
from methods._synthesis.augment import Augmentation

pytestmark = pytest.mark.numerical

RATIO = (3 / 4, 4 / 3)
# the largest distance of a distribution of 20,000 draws from the true one, with a chance of 1 in 10,000
GAP = 2.2 / math.sqrt(20_000)


def boxes(rule, *, scale):
    """Return 20,000 boxes as (top, left, height, width), each a row."""
    if rule == 'released':
        made = crops.boxes_as_released(20_000, scale=scale, ratio=RATIO, generator=torch.Generator().manual_seed(0))
    else:
        made = crops.boxes_inside(
            20_000, side=4096, scale=scale, ratio=RATIO, generator=torch.Generator().manual_seed(0)
        )
    return made.double().T


def gap(values, low, high):
    """Return the distance of Kolmogorov and Smirnov from the uniform distribution between two numbers."""
    share = ((values.sort().values - low) / (high - low)).clamp(0, 1)
    return (share - torch.arange(len(share)) / len(share)).abs().max()


# no crop of the first is too long for the image, so none is drawn again
@pytest.mark.parametrize('rule, scale', [('inside', (0.08, 0.5)), ('released', (0.08, 1.0))])
def test_area_is_uniform_aspect_is_log_uniform_and_so_is_the_place(rule, scale):
    top, left, height, width = boxes(rule, scale=scale)
    assert gap(height * width, *scale) < GAP
    assert gap((width / height).log(), *map(math.log, RATIO)) < GAP
    for corner, length in ((top, height), (left, width)):
        assert gap(corner / (1 - length), 0, 1) < GAP
    drawn = torch.stack([height * width, width / height, top / (1 - height), left / (1 - width)])
    assert torch.corrcoef(drawn).triu(1).abs().max() < 0.03


def test_14_percent_of_the_released_crops_leave_the_image_and_hold_its_full_extent_there():
    top, left, height, width = boxes('released', scale=(0.08, 1.0))
    assert ((height > 1) | (width > 1)).double().mean().item() == pytest.approx(0.14, abs=0.01)
    for corner, length in ((top, height), (left, width)):
        long = length > 1
        assert (corner[long] <= 0).all() and ((corner + length)[long] >= 1).all()
        assert (corner[~long] >= 0).all() and ((corner + length)[~long] <= 1).all()


def test_outside_of_the_image_a_released_crop_is_black():
    box_1A4 = torch.tensor([-0.5, 0.0, 2.0, 1.0]).view(1, 1, 4)
    (view,) = crops.sample(torch.ones(1, 3, 16, 16), box_1A4, torch.zeros(1, 1, dtype=torch.bool), side=8, overhang=True)
    assert view[0, :, 4].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def ramp(height, width):
    """A picture whose red and green tell the row and the column."""
    row, column = np.mgrid[0:height, 0:width] * (240 / np.array([height, width]))[:, None, None]
    return Image.fromarray(np.stack([row, column, row], axis=-1).astype(np.uint8))


@pytest.mark.parametrize('overhang', [True, False])
def test_crops_are_taken_from_a_square_of_the_reduced_image(overhang):
    plain = {'scale': (1.0, 1.0), 'ratio': (1.0, 1.0), 'flip_prob': 0.0, 'overhang': overhang}

    def columns(frame):
        view = RandomView(14, 'bilinear', seed=0, frame=frame, **plain)
        seen = [view(ramp(32, 96), index=0, view=number).float() / (1 if not overhang else 1 / 255) for number in range(60)]
        for x_CHW in seen:
            assert (x_CHW[0, -1] - x_CHW[0, 0]).mean() > 200, 'the whole height is seen'
            assert 60 < (x_CHW[1, :, -1] - x_CHW[1, :, 0]).mean() < 85, 'a third of the width is seen'
        return [x_CHW[1].mean().item() for x_CHW in seen]

    centre, random = columns('center'), columns('random')
    assert centre == pytest.approx([119] * 60, abs=3)
    assert min(random) < 60 and max(random) > 180 and np.mean(random) == pytest.approx(119, abs=20)


def test_every_view_of_every_synthetic_image_has_a_crop_and_noise_of_its_own():
    augmentation = Augmentation(noise_prob=1.0)
    views = augmentation.sample(5, 4, side=16, generator=torch.Generator().manual_seed(0))
    assert len(views.boxes_NA4.flatten(0, 1).unique(dim=0)) == 20
    noise = augmentation.apply(torch.zeros(5, 3, 16, 16), views, side=16)
    assert torch.corrcoef(noise.flatten(1)).fill_diagonal_(0).abs().max() < 0.2
