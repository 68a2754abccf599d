"""The published probe: linear classifiers trained with Adam on random views.

Shape suffixes: R repeats (probe seeds), B batch, N images, V views, C classes, D feature width.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from bench.core.hashing import derive_seed
from bench.core.progress import progress
from bench.core.ranges import NonNegative, Positive, PositiveInt, Since
from bench.core.types import Interpolation, ProbeScore
from bench.features.encode import release
from bench.features.views import RandomView
from bench.probes.task import ProbeTask, ranked_hits, score

# Number of floats of freshly encoded features held at a time.
_FRESH_FLOATS = 1 << 26
# A pool larger than this many bytes is unmapped after this many rows, because every row read maps 64 KiB around it.
_POOL_BYTES, _POOL_ROWS = 1 << 30, 1 << 14
_CURVE_POINTS = 100

Gather = Callable[[Tensor, list[torch.Generator]], Tensor]


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
    own_views: Annotated[bool, Since('2026-11', neutral=False)] = True,
    square: Annotated[bool, Since('2026-11', neutral=False)] = False,
    overhang: Annotated[bool, Since('2026-11', neutral=False)] = False,
    interpolation: Annotated[Interpolation | None, Since('2026-11', neutral=None)] = None,
    cosine: Annotated[Literal['step', 'epoch'], Since('2026-11', neutral='step')] = 'step',
) -> ProbeScore:
    """Train linear probes with Adam on flipped and randomly cropped images.

    arXiv 2511.16674, appendix: learning rate `rate_per_256` * batch / 256 with batch = min(`batch_size`, N), cosine to 0, no
    weight decay, weights ~ N(0, `init_sigma`^2), bias 0, tested once at the end. The last batch of an epoch may be smaller;
    it makes a step of its own.

    On the whole training split the repeats share their views, whatever `own_views` says: of 1.28 million images, five pools
    would cost five times the hours of one.

    Args:
      task: see `ProbeTask`.
      repeats: number of probe seeds; each has its own initial weights, order and choice of views.
      epochs: epochs on a distilled set.
      batch_size: images per optimizer step.
      full_epochs: epochs on the whole training split.
      full_batch_size: images per optimizer step on the whole training split.
      rate_per_256: learning rate for 256 images per step.
      init_sigma: standard deviation of the initial weights.
      num_views: cached random views per image; each epoch draws one of them. None encodes a new view per epoch.
      full_views: the same for the whole training split.
      own_views: whether each repeat has views of its own. Otherwise all draw from one pool, or see the same new views.
      square: whether crops are taken from a square of the test view's resize side: the central one of a distilled image, a
        random one on the whole training split. Otherwise from the whole image.
      overhang: whether crops may leave the image, see `RandomView`.
      interpolation: filter of training views and test view; None is the backbone's own.
      cosine: whether the rate falls with every step, or with every epoch and is constant within it.

    Returns:
      The scores of all repeats. On the whole training split, the fact `train_top1` is the mean accuracy on its test views.
    """
    epochs, views = (full_epochs, full_views) if task.is_full else (epochs, num_views)
    batch_size = min(full_batch_size if task.is_full else batch_size, len(task.train))
    view = RandomView(
        task.backbone.input_side, interpolation or task.backbone.interpolation, seed=derive_seed('probe views'),
        frame='whole' if not square else 'random' if task.is_full else 'center', overhang=overhang,
    )
    own = [replace(view, seed=derive_seed('probe views', repeat)) for repeat in range(repeats)]
    epoch_features = _features_per_epoch(task, own if own_views and not task.is_full else [view], epochs, num_views=views)

    device = task.backbone.device
    generators = [torch.Generator().manual_seed(derive_seed('probe', repeat)) for repeat in range(repeats)]
    w_RCD, b_RC = _initial_probes(task, generators, sigma=init_sigma)
    optimizer = torch.optim.Adam([w_RCD, b_RC], fused=device.type in ('cpu', 'cuda'))
    steps_per_epoch = math.ceil(len(task.train) / batch_size)
    peak_rate = rate_per_256 * batch_size / 256
    losses = []
    with progress(total=epochs, title=task.title, unit='epoch') as advance, torch.no_grad():
        for epoch, gather in enumerate(epoch_features):
            order_RN = torch.stack([torch.randperm(len(task.train), generator=g) for g in generators])
            loss = w_RCD.new_zeros(())
            for step, rows_RB in enumerate(order_RN.split(batch_size, dim=1)):
                done = (epoch * steps_per_epoch + (step if cosine == 'step' else 0)) / (epochs * steps_per_epoch)
                for group in optimizer.param_groups:
                    group['lr'] = peak_rate * 0.5 * (1 + math.cos(math.pi * done))
                f_RBD = gather(rows_RB, generators).to(w_RCD)
                y_RBC = task.targets_of(rows_RB, dtype=w_RCD.dtype, device=device)
                loss += _adam_step(w_RCD, b_RC, optimizer, f_RBD, y_RBC) * rows_RB.shape[1]
            losses.append(loss / len(task.train))
            advance()
    curves, probes = {'probe/train_loss': _curve(losses)}, (w_RCD.detach(), b_RC.detach())
    facts = {}
    if task.is_full:
        # beside the test accuracy it tells whether the probe underfits
        facts['train_top1'] = float(ranked_hits(task, task.train, *probes, interpolation=interpolation).mean())
    return score(task, *probes, curves=curves, interpolation=interpolation, facts=facts)


def _features_per_epoch(
    task: ProbeTask, views: list[RandomView], epochs: int, *, num_views: int | None
) -> Iterator[Gather]:
    """Return one function per epoch that gathers f_RBD: from cached views, or (None) from a new view per epoch.

    `views` are those of each repeat, or a single one that all repeats share.
    """
    if num_views is None:
        return _fresh(task, views, epochs)
    store, count = task.store, min(num_views, epochs)
    return _pooled([store.features(task.train, task.backbone, view, num_views=count) for view in views], epochs)


def _pooled(pools: list[np.ndarray], epochs: int) -> Iterator[Gather]:
    """Yield one function per epoch that gathers f_RBD: one cached view per image, drawn independently by each repeat.

    `pools` are arrays f_VND, one per repeat or one for all.
    """
    mapped, is_large = 0, sum(f_VND.nbytes for f_VND in pools) > _POOL_BYTES

    def gather(rows_RB: Tensor, generators: list[torch.Generator]) -> Tensor:
        nonlocal mapped
        mapped += rows_RB.numel()
        if mapped > _POOL_ROWS and is_large:
            for f_VND in pools:
                release(f_VND)
            mapped = 0
        size = rows_RB.shape[1:]
        each = pools * len(generators) if len(pools) == 1 else pools
        drawn = [torch.randint(len(f_VND), size, generator=g).numpy() for f_VND, g in zip(each, generators, strict=True)]
        found = zip(each, drawn, rows_RB.numpy(), strict=True)
        return torch.from_numpy(np.stack([f_VND[views_B, rows_B] for f_VND, views_B, rows_B in found]))

    for _ in range(epochs):
        yield gather


def _fresh(task: ProbeTask, views: list[RandomView], epochs: int) -> Iterator[Gather]:
    """Yield one function per epoch that gathers f_RBD from views encoded for that epoch only."""

    def gather_from(f_RND: tuple[Tensor, ...]) -> Gather:
        def gather(rows_RB: Tensor, generators: list[torch.Generator]) -> Tensor:
            each = f_RND * len(generators) if len(f_RND) == 1 else f_RND
            return torch.stack([f_ND[rows_B] for f_ND, rows_B in zip(each, rows_RB, strict=True)])

        return gather

    count = len(views) * len(task.train)
    at_once = max(1, _FRESH_FLOATS // (count * task.backbone.feature_dim))
    for first in range(0, epochs, at_once):
        numbers = range(first, min(first + at_once, epochs))
        f_REND = [task.store.fresh(task.train, task.backbone, view, views=numbers) for view in views]
        yield from map(gather_from, zip(*f_REND, strict=True))


def _initial_probes(task: ProbeTask, generators: list[torch.Generator], *, sigma: float) -> tuple[Parameter, Parameter]:
    """Return w_RCD ~ N(0, sigma^2), drawn by each repeat's generator, and b_RC = 0, like features in device and type."""
    shape = (task.num_classes, task.backbone.feature_dim)
    start_RCD = torch.stack([torch.randn(*shape, generator=g) for g in generators])
    w_RCD = (sigma * start_RCD).to(task.backbone.device, task.backbone.dtype)
    return Parameter(w_RCD), Parameter(w_RCD.new_zeros(w_RCD.shape[:2]))


def _adam_step(
    w_RCD: Tensor, b_RC: Tensor, optimizer: torch.optim.Optimizer, f_RBD: Tensor, y_RBC: Tensor
) -> Tensor:
    """Take one optimizer step of all repeats with the closed-form cross-entropy gradient; return the mean loss before it."""
    logits_RBC = torch.einsum('rbd,rcd->rbc', f_RBD, w_RCD) + b_RC[:, None]
    log_p_RBC = F.log_softmax(logits_RBC, dim=-1)
    error_RBC = (log_p_RBC.exp() - y_RBC) / f_RBD.shape[1]
    w_RCD.grad = torch.einsum('rbc,rbd->rcd', error_RBC, f_RBD)
    b_RC.grad = error_RBC.sum(dim=1)
    optimizer.step()
    return -(y_RBC * log_p_RBC).sum(dim=-1).mean()


def _curve(losses: list[Tensor]) -> list[tuple[int, float]]:
    """Return points (epoch, loss) of a curve, about `_CURVE_POINTS` of them, from the losses of all epochs."""
    values = torch.stack(losses).tolist()
    return [(epoch + 1, values[epoch]) for epoch in range(0, len(values), max(1, len(values) // _CURVE_POINTS))]
