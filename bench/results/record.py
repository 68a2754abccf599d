"""Records: one JSON file for one cell, written once, atomically, never edited.

A record lies at `<results_dir>/records/<dataset>/<eval_backbone>/<method>/<key>.json` and holds these fields
(fractions, not percent; R repeats = probe seeds, N test images, C classes):

  schema_version      2; a reader refuses versions it does not know. Version 1 differs in one thing: it says nothing of
                      labels, which were hard
  key                 hash of the cell's full configuration = the file's name
  cell                dataset, method (label), source_backbone ('any' where the method looks at none), eval_backbone,
                      ipc (null where the method has none), seed, protocol, method_name, and the *_settings of each
  protocol            {name, hash}
  status, error       'ok' and null, or 'failed' and {type, message, traceback}
  top1, top5          one fraction per repeat; top5 null where there are 5 classes or fewer
  probe_seeds         one per repeat
  mean, std, ci95     of top1; ddof 1; [low, high] by Student's t over the repeats; null where there is one repeat
  n_test              N
  per_class           accuracy of each class, mean over repeats; null for a class without test images
  class_names         C names
  per_group           null, or {groups: [{name, n, n_train, accuracy}], worst: {name, accuracy}, adjusted_mean}: the
                      worst group has the lowest mean over repeats, adjusted_mean weighs groups by their training size
  correct             {n, bits}: per repeat the correctness of every test image, see `pack_bits`
  seconds             {method, probe, ...}
  peak_memory_mb, device, images_encoded, n_train_images
  distilled           {hash, bytes, kind ('real' or 'synthetic'), labels ('hard' or 'soft'), facts}
  fingerprints        {dataset: {train, test}, source_weights, eval_weights}
  skipped             unreadable images left out: {train: {n, names}, test: {n, names}}
  probe_facts         what the protocol tells beside the score
  provenance          git commit, dirty flag, package versions, platform, cpu, threads, command, created (UTC)
  gin                 {asked, operative}

A failed record has null in place of everything that was not reached. Imports neither torch nor gin.
"""

import base64
import json
import math
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.disk import safe_name, write_atomic
from bench.core.errors import InputError
from bench.core.types import Dataset, ProbeScore
from bench.results import provenance as provenance_module
from bench.results.facts import method_facts

# A reader of version 1 would have put soft labels into the tables of hard ones: hence another version.
SCHEMA_VERSION = 2
_READABLE = (1, 2)
LABELS = ('hard', 'soft')
ANY_SOURCE = 'any'
_ORDER = (
    'schema_version key cell protocol status error top1 top5 probe_seeds mean std ci95 n_test per_class class_names '
    'per_group correct seconds peak_memory_mb device images_encoded n_train_images distilled fingerprints skipped '
    'probe_facts provenance gin'
).split()
_IDENTITY = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'seed', 'protocol')
_NAMES_KEPT = 20  # of skipped images, so that a broken folder does not swell every record
_NONE = type(None)
_NUMBER = (int, float)
# What a reader relies on: dotted field -> accepted types.
_FIELDS = {
    'key': str, 'status': str, 'cell.dataset': str, 'cell.method': str, 'cell.source_backbone': str,
    'cell.eval_backbone': str, 'cell.ipc': (int, _NONE), 'cell.seed': int, 'protocol.name': str, 'protocol.hash': str,
    'seconds': dict, 'peak_memory_mb': (*_NUMBER, _NONE), 'fingerprints.dataset': (dict, _NONE),
    'fingerprints.source_weights': (str, _NONE), 'fingerprints.eval_weights': (str, _NONE), 'provenance': dict,
    'error': (dict, _NONE), 'n_test': (int, _NONE), 'n_train_images': (int, _NONE), 'distilled': (dict, _NONE),
    'per_group': (dict, _NONE),
}  # fmt: skip
_FIELDS_OK = {
    'top1': list, 'top5': (list, _NONE), 'probe_seeds': list, 'n_test': int, 'per_class': list, 'class_names': list,
    'correct.n': int, 'correct.bits': list, 'n_train_images': int, 'distilled.hash': str, 'distilled.kind': str,
}  # fmt: skip
_FIELDS_FAILED = {'error.type': str, 'error.message': str}
_FIELDS_GROUPS = {'per_group.worst.accuracy': _NUMBER, 'per_group.adjusted_mean': (*_NUMBER, _NONE)}


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is no number')


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class RecordError(InputError):
    """A file that is no record this code can read: the message names the file and says why."""


