"""The training loop shared by all recipes: pictures, batches, optimizer, schedule and the standardisation of features.

Shape suffixes: N images, B birds, S sightings, C colour channels, H height, W width, D feature width.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from bench.pretrain.augment import Augmentation, normalised
from bench.pretrain.streams import STREAMS, another_sighting

# Numbers of pictures that determine the encoder's standardisation and its whitening, which has a hundred times more numbers.
_STANDARDISED_OVER, _WHITENED_OVER = 2000, 8000


@dataclass(frozen=True)
class Batch:
    """Pictures x_NCHW in [0, 1] of some birds, with random views and captions for the recipes; every call draws new ones.

    `sighted` returns other pictures of the same birds, None where each bird has one. `said` makes a bird's caption.
    """

    x_NCHW: Tensor
    birds_N: np.ndarray
    augmentation: Augmentation
    sighted: Callable[[], Tensor] | None = None
    said: Callable[[int, np.random.Generator], str] = partial(STREAMS['plumage'].caption, 0)

    @property
    def rng(self) -> torch.Generator:
        return self.augmentation.rng

    def view(self, *, area: tuple[float, float] | None = None, side: int | None = None) -> Tensor:
        """Return one random view of each bird, normalised; see `Augmentation.draw`."""
        x_NCHW = self.sighted() if self.sighted else self.x_NCHW
        return self.augmentation.draw(x_NCHW, area=area, side=side)

    def captions(self) -> list[str]:
        """Return a caption of each picture."""
        words = np.random.default_rng(int(torch.randint(2**62, (1,), generator=self.rng)))
        return [self.said(int(bird), words) for bird in self.birds_N]


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
    stream: Literal['plumage', 'wild'] = 'plumage',
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
    whitening: Fraction = 0.0,
    seed: Count = 0,
    data_seed: Count = 0,
) -> Pretrained:
    """Train an embedded encoder on a stream of pictures of birds.

    Args:
      places: the stream is cached under `cache_dir`.
      device: where to train, with bfloat16 autocast.
      objective_for: makes the recipe's objective for a network.
      recipe: name of the recipe, a row of `bench.pretrain`; seeds are derived from it.
      stream: what the pictures show, see `bench.pretrain.streams`; with `wild`, each view is of a random sighting.
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
      whitening: at the end, whiten the features: differences between sightings of one bird, which are nuisance, get unit
        covariance. The value is the shrinkage, see `whitening_of`; 0 does not whiten.
      seed: seed of weights, batches and augmentation.
      data_seed: seed of the stream.

    Raises:
      InputError: if there are fewer pictures than in a batch or not all sightings of a bird, or a setting of the recipe does
        not fit the network.
      FloatingPointError: if the loss is not finite; the message names the step.
    """
    if num_images < batch_size:
        raise InputError(f'pretrain.num_images: expected at least batch_size = {batch_size}, got {num_images}')
    if num_images % STREAMS[stream].sightings:
        sightings = STREAMS[stream].sightings
        raise InputError(f'pretrain.num_images: expected a multiple of {sightings} sightings of a bird, got {num_images}')
    if whitening and STREAMS[stream].sightings == 1:
        raise InputError(f'pretrain.whitening: expected a stream with several sightings of a bird, got {stream!r}')
    torch.manual_seed(derive_seed(recipe, 'weights', seed))
    rng = torch.Generator().manual_seed(derive_seed(recipe, 'views', seed))
    augmentation = Augmentation(
        rng, min_crop_area=min_crop_area, brightness=brightness, contrast=contrast, colour_cast=colour_cast,
        gray_prob=gray_prob, blur_prob=blur_prob, noise_std=noise_std,
    )
    encoder = tiny_network(network, standardised=standardise, whitened=whitening > 0)
    objective = objective_for(encoder)
    shown = STREAMS[stream]
    pixels_NHWC = shown.images(places, count=num_images, seed=data_seed).pixels_NHWC
    birds_N = shown.birds(data_seed, 'stream', num_images)

    def pictures(numbers_N: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels_NHWC[numbers_N]).to(device).permute(0, 3, 1, 2).float() / 255

    def batch(rows: Tensor) -> Batch:
        numbers_N = rows.sort().values.numpy()

        def sighted() -> Tensor:
            return pictures(another_sighting(numbers_N, shown.sightings, torch.rand(len(rows), generator=rng).numpy()))

        return Batch(
            pictures(numbers_N), birds_N[numbers_N], augmentation, sighted if shown.sightings > 1 else None,
            partial(shown.caption, data_seed),
        )

    for module in filter(None, (objective.modules, objective.frozen)):
        module.to(device).to(memory_format=torch.channels_last).train()
    start = time.perf_counter()
    losses = _train(
        objective, batch, device, rng, recipe=recipe, num_images=num_images, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, weight_decay=weight_decay, warmup_share=warmup_share,
    )
    encoder.eval()
    if standardise or whitening:
        over = _WHITENED_OVER if whitening else _STANDARDISED_OVER
        rows = torch.arange(min(num_images, over)).split(batch_size)
        finish(encoder, [batch(part).x_NCHW for part in rows], whitening=whitening, sightings=shown.sightings)
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
def finish(encoder: TinyNetwork, batches: list[Tensor], *, whitening: float, sightings: int) -> None:
    """Set the encoder's standardisation, or its whitening if that is not 0, from pictures x_NCHW in [0, 1] of the stream."""
    f_ND = torch.cat([torch.cat(encoder.pooled(normalised(x_NCHW)), dim=1) for x_NCHW in batches]).double()
    mean_D, std_D = f_ND.mean(dim=0), f_ND.std(dim=0, correction=0).clamp(min=1e-3 * f_ND.std())
    encoder.feature_mean.copy_(mean_D)
    if whitening:
        z_BSD = ((f_ND - mean_D) / std_D).view(-1, sightings, len(std_D))
        spread = math.sqrt(sightings / (sightings - 1))  # lost with the mean of few sightings
        nuisance_ND = spread * (z_BSD - z_BSD.mean(dim=1, keepdim=True)).flatten(0, 1)
        encoder.whitening_DD.copy_(whitening_of(nuisance_ND, shrinkage=whitening) / std_D[:, None])
    else:
        encoder.feature_std.copy_(std_D)


def whitening_of(z_ND: Tensor, *, shrinkage: float) -> Tensor:
    """Return the symmetric matrix whitening_DD that gives centred features unit covariance, but for the shrinkage.

    With the differences between sightings of a bird this is within-class covariance normalisation (Hatch et al. 2006), where
    a sighted bird takes the place of a class.

    Args:
      z_ND: features with mean 0, in float64.
      shrinkage: share of each eigenvalue that is replaced by the mean eigenvalue, in (0, 1].
    """
    size_D, basis_DD = torch.linalg.eigh(z_ND.T @ z_ND / len(z_ND))
    size_D = (1 - shrinkage) * size_D.clamp(min=0) + shrinkage * size_D.mean()
    return (basis_DD * size_D.rsqrt()) @ basis_DD.T
