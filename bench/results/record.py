"""The record: the result of one cell in one JSON file, written once and never edited.

The path of a record is `<results_dir>/records/<dataset>/<eval_backbone>/<method>/<key>.json`. `Record` is the single
definition of its fields: their order in the file, their types, ranges and meanings. Validation (`check`), writing (`store`)
and the documentation (`schema`) are derived from it. To add a field, declare it here with `since` and raise
`SCHEMA_VERSION`.

Accuracies are fractions, not percent. Letters: R repeats (probe seeds), N test images, C classes.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import numpy as np

from bench.core.ranges import Count, Fraction, NonNegative

# Version 2 exists because readers of version 1 would mix soft labels into the tables of hard labels.
SCHEMA_VERSION = 4
ANY_SOURCE = 'any'
# Records of schemas 1 and 2 have no method facts. These methods of that time chose real images, or used no seed.
_REAL_OF_OLD = frozenset('random centroid herding k_center neighbors full'.split())
_SEEDLESS_OF_OLD = frozenset('centroid herding k_center full'.split())
_T = TypeVar('_T')
IfOk = Annotated[_T | None, 'ok']  # null only in records of failed cells
IfFailed = Annotated[_T | None, 'failed']  # null only in records of finished cells


def since(version: int, before: Any) -> Any:
    """Declare a field that was added in a schema version. When an earlier record is read, its value is `before`."""
    return field(default=before, metadata={'since': version})


def rest() -> Any:
    """Declare a field that collects all other members of a JSON object. In the file they are next to the named fields."""
    return field(default_factory=dict, metadata={'rest': True})


@dataclass(frozen=True)
class CellConfig:
    """The full configuration of the cell. Its hash is the key."""

    dataset: str
    """Label of the data set."""
    method: str
    """Label of the method."""
    source_backbone: str
    """Label of the backbone that the method used; `any` if the method uses no backbone."""
    eval_backbone: str
    """Label of the backbone that the probe was trained and tested on."""
    ipc: Count | None
    """Images per class; null if the method takes all training images."""
    seed: int
    """Seed of the method; 0 if the method uses no seed."""
    protocol: str
    """Label of the probe protocol."""
    settings: dict[str, Any] = rest()
    """The registered name and the settings of each choice above, such as `method_name` and `method_settings`."""

    @property
    def config(self) -> dict[str, Any]:
        """The full configuration as a dict, in the form that is hashed."""
        named = {name: value for name, value in vars(self).items() if name != 'settings'}
        return {**named, **self.settings}

    @property
    def method_name(self) -> str:
        """The method's name in the registry, which may differ from its label."""
        return self.settings.get('method_name', self.method)


@dataclass(frozen=True)
class MethodFacts:
    """Properties of the method. If it starts from the images of another method, the needs of both are combined."""

    real: bool
    """Whether the method chooses training images."""
    needs_backbone: bool
    """Whether the method uses a backbone."""
    needs_seed: bool
    """Whether the distilled set depends on the seed."""
    needs_ipc: bool
    """Whether the distilled set depends on the number of images per class."""

    @staticmethod
    def of_old(cell: CellConfig) -> 'MethodFacts':
        """Return the method facts of a record of schema 1 or 2, which does not store them.

        `needs_backbone` and `needs_ipc` follow from the cell. `real` and `needs_seed` are known for the methods of that
        time; any other method is assumed to be synthetic and to use a seed.
        """
        name = cell.method_name
        return MethodFacts(
            real=name in _REAL_OF_OLD, needs_backbone=cell.source_backbone != ANY_SOURCE,
            needs_seed=name not in _SEEDLESS_OF_OLD, needs_ipc=cell.ipc is not None,
        )  # fmt: skip


@dataclass(frozen=True)
class ProtocolRules:
    """The rules by which the probe was trained and tested."""

    name: str
    """Label of the protocol."""
    hash: str
    """Hash of the protocol's rules and settings. A table of results never mixes two hashes."""


@dataclass(frozen=True)
class Failure:
    """Why the cell failed."""

    type: str
    """Class of the exception."""
    message: str
    """Message of the exception."""
    traceback: str
    """Traceback of the exception."""


@dataclass(frozen=True)
class Group:
    """One group of the test split, such as land birds on water."""

    name: str
    """Name of the group."""
    n: Count
    """Number of test images."""
    n_train: Count | None
    """Number of training images; null if the training split has no groups."""
    accuracy: Fraction | None
    """Mean accuracy over repeats; null if the group has no test images."""


@dataclass(frozen=True)
class WorstGroup:
    """The group with the lowest accuracy."""

    name: str
    """Name of the group."""
    accuracy: Fraction
    """Mean accuracy over repeats."""


