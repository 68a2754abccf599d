"""Why a cell is to do: what its own record says, or by what it differs from the nearest one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core.hashing import differences
from bench.pipeline.grid import Cell
from bench.results import record as records

# What two records of one cell share, whatever the settings and the code.
_SAME = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'seed')
_ABSENT = 'not there'


@dataclass
class Why:
    """Reasons for the cells of one results folder, whose records are read once."""

    results_dir: Path
    _read: dict[Path, list[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, cell: Cell, record: dict[str, Any] | None) -> str:
        """Return why a cell without a finished record is to do, in one line.

        `failed: <error>`; `settings: <name> = <value>, was <value>`, `code: <whose> = ...` or both, against the record of
        the same cell that differs least; else `new`.

        Args:
          cell: what is to do.
          record: what lies in its place: None, or a record that failed.
        """
        if record is not None:
            return f'failed: {record["error"]["type"]}'
        found = [_changes(cell, other) for other in self._others(cell)]
        if not found:
            return 'new'
        changes = min(found, key=lambda each: sum(map(len, each.values())))
        return '; '.join(f'{what}: {", ".join(said)}' for what, said in changes.items() if said)

    def _others(self, cell: Cell) -> list[dict[str, Any]]:
        """Return the configurations of the records of this cell with other settings or code."""
        config = cell.config
        folder = records.path_of(self.results_dir, config, cell.key).parent
        if folder not in self._read:
            self._read[folder] = []
            for path in sorted(folder.glob('*.json')):
                try:
                    self._read[folder].append(records.load(path)['cell'])
                except records.RecordError:  # the leaderboard names it
                    continue
        rules = _official(config['protocol'])
        return [
            kept for kept in self._read[folder]
            if all(kept[name] == config[name] for name in _SAME) and _official(kept['protocol']) == rules
        ]  # fmt: skip


def _official(protocol: str) -> str:
    return protocol.partition('+')[0]


def _changes(cell: Cell, kept: dict[str, Any]) -> dict[str, list[str]]:
    """Return what differs from a record's configuration, as {'settings': [...], 'code': [...]}."""
    labels = {
        'method_settings': cell.method.row.identifier, 'dataset_settings': cell.dataset.row.identifier,
        'protocol_settings': cell.protocol.row.identifier, 'eval_settings': cell.eval.row.identifier,
        'source_settings': cell.source.row.identifier if cell.source else 'source',
        'of': cell.of.row.identifier if cell.of else 'of',
    }  # fmt: skip
    found: dict[str, list[str]] = {'settings': [], 'code': []}
    for name, (was, now) in differences({'code': {}, **kept}, {'code': {}, **cell.config}, absent=_ABSENT).items():
        first, _, rest = name.partition('.')
        # both follow from the protocol's settings and code
        if name in ('protocol', 'protocol_hash'):
            continue
        shown = f'{labels[first]}.{rest.removeprefix("settings.")}' if first in labels else name
        values = [value if first == 'code' or value is _ABSENT else repr(value) for value in (now, was)]
        what, said = ('code', rest) if first == 'code' else ('settings', shown)
        said = f'{said} = {values[0]}, was {values[1]}'
        if said not in found[what]:  # source and eval backbone may be one
            found[what].append(said)
    return found if any(found.values()) else {'settings': [], 'code': ['the rules of the protocol']}
