"""The training loop shared by all recipes: pictures, batches, optimizer, schedule and the standardisation of features.

Shape suffixes: N images, C colour channels, H height, W width, D feature width.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from absl import logging
from torch import Tensor, nn

from bench.backbones.tiny.networks import TinyNetwork, tiny_network
from bench.core.errors import InputError
from bench.core.hashing import derive_seed
from bench.core.progress import progress
from bench.core.ranges import Count, Fraction, NonNegative, Positive, PositiveFraction, PositiveInt, Range
from bench.core.types import Places
from bench.datasets.plumage.captions import caption
from bench.datasets.plumage.plumage import labels_of, unlabelled_stream
from bench.pretrain.augment import Augmentation, normalised

# Number of pictures that determine the mean and standard deviation for the encoder's standardisation.
_STANDARDISED_OVER = 2000


@dataclass(frozen=True)
class Batch:
    """Pictures x_NCHW in [0, 1], with random views and captions for the recipes; every call draws new ones."""

    x_NCHW: Tensor
    species_N: np.ndarray
    augmentation: Augmentation

    @property
    def rng(self) -> torch.Generator:
        return self.augmentation.rng

    def view(self, *, area: tuple[float, float] | None = None, side: int | None = None) -> Tensor:
        """Return one random view of each picture, normalised; see `Augmentation.draw`."""
        return self.augmentation.draw(self.x_NCHW, area=area, side=side)

    def captions(self) -> list[str]:
        """Return a caption of each picture."""
        words = np.random.default_rng(int(torch.randint(2**62, (1,), generator=self.rng)))
        return [caption(int(species), words) for species in self.species_N]


@dataclass(frozen=True)
class Objective:
    """The objective of a recipe.

    `modules` are trained; `frozen` (a momentum copy) is only moved to the device with them. `after_step` receives the share
    of the steps that are done.
    """

    loss: Callable[[Batch], Tensor]
    modules: nn.Module
    after_step: Callable[[float], None] = lambda done: None
    frozen: nn.Module | None = None


@dataclass(frozen=True)
class Pretrained:
    """A trained encoder and its mean loss per epoch."""

    network: TinyNetwork
    loss_per_epoch: list[float]
    seconds: float


def pretrain(
    places: Places,
    device: torch.device,
    objective_for: Callable[[TinyNetwork], Objective],
    *,
    recipe: str = '',
    network: Literal['cnn', 'vit', 'plain_vit'] = 'cnn',
    num_images: PositiveInt = 10000,
    epochs: PositiveInt = 16,
    batch_size: Annotated[int, Range(2)] = 128,
    learning_rate: Positive = 1.5e-3,
    weight_decay: NonNegative = 1e-4,
    warmup_share: Fraction = 0.1,
    min_crop_area: PositiveFraction = 0.35,
    brightness: Fraction = 0.5,
    contrast: Fraction = 0.4,
    colour_cast: Fraction = 0.2,
    gray_prob: Fraction = 0.05,
    blur_prob: Fraction = 0.3,
    noise_std: NonNegative = 0.04,
    standardise: bool = True,
    seed: Count = 0,
    data_seed: Count = 0,
) -> Pretrained:
    """Train an embedded encoder on the plumage stream.

    Args:
      places: the stream is cached under `cache_dir`.
      device: where to train, with bfloat16 autocast.
      objective_for: makes the recipe's objective for a network.
      recipe: name of the recipe, a row of `bench.pretrain`; seeds are derived from it.
      network: kind of network, see `bench.backbones.tiny.facts.ARCHITECTURES`.
      num_images: number of pictures in the stream.
      epochs: epochs on the stream.
      batch_size: pictures per optimizer step.
      learning_rate: peak learning rate of AdamW, reached linearly after `warmup_share` of the steps, then cosine to 0.
      weight_decay: weight decay of AdamW.
      warmup_share: share of the steps used for warm-up.
      min_crop_area: smallest crop as a share of the picture; the largest is 1.
      brightness: exposure varies within 1 +- this value.
      contrast: contrast varies within 1 +- this value.
      colour_cast: the gain of each channel varies within 1 +- this value.
      gray_prob: probability of a grey view.
      blur_prob: probability of a 3 x 3 blur.
      noise_std: standard deviation of Gaussian noise, for images in [0, 1].
      standardise: at the end, standardise each feature by its mean and standard deviation on the stream, as a last batch
        norm would.
      seed: seed of weights, batches and augmentation.
      data_seed: seed of the plumage stream.

    Raises:
      InputError: if there are fewer pictures than in a batch, or a setting of the recipe does not fit the network.
      FloatingPointError: if the loss is not finite; the message names the step.
    """
    if num_images < batch_size:
        raise InputError(f'pretrain.num_images: expected at least batch_size = {batch_size}, got {num_images}')
    torch.manual_seed(derive_seed(recipe, 'weights', seed))
    rng = torch.Generator().manual_seed(derive_seed(recipe, 'views', seed))
    augmentation = Augmentation(
        rng, min_crop_area=min_crop_area, brightness=brightness, contrast=contrast, colour_cast=colour_cast,
        gray_prob=gray_prob, blur_prob=blur_prob, noise_std=noise_std,
    )
    encoder = tiny_network(network, standardised=standardise)
    objective = objective_for(encoder)
    pixels_NHWC = unlabelled_stream(places, count=num_images, seed=data_seed).pixels_NHWC
    species_N = labels_of(data_seed, 'stream', num_images)

    def batch(rows: Tensor) -> Batch:
        numbers_N = rows.sort().values.numpy()
        x_NHWC = torch.from_numpy(pixels_NHWC[numbers_N]).to(device)
        return Batch(x_NHWC.permute(0, 3, 1, 2).float() / 255, species_N[numbers_N], augmentation)

    for module in filter(None, (objective.modules, objective.frozen)):
        module.to(device).to(memory_format=torch.channels_last).train()
    start = time.perf_counter()
    losses = _train(
        objective, batch, device, rng, recipe=recipe, num_images=num_images, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, weight_decay=weight_decay, warmup_share=warmup_share,
    )
    encoder.eval()
    if standardise:
        shown = range(0, min(num_images, _STANDARDISED_OVER), batch_size)
        _standardise(encoder, [batch(torch.arange(num_images)[i : i + batch_size]).x_NCHW for i in shown])
    return Pretrained(encoder.cpu(), losses, time.perf_counter() - start)


def _train(
    objective: Objective,
    batch: Callable[[Tensor], Batch],
    device: torch.device,
    rng: torch.Generator,
    *,
    recipe: str,
    num_images: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    warmup_share: float,
) -> list[float]:
    """Train the modules of an objective and return the mean loss per epoch; see `pretrain` for the settings.

    Args:
      objective: its modules are on the device.
      batch: makes the batch of some rows of the stream.
      device: where to train, with bfloat16 autocast.
      rng: draws the order of the pictures.
    """
    steps_per_epoch = num_images // batch_size
    total = epochs * steps_per_epoch
    optimizer, schedule = _optimizer(objective.modules, learning_rate, weight_decay, total=total, warmup_share=warmup_share)

    start, losses = time.perf_counter(), []
    with progress(total=total, title=recipe, unit='step') as advance:
        for epoch in range(epochs):
            order = torch.randperm(num_images, generator=rng)[: steps_per_epoch * batch_size].view(-1, batch_size)
            epoch_loss = 0.0
            for step, rows in enumerate(order, start=epoch * steps_per_epoch):
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    loss = objective.loss(batch(rows))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                objective.after_step((step + 1) / total)
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f'loss is {loss.item()} at step {step}')
                epoch_loss += loss.item()
                advance(loss=loss.item())
            losses.append(epoch_loss / steps_per_epoch)
            logging.info('epoch %d/%d: loss %.4f, %.0f s', epoch + 1, epochs, losses[-1], time.perf_counter() - start)
    return losses


def mlp(inward: int, hidden: int, out: int) -> nn.Module:
    """Return a head of two layers with a batch norm in between."""
    return nn.Sequential(nn.Linear(inward, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


@torch.no_grad()
def follow(copy: nn.Module, original: nn.Module, momentum: float, done: float) -> None:
    """Update a momentum copy of a network; the momentum rises from `momentum` to 1 along a half cosine of `done`."""
    keep = 1 - (1 - momentum) * (math.cos(math.pi * done) + 1) / 2
    for ours, theirs in zip(copy.parameters(), original.parameters(), strict=True):
        ours.lerp_(theirs, 1 - keep)


def _optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, *, total: int, warmup_share: float
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW (no weight decay on biases and norms) and its schedule with warm-up and cosine decay."""
    warmup = max(1, round(warmup_share * total))
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)

    def factor(t: int) -> float:
        return min((t + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, t - warmup) / max(1, total - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@torch.inference_mode()
def _standardise(encoder: TinyNetwork, batches: list[Tensor]) -> None:
    """Set the mean and standard deviation of the encoder's standardisation."""
    f_ND = torch.cat([encoder(normalised(x_NCHW)) for x_NCHW in batches]).double()
    encoder.feature_mean.copy_(f_ND.mean(dim=0))
    encoder.feature_std.copy_(f_ND.std(dim=0, correction=0).clamp(min=1e-3 * f_ND.std()))
