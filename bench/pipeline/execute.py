"""The run: one distilled set for each group of cells, then one probe and one record for each cell.

What is finished lies on disk and is not made again. A cell that fails leaves a record that says why, and the others go on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any

from bench.pipeline.distil import distil
from bench.pipeline.grid import Cell
from bench.pipeline.probe import probe, record_of_failure
from bench.pipeline.session import Session
from bench.pipeline.tensorboard import CellLogs
from bench.results.record import Record
from bench.results.store import write


def execute(
    session: Session, todo: Sequence[Cell], *, force: bool = False, asked: Mapping[str, Any] | None = None
) -> int:
    """Run cells. Each record is written as soon as its cell is finished.

    Args:
      session: what the stages share.
      todo: cells that `prepare` has checked.
      force: make distilled sets anew, and replace finished records.
      asked: what gin files and flags bound, for the records.

    Returns:
      How many cells failed.
    """
    world, asked = session.world, asked or {}
    failed = done = 0
    for cells in _groups(todo):
        with closing(CellLogs(session.results_dir, cells if world.leads else [])) as logs:
            # The distilled set: made or loaded, saved, drawn once.
            made, no_set = _tried(distil, session, cells[0], force=force, logs=logs)

            for cell in cells:
                # The probe: trained and tested.
                record, error = None, no_set
                if made is not None:
                    record, error = _tried(probe, session, cell, *made, asked=asked, logs=logs)
                if error is not None:
                    dataset = session.dataset(cell.dataset)
                    record = record_of_failure(error, cell=cell, dataset=dataset, device=session.device, asked=asked)

                # The record: written, and shown.
                if world.leads:
                    write(record, results_dir=session.results_dir, force=force)
                    logs.finish(cell, record)
                done += 1
                failed += error is not None
                session.say(f'[{done}/{len(todo)}] {cell}: {_outcome(record)}')

                # Other processes may be waiting for this one: when it ends, the launcher ends them.
                if error is not None and world.size > 1 and (error is not no_set or cell is cells[-1]):
                    raise error
    return failed


def _groups(todo: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield the cells that share one distilled set, in the order of the first of them."""
    first: dict[str, int] = {}
    for position, cell in enumerate(todo):
        first.setdefault(cell.distilled_key, position)
    together = sorted(todo, key=lambda cell: first[cell.distilled_key])
    yield from (list(cells) for _, cells in groupby(together, key=lambda cell: cell.distilled_key))


def _tried(stage: Callable[..., Any], *given: Any, **settings: Any) -> tuple[Any, Exception | None]:
    """Return what a stage returns and None, or None and the error that it raised."""
    try:
        return stage(*given, **settings), None
    except Exception as error:
        return None, error


def _outcome(record: Record) -> str:
    if record.status == 'failed':
        return f'FAILED, {record.error.type}: {record.error.message}'
    spread = f' ± {100 * record.std:.1f}' if record.std is not None else ''
    return f'{100 * record.mean:.1f}{spread} % (method {record.seconds.method:.0f} s, probe {record.seconds.probe:.0f} s)'
