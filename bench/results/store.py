"""Records on disk: their paths, reading and writing, and loading a whole results folder as a data frame."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.core.disk import safe_name, write_atomic
from bench.core.hashing import short_hash
from bench.results.check import RecordError, parse, problem_of
from bench.results.record import Record


def path_of(results_dir: Path | str, cell: Mapping[str, Any], key: str) -> Path:
    """Return the path of a cell's record."""
    folders = (safe_name(cell[name]) for name in ('dataset', 'eval_backbone', 'method'))
    return Path(results_dir, 'records', *folders, f'{key}.json')


def find(results_dir: Path | str, *, cell: Mapping[str, Any], key: str) -> Record | None:
    """Return the record of a cell, or None if it does not exist.

    Raises:
      RecordError: if the file exists but is not a readable record.
    """
    path = path_of(results_dir, cell, key)
    return load(path) if path.exists() else None


def write(record: Record, *, results_dir: Path | str, force: bool = False) -> Path:
    """Write a record and return its path.

    An existing finished record is replaced only by another finished record, and only with `force`. An existing failed record
    is always replaced.

    Raises:
      RecordError: if the path holds a file that is not a readable record; the file is left unchanged.
    """
    path = path_of(results_dir, record.cell.config, record.key)
    problem = problem_of(record)
    assert problem is None, problem
    if path.exists() and load(path).status == 'ok' and (not force or record.status == 'failed'):
        return path
    write_atomic(path, dumps(record))
    return path


def dumps(record: Record) -> str:
    """Return a record as JSON with one line per field, so that diffs are short and show which field differs."""
    fields = as_json(record, version=record.schema_version)
    if 'digest' in fields:
        fields['digest'] = _digest_of(fields)
    lines = (f'{json.dumps(name)}: {json.dumps(value, allow_nan=False)}' for name, value in fields.items())
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def as_json(value: Any, *, version: int) -> Any:
    """Convert a record, or a part of one, to plain JSON values, with fields in the order of their class.

    Fields newer than the schema version are left out, and so are optional fields without a value.
    """
    if isinstance(value, (list, tuple)):
        return [as_json(item, version=version) for item in value]
    if isinstance(value, dict):
        return {name: as_json(item, version=version) for name, item in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if 'rest' in field.metadata:
            found |= as_json(item, version=version)
        elif _is_written(field, item, version):
            found[field.name] = as_json(item, version=version)
    return found


def _is_written(field: dataclasses.Field, item: Any, version: int) -> bool:
    if 'since' in field.metadata:
        return field.metadata['since'] <= version
    return item is not None or field.default is dataclasses.MISSING


def load(path: Path | str) -> Record:
    """Read and check one record.

    Raises:
      RecordError: if the file is not a readable record; the message gives its path and the reason.
    """
    path = Path(path)
    try:
        content = _DECODER.decode(path.read_text(encoding='utf-8'))
        record = parse(content)
    except OSError as error:
        raise RecordError(f'{path}: cannot be read: {error.strerror}') from error
    except RecordError as error:
        raise RecordError(f'{path}: {error}') from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f'{path}: damaged JSON: {error}') from error
    if record.key != path.stem:
        raise RecordError(f'{path}: its key {record.key!r} does not match its file name; do not rename records')
    if problem := _change_of(record, content):
        raise RecordError(f'{path}: {problem}; the file is damaged or was edited')
    return record


def _change_of(record: Record, content: Mapping[str, Any]) -> str:
    """Return what shows that a record is not as it was written, or ''. Records before schema 4 have no digest."""
    if record.key != short_hash(record.cell.config):
        return 'its key is not the hash of its cell'
    try:
        if record.top1 is not None and record.top1 != [float(share) for share in record.correct_RN.mean(axis=1)]:
            return 'its accuracies are not those of its test images'
    except ValueError as error:
        return f'correct.bits cannot be read ({error})'
    if record.schema_version >= 4 and record.digest != _digest_of(content):
        return 'its digest is not that of its content'
    return ''


