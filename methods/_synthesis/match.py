"""The loop that optimises synthetic images for a loss on their features. It contains everything except the loss.

Shape suffixes: N images, A views per image, C colour channels, H height, W width, D feature width.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core import interrupts
from bench.core.errors import InputError
from bench.core.progress import progress
from bench.distillation.task import Task
from bench.machine.processes import World
from methods._synthesis.augment import Augmentation, ViewParameters
from methods._synthesis.pyramid import Pyramid
from methods._synthesis.real import RealFeatures

# Number of times that pictures are shown during a run, besides the first and the last.
_SHOWN = 10


@dataclass(frozen=True)
class Schedule:
    """The schedule of pyramid levels and learning rate; see `methods._synthesis.distil.synthesise` for the fields."""

    num_updates: int
    learning_rate: float
    lr_over_levels: bool
    decay_start: float
    level_every: int
    level_delay: int = 0

    def grows(self, step: int) -> bool:
        """Return whether a level is due before update `step` (from 0)."""
        return step > self.level_delay and (step - self.level_delay) % self.level_every == 0

    def rate(self, step: int, num_levels: int) -> float:
        """Return the learning rate of update `step` (from 0)."""
        start = self.decay_start * self.num_updates
        progress = max(0.0, (step - start) / max(self.num_updates - start, 1))
        rate = self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return rate / num_levels if self.lr_over_levels else rate

    def check(self, sizes: list[int], *, name: str = '') -> None:
        """Check that the last level of a pyramid is added before the updates end.

        Args:
          sizes: sides of all levels in pixels, from the current one on.
          name: the name that the settings are bound under, such as `lgm`.

        Raises:
          InputError: names the settings to change.
        """
        more = len(sizes) - 1
        last = more * self.level_every + self.level_delay
        if more and 0 < self.num_updates <= last:
            most = (self.num_updates - 1 - self.level_delay) // more
            updates, every = (f'{name}.{setting}' if name else setting for setting in ('num_updates', 'level_every'))
            hint = f'set {every} <= {most} or' if most > 0 else 'set'
            raise InputError(
                f'{updates} = {self.num_updates} with {every} = {self.level_every} ends before the pyramid reaches '
                f'{sizes[-1]} px (level {len(sizes)}): {hint} {updates} > {last}'
            )


@dataclass(frozen=True)
class Chunking:
    """How many views pass through the backbone at once: chunks of whole images, or of some views of one image."""

    views: int
    size: int | None

    @property
    def images(self) -> int | None:
        return None if self.size is None else max(1, self.size // self.views)

    def blocks(self, count: int) -> list[tuple[slice, slice]]:
        """Return (images, copies) slices that cover `count` images with all their views."""
        by_image = self.images or max(count, 1)
        by_copy = self.views if self.size is None else min(self.views, self.size)
        return [
            (slice(i, min(i + by_image, count)), slice(a, min(a + by_copy, self.views)))
            for i in range(0, count, by_image)
            for a in range(0, self.views, by_copy)
        ]


def match(
    pyramid: Pyramid,
    loss_of: Callable[[Tensor], Tensor],
    *,
    task: Task,
    real: RealFeatures,
    schedule: Schedule,
    augmentation: Augmentation,
    chunking: Chunking,
    total: int,
    log_every: int,
    checkpoint_every: int | None,
    generator: torch.Generator,
) -> tuple[Tensor, list[tuple[int, float]]]:
    """Optimise the images of a pyramid with Adam to minimise `loss_of` of their augmented features.

    Args:
      pyramid: this process's images; modified in place.
      loss_of: maps f_AND, the features of A views of each of these images, to a scalar that all processes share.
      task: provides the backbone and the checkpoint, and receives numbers and pictures.
      real: the real features that the loss draws from; its random state is part of the checkpoint.
      schedule: of levels and learning rate.
      augmentation: of the synthetic images.
      chunking: A, and how many views pass through the backbone at once.
      total: number of images of all processes.
      log_every: updates between logged losses.
      checkpoint_every: updates between checkpoints, or None.
      generator: random generator of the augmentations, on the CPU.

    Returns:
      All decoded images x_NCHW in [0, 1] and the curve [(update, loss), ...].

    Raises:
      FloatingPointError: if a loss is not finite; the message names the first such update.
    """
    first, curve, optimizer = _start(task, pyramid, real, schedule, generator)
    updates = _updates(
        range(first, schedule.num_updates), pyramid, optimizer, loss_of, backbone=task.encoder, schedule=schedule,
        augmentation=augmentation, chunking=chunking, total=total, generator=generator,
    )
    pending: list[Tensor] = []
    keeps = bool(task.checkpoint and checkpoint_every)
    with (
        progress(total=schedule.num_updates, title=task.title, unit='update') as advance,
        interrupts.deferred() if keeps else nullcontext(lambda: False) as interrupted,
    ):
        advance(first)
        for step, loss, optimizer in updates:
            pending.append(loss)
            if (step + 1) % log_every == 0 or step + 1 == schedule.num_updates:
                curve.append((step + 1, _check_finite(pending, step)))
                task.log('distill/meta_loss', *curve[-1])
                advance(len(pending), loss=curve[-1][1])
                pending = []
            if step % max(1, schedule.num_updates // _SHOWN) == 0:
                task.show(step, _all_images(pyramid, chunking, task.world, total))
            # Several processes stop together, so they ask each other, and that only when they wait for the loss anyway.
            stops = interrupted() if task.world.size == 1 else not pending and task.world.any(interrupted(), loss.device)
            if stops or (checkpoint_every and (step + 1) % checkpoint_every == 0 and not pending):
                if pending:
                    _check_finite(pending, step)
                _save(task, step + 1, curve, pyramid, optimizer, real, generator, total=total)
            if stops:
                raise KeyboardInterrupt
    images = _all_images(pyramid, chunking, task.world, total)
    task.show(schedule.num_updates, images)
    return images, curve


def _updates(
    steps: range,
    pyramid: Pyramid,
    optimizer: torch.optim.Adam,
    loss_of: Callable[[Tensor], Tensor],
    *,
    backbone: Backbone,
    schedule: Schedule,
    augmentation: Augmentation,
    chunking: Chunking,
    total: int,
    generator: torch.Generator,
) -> Iterator[tuple[int, Tensor, torch.optim.Adam]]:
    """Make the updates `steps` of the images; see `match`.

    Yields:
      After each update its number, its detached loss and its optimizer, which is a new one for each level.
    """
    for step in steps:
        if schedule.grows(step) and not pyramid.complete:
            pyramid.grow()
            optimizer = _adam(pyramid)
        for group in optimizer.param_groups:
            group['lr'] = schedule.rate(step, len(pyramid.levels))
        views = augmentation.sample(
            total, chunking.views, side=pyramid.image_size, generator=generator, device=pyramid.device
        )
        optimizer.zero_grad(set_to_none=True)
        loss = _backward(pyramid, loss_of, views, augmentation, backbone, chunking)
        for level in pyramid.levels:  # an idle process has no gradients, but needs Adam's state for checkpoints
            level.grad = torch.zeros_like(level) if level.grad is None else level.grad
        optimizer.step()
        yield step, loss, optimizer


def _adam(pyramid: Pyramid) -> torch.optim.Adam:
    return torch.optim.Adam(pyramid.levels, fused=pyramid.device.type in ('cpu', 'cuda'))


def _backward(
    pyramid: Pyramid,
    loss_of: Callable[[Tensor], Tensor],
    views: ViewParameters,
    augmentation: Augmentation,
    backbone: Backbone,
    chunking: Chunking,
) -> Tensor:
    """Add the gradient of the loss to the pyramid's levels; return the detached loss.

    With several chunks there are two passes: the first computes all features without a graph; the second recomputes them
    chunk by chunk with a graph and backpropagates the gradient of the features. Memory then depends on the chunk size, not
    on the number of images or views.
    """

    def encode(images: slice, copies: slice) -> Tensor:
        """Return f_AND of a block."""
        of_all = slice(pyramid.first + images.start, pyramid.first + images.stop)
        x_MCHW = augmentation.apply(pyramid.decode(images), views, images=of_all, copies=copies, side=backbone.input_side)
        return backbone.encode(x_MCHW).unflatten(0, (images.stop - images.start, -1)).transpose(0, 1)

    blocks = chunking.blocks(pyramid.count)
    if len(blocks) == 1:
        loss = loss_of(encode(*blocks[0]))
        loss.backward()
        return loss.detach()
    f_AND = torch.zeros(
        chunking.views, pyramid.count, backbone.feature_dim, device=pyramid.device, dtype=backbone.dtype
    )
    with torch.no_grad():
        for images, copies in blocks:
            f_AND[copies, images] = encode(images, copies)
    f_AND.requires_grad_()
    loss = loss_of(f_AND)
    loss.backward()
    loss, cotangent_AND = loss.detach(), f_AND.grad
    assert cotangent_AND is not None, 'the loss depends on the features'
    del f_AND  # from here on only its gradient is needed
    for images, copies in blocks:
        encode(images, copies).backward(cotangent_AND[copies, images])
    return loss


def _all_images(pyramid: Pyramid, chunking: Chunking, world: World, total: int) -> Tensor:
    """Return the decoded images of all processes."""
    return world.gather(_decode(pyramid, chunking), first=pyramid.first, count=total)


@torch.no_grad()
def _decode(pyramid: Pyramid, chunking: Chunking) -> Tensor:
    step = chunking.size or max(pyramid.count, 1)
    parts = [pyramid.decode(slice(start, start + step)) for start in range(0, pyramid.count, step)]
    return torch.cat(parts) if parts else pyramid.decode()


def _check_finite(losses: list[Tensor], last_step: int) -> float:
    """Check that the losses are finite and return the last one. Only here does the loop wait for the device."""
    values = torch.stack(losses).tolist()
    for offset, value in enumerate(values):
        if not math.isfinite(value):
            step = last_step - len(values) + 2 + offset
            raise FloatingPointError(f'the meta-loss is {value} at update {step}; lower the learning rate')
    return values[-1]


# --- checkpoints: they hold the images of all processes, so that any number of processes can resume ---------------------


def _start(
    task: Task, pyramid: Pyramid, real: RealFeatures, schedule: Schedule, generator: torch.Generator
) -> tuple[int, list[tuple[int, float]], torch.optim.Adam]:
    """Check the schedule; return the updates made, their curve and the optimizer: the checkpoint's, if there is one."""
    if not pyramid.complete:
        schedule.check(pyramid.sizes[len(pyramid.levels) - 1 :])
    saved = task.checkpoint.load() if task.checkpoint else None
    if saved is None:
        return 0, [], _adam(pyramid)
    return saved['step'], [tuple(point) for point in saved['curve']], _restore(saved, pyramid, real, generator)


