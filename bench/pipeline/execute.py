"""From cells to records: distil, probe, write. Each stage leaves its result on disk and is not run again.

Everything that can be wrong with the input is found by `prepare`, before any work; a cell that fails later leaves a
record that says why, and the others go on.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bench.backbones import remembered
from bench.backbones.base import Backbone
from bench.config.gin_files import Choice
from bench.core.errors import InputError
from bench.core.hashing import short_hash
from bench.core.types import Dataset, Places, Split
from bench.distillation.distilled_set import DistilledSet, folder_of
from bench.distillation.gallery import diversity_of, draw
from bench.distillation.pictures import Timelapse
from bench.distillation.task import Task, check_ipc, needs_of
from bench.features.store import FeatureStore
from bench.machine.checkpoints import Checkpoint
from bench.machine.cost import measured
from bench.machine.device import device_name
from bench.machine.processes import ALONE, World
from bench.pipeline.grid import Cell
from bench.pipeline.tensorboard import CellLogs
from bench.probes.task import ProbeTask
from bench.results import provenance
from bench.results.check import RecordError
from bench.results.make import failed_record, make_record
from bench.results.record import CodeFacts, DistilledFacts, GinBindings, MethodFacts, Provenance, Record, Seconds
from bench.results.store import find, path_of, write


@dataclass
class Bench:
    """What the stages share in one process. Datasets and backbones are made on first use and kept."""

    places: Places
    results_dir: Path
    device: Any
    world: World = ALONE
    force: bool = False
    asked: dict[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = print
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _backbones: dict[str, Backbone] = field(default_factory=dict)
    _weights: dict[str, str | None] = field(default_factory=dict)
    # distilled sets of this process, which even `force` does not make twice
    made: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = FeatureStore(self.places.cache_dir, world=self.world)

    def dataset(self, choice: Choice) -> Dataset:
        if choice.label not in self._datasets:
            made = choice.row.load()(*_argument(choice), self.places, **choice.settings)
            self._datasets[choice.label] = replace(made, name=choice.label)
        return self._datasets[choice.label]

    def backbone(self, choice: Choice) -> Backbone:
        if choice.label not in self._backbones:
            made = choice.row.load()(*_argument(choice), self.places, self.device, **choice.settings)
            self._backbones[choice.label] = replace(made, name=choice.label)
            remembered.remember(self._entry(choice), made.fingerprint)
        return self._backbones[choice.label]

    def weights(self, choice: Choice) -> str:
        """Return the fingerprint of a backbone's weights; it is built where its files do not tell."""
        return self.known_weights(choice) or self.backbone(choice).fingerprint

    def known_weights(self, choice: Choice) -> str | None:
        """Return the fingerprint of a backbone's weights, None where it would have to be built for it."""
        if choice.label in self._backbones:
            return self._backbones[choice.label].fingerprint
        if choice.label not in self._weights:
            self._weights[choice.label] = remembered.recall(self._entry(choice))
        return self._weights[choice.label]

    def _entry(self, choice: Choice) -> Path | None:
        return remembered.entry_of(
            choice.row.load(), _argument(choice), self.places, choice.settings, code=choice.code
        )


def prepare(bench: Bench, cells: list[Cell]) -> list[Cell]:
    """Check all input and return the cells that have no finished record, so that nothing is written before a mistake shows.

    Raises:
      InputError: for data, weights or records that cannot be used.
    """
    todo = []
    for choice in {cell.dataset.label: cell.dataset for cell in cells}.values():
        train = bench.dataset(choice).train
        if (idle := bench.world.size - train.num_classes) > 0:
            bench.say(f'{idle} of {bench.world.size} processes idle while images of {choice.label} are made: it has '
                      f'{train.num_classes} classes')  # fmt: skip
    for cell in cells:
        dataset = bench.dataset(cell.dataset)
        methods = [cell.method, *([cell.of] if cell.of else [])]
        if cell.ipc and any(needs_of(method.row.load()).enough_images(method.settings) for method in methods):
            check_ipc(dataset.train, cell.ipc)
        record = finished(bench.results_dir, cell)
        if record is None or bench.force:
            todo.append(cell)
        else:
            _check_same_inputs(record, bench, cell)
    for cell in todo:
        for choice in filter(None, (cell.source, cell.eval)):
            bench.backbone(choice)
        cell.check(bench.backbone(cell.source).input_side if cell.source else None)
        if not bench.force:
            _place(bench, cell)[1].load()
    return todo


