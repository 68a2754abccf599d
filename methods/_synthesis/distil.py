"""Turns a loss into a method: shared settings, initial images, optimization, distilled set.

A method that synthesises images is one function that returns its loss:

    @synthesis
    def my_method(real: RealFeatures, *, strength: Positive = 1.0) -> Loss:
        target_CD = real.class_means()
        return lambda synthetic: strength * (synthetic.class_means() - target_CD).square().sum()

Shape suffixes: N images, A views, C classes (in `NCHW`: channels), D feature width, H height, W width.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones.base import Backbone
from bench.core.hashing import derive_seed
from bench.core.ranges import Count, Fraction, NonNegative, Positive, PositiveFraction, PositiveInt, Since
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.soft_labels import teacher_labels
from bench.distillation.task import Task, check_ipc, method
from bench.features.views import Frame, RandomView, central_box, resize_side
from bench.machine.processes import World
from methods._synthesis.augment import Augmentation
from methods._synthesis.match import Chunking, Schedule, match
from methods._synthesis.pyramid import Pyramid, level_sizes
from methods._synthesis.real import RealFeatures
from methods.herding import herd

# Settings that change the cost of a run, but in exact arithmetic not its result. Two of them change the order of sums, and
# Adam amplifies rounding: docs/protocol.md, "Rounding". The set's facts keep these two and the number of processes.
_COST_ONLY = ('chunk_size', 'log_every', 'checkpoint_every', 'compile_backbone')


@dataclass(frozen=True)
class Synthetic:
    """The input of a loss at each update: features of A views of this process's images, and their classes.

    `f_AND` is differentiable. `total` is the number of images of all processes; this process's images start at `first`.
    `num_classes` counts all classes. `world.sum` adds up the parts of all processes. A loss must depend on such sums only,
    so that it is the same scalar in every process.
    """

    f_AND: Tensor
    labels_N: Tensor
    first: int
    total: int
    num_classes: int
    world: World

    @property
    def ipc(self) -> int:
        return self.total // self.num_classes

    @property
    def all_labels_N(self) -> Tensor:
        """The classes of the images of all processes."""
        return torch.arange(self.total, device=self.labels_N.device) // self.ipc

    def gathered(self, x: Tensor) -> Tensor:
        """Return the rows (..., N, D) of all processes' images; `x` holds those of this process. Differentiable."""
        return self.world.sum(F.pad(x, (0, 0, self.first, self.total - self.first - x.shape[-2])))

    @property
    def y_NC(self) -> Tensor:
        """The labels as one-hot rows."""
        return F.one_hot(self.labels_N, self.num_classes).to(self.f_AND)

    def class_means(self) -> Tensor:
        """Return the mean feature m_CD of each class over its images and their views."""
        per_image_ND = self.f_AND.mean(dim=0)
        sums_CD = torch.zeros(self.num_classes, per_image_ND.shape[1], device=per_image_ND.device, dtype=per_image_ND.dtype)
        return self.world.sum(sums_CD.index_add(0, self.labels_N, per_image_ND)) * (self.num_classes / self.total)


Loss = Callable[[Synthetic], Tensor]


