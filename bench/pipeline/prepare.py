"""Preparation of a run: check all input, and select the cells to run."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Dataset
from bench.distillation.task import check_ipc, needs_of
from bench.pipeline.distil import plan_of
from bench.pipeline.grid import Cell
from bench.pipeline.session import Session
from bench.results.check import RecordError
from bench.results.record import Record
from bench.results.store import find, path_of


def prepare(session: Session, cells: list[Cell], *, force: bool = False) -> list[Cell]:
    """Check all input and return the cells to run: those without a finished record, or all with `force`.

    All checks come before the first write.

    Raises:
      InputError: if data, weights, records or checkpoints cannot be used.
    """
    for choice in {cell.dataset.label: cell.dataset for cell in cells}.values():
        classes = session.dataset(choice).train.num_classes
        if (idle := session.world.size - classes) > 0:
            session.say(f'{idle} of {session.world.size} processes are idle while images of {choice.label} are made: it has '
                        f'{classes} classes')  # fmt: skip
    todo = []
    for cell in cells:
        dataset = session.dataset(cell.dataset)
        methods = filter(None, (cell.method, cell.of))
        if cell.ipc and any(needs_of(method.row.load()).enough_images(method.settings) for method in methods):
            check_ipc(dataset.train, cell.ipc)
        record = finished(session.results_dir, cell)
        if record is None or force:
            todo.append(cell)
            continue
        weights = {choice.label: session.weights(choice) for choice in cell.backbones}
        if other := other_inputs(record, cell, dataset=dataset, weights=weights):
            raise InputError(
                f'{path_of(session.results_dir, cell.config, cell.key)} was made from {other} than those found '
                'now; use another --results_dir, or replace the records with --force'
            )
    for cell in todo:
        for choice in cell.backbones:
            session.backbone(choice)
        cell.check(session.backbone(cell.source).input_side if cell.source else None)
        if not force:
            plan_of(session, cell).checkpoint().load()
    return todo


def places_of(session: Session, cells: Iterable[Cell]) -> set[Path]:
    """Return the folders that a run of the cells writes files and folders to."""
    places = {path_of(session.results_dir, cell.config, cell.key).parent for cell in cells}
    places |= {plan_of(session, cell).folder.parent for cell in cells}
    cache = session.places.cache_dir
    return places | {cache / 'features'} | {path for path in cache.glob('*/*') if path.is_dir()}


def finished(results_dir: Path, cell: Cell) -> Record | None:
    """Return the cell's finished record, or None if there is no record or a failed one.

    Raises:
      InputError: if the file of the record is not a readable record.
    """
    record = found(results_dir, cell)
    return record if record is not None and record.status == 'ok' else None


def found(results_dir: Path, cell: Cell) -> Record | None:
    """Return the cell's record, finished or failed, or None if there is no record.

    Raises:
      InputError: if the file of the record is not a readable record.
    """
    try:
        return find(results_dir, cell=cell.config, key=cell.key)
    except RecordError as error:
        raise InputError(f'{error}; such files are never overwritten: move it away, or use another --results_dir') from error


def other_inputs(
    record: Record, cell: Cell, *, dataset: Dataset | None, weights: Mapping[str, str | None]
) -> str:
    """Return how a finished record's inputs differ from the current ones, such as 'other plumage images', or ''.

    Args:
      record: the finished record of the cell.
      cell: the cell.
      dataset: the current data set, or None to skip the comparison.
      weights: current fingerprints by label of the backbone; missing labels and None are not compared.
    """
    kept = record.fingerprints
    # records of schemas 1 and 2 have no hash of the contents
    if dataset is not None and (kept.dataset != dataset.fingerprints or kept.contents not in (None, dataset.contents)):
        return f'other {dataset.name} images'
    for choice, known in ((cell.source, kept.source_weights), (cell.eval, kept.eval_weights)):
        now = weights.get(choice.label) if choice else None
        if choice and now and known not in (None, now):
            return f'other weights of {choice.label}'
    return ''