def finished(results_dir: Path, cell: Cell) -> Record | None:
    """Return the cell's finished record, None where there is none; a failed one does not count.

    Raises:
      InputError: if a file that is no record is in its place.
    """
    record = found(results_dir, cell)
    return record if record is not None and record.status == 'ok' else None


def found(results_dir: Path, cell: Cell) -> Record | None:
    """Return the record in the cell's place, finished or failed, None where there is none.

    Raises:
      InputError: if a file that is no record is in its place.
    """
    try:
        return find(results_dir, cell=cell.config, key=cell.key)
    except RecordError as error:
        raise InputError(f'{error}; it is never overwritten: move it away, or use another --results_dir') from error


def execute(bench: Bench, todo: list[Cell]) -> int:
    """Run cells, writing each record as soon as its cell is finished.

    Returns:
      How many cells failed.
    """
    failed = done = 0
    for _, group in groupby(sorted(todo, key=_together(todo)), key=lambda cell: cell.distilled_key):
        shared = list(group)
        logs = CellLogs(bench.results_dir, shared if bench.world.leads else [])
        try:
            for cell, record in _run_group(bench, shared, logs):
                if bench.world.leads:
                    write(record, results_dir=bench.results_dir, force=bench.force)
                    logs.finish(cell, record)
                done += 1
                failed += record.status == 'failed'
                bench.say(f'[{done}/{len(todo)}] {cell}: {_outcome(record)}')
        finally:
            logs.close()
    return failed


def _place(bench: Bench, cell: Cell) -> tuple[Path, Checkpoint]:
    """Return the folder of a cell's distilled set, named by what it is made from, and the checkpoint beside it."""
    train = bench.dataset(cell.dataset).train.fingerprint
    weights = bench.backbone(cell.source).fingerprint if cell.source else None
    folder = folder_of(
        bench.results_dir, dataset=cell.dataset.label, source=cell.config['source_backbone'], method=cell.method.label,
        ipc=cell.ipc, seed=cell.seed, made_from=short_hash([cell.distilled_config, train, weights]),
    )
    made_for = {**cell.distilled_config, 'train': train, 'weights': weights}
    return folder, Checkpoint(folder.with_name(f'{folder.name}.checkpoint'), made_for)


# --- the stages ---------------------------------------------------------------------------------------------------------


def _run_group(bench: Bench, cells: list[Cell], logs: CellLogs) -> Iterable[tuple[Cell, Record]]:
    """Yield (cell, record) for cells that share one distilled set."""
    first = cells[0]
    dataset = bench.dataset(first.dataset)
    try:
        distilled, cost = _distil(bench, first, dataset, logs)
    except Exception as error:
        for cell in cells:
            yield cell, _failed(bench, cell, error)
        _end_if_shared(bench, error)
        return
    for cell in cells:
        try:
            yield cell, _probe(bench, cell, dataset, distilled, cost, logs)
        except Exception as error:
            yield cell, _failed(bench, cell, error)
            _end_if_shared(bench, error)


def _end_if_shared(bench: Bench, error: Exception) -> None:
    """Raise again in a run of several processes: the others may be waiting for this one, the launcher then ends them."""
    if bench.world.size > 1:
        raise error


