"""The optimisation of synthetic images against a second, independent one: double backward, in float64, from a description.

The description is that of the release (shared by the paper, section 3, and docs/protocol.md). This loop shares no code with
the product except the derivation of seeds: it upsamples with F.interpolate, crops with F.affine_grid, differentiates twice
through a module, and keeps torch's own Adam. Random numbers are drawn again in the documented order.

Shape suffixes: N images, A views, C classes (in `NCHW`: channels), D feature width, B real images of an update.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import toy_module
from torchvision.transforms import v2

from bench.config.gin_files import loaded
from bench.core.hashing import derive_seed
from bench.core.types import Places
from bench.distillation.task import Task
from bench.features.store import FeatureStore
from methods.lgm import lgm
from methods.lgm_fast import SETTINGS as FAST

pytestmark = pytest.mark.numerical

SIDE, SQUARE, SIZES, CLASSES, SEED, UPDATES = 8, 9, (1, 2, 4, 8, 9), 6, 3, 12
COLOUR = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)


def _released():
    with loaded(['gin/methods/lgm_released.gin'], []) as config:
        return config.choose('method', 'lgm').settings


# The published settings, and the quick preset's, with levels that follow each other quickly enough for twelve updates.
RELEASED = {**_released(), 'level_every': 2, 'num_augmentations': 3, 'learning_rate': 0.02}
QUICK = {**_released(), **FAST, 'level_every': 2, 'num_augmentations': 2, 'num_probes': 3}
CASES = {
    'released': RELEASED,
    'released, noise of mean 0.5': {**RELEASED, 'noise_mean': 0.5},
    'quick': QUICK,
    'quick, class sizes count': {**QUICK, 'class_balanced': False, 'decay_start': 0.0},
}


@pytest.mark.parametrize('settings', CASES.values(), ids=CASES)
def test_twelve_updates_equal_an_independent_loop(settings, tmp_path):
    settings = {**settings, 'num_updates': UPDATES, 'log_every': 1, 'checkpoint_every': None}
    data = toy_module().toy_data(None, num_classes=CLASSES)
    net = toy_module().toy_net(Places(None, None, tmp_path), torch.device('cpu'), precision='float64')
    shown = []
    task = Task(
        data.train, ipc=1, seed=SEED, backbone=net, store=FeatureStore(tmp_path), show=lambda step, x: shown.append(x)
    )
    stored = lgm(task, **settings)
    expected = _optimised(data.train, **settings)
    assert expected.std() > 0.05, 'the images have moved'
    torch.testing.assert_close(shown[-1], expected, rtol=0, atol=1e-9)
    nearest = (expected * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(stored.images_NHWC, nearest)


def _optimised(train, *, num_updates, learning_rate, lr_over_levels, decay_start, level_every, level_delay, num_probes,
               probe_sigma, num_augmentations, real_gradient, class_balanced, **settings):  # fmt: skip
    """Return the images x_NCHW after all updates."""
    network = toy_module().ToyNetwork(0).double().eval()
    draws = torch.Generator().manual_seed(derive_seed('synthesis', 'real', SEED))
    views = torch.Generator().manual_seed(derive_seed('synthesis', 'views', SEED))
    real = _Real(train, draws, network, **settings)
    levels = [_noise(SIZES[0])]
    adam = torch.optim.Adam(levels, lr=learning_rate)
    for i in range(num_updates):
        if i > level_delay and (i - level_delay) % level_every == 0 and len(levels) < len(SIZES):
            n = len(levels)
            levels = [(level.detach() * n / (n + 1)).requires_grad_() for level in levels]
            levels.append((_noise(SIZES[n]).detach() / (n + 1)).requires_grad_())
            adam = torch.optim.Adam(levels, lr=learning_rate)
        late = max(0.0, (i - decay_start * num_updates) / max(num_updates * (1 - decay_start), 1))
        rate = learning_rate * (1 + math.cos(math.pi * min(1.0, late))) / 2
        adam.param_groups[0]['lr'] = rate / len(levels) if lr_over_levels else rate

        w_PCD = (probe_sigma * torch.randn(num_probes, CLASSES, 8, generator=draws)).double()
        size = None if real_gradient == 'full' else num_augmentations * CLASSES
        f_BD, y_B = real.batch(size)
        weights_B = 1 / torch.bincount(y_B)[y_B].double() if class_balanced else torch.ones(len(y_B)).double()
        x_MCHW, y_M = _views_of(_decoded(levels), num_augmentations, views, **settings)
        f_MD = network((x_MCHW - 0.5) / 0.5)
        loss = 0.0
        for w_CD in w_PCD:
            of_real = _gradient(f_BD, y_B, weights_B / weights_B.sum(), w_CD)
            made = _gradient(f_MD, y_M, torch.full((len(y_M),), 1 / len(y_M)).double(), w_CD, create_graph=True)
            loss = loss + (1 - F.cosine_similarity(of_real.detach(), made, dim=0)) / num_probes
        adam.zero_grad()
        loss.backward()
        adam.step()
    return _decoded(levels).detach()


def _noise(size):
    """Return the start of a level: each image has its own noise."""
    each = []
    for i in range(CLASSES):
        generator = torch.Generator().manual_seed(derive_seed('pyramid', SEED, i, size))
        each.append(torch.empty(3, size, size).normal_(generator=generator))
    return torch.stack(each).double().requires_grad_()


def _decoded(levels):
    total = sum(F.interpolate(level, (SQUARE, SQUARE), mode='bilinear', align_corners=False) for level in levels)
    matrix = COLOUR / COLOUR.norm(dim=0).max()
    return torch.sigmoid(2 * torch.einsum('dc,nchw->ndhw', matrix, total))


def _gradient(f_ND, y_N, weights_N, w_CD, *, create_graph=False):
    """Return the gradient of the weighted cross-entropy of a linear layer, by autograd."""
    w_CD, b_C = w_CD.clone().requires_grad_(), torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
    loss = (weights_N * F.cross_entropy(f_ND @ w_CD.T + b_C, y_N, reduction='none')).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [w_CD, b_C], create_graph=create_graph)])


def _views_of(x_NCHW, copies, generator, *, overhang, crop_min_area, flip_prob, noise_std, noise_mean, noise_prob, **_):
    """Return `copies` views of each synthetic image and their classes."""
    total = CLASSES * copies
    flip_M = torch.rand(total, generator=generator) < flip_prob
    noisy_M = torch.rand(total, generator=generator) < noise_prob
    noise_seed = int(torch.randint(2**62, (1,), generator=generator))
    boxes = (_overhanging if overhang else _inside)(total, crop_min_area, generator)
    each = []
    for m, (top, left, height, width) in enumerate(boxes):
        x_CHW = _cropped(x_NCHW[m // copies], top, left, height, width, 'zeros' if overhang else 'border')
        x_CHW = x_CHW.flip(-1) if flip_M[m] else x_CHW
        if noisy_M[m]:
            own = torch.Generator().manual_seed(noise_seed + m)
            x_CHW = x_CHW + torch.empty(3, SIDE, SIDE).normal_(noise_mean, noise_std, generator=own).double()
        each.append(x_CHW)
    return torch.stack(each), torch.arange(total) // copies


def _overhanging(total, low, generator):
    area = low + (1 - low) * torch.rand(total, generator=generator)
    aspect = torch.exp(math.log(3 / 4) + 2 * math.log(4 / 3) * torch.rand(total, generator=generator))
    u_2M = torch.rand(2, total, generator=generator)
    height, width = (area / aspect).sqrt(), (area * aspect).sqrt()
    return torch.stack([u_2M[0] * (1 - height), u_2M[1] * (1 - width), height, width]).T.double().tolist()


def _inside(total, low, generator):
    area = SQUARE**2 * (low + (1 - low) * torch.rand(10, total, generator=generator))
    aspect = torch.exp(math.log(3 / 4) + 2 * math.log(4 / 3) * torch.rand(10, total, generator=generator))
    u_2TM = torch.rand(2, 10, total, generator=generator)
    boxes = []
    for m in range(total):
        box = (0, 0, SQUARE, SQUARE)
        for t in reversed(range(10)):
            height, width = (max(1, round(float(s[t, m].sqrt()))) for s in (area / aspect, area * aspect))
            if height <= SQUARE and width <= SQUARE:
                corner = (int(u * (SQUARE - side + 1)) for u, side in zip(u_2TM[:, t, m], (height, width), strict=True))
                box = (*corner, height, width)
        boxes.append((torch.tensor(box, dtype=torch.float32) / SQUARE).double().tolist())
    return boxes


def _cropped(x_CHW, top, left, height, width, padding):
    theta = torch.tensor([[width, 0, 2 * left + width - 1], [0, height, 2 * top + height - 1]], dtype=torch.float64)
    grid = F.affine_grid(theta[None], (1, 3, SIDE, SIDE), align_corners=False)
    return F.grid_sample(x_CHW[None], grid, mode='bilinear', padding_mode=padding, align_corners=False)[0]


class _Real:
    """The features of real images: a shuffled pass with fresh views, or all images with one of the cached views."""

    def __init__(self, train, generator, network, *, num_views, drop_last, **view):
        self.train, self.generator, self.network, self.view = train, generator, network, view
        self.labels_N = torch.from_numpy(np.array(train.labels_N))
        self.num_views, self.drop_last = num_views, drop_last
        self.order, self.uses, seed = [], 0, derive_seed('lgm', 'real views')
        self.seed = derive_seed(seed, SEED) if num_views is None else seed

    def batch(self, size):
        count = len(self.labels_N)
        rows = list(range(count)) if size is None else []
        while size and not rows:
            if len(self.order) < size:  # what is left of a pass is dropped
                assert self.drop_last, 'else a batch would go on in the next pass'
                self.order = torch.randperm(count, generator=self.generator).tolist()
            rows, self.order = self.order[:size], self.order[size:]
        if self.num_views is None:
            keys = [(place, self.uses) for place in range(len(rows))]
        else:
            numbers = torch.randint(self.num_views, (len(rows),), generator=self.generator).tolist()
            keys = list(zip(rows, numbers, strict=True))
        self.uses += 1
        x_BCHW = torch.stack([self._seen(self.train.images[row], *key) for row, key in zip(rows, keys, strict=True)])
        with torch.no_grad():
            return self.network((x_BCHW.double() - 0.5) / 0.5), self.labels_N[rows]

    def _seen(self, image, index, number):
        """Return one random view of a photograph in float32."""
        crop_min_area, view = self.view['crop_min_area'], self.view
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed('view', self.seed, index, number))
            if view['overhang']:
                width, height = image.size
                scale = SQUARE / min(image.size)
                image = image.resize((int(width * scale), int(height * scale)), 2)  # 2: bilinear
                left, top = (int(torch.randint(side - SQUARE + 1, ())) if side > SQUARE else 0 for side in image.size)
                x_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1)[:, top : top + SQUARE, left : left + SQUARE]
                (box,) = _overhanging(1, crop_min_area, None)
                x_CHW = _cropped(x_CHW.double() / 255, *box, 'zeros').float()
            else:
                image = v2.RandomResizedCrop(SIDE, scale=(crop_min_area, 1.0), ratio=(3 / 4, 4 / 3))(image)
                x_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
            flip, noisy = torch.rand(2).tolist()
            x_CHW = x_CHW.flip(-1) if flip < view['flip_prob'] else x_CHW
            if noisy < view['noise_prob']:
                x_CHW = x_CHW + view['noise_mean'] + view['noise_std'] * torch.randn(3, SIDE, SIDE)
        return x_CHW