def synthesise(
    task: Task,
    loss_for: Callable[..., Loss],
    *,
    num_updates: Count = 5001,
    learning_rate: Positive = 2e-3,
    lr_over_levels: bool = False,
    decay_start: Fraction = 1.0,
    num_augmentations: PositiveInt = 10,
    num_views: PositiveInt | None = None,
    drop_last: Annotated[bool, Since('2026-11', neutral=False)] = True,
    parameterization: Literal['pyramid', 'pixels'] = 'pyramid',
    level_every: PositiveInt = 200,
    level_delay: Annotated[Count, Since('2026-11', neutral=0)] = 1,
    image_size: PositiveInt | None = None,
    decorrelate: bool = True,
    init: Literal['noise', 'real'] = 'noise',
    frame: Annotated[Literal['whole', 'random'], Since('2026-11', neutral='whole')] = 'random',
    interpolation: Annotated[Literal['bilinear', 'bicubic'] | None, Since('2026-11', neutral=None)] = 'bilinear',
    crop: bool = True,
    crop_min_area: PositiveFraction = 0.08,
    overhang: Annotated[bool, Since('2026-11', neutral=False)] = True,
    flip_prob: Fraction = 0.5,
    noise_std: NonNegative = 0.2,
    noise_mean: NonNegative = 0.0,
    noise_prob: Fraction = 0.5,
    soft_labels: bool = False,
    label_temperature: Positive = 0.1,
    chunk_size: PositiveInt | None = None,
    log_every: PositiveInt = 10,
    checkpoint_every: PositiveInt | None = 100,
    compile_backbone: bool = False,
) -> DistilledSet:
    """Optimise `ipc` synthetic images per class for a loss on their features. The defaults are the release's (2511.16674).

    Args:
      task: the training split, seen through the source backbone.
      loss_for: makes the loss from the features of the real images (`RealFeatures`).
      num_updates: number of updates of the images.
      learning_rate: Adam's learning rate for every level.
      lr_over_levels: divide the rate by the number of levels, so that the step size of a pixel does not depend on the depth.
      decay_start: fraction of the updates after which the rate falls to 0 along a half cosine; 1 keeps it constant.
      num_augmentations: random views per synthetic image and update (A).
      num_views: cached random views per real image; an update uses one of them, drawn at random. None encodes a new view for
        every use, as in the release; statistics of all real views are then those of `real.VIEWS_OF_STATISTICS` cached views.
      drop_last: drop the rest of a shuffled pass over the real images that does not fill a batch, as in the release. If the
        split is smaller than a batch, the release has no batch at all; a batch then takes several passes, as without it.
      parameterization: 'pyramid', or 'pixels' (a single level of full size).
      level_every: number of updates between two levels of the pyramid.
      level_delay: updates by which each level is added later: before update `k * level_every + level_delay`, from 0. It is 1
        in the release.
      image_size: side of the synthetic images in pixels; None takes 256/224 of the backbone's input.
      decorrelate: decode through the colour correlation of natural images.
      init: 'noise', or 'real' to start from photographs selected by herding (the centroid's at ipc 1), with all levels.
      frame: what crops of real images are taken from: the 'whole' image, or a 'random' square of 256/224 of the input, after
        the shorter side was reduced to it (as in the release).
      interpolation: filter that resizes real images; None takes the backbone's own. Crops with `overhang` are bilinear.
      crop: random resized crops, for real and synthetic images; otherwise both are seen through the central crop.
      crop_min_area: smallest crop, as a fraction of the image.
      overhang: crops as released, of which 14 % leave the image; otherwise all lie inside it. For real and synthetic images.
      flip_prob: probability of a flipped view.
      noise_std: standard deviation of Gaussian noise, for images in [0, 1].
      noise_mean: mean of the noise; the release had 0.5 at first and 0 later, and which made its tables is not known.
      noise_prob: probability of noise in a view.
      soft_labels: label the finished images with a linear teacher of the training features instead of with their class.
      label_temperature: temperature of the teacher's softmax.
      chunk_size: views that pass through the backbone at once; None takes all. A chunk size saves memory, at the cost of a
        second forward pass.
      log_every: updates between logged losses.
      checkpoint_every: updates between checkpoints, rounded up to a logged update; None saves none.
      compile_backbone: use torch.compile; it needs a compiler, and pays off over many updates.

    Returns:
      The images at 8 bits, ipc per class, in class order.

    Raises:
      InputError: if the schedule ends before the pyramid is complete, or a class has fewer than ipc images to start from.
      FloatingPointError: if the loss is not finite; the message names the update.
    """
    image_size = image_size or resize_side(task.encoder.input_side)
    labels_N = np.repeat(np.arange(task.train.num_classes), task.ipc)
    augmentation = Augmentation(
        crop=crop, scale=(crop_min_area, 1.0), overhang=overhang, flip_prob=flip_prob,
        noise_std=noise_std, noise_mean=noise_mean, noise_prob=noise_prob, centre=central_box(task.encoder.input_side),
    )
    view = _real_view(task.encoder, augmentation, frame=frame, interpolation=interpolation)
    real = RealFeatures(
        task, view, num_views, torch.Generator(task.encoder.device).manual_seed(derive_seed('synthesis', 'real', task.seed)),
        drop_last=drop_last,
    )
    loss = loss_for(real)
    pyramid = _own_pyramid(
        task, image_size=image_size, start_size=1 if parameterization == 'pyramid' else image_size, decorrelate=decorrelate,
        from_real=init == 'real',
    )
    if compile_backbone:
        task = _compiled(task)
    x_NCHW, curve = match(
        pyramid, _loss_of_features(loss, task, pyramid, labels_N), task=task, real=real,
        schedule=Schedule(num_updates, learning_rate, lr_over_levels, decay_start, level_every, level_delay),
        augmentation=augmentation, chunking=Chunking(num_augmentations, chunk_size),
        total=len(labels_N), log_every=log_every, checkpoint_every=checkpoint_every,
        generator=torch.Generator().manual_seed(derive_seed('synthesis', 'views', task.seed)),
    )
    facts = {
        'image_size': image_size, 'final_meta_loss': curve[-1][1] if curve else None, 'chunk_size': chunk_size,
        'compile_backbone': compile_backbone, 'processes': task.world.size,
    }
    distilled = DistilledSet.synthetic(x_NCHW, labels_N, facts=facts, curves={'distill/meta_loss': curve})
    return _softly_labelled(distilled, task, temperature=label_temperature) if soft_labels else distilled


