"""The second stage: train a probe on a distilled set, test it, and make the record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bench.backbones.base import Backbone
from bench.core.types import Dataset, Split
from bench.distillation.distilled_set import DistilledSet
from bench.features.store import FeatureStore
from bench.machine.cost import measured
from bench.machine.device import device_name
from bench.pipeline.grid import Cell
from bench.pipeline.session import Session
from bench.pipeline.tensorboard import CellLogs
from bench.probes.task import ProbeTask
from bench.results import provenance
from bench.results.make import failed_record, make_record
from bench.results.record import CodeFacts, DistilledFacts, GinBindings, MethodFacts, Record, Seconds


def probe(
    session: Session, cell: Cell, distilled: DistilledSet, spent: Mapping[str, Any], *, asked: Mapping[str, Any],
    logs: CellLogs,
) -> Record:  # fmt: skip
    """Train and test the cell's probe, and return the record.

    Args:
      session: the state shared by all stages.
      cell: the cell.
      distilled: the set that the probe is trained on.
      spent: cost of the set, see `bench.pipeline.distil.distil`.
      asked: bindings from gin files and flags.
      logs: receives the curves of the probe.

    Raises:
      Exception: any exception of the protocol.
    """
    store, dataset = session.store, session.dataset(cell.dataset)
    backbone = session.backbone(cell.eval, dataset)
    encoded = store.images_encoded
    with measured(session.device) as cost:
        score = cell.protocol.call(_task(cell, distilled, dataset, backbone, store))
    if session.world.leads:
        logs.log_curves(score.curves, key=cell.key)
    return make_record(
        score,
        probe_seeds=range(len(score.correct_RN)),
        distilled=DistilledFacts(
            hash=distilled.hash, bytes=distilled.num_bytes, kind=distilled.kind, labels=distilled.label_kind,
            facts=distilled.facts,
        ),
        n_train_images=len(distilled),
        source_weights=session.backbone(cell.source).fingerprint if cell.source else None,
        eval_weights=backbone.fingerprint,
        seconds=Seconds(method=spent['seconds'], probe=cost.seconds),
        peak_memory_mb=max(spent['peak_memory_mb'], cost.peak_memory_mb),
        images_encoded=spent['images_encoded'] + store.images_encoded - encoded,
        **_facts(cell, dataset=dataset, device=session.device, asked=asked),
    )


def record_of_failure(
    error: Exception, *, cell: Cell, dataset: Dataset, device: Any, asked: Mapping[str, Any]
) -> Record:
    """Return the record of a failed cell."""
    return failed_record(error, **_facts(cell, dataset=dataset, device=device, asked=asked))


def _task(
    cell: Cell, distilled: DistilledSet, dataset: Dataset, backbone: Backbone, store: FeatureStore
) -> ProbeTask:
    is_full = distilled.indices_N is not None and len(np.unique(distilled.indices_N)) == len(dataset.train)
    return ProbeTask(
        train=_as_split(distilled, dataset.train), targets_NC=distilled.soft_labels_NC, is_full=is_full, test=dataset.test,
        backbone=backbone, store=store, title=f'probe of {cell.method.label} on {cell.eval.label}',
        real=dataset.train, own_N=distilled.indices_N,
    )


def _as_split(distilled: DistilledSet, train: Split) -> Split:
    """Return the probe's training images. For full data this is the training split itself, so that features are shared."""
    if distilled.indices_N is None or not np.array_equal(distilled.indices_N, np.arange(len(train))):
        return distilled.split(train)
    return train if np.array_equal(distilled.labels_N, train.labels_N) else distilled.split(train)


def _facts(cell: Cell, *, dataset: Dataset, device: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the records of finished and of failed cells have in common."""
    chosen = filter(None, [cell.dataset, cell.of, cell.method, cell.source, cell.eval, cell.protocol])
    operative = {f'{c.row.identifier}.{key}': value for c in chosen for key, value in c.settings.items()}
    code = {part: CodeFacts(**facts) for part, facts in cell.code_facts.items()}
    return {
        'cell': cell.config, 'protocol_hash': cell.protocol_hash, 'dataset': dataset,
        'device': device_name(device), 'gin': GinBindings(asked=dict(asked), operative=operative),
        'method_facts': MethodFacts(**cell.method_facts), 'provenance': replace(provenance.collect(), code=code),
    }  # fmt: skip
