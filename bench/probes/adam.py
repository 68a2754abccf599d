"""Probe protocols: train a linear classifier on a distilled set's features, test it once.

Shape suffixes: R repeats (probe seeds), B batch, N images, V views, C classes, D feature width.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core.hashing import derive_seed
from bench.core.progress import progress
from bench.core.ranges import NonNegative, Positive, PositiveInt
from bench.core.types import ProbeScore, Split
from bench.features.encode import release
from bench.features.store import FeatureStore
from bench.features.views import CenterView, RandomView

PROBE_VERSION = 1
# Freshly encoded features held at a time, in floats.
_FRESH_FLOATS = 1 << 26
# Images whose features and targets are held in float64 at a time.
_BLOCK = 8192
# A pool of more bytes than this is let go each time this many rows were read: each brings 64 KiB of its surroundings.
_POOL_BYTES, _POOL_ROWS = 1 << 30, 1 << 14
_CURVE_POINTS = 100


@dataclass(frozen=True)
class ProbeTask:
    """What a protocol is given.

    `train` is the distilled set as a split, `is_full` whether it is the whole training split. `targets_NC` are its labels
    as distributions; where they are None, the labels of `train` count, and `targets_of` spells out a batch at a time.
    """

    train: Split
    targets_NC: np.ndarray | None
    is_full: bool
    test: Split
    backbone: Backbone
    store: FeatureStore
    title: str = ''

    @property
    def num_classes(self) -> int:
        return self.train.num_classes if self.targets_NC is None else self.targets_NC.shape[1]

    def targets_of(self, rows: Tensor | slice, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the targets of some images as distributions: the shape of `rows`, and an axis of classes behind it."""
        if self.targets_NC is not None:
            return torch.from_numpy(self.targets_NC)[rows].to(device, dtype)
        picked = rows.numpy() if isinstance(rows, Tensor) else rows
        labels = torch.from_numpy(np.array(self.train.labels_N[picked], dtype=np.int64)).to(device)[..., None]
        return torch.zeros(*labels.shape[:-1], self.num_classes, dtype=dtype, device=device).scatter_(-1, labels, 1)