def _real_view(backbone: Backbone, augmentation: Augmentation, *, frame: Frame, interpolation: str | None) -> RandomView:
    """Return the random view of real images that is like that of synthetic ones."""
    return RandomView(
        backbone.input_side, interpolation or backbone.interpolation, seed=derive_seed('lgm', 'real views'),
        crop=augmentation.crop, scale=augmentation.scale, ratio=augmentation.ratio, frame=frame,
        overhang=augmentation.overhang, flip_prob=augmentation.flip_prob, noise_std=augmentation.noise_std,
        noise_mean=augmentation.noise_mean, noise_prob=augmentation.noise_prob,
    )


def _own_pyramid(task: Task, *, image_size: int, start_size: int, decorrelate: bool, from_real: bool) -> Pyramid:
    """Return the pyramid of all images of this process's classes: noise, or (`from_real`) photographs."""
    classes = task.world.share(task.train.num_classes)
    first, end = classes.start * task.ipc, classes.stop * task.ipc
    pyramid = Pyramid(
        end - first, first=first, image_size=image_size, start_size=start_size, decorrelate=decorrelate, seed=task.seed,
        device=task.encoder.device, dtype=task.encoder.dtype,
    )
    if from_real:
        pyramid.start_from(_real_images(task, size=image_size)[first:end])
    return pyramid


def _loss_of_features(loss: Loss, task: Task, pyramid: Pyramid, labels_N: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Return the loss as a function of f_AND, the features of this process's images; `labels_N` are those of all images."""
    own_labels_N = torch.from_numpy(labels_N[pyramid.first : pyramid.first + pyramid.count]).to(pyramid.device)
    num_classes, world = task.train.num_classes, task.world
    return lambda f_AND: loss(Synthetic(f_AND, own_labels_N, pyramid.first, len(labels_N), num_classes, world))


def _compiled(task: Task) -> Task:
    """Return the task with a compiled backbone."""
    network: Any = torch.compile(task.encoder.network)  # a module again, which torch's types do not say
    return dataclasses.replace(task, backbone=dataclasses.replace(task.encoder, network=network))


def _softly_labelled(distilled: DistilledSet, task: Task, *, temperature: float) -> DistilledSet:
    """Return the set with labels from a linear teacher that was trained on the training features (test view)."""
    f_MD = task.features_of(distilled.split(task.train))
    soft_MC = teacher_labels(
        task.features(), task.train.labels_N, f_MD, distilled.labels_N,
        num_classes=task.train.num_classes, temperature=temperature,
    )
    return dataclasses.replace(distilled, soft_labels_NC=soft_MC)


def synthesis(loss_for: Callable[..., Loss]) -> Callable[..., DistilledSet]:
    """Make a method from a function that returns a loss. It has the function's settings and those of `synthesise`."""
    shared = {p.name: p for p in _settings_of(synthesise)}
    own = {p.name: p for p in _settings_of(loss_for)}

    @method(enough_images=lambda settings: settings['init'] == 'real', cost_only=_COST_ONLY, check=_check_schedule)
    @functools.wraps(loss_for)
    def run(task: Task, **settings: Any) -> DistilledSet:
        loss_settings = {name: settings.pop(name) for name in own.keys() & settings.keys()}
        return synthesise(task, functools.partial(loss_for, **loss_settings), **settings)

    run.__signature__ = inspect.Signature([  # type: ignore[attr-defined]  # a function carries any name
        inspect.Parameter('task', inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Task),
        *own.values(),
        *shared.values(),
    ])
    run.__annotations__ = {**synthesise.__annotations__, **loss_for.__annotations__, 'return': DistilledSet}
    return run


def _check_schedule(settings: dict[str, Any], *, name: str, input_side: int | None) -> None:
    """Check that the pyramid is complete before the updates end (`Schedule.check`), if its size is already known."""
    image_size = settings['image_size'] or (input_side and resize_side(input_side))
    if image_size and settings['parameterization'] == 'pyramid' and settings['init'] == 'noise':
        fields = {field.name: settings[field.name] for field in dataclasses.fields(Schedule)}
        Schedule(**fields).check(level_sizes(image_size), name=name)


def _settings_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _real_images(task: Task, *, size: int) -> Tensor:
    """Return ipc representative photographs per class, centre-cropped, x_NCHW in [0, 1]."""
    from torchvision.transforms.v2 import functional as TF

    check_ipc(task.train, task.ipc)
    f_ND = task.features()
    chosen = [members[herd(f_ND[members], task.ipc)] for members in task.members()]
    images = [task.train.images[int(index)] for index in np.concatenate(chosen)]
    crops = [TF.pil_to_tensor(TF.center_crop(TF.resize(image, [size]), [size, size])) for image in images]
    return torch.stack(crops).to(task.encoder.dtype) / 255