def _save(
    task: Task,
    step: int,
    curve: list[tuple[int, float]],
    pyramid: Pyramid,
    optimizer: torch.optim.Adam,
    real: RealFeatures,
    generator: torch.Generator,
    *,
    total: int,
) -> None:
    """Save a checkpoint, if the task keeps one. All processes take part; the leading one writes."""
    if not task.checkpoint:
        return
    moments = [optimizer.state[level] for level in pyramid.levels]

    def whole(tensor: Tensor) -> Tensor:
        return task.world.gather(tensor.detach(), first=pyramid.first, count=total).cpu()

    state = {
        'step': step,
        'curve': curve,
        'levels': [whole(level) for level in pyramid.levels],
        'adam': [{name: whole(moment[name]) for name in ('exp_avg', 'exp_avg_sq')} for moment in moments],
        'adam_steps': [moment['step'].cpu() for moment in moments],
        'real': real.state(),
        'generator': generator.get_state(),
    }
    if task.world.leads:
        task.checkpoint.save(state)


def _restore(
    saved: dict[str, Any], pyramid: Pyramid, real: RealFeatures, generator: torch.Generator
) -> torch.optim.Adam:
    device, rows = pyramid.device, slice(pyramid.first, pyramid.first + pyramid.count)
    pyramid.levels = [level[rows].clone().to(device).requires_grad_() for level in saved['levels']]
    optimizer = _adam(pyramid)
    for level, moments, steps in zip(pyramid.levels, saved['adam'], saved['adam_steps'], strict=True):
        optimizer.state[level] = {
            'step': steps.to(device),
            **{name: moment[rows].clone().to(device) for name, moment in moments.items()},
        }
    real.restore(saved['real'])
    generator.set_state(saved['generator'])
    return optimizer
