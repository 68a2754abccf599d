"""Pre-train the embedded encoder without labels, by contrast (SimCLR, arXiv 2002.05709), on the plumage stream.

    python -m bench.pretrain --gin_file=gin/pretrain/tiny_simclr.gin

Writes the weights (float16 safetensors) and, beside them, a model card with what was measured.

Shape suffixes: N images, C colour channels, H height, W width, D embedding width.
"""

import inspect
import math
import os
import platform
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gin
import torch
import torch.nn.functional as F
from absl import flags, logging
from safetensors.torch import save
from torch import Tensor, nn

from bench import cli
from bench.backbones.base import Backbone
from bench.backbones.tiny import MEAN, STD, WEIGHTS_PATH, encoder_from_file, tiny_network
from bench.config import find_file
from bench.datasets.plumage import plumage, unlabelled_stream
from bench.datasets.plumage_render import RENDER_VERSION
from bench.disk import write_atomic
from bench.errors import InputError
from bench.features import FeatureStore
from bench.hashing import derive_seed
from bench.progress import progress
from bench.ranges import Count, Fraction, NonNegative, Positive, PositiveFraction, PositiveInt, check
from bench.runtime import keep_freed_memory
from bench.transforms import CenterView
from bench.types import Places


@dataclass(frozen=True)
class Pretrained:
    """A trained encoder and its mean loss per epoch."""

    network: nn.Module
    loss_per_epoch: list[float]
    seconds: float


def simclr(
    places: Places,
    device: torch.device,
    *,
    num_images: PositiveInt = 10000,
    epochs: PositiveInt = 16,
    batch_size: PositiveInt = 128,
    learning_rate: Positive = 1.5e-3,
    weight_decay: NonNegative = 1e-4,
    warmup_share: Fraction = 0.1,
    temperature: Positive = 0.15,
    projection_dim: PositiveInt = 128,
    min_crop_area: PositiveFraction = 0.35,
    brightness: Fraction = 0.5,
    contrast: Fraction = 0.4,
    colour_cast: Fraction = 0.2,
    gray_prob: Fraction = 0.05,
    blur_prob: Fraction = 0.3,
    noise_std: NonNegative = 0.04,
    seed: Count = 0,
    data_seed: Count = 0,
) -> Pretrained:
    """Train the encoder so that two augmented views of a picture find each other among a batch.

    Args:
      places: the stream is cached under `cache_dir`.
      device: where to train; bfloat16 autocast on every kind.
      num_images: pictures drawn for the stream.
      epochs: passes over the stream.
      batch_size: pictures a step; each gives two views.
      learning_rate: peak of AdamW's rate, reached linearly after `warmup_share` of the steps, then cosine to 0.
      weight_decay: AdamW's.
      warmup_share: share of all steps.
      temperature: divides cosines in the loss.
      projection_dim: width of the projection head's output; the head is thrown away afterwards.
      min_crop_area: smallest crop as a share of the picture; the largest is 1.
      brightness: exposure varies in 1 +- this.
      contrast: contrast varies in 1 +- this.
      colour_cast: gain of each channel varies in 1 +- this.
      gray_prob: probability of a grey view.
      blur_prob: probability of a 3 x 3 blur.
      noise_std: Gaussian noise, for images in [0, 1].
      seed: of weights, batches and augmentation.
      data_seed: of the plumage stream.

    Raises:
      FloatingPointError: if the loss is not finite; names the step.
    """
    if num_images < batch_size:
        raise InputError(f'simclr.num_images: expected at least batch_size = {batch_size}, got {num_images}')
    torch.manual_seed(derive_seed('simclr', 'weights', seed))
    rng = torch.Generator().manual_seed(derive_seed('simclr', 'views', seed))
    pixels_NHWC = unlabelled_stream(places, count=num_images, seed=data_seed).pixels_NHWC
    augment = partial(
        random_view, rng=rng, min_crop_area=min_crop_area, brightness=brightness, contrast=contrast,
        colour_cast=colour_cast, gray_prob=gray_prob, blur_prob=blur_prob, noise_std=noise_std,
    )

    network = tiny_network()
    width = network.num_features  # the loss sees the last stage only; the earlier ones stay less invariant
    head = nn.Sequential(
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, projection_dim)
    )
    model = nn.ModuleList([network, head]).to(device, memory_format=torch.channels_last).train()
    steps_per_epoch = num_images // batch_size
    total = epochs * steps_per_epoch
    optimizer, schedule = _optimizer(model, learning_rate, weight_decay, total=total, warmup_share=warmup_share)

    start, losses = time.perf_counter(), []
    with progress(total=total, title='simclr', unit='step') as advance:
        for epoch in range(epochs):
            order = torch.randperm(num_images, generator=rng)[: steps_per_epoch * batch_size].view(-1, batch_size)
            epoch_loss = 0.0
            for step, rows in enumerate(order):
                x_NHWC = torch.from_numpy(pixels_NHWC[rows.sort().values.numpy()]).to(device)
                x_NCHW = x_NHWC.permute(0, 3, 1, 2).float() / 255
                views_NCHW = torch.cat([augment(x_NCHW), augment(x_NCHW)])
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    f_ND = network(views_NCHW.contiguous(memory_format=torch.channels_last))
                    z_ND = head(f_ND[:, -width:])
                loss = nt_xent(z_ND.float(), temperature=temperature)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                if not math.isfinite(loss.item()):
                    raise FloatingPointError(f'loss is {loss.item()} at step {epoch * steps_per_epoch + step}')
                epoch_loss += loss.item()
                advance(loss=loss.item())
            losses.append(epoch_loss / steps_per_epoch)
            logging.info('epoch %d/%d: loss %.4f, %.0f s', epoch + 1, epochs, losses[-1], time.perf_counter() - start)
    return Pretrained(network.cpu().eval(), losses, time.perf_counter() - start)