@dataclass(frozen=True)
class Groups:
    """Accuracies by group."""

    groups: list[Group]
    """All groups of the data set."""
    worst: WorstGroup
    """The group with the lowest mean accuracy over repeats."""
    adjusted_mean: Fraction | None
    """Mean accuracy of the groups, weighted by their numbers of training images; null if these are unknown."""


@dataclass(frozen=True)
class Correct:
    """Which test images each repeat classified correctly, for paired tests."""

    n: Count
    """Number of test images, N."""
    bits: list[str]
    """R rows of N bits, packed by `numpy.packbits` and encoded in base64."""

    @staticmethod
    def pack(correct_RN: np.ndarray) -> 'Correct':
        """Pack boolean correct_RN."""
        rows = np.packbits(np.asarray(correct_RN, dtype=bool), axis=1)
        return Correct(int(correct_RN.shape[1]), [base64.b64encode(row.tobytes()).decode() for row in rows])

    def unpack(self) -> np.ndarray:
        """Return correct_RN as booleans."""
        rows = [np.frombuffer(base64.b64decode(text), dtype=np.uint8) for text in self.bits]
        return np.unpackbits(np.stack(rows), axis=1, count=self.n).astype(bool)


@dataclass(frozen=True)
class Scored:
    """What statistics need of a finished record (`Record.scored`); no field of the file.

    Two records share their distilled set, their probes or their test images if they agree in `made`, `probes` or `images`.
    """

    seed: int
    """Seed of the method."""
    correct: Correct
    """Which test images each repeat classified correctly."""
    drawn: bool
    """Whether another seed would give another distilled set."""
    made: str
    """Names the distilled set."""
    probes: tuple[Any, ...]
    """Names the probes: eval backbone, protocol and probe seeds."""
    images: tuple[Any, ...]
    """Names the test images."""


@dataclass(frozen=True)
class Seconds:
    """Wall time by stage, in seconds."""

    method: NonNegative | None = None
    """Making the distilled set, including work before an interruption."""
    probe: NonNegative | None = None
    """Training and testing the probe."""
    others: dict[str, NonNegative | None] = rest()
    """Other stages, by name."""


@dataclass(frozen=True, kw_only=True)
class DistilledFacts:
    """The distilled set that the probe was trained on."""

    hash: str
    """Hash of its images and labels."""
    bytes: Count
    """Size of its images and labels in bytes."""
    kind: Literal['real', 'synthetic']
    """Whether the images were chosen from the training split or synthesised."""
    labels: Literal['hard', 'soft'] = since(2, 'hard')
    """Hard: one class per image. Soft: one float per class for each image. A table of results never mixes the two."""
    facts: dict[str, Any]
    """Facts that the method reports about the set."""


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """Hashes of data and weights: equal fingerprints mean equal images and weights."""

    dataset: dict[str, str] | None
    """Fingerprints of the splits `train` and `test`. For image files: hash of their names, sizes and labels."""
    contents: dict[str, str] | None = since(3, None)
    """Hash of the image contents of each split."""
    source_weights: str | None
    """Hash of the source backbone's weights; null if the method uses no backbone."""
    eval_weights: str | None
    """Hash of the eval backbone's weights."""


@dataclass(frozen=True)
class Skipped:
    """Images that could not be read and were left out."""

    n: Count
    """Number of skipped images."""
    names: list[str]
    """Names of the first skipped images."""


@dataclass(frozen=True)
class CodeFacts:
    """The code of one part of the cell."""

    hash: str
    """Hash of the source's syntax tree: comments and layout do not count."""
    version: Count | None = None
    """Version of built-in code. It is raised when a change of the code changes results."""
    file: str | None = None
    """Source file of a plug-in."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How, where and when the record was made. Null means unknown."""

    version: str | None = since(3, None)
    """Version of this package."""
    commit: str | None
    """Git commit of the code."""
    dirty: bool | None
    """Whether the code had changes that were not committed."""
    versions: dict[str, str | None]
    """Version of Python and of each package that affects results."""
    platform: str
    """Operating system and architecture."""
    cpu: str | None = None
    """Processor. Its vector instructions decide the last bits of a float."""
    threads: Count | None = None
    """Number of threads that torch used."""
    command: str
    """The command, without the flags that name local folders."""
    created: str
    """Time of creation in UTC, as ISO 8601."""
    code: dict[str, CodeFacts] | None = since(3, None)
    """Code of the method, of the protocol and of every plug-in, by part of the cell."""


