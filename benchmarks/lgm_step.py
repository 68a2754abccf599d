"""Time one update of Linear Gradient Matching against the released formulation, alternating in one process.

    python -m benchmarks.lgm_step [--backbone=vit_small_patch16_224] [--classes=4] [--json=FILE]

Both get the same synthetic images, random views, real batch, network (random weights are enough for timing), precision and
Adam. The released formulation (`benchmarks.released`) uses our decoding and augmentation, and receives decoded and augmented
real images. Ours reads cached real features. Their encoding, `num_views` forward passes over the training images once per
run, is not part of the measurement. Before timing, both gradients are compared in float32.
"""

import copy
import inspect
import json
import statistics
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from absl import flags
from torch import Tensor, nn

from bench.backbones.base import Backbone, frozen_backbone
from bench.core import cli
from bench.core.errors import InputError
from bench.core.types import Precision, Split
from bench.distillation.task import Task
from bench.features.views import RandomView, resize_side
from bench.machine.cost import measured
from bench.machine.device import choose_device, device_name
from bench.machine.processes import ALONE
from benchmarks import released
from methods._synthesis import RealFeatures, Synthetic
from methods._synthesis.augment import Augmentation, ViewParameters
from methods._synthesis.gradient import random_probes
from methods._synthesis.match import Chunking, _adam, _backward
from methods._synthesis.pyramid import Pyramid
from methods.lgm import lgm

GOALS = {'ratio': 0.45, 'outside_share': 0.05}
_SIGMA = 0.01


@dataclass
class Workload:
    """The inputs of both formulations: one synthetic image per class, A views of each, and the same number of real images.

    `network` (as created) and `x_BCHW` (real images, decoded and augmented) are for the released formulation.
    """

    backbone: Backbone
    network: nn.Module | None
    pyramid: Pyramid
    real: RealFeatures
    x_BCHW: Tensor | None
    augmentations: int
    augmentation: Augmentation = Augmentation()
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        self.labels_N = torch.arange(self.real.num_classes, device=self.backbone.device)
        self.loss_of_synthetic = inspect.unwrap(lgm)(self.real, probe_sigma=_SIGMA, class_balanced=False)
        self.optimizer = _adam(self.pyramid)
        self.generator = torch.Generator().manual_seed(0)

    @cached_property
    def encode_released(self) -> released.Encode:
        assert self.network is not None, 'made without the released formulation'
        return released.encoder(self.network, self.backbone)

    def views(self) -> ViewParameters:
        """Draw the views of one update, like the loop in methods/_synthesis/match.py."""
        return self.augmentation.sample(
            len(self.labels_N), self.augmentations, side=self.pyramid.image_size, generator=self.generator,
            device=self.backbone.device,
        )

    def loss(self, f_AND: Tensor) -> Tensor:
        classes = len(self.labels_N)
        return self.loss_of_synthetic(Synthetic(f_AND, self.labels_N, 0, classes, classes, ALONE))


def make_workload(
    name: str, *, classes: int, augmentations: int, input_side: int | None, precision: Precision, device: torch.device
) -> Workload:
    """Build the inputs for a complete pyramid: random images, with a real batch of `classes * augmentations` images."""
    backbone, network = random_backbone(name, input_side=input_side, precision=precision, device=device)
    side = backbone.input_side
    x_BCHW = torch.rand(classes * augmentations, 3, side, side, device=device)
    labels_B = torch.arange(classes).repeat_interleave(augmentations)
    with torch.no_grad():
        f_BD = torch.cat([replace(backbone, precision='float32').encode(part) for part in x_BCHW.split(16)])
    real = cached_features(backbone, f_BD[None].cpu().numpy(), labels_B.numpy(), classes)
    return Workload(backbone, network, full_pyramid(backbone, classes), real, x_BCHW, augmentations)


def random_backbone(
    name: str, *, input_side: int | None, precision: Precision, device: torch.device
) -> tuple[Backbone, nn.Module]:
    """Return a timm model (or tiny_simclr) with random weights twice: frozen as a backbone, and as created."""
    torch.manual_seed(0)
    network, facts = _network(name, input_side)
    frozen = copy.deepcopy(network)
    backbone = frozen_backbone(
        frozen, name=name, source='random weights', device=device, feature='as made', precision=precision, **facts
    )
    return backbone, network.to(device).eval()


def full_pyramid(backbone: Backbone, count: int) -> Pyramid:
    """Return a pyramid of `count` images with all its levels."""
    side = resize_side(backbone.input_side)
    pyramid = Pyramid(count, image_size=side, start_size=1, decorrelate=True, seed=0, device=backbone.device)
    while not pyramid.complete:
        pyramid.grow()
    return pyramid


def cached_features(backbone: Backbone, f_VND: np.ndarray, labels_N: np.ndarray, classes: int) -> RealFeatures:
    """Return the real side of a training split whose random views have these features."""
    train = Split('train', [], labels_N, tuple(map(str, range(classes))), fingerprint='')
    task = _FeatureTask(train, ipc=1, seed=0, backbone=backbone, f_VND=f_VND)
    view = RandomView(backbone.input_side, backbone.interpolation, seed=0)
    return RealFeatures(task, view, len(f_VND), torch.Generator(backbone.device).manual_seed(0))


