"""Aggregates records into the rows of the leaderboard, with warnings about doubtful comparisons.

A row is identified by (dataset, method, source_backbone, eval_backbone, ipc, protocol). A row never mixes protocol hashes or
settings. Records with different settings go into separate rows, distinguished by the column `settings`, with a warning. A
table never mixes hard and soft labels (column `labels`), and the two are never compared.

Columns of a row, accuracies in percent (`bench.results.statistics` says how intervals and ranks are made):
  top1_mean, top1_std       over all repeats (distilled set x probe seed); ddof 1
  top1_ci_low, _high, _half ends and half of the 95 % interval of the mean
  error_units, error_images standard errors from distilled sets (or probe seeds, if the method draws no sets) and test images
  freedom                   degrees of freedom of the interval, empty if infinite
  one_set                   whether the method draws its sets and has one: the interval leaves out how sets vary
  rank_low, rank_high       the first and last rank that the method can have among the rows of its column: same data, eval
                            backbone, ipc and protocol, images made through that backbone. Empty for full data and one_set
  recovered, _low, _high    share of the way from random images to full data, in percent; empty if it is below 30 points
  std_sets, std_probes      standard deviation of the means of the sets, and over the probe seeds of a set (mean over sets)
  images_encoded            by backbones, for method (updates included) and probe, like seconds_*; mean over records
  worst_group               minimum over groups of the mean over records
  peak_memory_mb            maximum over records; n_train_images likewise
  status                    ok, failed (no record of the row finished) or partial (some failed; numbers are of the others)
  published_mean, _std      result of arXiv 2511.16674 for the same cell (`bench.results.published`), empty if there is none
  gate                      whether data set and eval backbone pass the gate or are a stress test (`bench.results.gate`)
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import gate, published
from bench.results.ranking import Standing, compare
from bench.results.statistics import Estimate, scores_of, worst_group
from bench.results.store import load_table

Row = dict[str, Any]
_IDENTITY = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'protocol')
# All rows of a table agree in these columns. Rows of different tables are never compared.
_TABLE = ('labels', 'dataset', 'protocol', 'protocol_hash')
COLUMNS = (
    *_IDENTITY, 'top1_mean', 'top1_std', 'top1_ci_low', 'top1_ci_high', 'n_repeats', 'n_train_images', 'seconds_method',
    'seconds_probe', 'peak_memory_mb', 'status', 'labels', 'settings', 'protocol_hash', 'n_sets', 'n_probes', 'n_failed',
    'top1_half', 'rank_low', 'rank_high', 'recovered', 'recovered_low', 'recovered_high', 'one_set', 'images_encoded',
    'error_units', 'error_images', 'freedom', 'std_sets', 'std_probes', 'worst_group', 'group_adjusted',
    'dataset_fingerprint', 'eval_weights', 'error', 'published_mean', 'published_std', 'gate',
)  # fmt: skip


@dataclass(frozen=True)
class Board:
    """The leaderboard: rows and standings of `summarise`, warnings about them, and one message for each ignored file.

    `standings` maps what identifies a table (`table_of`) to the standings of its methods, `tuned` methods to their tuning
    budgets.
    """

    rows: list[Row]
    standings: dict[tuple[str, ...], list[Standing]]
    warnings: list[str]
    problems: list[str]
    tuned: Mapping[str, str] = field(default_factory=dict)


# --- records -> rows --------------------------------------------------------------------------------------------------


def read(results_dir: Path | str, *, with_published: bool = True) -> Board:
    """Read and summarise all records of a results folder, by default with the published accuracies next to ours.

    Raises:
      InputError: if the published accuracies or the table of the gate cannot be read.
    """
    table, problems = load_table(results_dir)
    accuracies = published.load(results_dir) if with_published else {}
    rows, standings = summarise(table, gate.load(results_dir))
    return Board(published.beside(rows, accuracies), standings, warnings_of(table), problems)


def summarise(table: Any, pairs: gate.Pairs | None = None) -> tuple[list[Row], dict[tuple[str, ...], list[Standing]]]:
    """Return the sorted rows of the leaderboard, accuracies in percent and None for missing values, and the standings.

    Args:
      table: the data frame of `store.load_table`, or some of its rows.
      pairs: the table of the gate (`bench.results.gate.load`); stress tests are no part of the standings.
    """
    groups = grouped(_entries(table), _row_identity)
    rows, estimates = [], []
    for entries in groups.values():
        variants = grouped(entries, lambda entry: entry['settings'])
        labels = variant_labels(list(variants))
        for settings, some in variants.items():
            row, estimate = _summary(some, label=labels[settings])
            rows.append(row)
            estimates.append(estimate)
    rows = gate.beside(rows, pairs or {})
    standings = compare(rows, estimates, _TABLE)
    return sorted(rows, key=_row_order), standings


def warnings_of(table: Any) -> list[str]:
    """Return one warning for each reason to distrust a comparison of these records."""
    entries = _entries(table)
    return [*_identical_picks(entries), *_mixed_fingerprints(entries), *_mixed_settings(entries)]


def _entries(table: Any) -> list[Row]:
    """Return the rows of a data frame as dicts, with None for missing values."""
    return table.astype(object).where(table.notna(), None).to_dict('records')


def grouped(entries: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Group entries by a key function, keeping their order."""
    groups = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return groups


