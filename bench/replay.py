"""python -m bench.replay --record=KEY.json: run a record's cell again from what the record says; same numbers?

On the platform of the record (`same_platform`) the answer is the same to the last test image. Elsewhere
arithmetic differs in the last bits, and 150 updates through a network amplify that.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.results.record import Record
from bench.results.store import find, load, path_of

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


def cell_of(record: Record) -> Any:
    """Return the cell (`bench.pipeline.grid.Cell`) of a record, from nothing but the record.

    Raises:
      InputError: if its key is not the key of this cell here: the code's settings have changed since. Also for a name that
        is not known here, such as a plug-in's.
    """
    from bench.config import registry
    from bench.config.gin_files import Choice
    from bench.core import ranges
    from bench.pipeline.grid import Cell

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


def replay(record: Record, bench: Any) -> Replay:
    """Run a record's cell again.

    Args:
      record: a finished one.
      bench: a `bench.pipeline.execute.Bench` whose results folder does not hold the record.

    Raises:
      InputError: if the record failed, cannot be rebuilt, or stands for other data or weights than those found here.
      RuntimeError: if the cell fails.
    """
    from bench.pipeline.execute import execute, prepare

    if record.status != 'ok':
        raise InputError(f'record {record.key} is of a cell that failed: there is nothing to compare with')
    cell = cell_of(record)
    if not (todo := prepare(bench, [cell])):
        raise InputError(f'{bench.results_dir} holds record {record.key} already: replay into another results folder')
    failed = execute(bench, todo)
    new = find(bench.results_dir, cell=cell.config, key=cell.key)
    if failed:
        # a failed record never replaces the ok one that an earlier replay may have left
        said = f'{new.error.type}: {new.error.message}' if new.error else 'it failed: see above'
        raise RuntimeError(f'{cell}: {said}')
    # earlier schemas tell no contents
    told, now = record.fingerprints, new.fingerprints
    if told != (now if told.contents else replace(now, contents=None)):
        raise InputError(f'record {record.key} was made from other data or weights than those found here')
    return Replay(record, new)


def main() -> int:
    """Paths -> replays; returns 1 if one differs by more than the tolerance."""
    from bench.config import plugins
    from bench.machine.device import choose_device
    from bench.pipeline.execute import Bench

    values = flags.FLAGS
    if not values.record:
        raise InputError('expected --record=FILE, such as results/records/plumage/tiny_moco/lgm/KEY.json; got none')
    plugins.load(values.plugin)
    places, device = cli.places(), choose_device(values.device)
    differ = 0
    for path in values.record:
        record = load(path)
        if path_of(values.results_dir, record.cell.config, record.key).resolve() == Path(path).resolve():
            raise InputError(f'--results_dir={values.results_dir}: a replay would overwrite {path}; choose another folder')
        bench = Bench(places, Path(values.results_dir), device, force=True)
        try:
            found = replay(record, bench)
        except RuntimeError as error:
            print(f'{path}: failed: {error}', file=sys.stderr)
            differ += 1
            continue
        differ += abs(found.difference) > TOLERANCE
        print(f'{path}: {found}')
    return 1 if differ else 0


if __name__ == '__main__':
    flags.DEFINE_multi_string('record', [], 'record to run again; repeatable')
    cli.define('plugin', 'cache_dir', 'data_root', 'weights_root', 'device', results_dir='out/replay')
    cli.start(main)