@dataclass(frozen=True, kw_only=True)
class _FeatureTask(Task):
    """A task with given features."""

    f_VND: np.ndarray

    def view_features(self, view: RandomView, *, num_views: int) -> np.ndarray:
        return self.f_VND


def _network(name: str, input_side: int | None) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network with random weights and its preprocessing facts: a timm model, or `tiny_simclr`."""
    if name == 'tiny_simclr':
        from bench.backbones.tiny.facts import FEATURE_SCALE, INPUT_SIDE, MEAN, NETWORK_OF, STD
        from bench.backbones.tiny.networks import tiny_network

        facts = {'input_side': input_side or INPUT_SIDE, 'mean': MEAN, 'std': STD}
        tiny = tiny_network(NETWORK_OF[name], feature_scale=FEATURE_SCALE[name])
        return tiny, {**facts, 'interpolation': 'bilinear'}
    import timm
    from timm.data import resolve_model_data_config

    if not timm.is_model(name):
        raise InputError(f'--backbone={name}: expected tiny_simclr or a timm model, such as vit_small_patch16_224')
    network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    config = resolve_model_data_config(network)
    own_side = config['input_size'][-1]
    if input_side and input_side != own_side and network.pretrained_cfg.get('fixed_input_size'):
        network = timm.create_model(name, pretrained=False, num_classes=0, img_size=input_side)
    facts = {key: config[key] for key in ('mean', 'std', 'interpolation')}
    return network, {**facts, 'input_side': input_side or own_side}


# --- one update of each -------------------------------------------------------------------------------------------------


def our_backward(work: Workload, views: ViewParameters, backbone: Any = None) -> Tensor:
    """Add our gradient to the pyramid's levels; returns the meta-loss."""
    chunking = Chunking(work.augmentations, work.chunk_size)
    return _backward(work.pyramid, work.loss, views, work.augmentation, backbone or work.backbone, chunking)


def released_backward(work: Workload, views: ViewParameters, w_CD: Tensor, clock: 'Clock | None' = None) -> Tensor:
    """Add the released formulation's gradient to the pyramid's levels; returns the meta-loss."""
    probe = released.head(w_CD)
    assert work.x_BCHW is not None, 'made without the released formulation'
    start = clock.now() if clock else None
    target = released.real_side(work.encode_released, work.x_BCHW, work.real.labels_N, probe)
    if clock:
        clock.spans.append((start, clock.now()))
    x_MCHW = work.augmentation.apply(work.pyramid.decode(), views, side=work.backbone.input_side)
    labels_M = work.labels_N.repeat_interleave(work.augmentations)
    return released.synthetic_side(work.encode_released, x_MCHW, labels_M, probe, target)


def gradient_difference(work: Workload) -> float:
    """Return the norm of the difference of both formulations' level gradients, relative to that of the released one.

    Both use the same views and probe, in float32, where rounding errors are below 1e-4 for most networks. In bfloat16 the
    rewritten network (bench/backbones/freeze.py) rounds at other points than the plain one.
    """
    work = replace(work, backbone=replace(work.backbone, precision='float32'))
    views, state = work.views(), work.real.state()
    work.optimizer.zero_grad(set_to_none=True)
    our_backward(work, views)
    ours = _gradient(work.pyramid)
    work.real.restore(state)
    work.optimizer.zero_grad(set_to_none=True)
    released_backward(work, views, draw_probe(work))
    theirs = _gradient(work.pyramid)
    return float((ours - theirs).norm() / theirs.norm())


def _gradient(pyramid: Pyramid) -> Tensor:
    return torch.cat([level.grad.flatten() for level in pyramid.levels if level.grad is not None])


def draw_probe(work: Workload) -> Tensor:
    """Draw w_CD like the loss."""
    real = work.real
    return random_probes(1, num_classes=real.num_classes, dim=real.dim, sigma=_SIGMA, generator=real.generator)[0]


# --- timing -------------------------------------------------------------------------------------------------------------


