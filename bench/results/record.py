"""What a record is: the result of one cell, one JSON file, written once and never edited.

A record lies at `<results_dir>/records/<dataset>/<eval_backbone>/<method>/<key>.json`. `Record` says everything about its
fields once: their order in the file, their types and ranges, and what they mean. The check on reading (`check`), the
writing (`store`) and the description in docs/ (`schema`) all follow from it. So a new field is one entry here, with `since`
and a raised `SCHEMA_VERSION`.

Accuracies are fractions, not percent. Letters: R repeats (probe seeds), N test images, C classes.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import numpy as np

from bench.core.ranges import Count, Fraction, NonNegative

# A reader of version 1 would have put soft labels into the tables of hard ones: hence another version.
SCHEMA_VERSION = 3
ANY_SOURCE = 'any'
# Of the methods of schemas 1 and 2, whose records do not tell it: those that choose training images, those without a seed.
_REAL_OF_OLD = frozenset('random centroid herding k_center neighbors full'.split())
_SEEDLESS_OF_OLD = frozenset('centroid herding k_center full'.split())
_T = TypeVar('_T')
IfOk = Annotated[_T | None, 'ok']  # null in the record of a failed cell, never in that of a finished one
IfFailed = Annotated[_T | None, 'failed']  # the other way round


def since(version: int, before: Any) -> Any:
    """Return a field that records have since a schema version; in those of earlier ones its value is `before`."""
    return field(default=before, metadata={'since': version})


def rest() -> Any:
    """Return a field that holds what a JSON object has beside the named fields; in the file it stands among them."""
    return field(default_factory=dict, metadata={'rest': True})


@dataclass(frozen=True)
class CellConfig:
    """The cell: its full configuration, whose hash is the key."""

    dataset: str
    """Label of the data set."""
    method: str
    """Label of the method."""
    source_backbone: str
    """Label of the backbone that the method looked through; `any` where it looks at none."""
    eval_backbone: str
    """Label of the backbone that the probe was trained and tested on."""
    ipc: Count | None
    """Images per class; null where the method takes all there are."""
    seed: int
    """Seed of the method; 0 where it uses none."""
    protocol: str
    """Label of the probe protocol."""
    settings: dict[str, Any] = rest()
    """What else the cell holds: the registry's name and the settings of each of the above, such as `method_name` and
    `method_settings`."""

    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration by name, as it is hashed."""
        named = {name: value for name, value in vars(self).items() if name != 'settings'}
        return {**named, **self.settings}

    @property
    def method_name(self) -> str:
        """The method's name in the registry; its label may be another."""
        return self.settings.get('method_name', self.method)


@dataclass(frozen=True)
class MethodFacts:
    """What the method is, with what the method needs whose images it starts from."""

    real: bool
    """Whether it chooses training images."""
    needs_backbone: bool
    """Whether it looks through a backbone."""
    needs_seed: bool
    """Whether its set depends on the seed."""
    needs_ipc: bool
    """Whether its set depends on the number of images per class."""

    @staticmethod
    def of_old(cell: CellConfig) -> 'MethodFacts':
        """Return the facts that earlier records do not tell.

        The cell tells of the backbone and of ipc. Whether a method is real or has a seed is known of those that there were;
        any other one is taken for synthetic and random.
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
    """Hash of its rules and settings: one table never mixes two."""


@dataclass(frozen=True)
class Failure:
    """Why the cell failed."""

    type: str
    """Class of the error."""
    message: str
    """What it said."""
    traceback: str
    """Where it was raised."""


@dataclass(frozen=True)
class Group:
    """One group of the test split, such as land birds on water."""

    name: str
    """Name of the group."""
    n: Count
    """Test images of it."""
    n_train: Count | None
    """Training images of it; null where the training split has no groups."""
    accuracy: Fraction | None
    """Mean over repeats; null where no test image is of it."""


@dataclass(frozen=True)
class WorstGroup:
    """The group with the lowest accuracy."""

    name: str
    """Name of the group."""
    accuracy: Fraction
    """Mean over repeats."""


@dataclass(frozen=True)
class Groups:
    """Accuracies by group."""

    groups: list[Group]
    """Every group of the data set."""
    worst: WorstGroup
    """The one with the lowest mean over repeats."""
    adjusted_mean: Fraction | None
    """Mean accuracy of the groups, weighed by their training images; null where these are unknown."""


@dataclass(frozen=True)
class Correct:
    """Which test images every repeat got right, for paired tests."""

    n: Count
    """N."""
    bits: list[str]
    """R rows of N bits, as `numpy.packbits` packs them, in base64."""

    @staticmethod
    def pack(correct_RN: np.ndarray) -> 'Correct':
        """Return boolean correct_RN, packed."""
        rows = np.packbits(np.asarray(correct_RN, dtype=bool), axis=1)
        return Correct(int(correct_RN.shape[1]), [base64.b64encode(row.tobytes()).decode() for row in rows])

    def unpack(self) -> np.ndarray:
        """Return boolean correct_RN."""
        rows = [np.frombuffer(base64.b64decode(text), dtype=np.uint8) for text in self.bits]
        return np.unpackbits(np.stack(rows), axis=1, count=self.n).astype(bool)


@dataclass(frozen=True)
class Seconds:
    """Wall time by stage, in seconds."""

    method: NonNegative | None = None
    """Making the distilled set, work before an interruption included."""
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
    """Size of images and labels."""
    kind: Literal['real', 'synthetic']
    """Images chosen from the training split, or images that were made."""
    labels: Literal['hard', 'soft'] = since(2, 'hard')
    """One class per image, or one float for each class. Tables of the two are never mixed."""
    facts: dict[str, Any]
    """What the method tells about it."""


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """What was seen: equal fingerprints mean equal images and weights."""

    dataset: dict[str, str] | None
    """Of each split, `train` and `test`; where images lie in files, of their names, sizes and labels."""
    contents: dict[str, str] | None = since(3, None)
    """Of each split: what the images hold."""
    source_weights: str | None
    """Of the source backbone; null where the method looks at none."""
    eval_weights: str | None
    """Of the eval backbone."""


@dataclass(frozen=True)
class Skipped:
    """Images that could not be read and were left out."""

    n: Count
    """How many."""
    names: list[str]
    """The first of them."""


@dataclass(frozen=True)
class CodeFacts:
    """The code of one part of the cell."""

    hash: str
    """Hash of its source by syntax tree: comments and layout do not count."""
    version: Count | None = None
    """Version of what is built in; it is raised where the code changes numbers."""
    file: str | None = None
    """File of a plug-in."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from. Null: it could not be found out."""

    version: str | None = since(3, None)
    """Version of this package."""
    commit: str | None
    """Git commit of the code."""
    dirty: bool | None
    """Whether the code was changed since that commit."""
    versions: dict[str, str | None]
    """Version of Python and of each package that decides numbers."""
    platform: str
    """Operating system and architecture."""
    cpu: str | None = None
    """Processor: its vector instructions decide the last bits of a float."""
    threads: Count | None = None
    """Threads that torch computed with."""
    command: str
    """The command, without the folders of one's own machine."""
    created: str
    """When, in UTC, as ISO 8601."""
    code: dict[str, CodeFacts] | None = since(3, None)
    """Of the method, of the protocol, and of all that comes from plug-ins, by the part of the cell."""


