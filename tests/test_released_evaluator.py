"""The evaluator of the released code, written from its description, against `release-v1`: same views, same probes.

The evaluator is a plain loop: PIL, affine_grid and grid_sample, a linear layer, autograd, torch.optim.Adam and its schedule.
It shares with the project only the numbers that are drawn at random.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bench.backbones.base import frozen_backbone
from bench.config import registry
from bench.core.hashing import derive_seed
from bench.core.types import Split
from bench.features.store import FeatureStore
from bench.probes import adam
from bench.probes.task import ProbeTask, score

pytestmark = pytest.mark.numerical

SIDE, SQUARE = 28, 32  # the published 224 and 256, divided by 8
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NAMES = ('a', 'b', 'c')
# Batches of 4, 4 and 2; a large rate, so that a difference shows after a few epochs.
RULES = {'epochs': 5, 'full_epochs': 5, 'batch_size': 4, 'full_batch_size': 4, 'rate_per_256': 3.0, 'repeats': 2}


class Blots:
    """Smooth coloured pictures of several sizes and shapes, of which every part looks different."""

    def __init__(self, seed, count):
        self.seed, self.count = seed, count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        size = [(60, 40), (44, 70), (90, 64)][i % 3]
        coarse = np.random.default_rng([self.seed, i]).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def split(name, *, seed, count):
    return Split(name, Blots(seed, count), np.arange(count) % 3, NAMES, name)


class Network(torch.nn.Module):
    """Features that depend on colours and places."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer('w_DP', torch.randn(11, 3 * 7 * 7, generator=generator) / 12)

    def forward(self, x_NCHW):
        return torch.tanh(F.adaptive_avg_pool2d(x_NCHW, 7).flatten(1) @ self.w_DP.T)


@pytest.fixture
def task(tmp_path):
    backbone = frozen_backbone(
        Network(), name='net', source='net', device=torch.device('cpu'), input_side=SIDE, mean=MEAN, std=STD,
        interpolation='bicubic', feature='tanh', precision='float64',
    )  # fmt: skip
    train, test = split('distilled', seed=1, count=10), split('test', seed=2, count=40)
    return ProbeTask(train, None, False, test, backbone, FeatureStore(tmp_path))


# --- the evaluator ------------------------------------------------------------------------------------------------------


def resized(image):
    """Reduce the shorter side to `SQUARE`."""
    scale = SQUARE / min(image.size)
    return image.resize([int(scale * length) for length in image.size], Image.Resampling.BILINEAR)


def centre(image, side):
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def pixels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).double() / 255


def features(x_CHW):
    """Return the features of one picture, by the network and not by the backbone."""
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    return Network().double()(((x_CHW - mean) / std)[None])[0]


@dataclass
class Drawn:
    """The random numbers of one view."""

    image: Image.Image
    flipped: bool
    area: float
    aspect: float
    down: float
    right: float

    def view(self):
        """Flip, then crop with real-valued corners; what lies outside the picture is black."""
        x_CHW = pixels(self.image)
        x_CHW = x_CHW.flip(-1) if self.flipped else x_CHW
        width, height = math.sqrt(self.area * self.aspect), math.sqrt(self.area / self.aspect)
        left, top = self.right * (1 - width), self.down * (1 - height)
        left = 1 - width - left if self.flipped else left  # the same part of the picture
        theta = [[width, 0, 2 * left + width - 1], [0, height, 2 * top + height - 1]]
        grid = F.affine_grid(torch.tensor([theta], dtype=torch.float64), (1, 3, SIDE, SIDE), align_corners=False)
        return F.grid_sample(x_CHW[None], grid, mode='bilinear', padding_mode='zeros', align_corners=False)[0]


def drawn(image, *, seed, index, number, is_full):
    """Draw the numbers of a view, from the stream that the project gives it."""
    stream = torch.Generator().manual_seed(derive_seed('view', seed, index, number))
    image = resized(image)
    if is_full:
        extra = max(image.size) - SQUARE
        first = int(torch.randint(extra + 1, (), generator=stream)) if extra else 0
        left, top = (first, 0) if image.width > image.height else (0, first)
        image = image.crop((left, top, left + SQUARE, top + SQUARE))
    else:
        image = centre(image, SQUARE)
    area, aspect, down, right, flip, _ = (
        value for count in (1, 1, 2, 2) for value in torch.rand(count, generator=stream).tolist()
    )
    return Drawn(image, flip < 0.5, 0.08 + 0.92 * area, (3 / 4) ** (1 - 2 * aspect), down, right)


