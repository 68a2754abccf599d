"""What a method is given, and how it says what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.backbones.base import Backbone
from bench.core.errors import InputError
from bench.core.hashing import numpy_generator
from bench.core.types import Split
from bench.distillation.distilled_set import DistilledSet
from bench.features.store import FeatureStore
from bench.features.views import CenterView, RandomView, View
from bench.machine.checkpoints import Checkpoint
from bench.machine.processes import ALONE, World


@dataclass(frozen=True)
class Task:
    """All that a method may know: the training split, seen through one frozen backbone. It holds nothing of the test split.

    `backbone` and `store` are None for a method that does not use a backbone. `source_set` is another method's result,
    for a method declared with `of`. `checkpoint` keeps the state of a long run, `world` tells this process's share of it
    (a method that ignores it does the same work in every process). `log(tag, step, value)` records a number,
    `show(step, x_NCHW)` the images at a step; both appear in TensorBoard, and the images in the time-lapse.
    """

    train: Split
    ipc: int
    seed: int
    backbone: Backbone | None = None
    store: FeatureStore | None = None
    log: Callable[[str, int, float], None] = lambda tag, step, value: None
    show: Callable[[int, Any], None] = lambda step, x_NCHW: None
    title: str = ''
    source_set: DistilledSet | None = None
    checkpoint: Checkpoint | None = None
    world: World = ALONE

    @property
    def encoder(self) -> Backbone:
        """The backbone, of a method that uses one."""
        assert self.backbone is not None, 'the method declares that it uses no backbone'
        return self.backbone

    def features(self) -> np.ndarray:
        """Return f_ND of the training images in the test view, float32, memory-mapped."""
        return self.features_of(self.train)

    def features_of(self, split: Split) -> np.ndarray:
        """Return f_ND of other images, such as a distilled set's, in the test view, float32, memory-mapped."""
        return self._features(split, CenterView(self.encoder.input_side, self.encoder.interpolation))[0]

    def view_features(self, view: RandomView, *, num_views: int) -> np.ndarray:
        """Return f_VND of random training views, float32, memory-mapped."""
        return self._features(self.train, view, num_views=num_views)

    def _features(self, split: Split, view: View, *, num_views: int = 1) -> np.ndarray:
        assert self.store is not None, 'who gives a backbone gives a store'
        return self.store.features(split, self.encoder, view, num_views=num_views)

    def members(self) -> list[np.ndarray]:
        """Return the indices of each class's training images, in order.

        Raises:
          InputError: if a class has fewer images than `ipc`.
        """
        check_ipc(self.train, self.ipc)
        order = np.argsort(self.train.labels_N, kind='stable')
        return np.split(order, np.cumsum(np.bincount(self.train.labels_N, minlength=self.train.num_classes))[:-1])

    def generator(self, *purpose: str | int) -> np.random.Generator:
        """Return a numpy generator for this task's seed and a purpose."""
        return numpy_generator(*purpose, self.seed)


def check_ipc(train: Split, ipc: int) -> None:
    """Check that every class can give `ipc` real images.

    Raises:
      InputError: naming the smallest class.
    """
    counts = np.bincount(train.labels_N, minlength=train.num_classes)
    smallest = int(counts.argmin())
    if counts[smallest] < ipc:
        raise InputError(
            f'ipc = {ipc}: class {train.class_names[smallest]!r} has {counts[smallest]} training images; '
            f'choose ipc <= {counts[smallest]}'
        )


@dataclass(frozen=True)
class Needs:
    """What a method's result depends on; cells that differ only in the rest are one cell.

    `backbone`: a source backbone. `seed`: a random seed. `ipc`: the images per class. `enough_images` tells from the
    settings whether every class must have at least `ipc` real images. `of` tells from the settings the method (as in
    run.methods) whose synthetic set is needed, with all that it needs: it is made first, with the same backbone, ipc and
    seed, and handed over as `Task.source_set`. `cost_only` names settings that never change the result: they are not part
    of a cell's key. `check(settings, name=..., input_side=...)` raises an InputError for settings that cannot work together,
    before any work: `name` is how they are bound (`lgm`, `label/lgm`), `input_side` the source backbone's in pixels, or None
    as long as it is not known. `real` says that the result is a choice of training images.
    """

    backbone: bool = True
    seed: bool = True
    ipc: bool = True
    enough_images: Callable[[dict[str, Any]], bool] = lambda settings: True
    of: Callable[[dict[str, Any]], str] | None = None
    real: bool = False
    cost_only: tuple[str, ...] = ()
    check: Callable[..., None] = lambda settings, *, name, input_side: None


def method(**needs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare what a method needs (fields of `Needs`): a decorator that leaves `method(task, *, settings...)` as it is."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.needs = Needs(**needs)  # type: ignore[attr-defined]  # a function carries any name
        return function

    return mark


def needs_of(function: Callable[..., Any]) -> Needs:
    """Return what a method declared, or that it needs everything."""
    return getattr(function, 'needs', Needs())