def _distil(bench: Bench, cell: Cell, dataset: Dataset, logs: CellLogs) -> tuple[DistilledSet, dict[str, Any]]:
    """Return the cell's distilled set and what it cost, made now or loaded."""
    source = bench.backbone(cell.source) if cell.source else None
    folder, checkpoint = _place(bench, cell)
    kept = bench.world.agree(folder.exists() and (not bench.force or folder in bench.made))
    film = Timelapse()

    def show(step: int, x_NCHW: Any) -> None:
        logs.show(step, x_NCHW)
        film.add(step, x_NCHW)

    task = Task(
        train=dataset.train, ipc=cell.ipc or 0, seed=cell.seed, backbone=source, store=bench.store if source else None,
        log=logs.log, show=show, title=f'{cell.method.label} on {dataset.name}' if bench.world.leads else '',
        source_set=None if kept else _source_set(bench, cell, dataset), checkpoint=checkpoint, world=bench.world,
    )
    if kept:
        distilled = DistilledSet.load(folder)
        logs.replay(distilled.curves)
        _draw(bench, cell, distilled, folder, task, logs)
        return distilled, json.loads((folder / 'cost.json').read_text())

    if bench.force and bench.world.leads:
        checkpoint.delete()
    encoded = bench.store.images_encoded
    with measured(bench.device) as cost:
        distilled = cell.method.row.load()(task, **cell.method.settings)
    if not isinstance(distilled, DistilledSet):
        raise TypeError(f'method {cell.method.name} returned {type(distilled).__name__}, expected a DistilledSet')
    spent = {
        'seconds': checkpoint.earlier + cost.seconds, 'peak_memory_mb': cost.peak_memory_mb,
        'images_encoded': bench.store.images_encoded - encoded,
    }
    if bench.world.leads:
        if (spread := diversity_of(distilled, task=_alone(bench, task))) is not None:
            distilled = replace(distilled, facts={**distilled.facts, 'diversity': spread})
        distilled.save(folder, cost=spent)
        checkpoint.delete()
    bench.made.add(folder)
    _draw(bench, cell, distilled, folder, task, logs, film=film)
    bench.world.wait()
    return distilled, spent


def _draw(
    bench: Bench,
    cell: Cell,
    distilled: DistilledSet,
    folder: Path,
    task: Task,
    logs: CellLogs,
    film: Timelapse | None = None,
) -> None:
    """Draw the set's pictures, say where they are, and show the still ones in TensorBoard."""
    if not bench.world.leads:
        return
    for title, path in draw(distilled, folder, task=_alone(bench, task), film=film).items():
        if path.suffix == '.png':
            logs.show_picture(path)
        bench.say(f'    {title} of {cell.method.label}: {path}')


def _alone(bench: Bench, task: Task) -> Task:
    """Return the task for work of the leading process that the others take no part in."""
    return replace(task, store=replace(bench.store, world=ALONE) if task.store else None, world=ALONE)


def _source_set(bench: Bench, cell: Cell, dataset: Dataset) -> DistilledSet | None:
    """Return the distilled set that the cell's method starts from, made now or loaded, without logs of its own."""
    if cell.source_cell is None:
        return None
    try:
        return _distil(bench, cell.source_cell, dataset, CellLogs(bench.results_dir, []))[0]
    except Exception as error:
        raise RuntimeError(f'{cell.of.label}, whose images it starts from, failed: {error}') from error


def _probe(
    bench: Bench, cell: Cell, dataset: Dataset, distilled: DistilledSet, cost: dict[str, Any], logs: CellLogs
) -> Record:
    """Train and test the cell's probe; returns the record."""
    backbone = bench.backbone(cell.eval)
    is_full = distilled.indices_N is not None and len(np.unique(distilled.indices_N)) == len(dataset.train)
    task = ProbeTask(
        train=_as_split(distilled, dataset), targets_NC=distilled.soft_labels_NC, is_full=is_full, test=dataset.test,
        backbone=backbone, store=bench.store, title=f'probe of {cell.method.label} on {cell.eval.label}',
    )
    encoded = bench.store.images_encoded
    with measured(bench.device) as probe_cost:
        score = cell.protocol.row.load()(task, **cell.protocol.settings)
    if bench.world.leads:
        logs.replay(score.curves, key=cell.key)
    return make_record(
        score,
        key=cell.key,
        cell=cell.config,
        protocol_hash=cell.protocol_hash,
        dataset=dataset,
        probe_seeds=range(len(score.correct_RN)),
        distilled=DistilledFacts(
            hash=distilled.hash, bytes=distilled.num_bytes, kind=distilled.kind, labels=distilled.label_kind,
            facts=distilled.facts,
        ),
        n_train_images=len(distilled),
        source_weights=bench.backbone(cell.source).fingerprint if cell.source else None,
        eval_weights=backbone.fingerprint,
        seconds=Seconds(method=cost['seconds'], probe=probe_cost.seconds),
        peak_memory_mb=max(cost['peak_memory_mb'], probe_cost.peak_memory_mb),
        device=device_name(bench.device),
        images_encoded=cost['images_encoded'] + bench.store.images_encoded - encoded,
        gin=_gin(bench, cell),
        method_facts=MethodFacts(**cell.method_facts),
        provenance=_provenance(cell),
    )


