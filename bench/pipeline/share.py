"""Sharing: the same run, started several times on one machine or many, takes the groups of its grid in turn."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from bench.core import leases
from bench.core.disk import look
from bench.core.errors import InputError
from bench.core.leases import Lease
from bench.pipeline.distil import plan_of
from bench.pipeline.grid import Cell
from bench.pipeline.session import Session
from bench.results.record import Record
from bench.results.store import load, path_of


@dataclass(frozen=True)
class Turn:
    """Cells of one distilled set: `cells` for this run to compute while it holds `lease`, and what other runs recorded."""

    cells: list[Cell]
    elsewhere: list[tuple[Cell, Record]]
    lease: Lease


Looks = Mapping[str, tuple[int, ...]]  # by key of a cell: the status of its record's file, () if there was none


def turns(session: Session, todo: Sequence[Cell], before: Looks) -> Iterator[Turn]:
    """Yield every group of cells once: when this run has its lease, or when other runs have recorded all of it.

    Groups that other runs hold come last. This run waits for them, and takes them over if their holder dies. The processes
    of a world get the same turns; the leading one takes the leases.

    Args:
      session: the state shared by all stages.
      todo: the cells of this run.
      before: `looks` from before it was decided which cells are to do; a record that is newer is another run's.
    """
    waiting, world = list(groups(todo)), session.world
    while waiting:
        lease: Lease | None = None
        position, known = 0, list[str]()
        if world.leads:
            lease, position, known = _next(session, waiting, before)
        position, known = world.agree((position, known))
        group, theirs = waiting.pop(position), set(known)
        recorded = [cell for cell in group if cell.key in theirs]
        elsewhere = [(cell, load(path_of(session.results_dir, cell.config, cell.key))) for cell in recorded]
        yield Turn([cell for cell in group if cell.key not in theirs], elsewhere, lease or Lease(None))


def looks(results_dir: Path, cells: Iterable[Cell]) -> Looks:
    """Return the status of the cells' record files now."""
    return {cell.key: look(path_of(results_dir, cell.config, cell.key)) for cell in cells}


def groups(todo: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield groups of cells that share one distilled set, ordered by the first cell of each group."""
    first: dict[str, int] = {}
    for position, cell in enumerate(todo):
        first.setdefault(cell.distilled_key, position)
    together = sorted(todo, key=lambda cell: first[cell.distilled_key])
    yield from (list(cells) for _, cells in groupby(together, key=lambda cell: cell.distilled_key))


def agreed(session: Session, cells: Sequence[Cell], todo: Sequence[Cell]) -> list[Cell]:
    """Return the leading process's `todo` on every process of a world, whatever records they found.

    Raises:
      InputError: if one of them is not among the `cells` of this process, because it read other gin files.
    """
    ours, keys = {cell.key: cell for cell in cells}, session.world.agree([cell.key for cell in todo])
    if strange := [key for key in keys if key not in ours]:
        raise InputError(
            f'process {session.world.rank} read other gin files or plug-ins than process 0: it has no cell {strange[0]}; '
            'start all processes with the same files'
        )
    return [ours[key] for key in keys]


def shard(cells: Sequence[Cell], text: str) -> list[Cell]:
    """Return a part of the cells, for runs that share no leases; the parts '1/n' to 'n/n' are disjoint and cover all cells.

    Cells with a common distilled set, or whose sets start from a common one, are in one part; cells of one data set and
    source backbone are in as few parts as possible, because they share features.

    Raises:
      InputError: if the text is not 'i/n' with 1 <= i <= n.
    """
    part, _, count = text.partition('/')
    if not (part.isdecimal() and count.isdecimal() and 1 <= int(part) <= int(count)):
        raise InputError(f'--shard={text}: expected i/n with 1 <= i <= n, such as 1/4')

    def place(cell: Cell) -> tuple[str, str]:
        return cell.dataset.label, cell.source.label if cell.source else ''

    units: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=place):
        units.setdefault((cell.source_cell or cell).distilled_key, []).append(cell)
    i, n = int(part), int(count)
    ours = list(units.values())[len(units) * (i - 1) // n : len(units) * i // n]
    chosen = {cell.key for unit in ours for cell in unit}
    return [cell for cell in cells if cell.key in chosen]


def _next(
    session: Session, waiting: list[list[Cell]], before: Looks
) -> tuple[Lease | None, int, list[str]]:
    """Wait for a group that this run can take, or that is recorded; return its lease, its position and the recorded keys."""
    told: set[str] = set()
    while True:
        for position, group in enumerate(waiting):
            if len(known := _recorded(session.results_dir, group, before)) == len(group):
                return None, position, known
            if _waits_for_another(session, group[0]):
                continue
            if lease := leases.take(_lease_path(session, group[0])):
                # The holder before us may have finished some, or all, of it.
                return lease, position, _recorded(session.results_dir, group, before)
        for group in waiting:
            found = leases.holder(_lease_path(session, group[0]))
            if found and str(found) not in told:
                session.say(f'waiting for {found}, which works on {group[0]}')
                told.add(str(found))
        time.sleep(min(30.0, leases.POLL + len(waiting) / 100))


def _recorded(results_dir: Path, group: Iterable[Cell], before: Looks) -> list[str]:
    """Return the keys of the cells whose record is new since this run looked first."""
    return [key for key, found in looks(results_dir, group).items() if found not in ((), before[key])]


def _waits_for_another(session: Session, cell: Cell) -> bool:
    """Return whether the cell's set starts from one that another run makes at this moment."""
    source = cell.source_cell
    return source is not None and leases.holder(_lease_path(session, source)) is not None


def _lease_path(session: Session, cell: Cell) -> Path:
    return leases.path_for(plan_of(session, cell).folder)
