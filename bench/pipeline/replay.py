"""A cell is run again, from nothing but its record, and the two records are compared.

On the platform of the record (`same_platform`) the answers are the same to the last test image. Elsewhere arithmetic
differs in the last bits, and 150 updates through a network amplify that.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.config import registry
from bench.config.gin_files import Choice
from bench.core import ranges
from bench.core.errors import InputError
from bench.pipeline.execute import execute
from bench.pipeline.grid import Cell
from bench.pipeline.prepare import prepare
from bench.pipeline.session import Session
from bench.results.record import Record
from bench.results.store import find

# Points of mean accuracy by which a replay on another platform may differ.
TOLERANCE = 0.03


@dataclass(frozen=True)
class Replay:
    """Old and new record of one cell."""

    old: Record
    new: Record

    @property
    def identical(self) -> bool:
        """Whether every repeat answers every test image as before."""
        return self.old.correct == self.new.correct

    @property
    def same_platform(self) -> bool:
        """Whether both ran on the same kind of machine, with the same torch and as many threads: then they are identical."""
        first, second = (
            (origin.platform, origin.cpu, origin.threads, origin.versions['torch'])
            for origin in (self.old.provenance, self.new.provenance)
        )
        return first == second

    @property
    def difference(self) -> float:
        """New minus old mean accuracy, as a fraction."""
        return self.new.mean - self.old.mean

    @property
    def same_images(self) -> bool:
        """Whether the distilled set is the same, byte for byte."""
        return self.old.distilled.hash == self.new.distilled.hash

    def __str__(self) -> str:
        if self.identical:
            return f'identical: {100 * self.new.mean:.2f} %, every test image answered alike'
        changed = np.mean(self.old.correct.unpack() != self.new.correct.unpack())
        images = 'same' if self.same_images else 'other'
        return (
            f'{100 * self.old.mean:.2f} -> {100 * self.new.mean:.2f} % ({100 * self.difference:+.2f} points; '
            f'{100 * changed:.2f} % of the answers changed; {images} images in the distilled set)'
        )


def cell_of(record: Record) -> Cell:
    """Return the cell of a record, from nothing but the record.

    Raises:
      InputError: if its key is not the key of this cell here: the code's settings have changed since. Also for a name that
        is not known here, such as a plug-in's.
    """
    kept = record.cell.config

    def choice(kind: str, label: str, name: str, settings: dict[str, Any]) -> Choice:
        row, argument = registry.find(kind, name)
        defaults = row.defaults()
        if gone := settings.keys() - defaults.keys():
            raise InputError(
                f'record {record.key} cannot be replayed: {name} has no setting {min(gone)} any more; check out its '
                f'commit, {record.provenance.commit}'
            )
        # what only changes the cost is not kept, nor what came since and changes nothing
        return Choice(kind, label, row, argument, {**defaults, **ranges.neutral(row.load(), defaults), **settings})

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
            f'record {record.key} cannot be replayed: here its cell has the key {cell.key}, so a setting was added or a '
            f'protocol changed since; check out its commit, {record.provenance.commit}'
        )
    return cell


def replay(record: Record, session: Session, *, force: bool = False) -> Replay:
    """Run a record's cell again.

    Args:
      record: a finished one.
      session: one whose results folder does not hold the record.
      force: replace what an earlier replay left there.

    Raises:
      InputError: if the record failed, cannot be rebuilt, or stands for other data or weights than those found here.
      RuntimeError: if the cell fails.
    """
    if record.status != 'ok':
        raise InputError(f'record {record.key} is of a cell that failed: there is nothing to compare with')
    cell = cell_of(record)
    if not (todo := prepare(session, [cell], force=force)):
        raise InputError(f'{session.results_dir} holds record {record.key} already: replay into another results folder')
    failed = execute(session, todo, force=force)
    new = find(session.results_dir, cell=cell.config, key=cell.key)
    if failed:
        # a failed record never replaces the ok one that an earlier replay may have left
        said = f'{new.error.type}: {new.error.message}' if new.error else 'it failed: see above'
        raise RuntimeError(f'{cell}: {said}')
    # earlier schemas tell no contents
    told, now = record.fingerprints, new.fingerprints
    if told != (now if told.contents else replace(now, contents=None)):
        raise InputError(f'record {record.key} was made from other data or weights than those found here')
    return Replay(record, new)
