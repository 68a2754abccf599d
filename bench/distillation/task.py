"""The input of a method, and the declaration of what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Everything a method may use: the training split, seen through one frozen backbone. It contains no test data.

    `backbone` and `store` are None for a method that uses no backbone. `source_set` is the distilled set of another method,
    for a method declared with `of`. `checkpoint` saves the state of a long run. `world` gives this process's share of the
    work; a method that ignores it does the same work in every process. `log(tag, step, value)` records a number and
    `show(step, x_NCHW)` records images. Both appear in TensorBoard, and the images also in the time-lapse.
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
        """Return f_ND of the training images in the test view, memory-mapped."""
        return self.features_of(self.train)

    def features_of(self, split: Split) -> np.ndarray:
        """Return f_ND of other images, such as those of a distilled set, in the test view, memory-mapped."""
        return self._features(split, CenterView(self.encoder.input_side, self.encoder.interpolation))[0]

    def view_features(self, view: RandomView, *, num_views: int) -> np.ndarray:
        """Return f_VND of random training views, memory-mapped."""
        return self._features(self.train, view, num_views=num_views)

    def fresh_features(self, view: RandomView, rows_M: np.ndarray, *, number: int) -> 'Tensor':
        """Return f_MD of a view of some training images, given by index, encoded now and not cached; on the CPU.

        The random choices depend on `number` and on the place in `rows_M`: a new number gives new views, and an image that
        stands there twice has two.
        """
        assert self.store is not None, 'a task with a backbone has a store'
        chosen = DistilledSet(self.train.labels_N[rows_M], indices_N=rows_M).split(self.train)
        return self.store.fresh(chosen, self.encoder, view, views=range(number, number + 1))[0]

    def _features(self, split: Split, view: View, *, num_views: int = 1) -> np.ndarray:
        assert self.store is not None, 'a task with a backbone has a store'
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
        """Return a numpy generator for a purpose and this task's seed."""
        return numpy_generator(*purpose, self.seed)


def check_ipc(train: Split, ipc: int) -> None:
    """Check that every class has at least `ipc` real images.

    Raises:
      InputError: names the smallest class.
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
    """The quantities that determine a method's result. Cells that differ only in others are the same cell.

    `backbone`, `seed` and `ipc` say whether the result depends on the source backbone, the random seed and the number of
    images per class. `enough_images(settings)` says whether every class must have at least `ipc` real images.
    `of(settings)` names the method (as in run.methods) whose synthetic set is needed. That set is made first, with the same
    backbone, ipc and seed, and is passed as `Task.source_set`; this method then needs everything that the other one needs.
    `cost_only` lists settings that do not change the result in exact arithmetic; they are not part of a cell's key. Those
    that change the order of sums belong in the `facts` of the set, because rounding can grow (docs/protocol.md).
    `check(settings, name=..., input_side=...)` raises an InputError before any work if settings are incompatible: `name` is
    the name they are bound under (`lgm`, `label/lgm`), and `input_side` is the source backbone's in pixels, or None if it is
    not known yet. `real` says that the result is a selection of training images.
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
    """Declare the needs of a method (fields of `Needs`). The decorator returns `method(task, *, settings...)` itself."""

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        function.needs = Needs(**needs)  # type: ignore[attr-defined]  # a function carries any name
        return function

    return mark


def needs_of(function: Callable[..., Any]) -> Needs:
    """Return the declared needs of a method; by default it needs everything."""
    return getattr(function, 'needs', Needs())