def adam_probe(
    task: ProbeTask,
    *,
    repeats: PositiveInt = 5,
    epochs: PositiveInt = 1000,
    batch_size: PositiveInt = 100,
    full_epochs: PositiveInt = 100,
    full_batch_size: PositiveInt = 128,
    rate_per_256: Positive = 1e-3,
    init_sigma: NonNegative = 0.01,
    num_views: PositiveInt | None = 64,
    full_views: PositiveInt | None = 8,
) -> ProbeScore:
    """Train linear probes with Adam on flipped and randomly cropped images; all repeats share the backbone passes.

    2511.16674, appendix: learning rate `rate_per_256` * batch / 256 with batch = min(`batch_size`, N), cosine to 0, no
    weight decay, weights ~ N(0, `init_sigma`^2), bias 0, tested once at the end.

    Args:
      task: see `ProbeTask`.
      repeats: probe seeds; each has its own start, order and choice of views.
      epochs: passes over a distilled set.
      batch_size: images a step.
      full_epochs: passes over the whole training split.
      full_batch_size: its images a step.
      rate_per_256: learning rate for 256 images a step.
      init_sigma: standard deviation of the initial weights.
      num_views: random views cached for each image, of which each epoch takes one; None encodes a new view each epoch.
      full_views: the same for the whole training split.

    Returns:
      The score of each repeat.
    """
    backbone = task.backbone
    epochs, views = (full_epochs, full_views) if task.is_full else (epochs, num_views)
    batch_size = min(full_batch_size if task.is_full else batch_size, len(task.train))
    view = RandomView(backbone.input_side, backbone.interpolation, seed=derive_seed('probe views'))
    if views is None:
        epoch_features = _fresh(task, view, epochs)
    else:
        f_VND = task.store.features(task.train, backbone, view, num_views=min(views, epochs))
        epoch_features = _pooled(f_VND, epochs)

    device = backbone.device
    generators = [torch.Generator().manual_seed(derive_seed('probe', repeat)) for repeat in range(repeats)]
    start_RCD = torch.stack([torch.randn(task.num_classes, backbone.feature_dim, generator=g) for g in generators])
    w_RCD = torch.nn.Parameter((init_sigma * start_RCD).to(device))
    b_RC = torch.nn.Parameter(torch.zeros(repeats, task.num_classes, device=device))
    optimizer = torch.optim.Adam([w_RCD, b_RC], fused=device.type in ('cpu', 'cuda'))
    steps_per_epoch = math.ceil(len(task.train) / batch_size)
    peak_rate = rate_per_256 * batch_size / 256
    losses = []
    with progress(total=epochs, title=task.title, unit='epoch') as advance, torch.no_grad():
        for epoch, gather in enumerate(epoch_features):
            order_RN = torch.stack([torch.randperm(len(task.train), generator=g) for g in generators])
            loss = torch.zeros((), device=device)
            for step, rows_RB in enumerate(order_RN.split(batch_size, dim=1)):
                done = (epoch * steps_per_epoch + step) / (epochs * steps_per_epoch)
                for group in optimizer.param_groups:
                    group['lr'] = peak_rate * 0.5 * (1 + math.cos(math.pi * done))
                f_RBD = gather(rows_RB, generators).to(device)
                y_RBC = task.targets_of(rows_RB, dtype=torch.float32, device=device)
                loss += _adam_step(w_RCD, b_RC, optimizer, f_RBD, y_RBC) * rows_RB.shape[1]
            losses.append(loss / len(task.train))
            advance()
    train_loss = torch.stack(losses).tolist()
    kept = range(0, epochs, max(1, epochs // _CURVE_POINTS))
    curves = {'probe/train_loss': [(epoch + 1, train_loss[epoch]) for epoch in kept]}
    return _score(task, w_RCD.detach(), b_RC.detach(), curves=curves)


def ridge_probe(task: ProbeTask, *, strength: Positive = 0.1) -> ProbeScore:
    """Solve ridge regression onto the labels, from test-view features: convex, nothing random, one repeat.

    Features are centred on the distilled set's mean and divided by their root mean square norm, so that
    one fixed `strength` means the same for every backbone, method and ipc; targets are centred likewise.

    Args:
      task: see `ProbeTask`.
      strength: added to the eigenvalues of the mean outer product of the scaled features.
    """
    backbone = task.backbone
    view = CenterView(backbone.input_side, backbone.interpolation)
    f_ND = task.store.features(task.train, backbone, view)[0]
    count, dim = f_ND.shape
    blocks = [slice(first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK)]

    def features(rows: slice) -> Tensor:
        return torch.from_numpy(np.array(f_ND[rows])).double()

    def targets(rows: slice) -> Tensor:
        return task.targets_of(rows, dtype=torch.float64, device=torch.device('cpu'))

    mean_D = sum(features(rows).sum(dim=0) for rows in blocks) / count
    mean_C = sum(targets(rows).sum(dim=0) for rows in blocks) / count
    # filled in place: small results kept between blocks would keep the blocks' freed memory from being used again
    square_N = torch.empty(count, dtype=torch.float64)
    for rows in blocks:
        square_N[rows] = (features(rows) - mean_D).square().sum(dim=1)
    scale = square_N.mean().sqrt().clamp(min=1e-12)
    if count <= dim:
        whole = slice(0, count)
        z_ND = (features(whole) - mean_D) / scale
        gram_NN = z_ND @ z_ND.T + strength * count * torch.eye(count, dtype=torch.float64)
        w_DC = z_ND.T @ torch.linalg.solve(gram_NN, targets(whole) - mean_C)
    else:
        gram_DD, moment_DC = torch.zeros(dim, dim).double(), torch.zeros(dim, task.num_classes).double()
        for rows in blocks:
            z_BD = (features(rows) - mean_D) / scale
            gram_DD += z_BD.T @ z_BD
            moment_DC += z_BD.T @ (targets(rows) - mean_C)
        w_DC = torch.linalg.solve(gram_DD + strength * count * torch.eye(dim, dtype=torch.float64), moment_DC)
    w_CD = (w_DC / scale).T
    b_C = mean_C - w_CD @ mean_D
    device = backbone.device
    return _score(task, w_CD[None].float().to(device), b_C[None].float().to(device), curves={})


Gather = Callable[[Tensor, list[torch.Generator]], Tensor]


def _pooled(f_VND: np.ndarray, epochs: int) -> Iterator[Gather]:
    """Yield, for each epoch, a function that gathers f_RBD: one cached view an image, each repeat drawing its own."""
    mapped = 0

    def gather(rows_RB: Tensor, generators: list[torch.Generator]) -> Tensor:
        nonlocal mapped
        size = rows_RB.shape[1:]
        mapped += rows_RB.numel()
        if mapped > _POOL_ROWS and f_VND.nbytes > _POOL_BYTES:
            release(f_VND)
            mapped = 0
        views_RB = torch.stack([torch.randint(len(f_VND), size, generator=g) for g in generators])
        return torch.from_numpy(f_VND[views_RB.numpy(), rows_RB.numpy()])

    for _ in range(epochs):
        yield gather


def _fresh(task: ProbeTask, view: RandomView, epochs: int) -> Iterator[Gather]:
    """Yield, for each epoch, a function that gathers f_RBD from views encoded for this epoch alone."""
    count = len(task.train)
    at_once = max(1, _FRESH_FLOATS // (count * task.backbone.feature_dim))
    for first in range(0, epochs, at_once):
        views = range(first, min(first + at_once, epochs))
        for f_ND in task.store.fresh(task.train, task.backbone, view, views=views):
            yield lambda rows_RB, generators, f_ND=f_ND: f_ND[rows_RB]


def _adam_step(
    w_RCD: Tensor, b_RC: Tensor, optimizer: torch.optim.Optimizer, f_RBD: Tensor, y_RBC: Tensor
) -> Tensor:
    """Take one step of all repeats along the closed-form cross-entropy gradient; returns the mean loss before it."""
    logits_RBC = torch.einsum('rbd,rcd->rbc', f_RBD, w_RCD) + b_RC[:, None]
    log_p_RBC = F.log_softmax(logits_RBC, dim=-1)
    error_RBC = (log_p_RBC.exp() - y_RBC) / f_RBD.shape[1]
    w_RCD.grad = torch.einsum('rbc,rbd->rcd', error_RBC, f_RBD)
    b_RC.grad = error_RBC.sum(dim=1)
    optimizer.step()
    return -(y_RBC * log_p_RBC).sum(dim=-1).mean()


def _score(task: ProbeTask, w_RCD: Tensor, b_RC: Tensor, *, curves: dict) -> ProbeScore:
    """Test every repeat once, in blocks of test images."""
    view = CenterView(task.backbone.input_side, task.backbone.interpolation)
    f_ND = task.store.features(task.test, task.backbone, view)[0]
    labels_N = torch.from_numpy(task.test.labels_N).to(w_RCD.device)
    has_top5 = w_RCD.shape[1] > 5
    correct, in_top5 = [], []
    for rows in torch.arange(len(f_ND)).split(4096):
        f_BD = torch.from_numpy(np.array(f_ND[rows.numpy()])).to(w_RCD.device)
        logits_RBC = torch.einsum('bd,rcd->rbc', f_BD, w_RCD) + b_RC[:, None]
        ranked = logits_RBC.topk(5 if has_top5 else 1, dim=-1).indices
        hits = ranked == labels_N[rows.to(labels_N.device)][None, :, None]
        correct.append(hits[..., 0].cpu())
        in_top5.append(hits.any(dim=-1).cpu())
    correct_RN = torch.cat(correct, dim=1).numpy()
    top5_R = torch.cat(in_top5, dim=1).double().mean(dim=1).numpy() if has_top5 else None
    if not np.isfinite(w_RCD.cpu().numpy()).all():
        raise FloatingPointError('the probe weights are not finite; its features or learning rate are out of range')
    return ProbeScore(correct_RN=correct_RN, top5_R=top5_R, curves=curves, facts={'num_train': len(task.train)})
