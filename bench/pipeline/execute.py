"""The run: one distilled set per group of cells, then one probe and one record per cell.

Results are written to disk as soon as they are finished, and are not computed again. If a cell fails, its record holds the
error, and the run continues with the other cells. Runs that share a results folder share its cells (`bench.pipeline.share`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from bench.core.errors import unwritable
from bench.pipeline.distil import distil
from bench.pipeline.grid import Cell
from bench.pipeline.probe import probe, record_of_failure
from bench.pipeline.session import Session
from bench.pipeline.share import Looks, looks, turns
from bench.pipeline.tensorboard import CellLogs
from bench.results.record import Record
from bench.results.store import write


def execute(
    session: Session, todo: Sequence[Cell], *, before: Looks | None = None, force: bool = False,
    asked: Mapping[str, Any] | None = None,
) -> int:  # fmt: skip
    """Run cells. Each record is written as soon as its cell is finished.

    Args:
      session: the state shared by all stages.
      todo: cells that `prepare` has checked.
      before: `bench.pipeline.share.looks` from before `prepare`, if other runs may share the folder.
      force: make distilled sets again, and replace finished records.
      asked: bindings from gin files and flags, for the records.

    Returns:
      The number of failed cells.
    """
    world, asked = session.world, asked or {}
    failed = done = 0
    for turn in turns(session, todo, looks(session.results_dir, todo) if before is None else before):
        # What other runs did meanwhile.
        for cell, theirs in turn.elsewhere:
            done += 1
            failed += theirs.status == 'failed'
            session.say(f'[{done}/{len(todo)}] {cell}: {_outcome(theirs)}, by another run')

        with turn.lease, closing(CellLogs(session.results_dir, turn.cells if world.leads else [])) as logs:
            # The distilled set: load it, or make, save and draw it.
            made, no_set = _tried(distil, session, turn.cells[0], force=force, logs=logs) if turn.cells else (None, None)

            for cell in turn.cells:
                # The probe: train and test it.
                record, error = None, no_set
                if made is not None:
                    record, error = _tried(probe, session, cell, *made, asked=asked, logs=logs)
                if record is None:
                    assert error is not None, 'a stage gives one of both'
                    dataset = session.dataset(cell.dataset)
                    record = record_of_failure(error, cell=cell, dataset=dataset, device=session.device, asked=asked)

                # The record: write and show it.
                if world.leads:
                    write(record, results_dir=session.results_dir, force=force)
                    logs.finish(cell, record)
                done += 1
                failed += error is not None
                session.say(f'[{done}/{len(todo)}] {cell}: {_outcome(record)}')

                # Other processes may wait for this one. When it exits, the launcher stops them.
                if error is not None and world.size > 1 and (error is not no_set or cell is turn.cells[-1]):
                    raise error
    return failed


def _tried(stage: Callable[..., Any], *given: Any, **settings: Any) -> tuple[Any, Exception | None]:
    """Return (result, None) of a stage, or (None, error) if it raises.

    Raises:
      Exception: if a place cannot be written. The other cells would fail in the same way, and leave no records.
    """
    try:
        return stage(*given, **settings), None
    except Exception as error:
        if unwritable(error):
            raise
        return None, error


def _outcome(record: Record) -> str:
    if record.status == 'failed':
        assert record.error is not None, 'a failed record has one'
        return f'FAILED, {record.error.type}: {record.error.message}'
    spread = f' ± {100 * record.std:.1f}' if record.std is not None else ''
    seconds = record.seconds
    return f'{100 * record.accuracy:.1f}{spread} % (method {seconds.method:.0f} s, probe {seconds.probe:.0f} s)'