@dataclass(frozen=True)
class GinBindings:
    """Gin bindings and their values."""

    asked: dict[str, Any]
    """Bindings from gin files and flags."""
    operative: dict[str, Any]
    """All settings that the parts of the cell ran with."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of one cell."""

    schema_version: Literal[1, 2, 3, 4]
    """Version of this schema. Readers reject unknown versions."""
    key: str
    """Hash of `cell`, and the name of the file."""
    cell: CellConfig
    """Configuration of the cell."""
    method_facts: MethodFacts = since(3, None)
    """Properties of the method. For earlier records they are derived from the method's name and the cell."""
    protocol: ProtocolRules
    """The rules of the probe."""
    status: Literal['ok', 'failed']
    """Whether the cell finished or failed. In a failed record, the fields of stages that were not reached are null."""
    error: IfFailed[Failure]
    """Why the cell failed."""
    top1: IfOk[list[Fraction]]
    """Top-1 accuracy of each of R repeats."""
    top5: list[Fraction] | None
    """Top-5 accuracy of each of R repeats; null for data sets with 5 classes or fewer."""
    probe_seeds: IfOk[list[int]]
    """Seeds of the R probes."""
    mean: IfOk[Fraction]
    """Mean of `top1`."""
    std: NonNegative | None
    """Standard deviation of `top1`, ddof 1; null for one repeat."""
    ci95: tuple[float, float] | None
    """Both ends of the 95 % interval of the mean, by Student's t over the repeats; null for one repeat."""
    n_test: IfOk[Count]
    """Number of test images, N."""
    per_class: IfOk[list[Fraction | None]]
    """Mean accuracy over repeats of each of C classes; null for a class without test images."""
    class_names: IfOk[list[str]]
    """Names of the C classes."""
    per_group: Groups | None
    """Accuracies by group; null if the data set has no groups."""
    correct: IfOk[Correct]
    """Correctness of each test image in each repeat."""
    seconds: Seconds
    """Wall time by stage."""
    peak_memory_mb: NonNegative | None
    """Peak memory over all stages, in MB of 2^20 bytes: of the GPU if one was used, else of the process; null if unknown."""
    device: str | None
    """`cpu`, or the name of the GPU."""
    images_encoded: Count | None
    """Number of real images and of probe views encoded by a backbone for this cell, without those of a method's updates."""
    n_train_images: IfOk[Count]
    """Number of images that the probe was trained on."""
    distilled: IfOk[DistilledFacts]
    """The distilled set that the probe was trained on."""
    fingerprints: Fingerprints
    """Fingerprints of data and weights."""
    skipped: IfOk[dict[str, Skipped]]
    """Unreadable images of each split, `train` and `test`."""
    probe_facts: dict[str, Any] | None
    """Facts that the protocol reports in addition to the score."""
    provenance: Provenance
    """Code, packages, machine, command and time."""
    gin: GinBindings | None
    """The gin configuration of the run."""
    digest: str = field(default='', compare=False, metadata={'since': 4})
    """Hash of all other fields, by which a reader notices that the file was damaged or edited."""

    @property
    def accuracy(self) -> float:
        """`mean`, of a record of status ok."""
        assert self.mean is not None, f'record {self.key} failed'
        return self.mean

    @property
    def scored(self) -> 'Scored | None':
        """What statistics need; None for a failed record."""
        if self.correct is None:
            return None
        # The whole training split is one set, whatever the seed.
        made = self.distilled.hash if self.distilled is not None and self.distilled.hash else f'all of {self.cell.dataset}'
        splits = self.fingerprints.contents or self.fingerprints.dataset or {}
        return Scored(
            self.cell.seed, self.correct, drawn=self.method_facts.needs_seed, made=made,
            probes=(self.cell.eval_backbone, self.protocol.hash, *(self.probe_seeds or ())),
            images=(self.cell.dataset, splits.get('test'), self.n_test),
        )  # fmt: skip

    @property
    def images_of_updates(self) -> int:
        """Number of views of synthetic images that the updates of the method sent through the backbone."""
        settings = self.cell.settings.get('method_settings') or {}
        updates, views = (settings.get(name) or 0 for name in ('num_updates', 'num_augmentations'))
        return updates * views * (self.n_train_images or 0)

    @property
    def correct_RN(self) -> np.ndarray:
        """`correct` as booleans, of a record of status ok."""
        assert self.correct is not None, f'record {self.key} failed'
        return self.correct.unpack()

    @property
    def labels(self) -> Literal['hard', 'soft']:
        """The kind of labels of the set. A failed record has no set, so its method's settings decide."""
        if self.distilled is not None:
            return self.distilled.labels
        settings = self.cell.settings.get('method_settings')
        return 'soft' if isinstance(settings, Mapping) and settings.get('soft_labels') is True else 'hard'

    @property
    def settings(self) -> str:
        """`cell.settings` as JSON with sorted keys, so that equal settings give equal texts."""
        return json.dumps(self.cell.settings, sort_keys=True)
