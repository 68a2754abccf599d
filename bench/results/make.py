"""Makes the record of a cell, from its score or from the error that ended it.

Shape suffixes: R repeats (probe seeds), N test images.
"""

import dataclasses
import math
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.core.hashing import short_hash
from bench.core.types import Dataset, ProbeScore
from bench.results.check import cell_config, parse
from bench.results.intervals import t_interval
from bench.results.provenance import collect
from bench.results.record import (
    SCHEMA_VERSION,
    Correct,
    DistilledFacts,
    Failure,
    Fingerprints,
    GinBindings,
    Group,
    Groups,
    MethodFacts,
    ProtocolRules,
    Provenance,
    Record,
    Seconds,
    Skipped,
    WorstGroup,
)
from bench.results.store import as_json

_NAMES_KEPT = 20  # names of skipped images per split: a folder of broken images must not inflate every record


def make_record(
    score: ProbeScore,
    *,
    cell: Mapping[str, Any],
    protocol_hash: str,
    dataset: Dataset,
    probe_seeds: Sequence[int],
    distilled: DistilledFacts,
    n_train_images: int,
    source_weights: str | None,
    eval_weights: str,
    seconds: Seconds,
    peak_memory_mb: float | None,
    device: str,
    images_encoded: int | None = None,
    gin: GinBindings | None = None,
    method_facts: MethodFacts | None = None,
    provenance: Provenance | None = None,
) -> Record:
    """Return the record of a finished cell.

    Args:
      score: the result of the protocol; its curves are not stored in the record.
      cell: the full configuration, with the fields of `CellConfig`.
      protocol_hash: hash of the protocol's rules.
      dataset: the data set; its test split was scored, its training split gives the group sizes.
      probe_seeds: R seeds, in the order of `score.correct_RN`.
      distilled: facts about the distilled set.
      n_train_images: number of images that the probe was trained on.
      source_weights: fingerprint of the source backbone's weights, None if the method uses no backbone.
      eval_weights: fingerprint of the eval backbone's weights.
      seconds: wall time by stage.
      peak_memory_mb: in MB of 2^20 bytes, None if not measured.
      device: 'cpu' or the name of a GPU.
      images_encoded: number of images encoded by a backbone for this cell.
      gin: the gin bindings.
      method_facts: facts about the method; None derives them as for records of earlier schemas.
      provenance: None means `bench.results.provenance.collect()`.
    """
    correct_RN = np.asarray(score.correct_RN, dtype=bool)
    assert correct_RN.ndim == 2 and correct_RN.shape == (len(probe_seeds), len(dataset.test)), correct_RN.shape
    return _record(
        status='ok', cell=cell, method_facts=method_facts, protocol_hash=protocol_hash,
        **_accuracies(correct_RN, dataset),
        top5=None if score.top5_R is None else [float(value) for value in score.top5_R],
        probe_seeds=[int(seed) for seed in probe_seeds], seconds=seconds, peak_memory_mb=peak_memory_mb, device=device,
        images_encoded=images_encoded, n_train_images=int(n_train_images), distilled=distilled,
        fingerprints=_fingerprints(dataset, source_weights, eval_weights),
        skipped={
            split.name: Skipped(len(split.skipped), list(split.skipped[:_NAMES_KEPT]))
            for split in (dataset.train, dataset.test)
        },
        probe_facts=score.facts, provenance=provenance, gin=gin,
    )  # fmt: skip


def failed_record(
    error: BaseException,
    *,
    cell: Mapping[str, Any],
    protocol_hash: str,
    dataset: Dataset | None = None,
    device: str | None = None,
    gin: GinBindings | None = None,
    method_facts: MethodFacts | None = None,
    provenance: Provenance | None = None,
) -> Record:
    """Return the record of a failed cell. Fields of stages that were not reached are None."""
    return _record(
        status='failed',
        cell=cell,
        method_facts=method_facts,
        protocol_hash=protocol_hash,
        error=Failure(type(error).__name__, str(error), ''.join(traceback.format_exception(error))),
        seconds=Seconds(),
        device=device,
        fingerprints=_fingerprints(dataset, None, None),
        provenance=provenance,
        gin=gin,
    )


def _record(
    *,
    cell: Mapping[str, Any],
    method_facts: MethodFacts | None,
    protocol_hash: str,
    provenance: Provenance | None,
    **fields: Any,
) -> Record:
    """Return a record that has been validated and holds only values that JSON can represent."""
    made = cell_config(_plain(cell))
    named = {
        **dict.fromkeys(field.name for field in dataclasses.fields(Record)),
        **fields,
        'schema_version': SCHEMA_VERSION,
        'digest': '',  # of what is written, made when it is written
        'key': short_hash(made.config),
        'cell': made,
        'method_facts': method_facts or MethodFacts.of_old(made),
        'protocol': ProtocolRules(made.protocol, protocol_hash),
        'provenance': collect() if provenance is None else provenance,
    }
    return parse(_plain(as_json(named, version=SCHEMA_VERSION)))


def _accuracies(correct_RN: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    """Return all fields derived from the correctness of each test image."""
    test, top1 = dataset.test, [float(value) for value in correct_RN.mean(axis=1)]
    return {
        'top1': top1, 'mean': float(np.mean(top1)), 'std': float(np.std(top1, ddof=1)) if len(top1) > 1 else None,
        'ci95': t_interval(top1), 'n_test': len(test),
        'per_class': _means(correct_RN, test.labels_N, test.num_classes), 'class_names': list(test.class_names),
        'per_group': _groups(correct_RN, dataset), 'correct': Correct.pack(correct_RN),
    }  # fmt: skip


def _fingerprints(dataset: Dataset | None, source_weights: str | None, eval_weights: str | None) -> Fingerprints:
    splits, contents = (None, None) if dataset is None else (dict(dataset.fingerprints), dict(dataset.contents))
    return Fingerprints(dataset=splits, contents=contents, source_weights=source_weights, eval_weights=eval_weights)


def _means(correct_RN: np.ndarray, index_N: np.ndarray, count: int) -> list[float | None]:
    """Return the mean accuracy over repeats of each class or group, None for classes or groups without images."""
    sizes = np.bincount(index_N, minlength=count)
    sums = np.bincount(index_N, weights=correct_RN.mean(axis=0), minlength=count)
    return [round(float(total / n), 6) if n else None for total, n in zip(sums, sizes, strict=True)]


def _groups(correct_RN: np.ndarray, dataset: Dataset) -> Groups | None:
    test, train = dataset.test, dataset.train
    if test.groups_N is None:
        return None
    count = len(test.group_names)
    sizes = np.bincount(test.groups_N, minlength=count)
    train_sizes = None if train.groups_N is None else np.bincount(train.groups_N, minlength=count)
    accuracies = _means(correct_RN, test.groups_N, count)
    groups = [
        Group(name, int(sizes[g]), None if train_sizes is None else int(train_sizes[g]), accuracies[g])
        for g, name in enumerate(test.group_names)
    ]
    tested = [(group.accuracy, group) for group in groups if group.accuracy is not None]
    lowest, worst = min(tested, key=lambda pair: pair[0])
    weight = sum(group.n_train or 0 for _, group in tested)
    adjusted = sum((group.n_train or 0) * accuracy for accuracy, group in tested) / weight if weight else None
    return Groups(groups, WorstGroup(worst.name, lowest), adjusted)


def _plain(value: Any) -> Any:
    """Convert a value to what JSON can represent. An unusual setting must not lose the record of a finished cell."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [_plain(item) for item in sorted(value, key=str)]
    return str(value)