# --- building ---------------------------------------------------------------------------------------------------------


def make_record(
    score: ProbeScore,
    *,
    key: str,
    cell: Mapping[str, Any],
    protocol_hash: str,
    dataset: Dataset,
    probe_seeds: Sequence[int],
    distilled: Mapping[str, Any],
    n_train_images: int,
    source_weights: str | None,
    eval_weights: str,
    seconds: Mapping[str, float],
    peak_memory_mb: float | None,
    device: str,
    images_encoded: int | None = None,
    gin: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the record of a cell that was scored.

    Args:
      score: what the protocol measured; its curves are not kept.
      key: hash of the cell's full configuration.
      cell: the configuration; fields as in the head of this file.
      protocol_hash: hash of the protocol's rules.
      dataset: its test split is the one that was scored; its training split gives the sizes of groups.
      probe_seeds: R seeds, in the order of `score.correct_RN`.
      distilled: hash, bytes, kind ('real' or 'synthetic'), labels ('hard', also where it is missing, or 'soft') and facts of
        the distilled set.
      n_train_images: how many images the probe was trained on.
      source_weights: fingerprint, None where the method looks at no backbone.
      eval_weights: fingerprint.
      seconds: by stage, `method` and `probe` among them.
      peak_memory_mb: None where it was not measured.
      device: such as 'cpu' or the name of a GPU.
      images_encoded: how many images went through a backbone for this cell.
      gin: {asked, operative}.
      provenance: None for `bench.results.provenance.collect()`.
    """
    correct_RN = np.asarray(score.correct_RN, dtype=bool)
    assert correct_RN.ndim == 2 and correct_RN.shape == (len(probe_seeds), len(dataset.test)), correct_RN.shape
    top1 = [float(value) for value in correct_RN.mean(axis=1)]
    interval = t_interval(top1)
    record = _skeleton(key, cell, protocol_hash, provenance)
    record.update(
        status='ok',
        top1=top1,
        top5=None if score.top5_R is None else [float(value) for value in score.top5_R],
        probe_seeds=[int(seed) for seed in probe_seeds],
        mean=float(np.mean(top1)),
        std=float(np.std(top1, ddof=1)) if len(top1) > 1 else None,
        ci95=None if interval is None else list(interval),
        n_test=len(dataset.test),
        per_class=_means(correct_RN, dataset.test.labels_N, dataset.test.num_classes),
        class_names=list(dataset.test.class_names),
        per_group=_per_group(correct_RN, dataset),
        correct=pack_bits(correct_RN),
        seconds=dict(seconds),
        peak_memory_mb=peak_memory_mb,
        device=device,
        images_encoded=images_encoded,
        n_train_images=int(n_train_images),
        distilled={**distilled, 'labels': distilled.get('labels', 'hard')},
        fingerprints=_fingerprints(dataset, source_weights, eval_weights),
        skipped={
            split.name: {'n': len(split.skipped), 'names': list(split.skipped[:_NAMES_KEPT])}
            for split in (dataset.train, dataset.test)
        },
        probe_facts=score.facts,
        gin=gin,
    )
    return _plain(record)


def failed_record(
    error: BaseException,
    *,
    key: str,
    cell: Mapping[str, Any],
    protocol_hash: str,
    dataset: Dataset | None = None,
    source_weights: str | None = None,
    eval_weights: str | None = None,
    seconds: Mapping[str, float] | None = None,
    peak_memory_mb: float | None = None,
    device: str | None = None,
    gin: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the record of a cell that failed; what was not reached stays None."""
    record = _skeleton(key, cell, protocol_hash, provenance)
    record.update(
        status='failed',
        error={
            'type': type(error).__name__,
            'message': str(error),
            'traceback': ''.join(traceback.format_exception(error)),
        },
        seconds=dict(seconds or {}),
        peak_memory_mb=peak_memory_mb,
        device=device,
        fingerprints=_fingerprints(dataset, source_weights, eval_weights),
        gin=gin,
    )
    return _plain(record)


def pack_bits(correct_RN: np.ndarray) -> dict[str, Any]:
    """Return {n, bits}: each row through `numpy.packbits`, as base64 text."""
    rows = np.packbits(np.asarray(correct_RN, dtype=bool), axis=1)
    return {'n': int(correct_RN.shape[1]), 'bits': [base64.b64encode(row.tobytes()).decode() for row in rows]}


def unpack_bits(packed: Mapping[str, Any]) -> np.ndarray:
    """Return the boolean correct_RN that `pack_bits` packed."""
    rows = [np.frombuffer(base64.b64decode(text), dtype=np.uint8) for text in packed['bits']]
    return np.unpackbits(np.stack(rows), axis=1, count=packed['n']).astype(bool)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% interval of the mean by Student's t, None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # here, because most readers need no interval

    mean = float(np.mean(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return round(mean - half, 10), round(mean + half, 10)  # scipy's last digits differ between versions


# --- on disk ----------------------------------------------------------------------------------------------------------


def path_of(results_dir: Path | str, cell: Mapping[str, Any], key: str) -> Path:
    """Return where the record of a cell lies."""
    folders = (safe_name(cell[name]) for name in ('dataset', 'eval_backbone', 'method'))
    return Path(results_dir, 'records', *folders, f'{key}.json')


def find(results_dir: Path | str, *, cell: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Return the record of a cell, None where there is none.

    Raises:
      RecordError: if a file is there that is no readable record.
    """
    path = path_of(results_dir, cell, key)
    return load(path) if path.exists() else None


def write(record: Mapping[str, Any], *, results_dir: Path | str, force: bool = False) -> Path:
    """Write a record to its place and return the path.

    A finished record stays: without `force` the first one written is kept, and a failed one never replaces an ok one.
    A failed record gives way to any newer one.

    Raises:
      RecordError: if something that is no readable record is in the way; it is not touched.
    """
    path = path_of(results_dir, record['cell'], record['key'])
    problem = _problem(record)
    assert problem is None, problem
    if path.exists() and load(path)['status'] == 'ok' and (not force or record['status'] == 'failed'):
        return path
    write_atomic(path, dumps(record))
    return path


def dumps(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, one line a field: git shows which field differs, in tens of lines, not thousands."""
    lines = (f'{json.dumps(name)}: {json.dumps(value, allow_nan=False)}' for name, value in record.items())
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def load(path: Path | str) -> dict[str, Any]:
    """Read and check one record.

    Raises:
      RecordError: naming the file and why it cannot be used.
    """
    path = Path(path)
    try:
        record = _DECODER.decode(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise RecordError(f'{path}: cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f'{path}: damaged JSON: {error}') from error
    problem = _problem(record)
    if problem is None and record['key'] != path.stem:
        problem = f'its key {record["key"]!r} does not match its file name; records are not to be renamed'
    if problem is not None:
        raise RecordError(f'{path}: {problem}')
    return record


def load_table(results_dir: Path | str) -> 'tuple[Any, list[str]]':
    """Read every record of a results folder.

    Returns:
      A `pandas.DataFrame` of one row per record, sorted by path, and one line for each file that could not be used.
      Columns: path, key, status, dataset, method, source_backbone, eval_backbone, ipc, seed, protocol, protocol_hash,
      method_name, settings (the rest of the cell as JSON with sorted keys), top1 (list of fractions), probe_seeds,
      n_test, n_train_images, seconds_method, seconds_probe, peak_memory_mb, distilled_hash, distilled_kind, labels
      ('hard' or 'soft'), dataset_fingerprint ('train/test'), source_weights, eval_weights, worst_group, group_adjusted
      (fractions), error ('type: message'), created, and the facts of the method (`bench.results.facts.FACTS`).
    """
    import pandas as pd  # here, because writing a record does not need it

    rows, problems = [], []
    for path in sorted(Path(results_dir, 'records').rglob('*.json')):
        try:
            record = load(path)
            if path != path_of(results_dir, record['cell'], record['key']):
                # A copied file would count its repeats twice.
                raise RecordError(f'{path}: lies in a folder of another cell; move it back or delete the copy')
        except RecordError as error:
            problems.append(' '.join(str(error).split()))
        else:
            rows.append(_row(path, record))
    table = pd.DataFrame(rows, columns=list(_row(Path(), _skeleton('', {}, '', {}))))
    return table.astype({'ipc': 'Int64', 'n_train_images': 'Int64', 'n_test': 'Int64'}), problems


# --- helpers ----------------------------------------------------------------------------------------------------------


def _skeleton(
    key: str, cell: Mapping[str, Any], protocol_hash: str, origin: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return every field in its order in the file."""
    return {
        **dict.fromkeys(_ORDER),
        'schema_version': SCHEMA_VERSION,
        'key': key,
        'cell': dict(cell),
        'protocol': {'name': cell.get('protocol'), 'hash': protocol_hash},
        'provenance': provenance_module.collect() if origin is None else dict(origin),
    }


def _fingerprints(dataset: Dataset | None, source_weights: str | None, eval_weights: str | None) -> dict[str, Any]:
    splits = None if dataset is None else dict(dataset.fingerprints)
    return {'dataset': splits, 'source_weights': source_weights, 'eval_weights': eval_weights}


def _means(correct_RN: np.ndarray, index_N: np.ndarray, count: int) -> list[float | None]:
    """Return the mean accuracy over repeats of each class or group, None for those without images."""
    sizes = np.bincount(index_N, minlength=count)
    sums = np.bincount(index_N, weights=correct_RN.mean(axis=0), minlength=count)
    return [round(float(total / n), 6) if n else None for total, n in zip(sums, sizes, strict=True)]


def _per_group(correct_RN: np.ndarray, dataset: Dataset) -> dict[str, Any] | None:
    test, train = dataset.test, dataset.train
    if test.groups_N is None:
        return None
    count = len(test.group_names)
    sizes = np.bincount(test.groups_N, minlength=count)
    train_sizes = None if train.groups_N is None else np.bincount(train.groups_N, minlength=count)
    accuracies = _means(correct_RN, test.groups_N, count)
    groups = [
        {
            'name': name,
            'n': int(sizes[g]),
            'n_train': None if train_sizes is None else int(train_sizes[g]),
            'accuracy': accuracies[g],
        }
        for g, name in enumerate(test.group_names)
    ]
    tested = [group for group in groups if group['n']]
    worst = min(tested, key=lambda group: group['accuracy'])
    weight = 0 if train_sizes is None else sum(group['n_train'] for group in tested)
    adjusted = sum(group['n_train'] * group['accuracy'] for group in tested) / weight if weight else None
    return {
        'groups': groups,
        'worst': {'name': worst['name'], 'accuracy': worst['accuracy']},
        'adjusted_mean': adjusted,
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; an odd setting must not cost a finished cell its record."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [_plain(item) for item in sorted(value, key=str)]
    return str(value)


def _problem(record: Any) -> str | None:
    """Return why this cannot be used as a record, None if it can."""
    if not isinstance(record, dict) or 'schema_version' not in record:
        return 'JSON without schema_version, not a record of this suite'
    if record['schema_version'] not in _READABLE:
        return f'schema version {record["schema_version"]!r}; this code reads versions {" and ".join(map(str, _READABLE))}'
    status = record.get('status')
    if status not in ('ok', 'failed'):
        return f'status is {status!r}, expected ok or failed'
    fields = {**_FIELDS, **(_FIELDS_OK if status == 'ok' else _FIELDS_FAILED)}
    if record.get('per_group') is not None:
        fields |= _FIELDS_GROUPS
    for dotted, types in fields.items():
        value: Any = record
        for name in dotted.split('.'):
            if not isinstance(value, dict) or name not in value:
                return f'field {dotted} is missing'
            value = value[name]
        if not isinstance(value, types) or isinstance(value, bool):
            return f'field {dotted} is of the wrong type: {str(value)[:40]!r}'
        if isinstance(value, int) and abs(value) >= 2**63:
            return f'field {dotted} is out of range'
    for name, value in record['seconds'].items():
        if value is not None and (not isinstance(value, _NUMBER) or not math.isfinite(value)):
            return f'field seconds.{name} is not a number: {str(value)[:40]!r}'
    return _score_problem(record) if status == 'ok' else None


def _score_problem(record: Mapping[str, Any]) -> str | None:
    labels = record['distilled'].get('labels', 'hard' if record['schema_version'] == 1 else None)
    if labels not in LABELS:
        return f'distilled.labels is {labels!r}, expected {" or ".join(LABELS)}'
    top1 = record['top1']
    if not top1:
        return 'top1 is empty, expected one fraction per repeat'
    for value in top1:
        if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value <= 1:
            return f'top1 holds {value!r}, expected fractions in [0, 1]'
    if not len(top1) == len(record['probe_seeds']) == len(record['correct']['bits']):
        return 'top1, probe_seeds and correct differ in their number of repeats'
    if not all(isinstance(seed, int) for seed in record['probe_seeds']):
        return 'probe_seeds holds something that is no whole number'
    return None


def _labels(record: Mapping[str, Any]) -> str:
    """Return 'hard' or 'soft'. A failed record has no set to tell: it goes where its method's settings say it belongs."""
    if record['status'] == 'ok':
        return record['distilled'].get('labels', 'hard')
    settings = record['cell'].get('method_settings')
    return 'soft' if isinstance(settings, dict) and settings.get('soft_labels') is True else 'hard'


def _row(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of `load_table`."""
    cell, seconds, distilled = record['cell'], record['seconds'] or {}, record['distilled'] or {}
    prints, group, splits = record['fingerprints'] or {}, record['per_group'] or {}, None
    if prints.get('dataset') is not None:
        splits = '{train}/{test}'.format_map({'train': None, 'test': None, **prints['dataset']})
    rest = {name: value for name, value in cell.items() if name not in _IDENTITY}
    error = record['error'] if record['status'] == 'failed' else None
    return {
        'path': str(path),
        'key': record['key'],
        'status': record['status'],
        **{name: cell.get(name) for name in _IDENTITY},
        'protocol': record['protocol']['name'],
        'protocol_hash': record['protocol']['hash'],
        'method_name': cell.get('method_name', cell.get('method')),
        'settings': json.dumps(rest, sort_keys=True),
        'top1': record['top1'],
        'probe_seeds': record['probe_seeds'],
        'n_test': record['n_test'],
        'n_train_images': record['n_train_images'],
        'seconds_method': seconds.get('method'),
        'seconds_probe': seconds.get('probe'),
        'peak_memory_mb': record['peak_memory_mb'],
        'distilled_hash': distilled.get('hash'),
        'distilled_kind': distilled.get('kind'),
        'labels': _labels(record),
        'dataset_fingerprint': splits,
        'source_weights': prints.get('source_weights'),
        'eval_weights': prints.get('eval_weights'),
        'worst_group': group.get('worst', {}).get('accuracy'),
        'group_adjusted': group.get('adjusted_mean'),
        'error': None if error is None else f'{error["type"]}: {error["message"]}',
        'created': record['provenance'].get('created'),
        **method_facts(record),
    }