def table_of(entry: Row) -> tuple[str, ...]:
    """Return the values that identify the table of an entry."""
    return tuple(entry[name] for name in _TABLE)


def _row_identity(entry: Row) -> tuple[Any, ...]:
    return *table_of(entry), *(entry[name] for name in _IDENTITY)


def ipc_order(ipc: int | None) -> tuple[bool, int]:
    """Return a sort key for images per class; None comes last."""
    return ipc is None, ipc or 0


def _row_order(row: Row) -> tuple[Any, ...]:
    names = ('eval_backbone', 'method', 'source_backbone', 'settings')
    return *table_of(row), ipc_order(row['ipc']), *(row[name] for name in names)


def _summary(entries: list[Row], *, label: str) -> tuple[Row, Estimate | None]:
    """Return one row from records that differ only in their seed, and its accuracy, None if no record finished."""
    done = [entry for entry in entries if entry['status'] == 'ok']
    failed = [entry for entry in entries if entry['status'] == 'failed']
    row: Row = dict.fromkeys(COLUMNS)
    row |= {name: entries[0][name] for name in (*_IDENTITY, *_TABLE)}
    row |= {'settings': label, 'n_repeats': 0, 'n_sets': 0, 'n_probes': 0, 'one_set': False, 'n_failed': len(failed)}
    row['status'] = 'ok' if not failed else 'partial' if done else 'failed'
    row['error'] = failed[0]['error'] if failed else None
    for name in ('dataset_fingerprint', 'eval_weights'):
        row[name] = '+'.join(sorted({short(entry[name]) for entry in entries if entry[name]}))
    if not done:
        return row, None

    scores = scores_of([entry['scored'] for entry in done])
    accuracy = scores.accuracy()
    within = [spread for spread in (_spread(entry['top1']) for entry in done) if spread is not None]
    memory = [entry['peak_memory_mb'] for entry in done if entry['peak_memory_mb'] is not None]
    groups = [entry['groups'] for entry in done if entry['groups']]
    row.update(
        top1_mean=100 * accuracy.mean,
        top1_std=_spread([100 * value for entry in done for value in entry['top1']]),
        top1_ci_low=100 * accuracy.low,
        top1_ci_high=100 * accuracy.high,
        top1_half=100 * accuracy.half,
        n_repeats=sum(len(entry['top1']) for entry in done),
        n_sets=len(scores.sets),
        n_probes=max(len(entry['top1']) for entry in done),
        one_set=accuracy.one_set,
        error_units=100 * accuracy.error_of_units,
        error_images=100 * accuracy.error_of_images,
        freedom=accuracy.freedom if math.isfinite(accuracy.freedom) else None,
        std_sets=_spread([100 * float(value) for value in scores.mean_S]),
        std_probes=_mean(within, scale=100),
        n_train_images=max(entry['n_train_images'] for entry in done),
        images_encoded=_mean([entry['images_encoded'] for entry in done]),
        seconds_method=_mean([entry['seconds_method'] for entry in done]),
        seconds_probe=_mean([entry['seconds_probe'] for entry in done]),
        peak_memory_mb=max(memory, default=None),
        worst_group=100 * worst_group(groups) if groups else None,
        group_adjusted=_mean([entry['group_adjusted'] for entry in done], scale=100),
    )
    return row, accuracy


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(values: Sequence[float | None], *, scale: float = 1) -> float | None:
    known = [value for value in values if value is not None]
    return scale * float(np.mean(known)) if known else None


def short(fingerprint: str) -> str:
    """Shorten a fingerprint for display: eight digits of each part."""
    return '/'.join(part[:8] for part in fingerprint.split('/'))


