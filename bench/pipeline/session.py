"""The session: the state shared by the stages of one process, including loaded data sets and backbones."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.backbones import remembered
from bench.backbones.base import Backbone
from bench.backbones.readout import Readout
from bench.config.gin_files import Choice
from bench.core.types import Dataset, Places
from bench.features.store import FeatureStore
from bench.features.views import CenterView
from bench.machine.processes import ALONE, World


@dataclass
class Session:
    """The state shared by the stages of one process. Data sets and backbones are loaded on first use and kept.

    `device` is a torch device, or None if nothing is computed. `say` shows a line to the user. `made` holds the folders of
    the distilled sets made by this process, so that `force` makes each set only once.
    """

    places: Places
    results_dir: Path
    device: Any
    world: World = ALONE
    say: Callable[[str], None] = print
    made: set[Path] = field(default_factory=set)
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _backbones: dict[str, Backbone] = field(default_factory=dict)
    _weights: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = FeatureStore(self.places.cache_dir, world=self.world)

    def dataset(self, choice: Choice) -> Dataset:
        """Return a data set, named by its label."""
        if choice.label not in self._datasets:
            self._datasets[choice.label] = replace(choice.call(self.places), name=choice.label)
        return self._datasets[choice.label]

    def backbone(self, choice: Choice, dataset: Dataset | None = None) -> Backbone:
        """Return a backbone on the session's device, named by its label.

        A readout with statistics takes those of the training images of `dataset`. Without a data set it waits, which is
        enough for the facts of the backbone.
        """
        if choice.label not in self._backbones:
            made = choice.call(self.places, self.device)
            self._backbones[choice.label] = replace(made, name=choice.label)
            remembered.remember(self._memo(choice), made.fingerprint)
        backbone = self._backbones[choice.label]
        return self._fitted(backbone, dataset) if dataset and backbone.readout.waits else backbone

    def _fitted(self, backbone: Backbone, dataset: Dataset) -> Backbone:
        key = f'{backbone.name} for {dataset.name}'
        if key not in self._backbones:
            train, view = dataset.train, CenterView(backbone.input_side, backbone.interpolation)
            f_ND = self.store.features(train, replace(backbone, readout=Readout()), view)[0]
            readout = backbone.readout.fitted(f_ND, of=train.fingerprint, device=backbone.device, dtype=backbone.dtype)
            self._backbones[key] = replace(backbone, readout=readout)
        return self._backbones[key]

    def weights(self, choice: Choice) -> str:
        """Return the fingerprint of a backbone's weights. If it is not known from the files, the backbone is built."""
        return self.known_weights(choice) or self.backbone(choice).fingerprint

    def known_weights(self, choice: Choice) -> str | None:
        """Return the fingerprint of a backbone's weights, or None if the backbone would have to be built."""
        if choice.label in self._backbones:
            return self._backbones[choice.label].fingerprint
        if choice.label not in self._weights:
            self._weights[choice.label] = remembered.recall(self._memo(choice))
        return self._weights[choice.label]

    def _memo(self, choice: Choice) -> Path | None:
        return remembered.entry_of(
            choice.row.load(), choice.arguments, self.places, choice.settings, code=choice.code
        )