def _as_split(distilled: DistilledSet, dataset: Dataset) -> Split:
    """Return the images that a probe is trained on; the whole training split is itself, so that its features are shared."""
    train = dataset.train
    if distilled.indices_N is None or not np.array_equal(distilled.indices_N, np.arange(len(train))):
        return distilled.split(train)
    return train if np.array_equal(distilled.labels_N, train.labels_N) else distilled.split(train)


def _failed(bench: Bench, cell: Cell, error: Exception) -> Record:
    return failed_record(
        error, key=cell.key, cell=cell.config, protocol_hash=cell.protocol_hash, dataset=bench.dataset(cell.dataset),
        device=device_name(bench.device), gin=_gin(bench, cell), method_facts=MethodFacts(**cell.method_facts),
        provenance=_provenance(cell),
    )


# --- helpers ------------------------------------------------------------------------------------------------------------


def _provenance(cell: Cell) -> Provenance:
    code = {part: CodeFacts(**facts) for part, facts in cell.code_facts.items()}
    return replace(provenance.collect(), code=code)


def _gin(bench: Bench, cell: Cell) -> GinBindings:
    """Return what was bound in the files and flags, and what the cell's entries then ran with."""
    chosen = filter(None, [cell.dataset, cell.of, cell.method, cell.source, cell.eval, cell.protocol])
    operative = {f'{c.row.identifier}.{key}': value for c in chosen for key, value in c.settings.items()}
    return GinBindings(asked=bench.asked, operative=operative)


def _check_same_inputs(record: Record, bench: Bench, cell: Cell) -> None:
    """Check that a finished record was made from the data and the weights that are found now.

    Raises:
      InputError: naming the record and what is other.
    """
    weights = {choice.label: bench.weights(choice) for choice in (cell.source, cell.eval) if choice}
    if other := other_inputs(record, cell, dataset=bench.dataset(cell.dataset), weights=weights):
        path = path_of(bench.results_dir, cell.config, cell.key)
        raise InputError(
            f'{path} was made from {other} than those found now; use another --results_dir, or --force to replace the '
            'records'
        )


def other_inputs(
    record: Record, cell: Cell, *, dataset: Dataset | None, weights: Mapping[str, str | None]
) -> str:
    """Return what a finished record was made from and is not found now, such as 'other plumage images'; '' where nothing is.

    Args:
      record: of the cell.
      cell: what it is of.
      dataset: found now; None is not compared.
      weights: fingerprints found now, by the label of the backbone; what is missing or None is not compared.
    """
    kept = record.fingerprints
    # records of schemas 1 and 2 tell no contents
    if dataset is not None and (kept.dataset != dataset.fingerprints or kept.contents not in (None, dataset.contents)):
        return f'other {dataset.name} images'
    for choice, known in ((cell.source, kept.source_weights), (cell.eval, kept.eval_weights)):
        now = weights.get(choice.label) if choice else None
        if now and known not in (None, now):
            return f'other weights of {choice.label}'
    return ''


def _together(todo: list[Cell]) -> Callable[[Cell], int]:
    """Return a sort key that keeps the order of the grid but brings cells with one distilled set together."""
    first: dict[str, int] = {}
    for position, cell in enumerate(todo):
        first.setdefault(cell.distilled_key, position)
    return lambda cell: first[cell.distilled_key]


def _outcome(record: Record) -> str:
    if record.status == 'failed':
        return f'FAILED, {record.error.type}: {record.error.message}'
    spread = f' ± {100 * record.std:.1f}' if record.std is not None else ''
    return f'{100 * record.mean:.1f}{spread} % (method {record.seconds.method:.0f} s, probe {record.seconds.probe:.0f} s)'


def _argument(choice: Choice) -> tuple[str, ...]:
    return (choice.argument,) if choice.argument else ()