class Clock:
    """Measures time spans within an update without waiting for the device: CUDA events, or else the CPU clock."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.spans: list[tuple[Any, Any]] = []

    def now(self) -> Any:
        if self.device.type != 'cuda':
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> float:
        """Return the total of the spans; the device must have finished them."""
        return sum(s.elapsed_time(e) / 1000 if self.device.type == 'cuda' else e - s for s, e in self.spans)


class ClockedBackbone:
    """A backbone that times its own forward and backward passes."""

    def __init__(self, backbone: Backbone, clock: Clock) -> None:
        self.backbone, self.clock = backbone, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def encode(self, x_NCHW: Tensor) -> Tensor:
        start, begun, spans = self.clock.now(), [], self.clock.spans
        f_ND = self.backbone.encode(x_NCHW)
        spans.append((start, self.clock.now()))
        if f_ND.requires_grad:
            # the backward pass of the backbone runs between these two gradients
            f_ND.register_hook(lambda gradient: begun.append(self.clock.now()))
            x_NCHW.register_hook(lambda gradient: spans.append((begun.pop(), self.clock.now())))
        return f_ND


def timed_update(work: Workload, *, ours: bool) -> tuple[float, float, float]:
    """Run one update; return its seconds, the seconds on the clock (ours: backbone; released: real side), and peak MB."""
    clock = Clock(work.backbone.device)
    with measured(work.backbone.device) as cost:
        views = work.views()
        work.optimizer.zero_grad(set_to_none=True)
        if ours:
            our_backward(work, views, ClockedBackbone(work.backbone, clock))
        else:
            released_backward(work, views, draw_probe(work), clock)
        work.optimizer.step()
    return cost.seconds, clock.seconds(), cost.peak_memory_mb


def measure(work: Workload, *, repetitions: int) -> dict[str, Any]:
    """Time both formulations alternately; return medians over the repetitions.

    On a CPU, `peak_memory_mb` is that of the process, including the inputs and kept freed memory. Ours is measured before
    the released formulation runs for the first time.
    """
    memory = {'peak_memory_mb': timed_update(work, ours=True)[2]}
    memory['released_peak_memory_mb'] = timed_update(work, ours=False)[2]
    difference = gradient_difference(work)
    ours, theirs = [], []
    for _ in range(repetitions):
        ours.append(timed_update(work, ours=True))
        theirs.append(timed_update(work, ours=False))
    ratios = [a[0] / b[0] for a, b in zip(ours, theirs, strict=True)]
    shares = [1 - inside / seconds for seconds, inside, _ in ours]
    device = work.backbone.device
    return {
        'ratio': statistics.median(ratios),
        'outside_share': statistics.median(shares),
        'spread': {'ratio': [min(ratios), max(ratios)], 'outside_share': [min(shares), max(shares)]},
        'ours_seconds': statistics.median(seconds for seconds, _, _ in ours),
        'released_seconds': statistics.median(seconds for seconds, _, _ in theirs),
        'released_real_seconds': statistics.median(inside for _, inside, _ in theirs),
        **memory,
        'gradient_difference': difference,
        'backbone': work.backbone.name,
        'classes': work.real.num_classes,
        'augmentations': work.augmentations,
        'input_side': work.backbone.input_side,
        'precision': work.backbone.precision,
        'device': device_name(device),
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'repetitions': repetitions,
        'goals': GOALS,
    }


def report(found: dict[str, Any]) -> str:
    """Return the measurements as text, with the goals."""
    low, high = found['spread']['ratio']
    return '\n'.join([
        f'{found["backbone"]}: {found["classes"]} images x {found["augmentations"]} views of {found["input_side"]} px, '
        f'{found["precision"]}, {found["device"]}, {found["threads"]} threads, torch {found["torch"]}',
        f'  ours           {found["ours_seconds"]:8.3f} s   peak {found["peak_memory_mb"]:6.0f} MB',
        f'  released       {found["released_seconds"]:8.3f} s   peak {found["released_peak_memory_mb"]:6.0f} MB   '
        f'(of it the real side: {found["released_real_seconds"]:.3f} s)',
        f'  ratio          {found["ratio"]:8.3f}     {low:.3f} to {high:.3f} in {found["repetitions"]} repetitions   '
        f'goal <= {GOALS["ratio"]}',
        f'  outside share  {found["outside_share"]:8.1%}     of our time is not the backbone\'s   '
        f'goal < {GOALS["outside_share"]:.0%}',
        f'  in float32 the two gradients differ by {found["gradient_difference"]:.1e} of their length',
    ])  # fmt: skip


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device has native bfloat16 arithmetic."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported()
    return device.type == 'cpu' and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def main() -> int:
    device = choose_device(flags.FLAGS.device)
    precision: Precision = flags.FLAGS.precision or ('bfloat16' if has_bfloat16(device) else 'float32')
    work = make_workload(
        flags.FLAGS.backbone, classes=flags.FLAGS.classes, augmentations=flags.FLAGS.augmentations,
        input_side=flags.FLAGS.input_side, precision=precision, device=device,
    )
    found = measure(work, repetitions=flags.FLAGS.repetitions)
    print(report(found))
    if flags.FLAGS.json:
        Path(flags.FLAGS.json).write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    flags.DEFINE_string('backbone', 'vit_small_patch16_224', 'timm model, or tiny_simclr')
    flags.DEFINE_integer('classes', 4, 'classes, with one synthetic image per class', lower_bound=2)
    flags.DEFINE_integer('augmentations', 10, 'views per image and update', lower_bound=1)
    flags.DEFINE_integer('input_side', None, "pixels; default: the model's own", lower_bound=8)
    flags.DEFINE_enum('precision', None, ['float32', 'bfloat16'], 'default: bfloat16 where the device has it')
    flags.DEFINE_integer('repetitions', 5, 'timed updates of each', lower_bound=1)
    cli.define('device')
    flags.DEFINE_string('json', None, 'file for the measurements')
    cli.start(main)