def variant_labels(variants: list[str]) -> dict[str, str]:
    """Map each settings text to the settings in which it differs from the others, such as `num_updates=10`; '' if alone."""
    flat: dict[str, dict[str, str]] = {}
    for text in variants:
        flat[text] = {}
        for part, value in json.loads(text).items():
            if isinstance(value, dict):
                stem = '' if part == 'method_settings' else part.removesuffix('_settings') + '.'
                flat[text] |= {stem + name: json.dumps(item) for name, item in value.items()}
            else:
                flat[text][part] = json.dumps(value)
    names = sorted({name for settings in flat.values() for name in settings})
    differing = [name for name in names if len({settings.get(name) for settings in flat.values()}) > 1]
    return {
        text: ', '.join(f'{name}={settings[name]}' if name in settings else f'no {name}' for name in differing)
        for text, settings in flat.items()
    }


# --- warnings ---------------------------------------------------------------------------------------------------------


def _identical_picks(entries: list[Row]) -> list[str]:
    picked = [entry for entry in entries if entry['distilled_kind'] == 'real' and entry['distilled_hash']]
    sets = grouped(picked, lambda entry: tuple(entry[name] for name in ('labels', 'dataset', 'ipc', 'distilled_hash')))
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for (labels, dataset, ipc, _), group in sets.items():
        methods = tuple(sorted({entry['method'] for entry in group}))
        if len(methods) > 1:
            found[labels, dataset, ipc_order(ipc), ipc_text(ipc), methods] += 1
    return [
        f'{dataset}, ipc {ipc}{if_soft(labels, ", ")}: {" and ".join(methods)} picked identical images '
        f'({counted(n, "set")}), so their rows show the same result'
        for (labels, dataset, _, ipc, methods), n in sorted(found.items())
    ]


def _mixed_fingerprints(entries: list[Row]) -> list[str]:
    """Return warnings about records of one table that were made from different images or weights."""
    # Fingerprint that must agree -> the columns that identify its data set or backbone.
    owners = {
        'dataset_fingerprint': ('dataset',), 'dataset_contents': ('dataset', 'dataset_fingerprint'),
        'eval_weights': ('eval_backbone',), 'source_weights': ('source_backbone',),
    }  # fmt: skip
    lines = []
    for name, owner in owners.items():
        known = [entry for entry in entries if entry[name]]
        groups = grouped(known, partial(_owned, owner=owner))
        for (labels, dataset, protocol, _, owned, *_), group in sorted(groups.items()):
            versions = grouped(group, itemgetter(name))
            if len(versions) > 1:
                what = f'{name.replace("_", " ")} of {owned}'
                named = '; '.join(f'{short(version)}: {_names(versions[version])}' for version in sorted(versions))
                where = f'{dataset}, {protocol}{if_soft(labels, ", ")}'
                lines.append(f'{where}: records differ in {what} and are not comparable ({named})')
    return lines


def _owned(entry: Row, *, owner: tuple[str, ...]) -> tuple[Any, ...]:
    return (*table_of(entry), *(entry[part] for part in owner))


def _mixed_settings(entries: list[Row]) -> list[str]:
    groups = grouped(entries, _row_identity)
    lines = []
    for group in groups.values():
        variants = grouped(group, lambda entry: entry['settings'])
        if len(variants) > 1:
            first = group[0]
            labels = ' | '.join(sorted(variant_labels(list(variants)).values()))
            lines.append(
                f'{first["dataset"]}, {first["protocol"]}{if_soft(first["labels"], ", ")}: {first["method"]}, ipc '
                f'{ipc_text(first["ipc"])}, on {first["eval_backbone"]} has records with different settings, shown in '
                f'separate rows ({labels})'
            )
    return sorted(lines)


def _names(entries: list[Row]) -> str:
    """Return method and key of the first three records, and the number of the others."""
    shown = ', '.join(f'{entry["method"]} {entry["key"]}' for entry in entries[:3])
    return shown + (f' and {len(entries) - 3} more' if len(entries) > 3 else '')


def ipc_text(ipc: int | None) -> str:
    """Format images per class for display."""
    return 'all' if ipc is None else str(ipc)


def if_soft(labels: str, separator: str) -> str:
    """Return the suffix of a table's title: empty for hard labels."""
    return f'{separator}soft labels' if labels == 'soft' else ''


def counted(n: int, noun: str) -> str:
    """Format a number with its noun: 1 row, 2 rows."""
    return f'{n} {noun}' + ('' if n == 1 else 's')