@dataclass(frozen=True)
class GinBindings:
    """Configuration as gin saw it, binding -> value."""

    asked: dict[str, Any]
    """What files and flags bound."""
    operative: dict[str, Any]
    """What the parts of the cell then ran with."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of one cell."""

    schema_version: Literal[1, 2, 3]
    """Version of this description. A reader refuses versions that it does not know."""
    key: str
    """Hash of `cell`; the name of the file."""
    cell: CellConfig
    """What was run."""
    method_facts: MethodFacts = since(3, None)
    """What the method is. In earlier records it follows from the method's name and the cell."""
    protocol: ProtocolRules
    """The rules of the probe."""
    status: Literal['ok', 'failed']
    """Whether the cell was finished. A failed record has null in place of everything that was not reached."""
    error: IfFailed[Failure]
    """Why it failed."""
    top1: IfOk[list[Fraction]]
    """Accuracy of each of R repeats."""
    top5: list[Fraction] | None
    """The same for the first five answers; null where there are 5 classes or fewer."""
    probe_seeds: IfOk[list[int]]
    """R seeds of the probe."""
    mean: IfOk[Fraction]
    """Mean of `top1`."""
    std: NonNegative | None
    """Its standard deviation, ddof 1; null for one repeat."""
    ci95: tuple[float, float] | None
    """Both ends of the 95 % interval of the mean, by Student's t over the repeats; null for one repeat."""
    n_test: IfOk[Count]
    """N."""
    per_class: IfOk[list[Fraction | None]]
    """Accuracy of each of C classes, mean over repeats; null for a class without test images."""
    class_names: IfOk[list[str]]
    """C names."""
    per_group: Groups | None
    """Accuracies by group; null where the data set has no groups."""
    correct: IfOk[Correct]
    """Correctness of every test image."""
    seconds: Seconds
    """Wall time."""
    peak_memory_mb: NonNegative | None
    """The largest memory over all stages, in MB of 2^20 bytes: of the GPU, else of the process; null where unknown."""
    device: str | None
    """`cpu`, or the name of the GPU."""
    images_encoded: Count | None
    """Images that went through a backbone for this cell."""
    n_train_images: IfOk[Count]
    """Images that the probe was trained on."""
    distilled: IfOk[DistilledFacts]
    """The set that these images are."""
    fingerprints: Fingerprints
    """Of data and weights."""
    skipped: IfOk[dict[str, Skipped]]
    """Unreadable images of each split, `train` and `test`."""
    probe_facts: dict[str, Any] | None
    """What the protocol tells beside the score."""
    provenance: Provenance
    """Code, packages, machine, command and time."""
    gin: GinBindings | None
    """The configuration it was started with."""

    @property
    def accuracy(self) -> float:
        """`mean`, of a record of status ok."""
        assert self.mean is not None, f'record {self.key} failed'
        return self.mean

    @property
    def correct_RN(self) -> np.ndarray:
        """`correct` as booleans, of a record of status ok."""
        assert self.correct is not None, f'record {self.key} failed'
        return self.correct.unpack()

    @property
    def labels(self) -> Literal['hard', 'soft']:
        """The labels of the set. A failed record has no set: it goes where its method's settings say that it belongs."""
        if self.distilled is not None:
            return self.distilled.labels
        settings = self.cell.settings.get('method_settings')
        return 'soft' if isinstance(settings, Mapping) and settings.get('soft_labels') is True else 'hard'

    @property
    def settings(self) -> str:
        """What the cell holds beside its labels, ipc and seed, as JSON with sorted keys: equal for equal settings."""
        return json.dumps(self.cell.settings, sort_keys=True)