def _optimizer(model: nn.Module, learning_rate: float, weight_decay: float, *, total: int, warmup_share: float):
    """Return AdamW, without decay of biases and norms, and its warm-up and cosine schedule."""
    warmup = max(1, round(warmup_share * total))
    groups = [
        {'params': [p for p in model.parameters() if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in model.parameters() if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)

    def factor(t: int) -> float:
        return min((t + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(0, t - warmup) / max(1, total - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def nt_xent(z_ND: Tensor, *, temperature: float) -> Tensor:
    """Return the contrastive loss of embeddings whose first and second halves are two views of the same images."""
    z_ND = F.normalize(z_ND, dim=1)
    count = len(z_ND)
    logits_NN = z_ND @ z_ND.T / temperature
    logits_NN.fill_diagonal_(float('-inf'))
    partner_N = torch.arange(count, device=z_ND.device).roll(count // 2)
    return F.cross_entropy(logits_NN, partner_N)


def random_view(
    x_NCHW: Tensor, *, rng: torch.Generator, min_crop_area: float, brightness: float, contrast: float,
    colour_cast: float, gray_prob: float, blur_prob: float, noise_std: float,
) -> Tensor:
    """Return one augmented, normalised view of each image in [0, 1], the whole batch at a time.

    A square crop inside the image, flip, exposure, contrast, colour cast, grey, blur and noise, drawn for each image.
    """
    count, device = len(x_NCHW), x_NCHW.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(count, *shape, generator=rng)).to(device)

    side = uniform(min_crop_area, 1.0).sqrt()
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0] = side * torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = side
    theta[:, :, 2] = (1 - side)[:, None] * uniform(-1, 1, 2)
    grid = F.affine_grid(theta, list(x_NCHW.shape), align_corners=False)
    x_NCHW = F.grid_sample(x_NCHW, grid, mode='bilinear', padding_mode='border', align_corners=False)

    gain = uniform(1 - brightness, 1 + brightness, 1, 1, 1) * uniform(1 - colour_cast, 1 + colour_cast, 3, 1, 1)
    x_NCHW = x_NCHW * gain
    middle = x_NCHW.mean((1, 2, 3), keepdim=True)
    x_NCHW = middle + (x_NCHW - middle) * uniform(1 - contrast, 1 + contrast, 1, 1, 1)
    x_NCHW = torch.where(uniform(0, 1, 1, 1, 1) < gray_prob, x_NCHW.mean(1, keepdim=True), x_NCHW)
    blurred = F.avg_pool2d(x_NCHW, 3, stride=1, padding=1, count_include_pad=False)
    x_NCHW = torch.where(uniform(0, 1, 1, 1, 1) < blur_prob, blurred, x_NCHW)
    noise = torch.randn(x_NCHW.shape, generator=rng).to(device)
    x_NCHW = (x_NCHW + noise_std * noise).clamp(0, 1)
    mean, std = (torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (MEAN, STD))
    return (x_NCHW - mean) / std


# Gin wraps a stand-in: calling `simclr` from Python is not affected by bindings.
_CONFIGURABLE = gin.external_configurable(simclr, module='bench.pretrain', denylist=['places', 'device'])

# --- the command ------------------------------------------------------------------------------------------------------


def run(
    gin_files: list[str], bindings: list[str], *, cache_dir: Path, output: Path, device: torch.device, command: str = ''
) -> Path:
    """Train as configured, then write the weights and the model card.

    Args:
      gin_files: paths, relative to the working directory or else to the repository.
      bindings: single bindings; they win over the files.
      cache_dir: where rendered pictures and features are kept.
      output: the weights file; the card has the same name with the suffix `.md`.
      device: where to train.
      command: how to repeat this, for the card.

    Returns:
      The path of the card.

    Raises:
      InputError: for a missing file, an unknown name or parameter, or a value out of range.
    """
    places = Places(data_root=None, weights_root=None, cache_dir=Path(cache_dir))
    settings = _settings(gin_files, bindings)
    output = Path(output)
    if output.suffix != '.safetensors':
        raise InputError(f'--output={output}: expected a file name ending in .safetensors')
    output.parent.mkdir(parents=True, exist_ok=True)
    trained = simclr(places, device, **settings)

    # float16 halves the file; what is measured below is what was saved.
    state = {k: v.half() if v.is_floating_point() else v for k, v in trained.network.state_dict().items()}
    write_atomic(output, save({key: value.contiguous() for key, value in state.items()}))
    encoder = encoder_from_file(output, device=torch.device('cpu'))
    accuracy = _full_probe(places, encoder)
    card = _card(
        trained, settings, command=command, device=device, feature_dim=encoder.feature_dim,
        fingerprint=encoder.fingerprint, accuracy=accuracy,
    )
    path = output.with_suffix('.md')
    write_atomic(path, card)
    logging.info('full-data linear probe %.2f%%; wrote %s and %s', accuracy, output, path)
    return path


def _settings(gin_files: list[str], bindings: list[str]) -> dict[str, Any]:
    """Return every setting of `simclr` with what the files and bindings say; gin is clean before and after."""
    parameters = inspect.signature(simclr).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    files = [find_file(path) for path in gin_files]
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings(files, bindings)
        settings = {**defaults, **gin.get_bindings(_CONFIGURABLE)}
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f'gin: {str(error).strip().splitlines()[0]}') from error
    finally:
        gin.clear_config()
    check(simclr, settings, name='simclr')
    return settings


def _full_probe(places: Places, encoder: Backbone) -> float:
    """Return the test accuracy, in percent, of logistic regression on the features of all training pictures."""
    data = plumage(places)
    store, view = FeatureStore(places.cache_dir), CenterView(encoder.input_side, encoder.interpolation)
    f_ND, t_ND = (torch.tensor(store.features(split, encoder, view)[0]) for split in (data.train, data.test))
    y_N, answer_N = (torch.from_numpy(split.labels_N) for split in (data.train, data.test))
    mean_D, std_D = f_ND.mean(0), f_ND.std(0) + 1e-6
    probe = nn.Linear(f_ND.shape[1], data.train.num_classes)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=300, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(probe((f_ND - mean_D) / std_D), y_N) + 1e-3 * probe.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.inference_mode():
        right_N = probe((t_ND - mean_D) / std_D).argmax(1) == answer_N
    return 100 * right_N.double().mean().item()


def _card(
    trained: Pretrained, settings: dict[str, Any], *, command: str, device: torch.device, feature_dim: int,
    fingerprint: str, accuracy: float,
) -> str:
    """Return the model card: written by the command, so that it says what happened."""
    count = sum(p.numel() for p in trained.network.parameters())
    losses = trained.loss_per_epoch
    shown = sorted({0, len(losses) // 4, len(losses) // 2, 3 * len(losses) // 4, len(losses) - 1})
    curve = ', '.join(f'epoch {e + 1}: {losses[e]:.3f}' for e in shown)
    threads = f'{torch.get_num_threads()} thread(s)' if device.type == 'cpu' else torch.cuda.get_device_name(device)
    count_images, data_seed = settings['num_images'], settings['data_seed']
    data = f'{count_images:,} pictures of the plumage stream, render version {RENDER_VERSION}, seed {data_seed}'
    probe = f'{accuracy:.2f}% top-1 of 2,000 test pictures (logistic regression, 4,000 training pictures)'
    rows = '\n'.join(f'| `{key}` | {value} |' for key, value in settings.items())
    return f"""# tiny_simclr

Generated by `bench.pretrain`; do not edit.

| | |
|---|---|
| architecture | timm ResNet, one basic block a stage, {count:,} parameters |
| input | RGB, 64 x 64 px, mean {MEAN}, std {STD} |
| output | {feature_dim} features, means over positions of the last three stages |
| data | {data}; no labels |
| recipe | SimCLR (arXiv 2002.05709): NT-Xent between two random views; AdamW, warm-up and cosine; bfloat16 |
| command | `{command}` |
| seed | {settings['seed']} |
| training | {trained.seconds:.0f} s on {device.type} ({platform.machine()}, {threads}), torch {torch.__version__} |
| loss | {curve} |
| full-data linear probe on plumage | {probe} |
| weights fingerprint | `{fingerprint}` (`bench.backbones.base.weights_fingerprint`, after loading to float32) |
| licence | Apache-2.0, as the project; the pictures are drawn by the project |

Meant for trying the suite without a download. It knows drawn birds only.

## Settings

| setting of `simclr` | value |
|---|---|
{rows}
"""


def main() -> int:
    """Flags -> pre-training -> weights and model card; returns the exit status."""
    options = flags.FLAGS
    logging.set_verbosity(logging.INFO)
    auto = 'cuda' if torch.cuda.is_available() else 'cpu'
    device = torch.device(auto if options.device == 'auto' else options.device)
    keep_freed_memory()
    parts = [f'--gin_file={path}' for path in options.gin_file]
    parts += [f'--gin_bindings="{binding}"' for binding in options.gin_bindings]
    if not options.gin_file:
        raise InputError('expected --gin_file=FILE, such as gin/pretrain/tiny_simclr.gin; got none')
    try:
        run(
            options.gin_file, options.gin_bindings, cache_dir=Path(options.cache_dir), output=Path(options.output),
            device=device, command=' '.join(['python -m bench.pretrain', *parts]),
        )
    except FloatingPointError as error:
        print(f'bench.pretrain: {error}; lower simclr.learning_rate', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    flags.DEFINE_multi_string('gin_file', [], 'gin file; relative to the working directory or to the repository')
    flags.DEFINE_multi_string('gin_bindings', [], 'gin binding, such as "simclr.epochs = 2"; wins over the files')
    flags.DEFINE_string('cache_dir', os.environ.get('BENCH_CACHE') or '.cache', 'where drawn pictures are kept')
    flags.DEFINE_string('output', str(WEIGHTS_PATH), 'weights file to write; the model card goes beside it')
    flags.DEFINE_enum('device', 'auto', ['auto', 'cpu', 'cuda'], 'auto takes cuda, then cpu')
    cli.start(main)