def evaluate(task, *, repeat, epochs, batch_size, rate_per_256):
    """Train one probe; return its weights, its biases and which test images are correct."""
    train, seed = task.train, derive_seed('probe views', *([] if task.is_full else [repeat]))
    stream = torch.Generator().manual_seed(derive_seed('probe', repeat))
    linear = torch.nn.Linear(11, 3).double()
    torch.nn.init.zeros_(linear.bias)
    linear.weight.data.copy_(0.01 * torch.randn(3, 11, generator=stream))
    batch_size = min(batch_size, len(train))
    optimizer = torch.optim.Adam(linear.parameters(), lr=rate_per_256 * batch_size / 256)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=stream).tolist()
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            each = [drawn(train.images[i], seed=seed, index=i, number=epoch, is_full=task.is_full) for i in rows]
            f_BD = torch.stack([features(one.view()) for one in each])
            optimizer.zero_grad()
            F.cross_entropy(linear(f_BD), torch.from_numpy(train.labels_N[rows])).backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        seen = [pixels(centre(resized(task.test.images[i]), SIDE)) for i in range(len(task.test))]
        logits_NC = linear(torch.stack([features(x_CHW) for x_CHW in seen]))
        return linear.weight, linear.bias, logits_NC.argmax(dim=1).numpy() == task.test.labels_N


# --- release-v1 against it ----------------------------------------------------------------------------------------------


@pytest.fixture
def probes(task, monkeypatch):
    """Return the probes that `release-v1` makes of a task, and which test images they get right."""
    kept = []

    def noting(task, w_RCD, b_RC, **named):
        kept[:] = w_RCD, b_RC
        return score(task, w_RCD, b_RC, **named)

    def call(task=task, **changed):
        row = registry.rows('protocol')['release-v1']
        found = row.load()(task, **{**row.defaults(), **RULES, **changed})
        return *kept, found.correct_RN

    monkeypatch.setattr(adam, 'score', noting)
    monkeypatch.setattr(adam, '_FRESH_FLOATS', 2 * 10 * 2 * 11)  # new views of two epochs at a time
    return call


def evaluated(task):
    rules = {name: RULES[name] for name in ('epochs', 'batch_size', 'rate_per_256')}
    weights, biases, correct = zip(*(evaluate(task, repeat=r, **rules) for r in range(RULES['repeats'])), strict=True)
    return torch.stack(weights).detach(), torch.stack(biases).detach(), np.stack(correct)


@pytest.mark.parametrize('is_full', [False, True])
def test_release_v1_is_the_released_evaluator(task, probes, is_full):
    """Up to the pixels of views, which are float32."""
    task = replace(task, is_full=is_full)
    # all other differences of the whole split are in `test_learning_rate_and_batches_are_those_of_the_paper`
    w_RCD, b_RC, correct_RN = probes(task, full_views=None)
    expected_RCD, expected_RC, expected_RN = evaluated(task)
    assert w_RCD.dtype is torch.float64 and w_RCD.abs().max() > 0.1
    torch.testing.assert_close(w_RCD, expected_RCD, rtol=0, atol=1e-6)
    torch.testing.assert_close(b_RC, expected_RC, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(correct_RN, expected_RN)
    assert 0 < correct_RN.mean() < 1


@pytest.mark.parametrize(
    'changed',
    [
        {'cosine': 'step'}, {'square': False}, {'overhang': False}, {'interpolation': None}, {'own_views': False},
        {'num_views': 5}, {'batch_size': 5}, {'init_sigma': 0.02}, {'rate_per_256': 2.9},
    ],
    ids=str,
)  # fmt: skip
def test_no_setting_of_release_v1_is_without_effect(probes, changed):
    """So the agreement with the evaluator is of all of them."""
    for found, other in zip(probes()[:2], probes(**changed)[:2], strict=True):
        assert (found - other).abs().max() > 1e-4
