"""Replay: run a cell again from its record alone, and compare the two records.

On the platform of the record (`same_platform`) the same test images are correct in every repeat. Elsewhere
floating-point results differ in the last bits, and 160 updates through a network amplify the differences.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.config import registry
from bench.config.gin_files import Choice
from bench.core import ranges
from bench.core.errors import InputError
from bench.distillation.task import needs_of
from bench.pipeline.execute import execute
from bench.pipeline.grid import Cell
from bench.pipeline.prepare import prepare
from bench.pipeline.session import Session
from bench.results.record import Record
from bench.results.store import find

# Largest allowed difference in mean accuracy (a fraction) on another platform.
TOLERANCE = 0.03


@dataclass(frozen=True)
class Replay:
    """The old and the new record of one cell."""

    old: Record
    new: Record

    @property
    def identical(self) -> bool:
        """Whether the same test images are correct in every repeat."""
        return self.old.correct == self.new.correct

    @property
    def same_platform(self) -> bool:
        """Whether platform, processor, torch version, threads and processes agree. Then the records should be identical."""
        first, second = (
            (origin.platform, origin.cpu, origin.threads, origin.versions['torch'])
            for origin in (self.old.provenance, self.new.provenance)
        )
        return first == second and self.processes[0] == self.processes[1]

    @property
    def processes(self) -> tuple[int, int]:
        """The numbers of processes that made the old and the new images; a set without this fact counts as made by one."""
        assert self.old.distilled and self.new.distilled, 'both are of status ok'
        old, new = (record.distilled.facts.get('processes', 1) for record in (self.old, self.new) if record.distilled)
        return old, new

    @property
    def difference(self) -> float:
        """New minus old mean accuracy, as a fraction."""
        return self.new.accuracy - self.old.accuracy

    @property
    def same_images(self) -> bool:
        """Whether the distilled set is the same, byte for byte."""
        assert self.old.distilled and self.new.distilled, 'both are of status ok'
        return self.old.distilled.hash == self.new.distilled.hash

    def __str__(self) -> str:
        old, new = self.processes
        others = f'; its images were made by {old} processes, these by {new}' if old != new else ''
        if self.identical:
            return f'identical: {100 * self.new.accuracy:.2f} %, the same test images are correct{others}'
        changed = np.mean(self.old.correct_RN != self.new.correct_RN)
        images = 'same' if self.same_images else 'other'
        return (
            f'{100 * self.old.accuracy:.2f} -> {100 * self.new.accuracy:.2f} % ({100 * self.difference:+.2f} points; '
            f'correctness changed for {100 * changed:.2f} % of the test images; {images} images in the distilled set'
            f'{others})'
        )


def cell_of(record: Record) -> Cell:
    """Rebuild the cell of a record from the record alone.

    Raises:
      InputError: if the rebuilt cell has another key, because settings or rules have changed since; or if a name is unknown,
        such as the name of a plug-in that is not loaded.
    """
    kept = record.cell.config

    def choice(kind: str, label: str, name: str, settings: dict[str, Any]) -> Choice:
        row, argument = registry.find(kind, name)
        defaults = row.defaults()
        if gone := settings.keys() - defaults.keys():
            raise InputError(
                f'record {record.key} cannot be replayed: {name} no longer has a setting {min(gone)}; check out its '
                f'commit, {record.provenance.commit}'
            )
        # settings added later had their neutral value
        known = {**ranges.neutral(row.load(), defaults), **settings, **_cost_settings(record, row, kind)}
        return Choice(kind, label, row, argument, {**defaults, **known})

    def kept_choice(kind: str, field: str) -> Choice:
        label = kept[field] if field in kept else kept[f'{field}_backbone']
        return choice(kind, label, kept[f'{field}_name'], kept[f'{field}_settings'])

    of, protocol = kept.get('of'), kept['protocol'].partition('+')[0]
    cell = Cell(
        dataset=kept_choice('dataset', 'dataset'), method=kept_choice('method', 'method'),
        source=kept_choice('backbone', 'source') if kept['source_name'] else None, eval=kept_choice('backbone', 'eval'),
        ipc=kept['ipc'], seed=kept['seed'], protocol=choice('protocol', protocol, protocol, kept['protocol_settings']),
        of=choice('method', of['label'], of['name'], of['settings']) if of else None,
    )  # fmt: skip
    if cell.key != record.key:
        raise InputError(
            f'record {record.key} cannot be replayed: its cell now has the key {cell.key}, because a setting was added or a '
            f'protocol has changed; check out its commit, {record.provenance.commit}'
        )
    return cell


def _cost_settings(record: Record, row: registry.Row, kind: str) -> dict[str, Any]:
    """Return the settings of a method that its cell does not hold, such as `chunk_size`, as they were for this record."""
    names = needs_of(row.load()).cost_only if kind == 'method' else ()
    bound = record.gin.operative if record.gin else {}
    found = {name: bound[f'{row.identifier}.{name}'] for name in names if f'{row.identifier}.{name}' in bound}
    if record.distilled and row.name == record.cell.config['method_name'].partition(':')[0]:
        # a set that was loaded from disk may have been made with others than those of the run that wrote the record
        found |= {name: value for name, value in record.distilled.facts.items() if name in names}
    return found


def replay(record: Record, session: Session, *, force: bool = False) -> Replay:
    """Run a record's cell again.

    Args:
      record: a finished record.
      session: a session with another results folder than the record's.
      force: replace the results of an earlier replay.

    Raises:
      InputError: if the record is of a failed cell, its cell cannot be rebuilt, or it was made from other data or weights.
      RuntimeError: if the cell fails.
    """
    if record.status != 'ok':
        raise InputError(f'record {record.key} is of a failed cell: it has no results to compare with')
    cell = cell_of(record)
    if not (todo := prepare(session, [cell], force=force)):
        raise InputError(f'{session.results_dir} already holds record {record.key}: replay into another results folder')
    failed = execute(session, todo, force=force)
    new = find(session.results_dir, cell=cell.config, key=cell.key)
    assert new is not None, 'a cell that ran has a record'
    if failed:
        # a failed record does not replace the finished one of an earlier replay, so `new` may not hold the error
        said = f'{new.error.type}: {new.error.message}' if new.error else 'it failed: see above'
        raise RuntimeError(f'{cell}: {said}')
    # records of earlier schemas have no hash of the contents
    old, now = record.fingerprints, new.fingerprints
    if old != (now if old.contents else replace(now, contents=None)):
        raise InputError(f'record {record.key} was made from other data or weights than those found here')
    return Replay(record, new)