def _digest_of(content: Mapping[str, Any]) -> str:
    return short_hash({name: value for name, value in content.items() if name != 'digest'})


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is not a number')


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


# --- all records of a folder ------------------------------------------------------------------------------------------


def load_table(results_dir: Path | str) -> 'tuple[Any, list[str]]':
    """Read every record of a results folder.

    Returns:
      A `pandas.DataFrame` with one row per record, sorted by path, and one message for each file that could not be read. The
      columns are `path` and those of `COLUMNS`; accuracies are fractions.
    """
    import pandas as pd  # imported here because writing a record does not need it

    rows, problems = [], []
    for path in sorted(Path(results_dir, 'records').rglob('*.json')):
        try:
            record = load(path)
            if path != path_of(results_dir, record.cell.config, record.key):
                # The repeats of a copied file would be counted twice.
                raise RecordError(f'{path}: is in the folder of another cell; move it back or delete the copy')
        except RecordError as error:
            problems.append(' '.join(str(error).split()))
        else:
            rows.append({'path': str(path), **{name: value_of(record) for name, value_of in COLUMNS.items()}})
    table = pd.DataFrame(rows, columns=['path', *COLUMNS])
    return table.astype({'ipc': 'Int64', 'n_train_images': 'Int64', 'n_test': 'Int64'}), problems


def _splits(prints: Mapping[str, str] | None) -> str | None:
    return None if prints is None else f'{prints.get("train")}/{prints.get("test")}'


# Column -> function that extracts its value from a record.
COLUMNS: dict[str, Callable[[Record], Any]] = {
    'key': lambda r: r.key,
    'status': lambda r: r.status,
    'dataset': lambda r: r.cell.dataset,
    'method': lambda r: r.cell.method,
    'source_backbone': lambda r: r.cell.source_backbone,
    'eval_backbone': lambda r: r.cell.eval_backbone,
    'ipc': lambda r: r.cell.ipc,
    'seed': lambda r: r.cell.seed,
    'protocol': lambda r: r.protocol.name,
    'protocol_hash': lambda r: r.protocol.hash,
    'method_name': lambda r: r.cell.method_name,
    'settings': lambda r: r.settings,
    'top1': lambda r: r.top1,
    'probe_seeds': lambda r: r.probe_seeds,
    'n_test': lambda r: r.n_test,
    'n_train_images': lambda r: r.n_train_images,
    'seconds_method': lambda r: r.seconds.method,
    'seconds_probe': lambda r: r.seconds.probe,
    'peak_memory_mb': lambda r: r.peak_memory_mb,
    'images_encoded': lambda r: None if r.images_encoded is None else r.images_encoded + r.images_of_updates,
    'scored': lambda r: r.scored,
    'distilled_hash': lambda r: r.distilled and r.distilled.hash,
    'distilled_kind': lambda r: r.distilled and r.distilled.kind,
    'labels': lambda r: r.labels,
    'real': lambda r: r.method_facts.real,
    'needs_backbone': lambda r: r.method_facts.needs_backbone,
    'needs_seed': lambda r: r.method_facts.needs_seed,
    'needs_ipc': lambda r: r.method_facts.needs_ipc,
    'dataset_fingerprint': lambda r: _splits(r.fingerprints.dataset),
    'dataset_contents': lambda r: _splits(r.fingerprints.contents),
    'source_weights': lambda r: r.fingerprints.source_weights,
    'eval_weights': lambda r: r.fingerprints.eval_weights,
    'groups': lambda r: r.per_group and {group.name: group.accuracy for group in r.per_group.groups if group.n},
    'group_adjusted': lambda r: r.per_group and r.per_group.adjusted_mean,
    'error': lambda r: r.error and f'{r.error.type}: {r.error.message}',
    'created': lambda r: r.provenance.created,
}
