"""Explains why a cell is to do: no record, a failed record, other data or weights, other settings or code."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config.gin_files import Choice
from bench.core.errors import InputError
from bench.core.hashing import canonical_json, differences
from bench.core.types import Dataset
from bench.datasets.published.catalogue import CATALOGUE
from bench.datasets.published.obtain import absent
from bench.pipeline.grid import Cell
from bench.pipeline.prepare import other_inputs
from bench.pipeline.session import Session
from bench.results.check import RecordError
from bench.results.record import Record
from bench.results.store import load, path_of

# Fields that identify a cell apart from settings and code.
_SAME = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'seed')
_ABSENT = 'not set'


@dataclass
class Why:
    """Explains the cells of one results folder. Its records are read once.

    `unseen` names data and weights of finished cells that were not compared, because they are missing or would have to be
    downloaded or built.
    """

    session: Session
    unseen: set[str] = field(default_factory=set)
    _read: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)
    _data: dict[str, Dataset | None] = field(default_factory=dict)

    def __call__(self, cell: Cell, record: Record | None) -> str:
        """Return in one line why a cell is to do, or '' if it is done.

        `data: ...` or `weights: ...`: the finished record was made from other data or weights; a run stops with an error.
        `failed: <error>`: the record holds an error.
        `settings: <name> = <value>, was <value>`, `code: <part> = ...` or both: the difference from the nearest record with
        the same coordinates.
        `new`: there is no such record.

        Args:
          cell: the cell.
          record: the cell's own record, finished or failed, or None.
        """
        if record is not None and record.status == 'ok':
            return self._made_from_others(cell, record)
        if record is not None:
            assert record.error is not None, 'a failed record has one'
            return f'failed: {record.error.type}'
        found = [_changes(cell, other) for other in self._others(cell)]
        if not found:
            return 'new'
        changes = min(found, key=lambda each: sum(map(len, each.values())))
        return '; '.join(f'{what}: {", ".join(said)}' for what, said in changes.items() if said)

    def _made_from_others(self, cell: Cell, record: Record) -> str:
        weights = {choice.label: self.session.known_weights(choice) for choice in cell.backbones}
        self.unseen |= {f'weights of {label}' for label, known in weights.items() if known is None}
        other = other_inputs(record, cell, dataset=self._dataset(cell.dataset), weights=weights)
        return f'{"weights" if "weights" in other else "data"}: the record is of {other}' if other else ''

    def _dataset(self, choice: Choice) -> Dataset | None:
        """Return a data set that is on this machine, or None if it would have to be downloaded."""
        if choice.label not in self._data:
            try:
                here = _is_here(choice, self.session.places.data_root)
                self._data[choice.label] = self.session.dataset(choice) if here else None
            except InputError:
                self._data[choice.label] = None
        if self._data[choice.label] is None:
            self.unseen.add(f'data of {choice.label}')
        return self._data[choice.label]

    def _others(self, cell: Cell) -> list[dict[str, Any]]:
        """Return the configurations of records with this cell's coordinates but other settings or code."""
        config = cell.config
        folder = path_of(self.session.results_dir, config, cell.key).parent
        if folder not in self._read:
            self._read[folder] = []
            for path in sorted(folder.glob('*.json')):
                try:
                    self._read[folder].append(load(path).cell.config)
                except RecordError:  # reported by the leaderboard
                    continue
        rules = _official(config['protocol'])
        return [
            kept for kept in self._read[folder]
            if all(kept[name] == config[name] for name in _SAME) and _official(kept['protocol']) == rules
        ]  # fmt: skip


def _is_here(choice: Choice, root: Path | None) -> bool:
    """Return whether a data set can be loaded without the network; `root` is the folder of the data sets."""
    entry = CATALOGUE.get(choice.row.name)
    if entry is not None:
        return root is not None and not absent(entry, root)
    return choice.row.name != 'hf'


def _official(protocol: str) -> str:
    return protocol.partition('+')[0]


def _changes(cell: Cell, kept: dict[str, Any]) -> dict[str, list[str]]:
    """Return the differences from a record's configuration, as {'settings': [...], 'code': [...]}."""
    labels = {
        'method_settings': cell.method.row.identifier, 'dataset_settings': cell.dataset.row.identifier,
        'protocol_settings': cell.protocol.row.identifier, 'eval_settings': cell.eval.row.identifier,
        'source_settings': cell.source.row.identifier if cell.source else 'source',
        'of': cell.of.row.identifier if cell.of else 'of',
    }  # fmt: skip
    found: dict[str, list[str]] = {'settings': [], 'code': []}
    ours = json.loads(canonical_json(cell.config))  # a tuple is a list in a record
    for name, (was, now) in differences({'code': {}, **kept}, {'code': {}, **ours}, absent=_ABSENT).items():
        first, _, rest = name.partition('.')
        # these two follow from the protocol's settings and code
        if name in ('protocol', 'protocol_hash'):
            continue
        shown = f'{labels[first]}.{rest.removeprefix("settings.")}' if first in labels else name
        values = [value if first == 'code' or value is _ABSENT else repr(value) for value in (now, was)]
        what, said = ('code', rest) if first == 'code' else ('settings', shown)
        said = f'{said} = {values[0]}, was {values[1]}'
        if said not in found[what]:  # source and eval backbone may be the same
            found[what].append(said)
    return found if any(found.values()) else {'settings': [], 'code': ['the rules of the protocol']}
