"""Records -> results/leaderboard.csv and leaderboard.md. Imports neither torch nor gin.

    python -m bench.leaderboard [--results_dir=results] [--nopublished]

One row is one (dataset, method, source_backbone, eval_backbone, ipc, protocol). A row never mixes protocol hashes, nor
records whose settings differ: such records make rows of their own, told apart in the column `settings`, with a warning.
Nor does a table mix hard and soft labels: soft ones are told by the column `labels`, follow all the others, stand in tables
of their own in the markdown, and nothing is compared across.

What the numbers of a row mean, accuracies in percent:
  top1_mean, top1_std       over all repeats, that is (method seed x probe seed); ddof 1
  top1_ci_low, _high        95% interval of the mean by Student's t: over the means of the method seeds where there are
                            two or more (repeats of one seed share its images, so they are not independent), else over
                            the probe seeds; empty for a single repeat
  top1_std_seeds            spread of the means of the method seeds
  top1_std_probe            spread over probe seeds within one method seed, mean over method seeds
  seconds_method, _probe    mean over records; peak_memory_mb and n_train_images: the largest
  status                    ok, failed (no record of the row finished) or partial (some failed; numbers are of the rest)
  published_mean, _std      what arXiv 2511.16674 gives for the same cell (`bench.results.published`); empty where nothing

The text depends on the records and the published numbers only: the same ones give the same bytes.
"""

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench.core import cli
from bench.core.disk import replace_block, write_atomic
from bench.core.errors import InputError
from bench.results import published
from bench.results import record as records

Row = dict[str, Any]
_IDENTITY = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'ipc', 'protocol')
# What all rows of one table have in common: nothing is compared across.
_TABLE = ('labels', 'dataset', 'protocol', 'protocol_hash')
# Column -> how its number is written; text where nothing is said.
_FORMATS = {
    'top1_mean': '.4f', 'top1_std': '.4f', 'top1_ci_low': '.4f', 'top1_ci_high': '.4f', 'seconds_method': '.3f',
    'seconds_probe': '.3f', 'peak_memory_mb': '.1f', 'top1_std_seeds': '.4f', 'top1_std_probe': '.4f',
    'worst_group': '.4f', 'group_adjusted': '.4f', 'published_mean': '.1f', 'published_std': '.1f',
}  # fmt: skip
COLUMNS = (
    *_IDENTITY, 'top1_mean', 'top1_std', 'top1_ci_low', 'top1_ci_high', 'n_repeats', 'n_train_images', 'seconds_method',
    'seconds_probe', 'peak_memory_mb', 'status', 'labels', 'settings', 'protocol_hash', 'n_seeds', 'n_probe_seeds',
    'n_failed', 'top1_std_seeds', 'top1_std_probe', 'worst_group', 'group_adjusted', 'dataset_fingerprint', 'eval_weights',
    'error', 'published_mean', 'published_std',
)  # fmt: skip
_MEANING = (
    'Top-1 test accuracy in percent, mean ± standard deviation over the n repeats of a row (method seed × probe seed). '
    'Bold: the best of its backbone and ipc, whatever backbone the images were made through. Numbers that are equal as '
    'shown share it, and a number without a rival has none. Full data is a reference and stands apart.'
)
_NO_TRANSFER = (
    'Rows of images made through another backbone (transfer) are left out here but still count: where one of them is the '
    'best, nothing is bold.'
)
_SOFT = (
    'Trained on soft labels: not comparable with any table of hard labels, because such a label carries more information '
    'an image, one float for each class instead of one class.'
)
_PUBLISHED = (
    'Published: what arXiv 2511.16674 gives for the cell to its left, ± over five runs. Not ours, so not ranked among ours.'
)


@dataclass(frozen=True)
class Board:
    """The leaderboard: rows of `summarise`, warnings about them, and one line for each file that was ignored."""

    rows: list[Row]
    warnings: list[str]
    problems: list[str]


@dataclass
class _Table:
    """One table of the markdown file: cells as text, the best ones named, with a remark above and numbered notes below."""

    title: str
    remark: str
    head: list[str]
    body: list[list[str]] = field(default_factory=list)
    bold: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


# --- records -> rows --------------------------------------------------------------------------------------------------


def read(results_dir: Path | str, *, with_published: bool = True) -> Board:
    """Read every record of a results folder and summarise it, with the published numbers beside ours unless told not to.

    Raises:
      InputError: for published numbers that cannot be read.
    """
    table, problems = records.load_table(results_dir)
    figures = published.load(results_dir) if with_published else {}
    return Board(published.beside(summarise(table), figures), warnings_of(table), problems)


def summarise(table: Any) -> list[Row]:
    """Return the rows of the leaderboard, sorted; accuracies in percent, None where there is nothing to say.

    Args:
      table: the data frame of `records.load_table`, or some of its rows.
    """
    groups = _grouped(_entries(table), _row_identity)
    rows = []
    for entries in groups.values():
        variants = _grouped(entries, lambda entry: entry['settings'])
        labels = variant_labels(list(variants))
        rows += [_summary(variants[settings], label=labels[settings]) for settings in variants]
    return sorted(rows, key=_row_order)


def warnings_of(table: Any) -> list[str]:
    """Return one line for each reason to distrust a comparison of these records."""
    entries = _entries(table)
    return [*_identical_picks(entries), *_mixed_fingerprints(entries), *_mixed_settings(entries)]


def _entries(table: Any) -> list[Row]:
    """Return the rows of a data frame as dicts, missing values as None."""
    return table.astype(object).where(table.notna(), None).to_dict('records')


def _grouped(entries: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return groups


def _table_of(entry: Row) -> tuple[str, ...]:
    return tuple(entry[name] for name in _TABLE)


def _row_identity(entry: Row) -> tuple[Any, ...]:
    return *_table_of(entry), *(entry[name] for name in _IDENTITY)


def _ipc_order(ipc: int | None) -> tuple[bool, int]:
    return ipc is None, ipc or 0


def _row_order(row: Row) -> tuple[Any, ...]:
    names = ('eval_backbone', 'method', 'source_backbone', 'settings')
    return *_table_of(row), _ipc_order(row['ipc']), *(row[name] for name in names)


def _summary(entries: list[Row], *, label: str) -> Row:
    """Return one row from records that differ in nothing but their seed."""
    done = [entry for entry in entries if entry['status'] == 'ok']
    failed = [entry for entry in entries if entry['status'] == 'failed']
    row: Row = dict.fromkeys(COLUMNS)
    row |= {name: entries[0][name] for name in (*_IDENTITY, *_TABLE)}
    row |= {'settings': label, 'n_repeats': 0, 'n_seeds': 0, 'n_probe_seeds': 0, 'n_failed': len(failed)}
    row['status'] = 'ok' if not failed else 'partial' if done else 'failed'
    row['error'] = failed[0]['error'] if failed else None
    for name in ('dataset_fingerprint', 'eval_weights'):
        row[name] = '+'.join(sorted({_short(entry[name]) for entry in entries if entry[name]}))
    if not done:
        return row

    by_seed = _grouped(sorted(done, key=lambda entry: (entry['seed'], entry['key'])), lambda entry: entry['seed'])
    repeats = [[100 * value for entry in group for value in entry['top1']] for group in by_seed.values()]
    flat = [value for values in repeats for value in values]
    means = [float(np.mean(values)) for values in repeats]
    within = [spread for spread in map(_spread, repeats) if spread is not None]
    interval = records.t_interval(means if len(means) > 1 else flat)
    memory = [entry['peak_memory_mb'] for entry in done if entry['peak_memory_mb'] is not None]
    row.update(
        top1_mean=float(np.mean(flat)),
        top1_std=_spread(flat),
        top1_ci_low=None if interval is None else interval[0],
        top1_ci_high=None if interval is None else interval[1],
        n_repeats=len(flat),
        n_seeds=len(by_seed),
        n_probe_seeds=len({seed for entry in done for seed in entry['probe_seeds']}),
        top1_std_seeds=_spread(means),
        top1_std_probe=_mean(within),
        n_train_images=max(entry['n_train_images'] for entry in done),
        seconds_method=_mean([entry['seconds_method'] for entry in done]),
        seconds_probe=_mean([entry['seconds_probe'] for entry in done]),
        peak_memory_mb=max(memory, default=None),
        worst_group=_mean([entry['worst_group'] for entry in done], scale=100),
        group_adjusted=_mean([entry['group_adjusted'] for entry in done], scale=100),
    )
    return row


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean(values: Sequence[float | None], *, scale: float = 1) -> float | None:
    known = [value for value in values if value is not None]
    return scale * float(np.mean(known)) if known else None


def _short(fingerprint: str) -> str:
    return '/'.join(part[:8] for part in fingerprint.split('/'))


def variant_labels(variants: list[str]) -> dict[str, str]:
    """Return for each settings text what sets it apart from the others: `num_updates=10`; '' for a single one."""
    flat = {}
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
    sets = _grouped(picked, lambda entry: tuple(entry[name] for name in ('labels', 'dataset', 'ipc', 'distilled_hash')))
    found = defaultdict(int)
    for (labels, dataset, ipc, _), group in sets.items():
        methods = tuple(sorted({entry['method'] for entry in group}))
        if len(methods) > 1:
            found[labels, dataset, _ipc_order(ipc), _ipc_text(ipc), methods] += 1
    return [
        f'{dataset}, ipc {ipc}{_if_soft(labels, ", ")}: {" and ".join(methods)} picked identical images '
        f'({_count(n, "set")}), so their rows are one result there'
        for (labels, dataset, _, ipc, methods), n in sorted(found.items())
    ]


def _mixed_fingerprints(entries: list[Row]) -> list[str]:
    """Name the records of one table that saw different images or different weights."""
    # What must be the same -> whose it is.
    owners = {
        'dataset_fingerprint': ('dataset',), 'dataset_contents': ('dataset', 'dataset_fingerprint'),
        'eval_weights': ('eval_backbone',), 'source_weights': ('source_backbone',),
    }  # fmt: skip
    lines = []
    for name, owner in owners.items():
        known = [entry for entry in entries if entry[name]]
        groups = _grouped(known, lambda entry, owner=owner: (*_table_of(entry), *(entry[part] for part in owner)))
        for (labels, dataset, protocol, _, owned, *_), group in sorted(groups.items()):
            versions = _grouped(group, lambda entry, name=name: entry[name])
            if len(versions) > 1:
                what = f'{name.replace("_", " ")} of {owned}'
                named = '; '.join(f'{_short(version)}: {_names(versions[version])}' for version in sorted(versions))
                where = f'{dataset}, {protocol}{_if_soft(labels, ", ")}'
                lines.append(f'{where}: records differ in {what} and are not comparable ({named})')
    return lines


def _mixed_settings(entries: list[Row]) -> list[str]:
    groups = _grouped(entries, _row_identity)
    lines = []
    for group in groups.values():
        variants = _grouped(group, lambda entry: entry['settings'])
        if len(variants) > 1:
            first = group[0]
            labels = ' | '.join(sorted(variant_labels(list(variants)).values()))
            lines.append(
                f'{first["dataset"]}, {first["protocol"]}{_if_soft(first["labels"], ", ")}: {first["method"]}, ipc '
                f'{_ipc_text(first["ipc"])}, on {first["eval_backbone"]} has records with different settings, shown in rows '
                f'of their own ({labels})'
            )
    return sorted(lines)


def _names(entries: list[Row]) -> str:
    """Return the records' keys with their method, the first three of them."""
    shown = ', '.join(f'{entry["method"]} {entry["key"]}' for entry in entries[:3])
    return shown + (f' and {len(entries) - 3} more' if len(entries) > 3 else '')


def _ipc_text(ipc: int | None) -> str:
    return 'all' if ipc is None else str(ipc)


def _if_soft(labels: str, separator: str) -> str:
    """Return what follows the name of a table: nothing for hard labels."""
    return f'{separator}soft labels' if labels == 'soft' else ''


def _count(n: int, noun: str) -> str:
    return f'{n} {noun}' + ('' if n == 1 else 's')


# --- rows -> text -----------------------------------------------------------------------------------------------------


def csv_text(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, with the columns of `COLUMNS`; empty where there is no number."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(COLUMNS)
    for row in rows:
        cells = ((row[name], _FORMATS.get(name, '')) for name in COLUMNS)
        writer.writerow(['' if value is None else ' '.join(format(value, form).split()) for value, form in cells])
    return buffer.getvalue()


def markdown(rows: Sequence[Row], warnings: Sequence[str] = (), *, transfer: bool = True) -> str:
    """Return the rows as markdown: one table per labels, dataset and protocol; methods down, eval backbones across.

    Without `transfer` it takes no row for each other source backbone; the best are the same.
    """
    lines = ['# Leaderboard', '', '<!-- made by `python -m bench.leaderboard`; do not edit -->', '', _MEANING]
    lines += [] if transfer else ['', _NO_TRANSFER]
    for table in _tables(rows, transfer=transfer):
        widths = ['---'] * 2 + ['---:'] * (len(table.head) - 2)
        lines += ['', f'## {_escape(table.title)}', '', *([table.remark, ''] if table.remark else [])]
        lines += [_line(map(_escape, table.head)), _line(widths)]
        for i, cells in enumerate(table.body):
            marked = (f'**{cell}**' if (i, j) in table.bold else cell for j, cell in enumerate(map(_escape, cells)))
            lines.append(_line(marked))
        lines += ['', *(f'- {_escape(note)}' for note in table.notes)] if table.notes else []
    if warnings:
        lines += ['', '## Warnings', '', *(f'- {_escape(warning)}' for warning in warnings)]
    return '\n'.join(lines) + '\n'


def text(rows: Sequence[Row], warnings: Sequence[str] = ()) -> str:
    """Return what `markdown` says, in aligned columns for a terminal; the best are starred."""
    lines = []
    for table in _tables(rows):
        cells = [
            [f'{cell}*' if (i, j) in table.bold else f'{cell} ' if j > 1 else cell for j, cell in enumerate(line)]
            for i, line in enumerate(table.body)
        ]
        cells.insert(0, [f'{name} ' if j > 1 else name for j, name in enumerate(table.head)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines += [table.title, *([f'  {table.remark}'] if table.remark else [])]
        for line in cells:
            padded = (c.ljust(w) if j < 2 else c.rjust(w) for j, (c, w) in enumerate(zip(line, widths, strict=True)))
            lines.append('  ' + '  '.join(padded).rstrip())
        lines += [f'  {note}' for note in table.notes] + ['']
    lines.append(_MEANING.replace('Bold:', 'Star:'))
    return '\n'.join([*lines, *(f'warning: {warning}' for warning in warnings)]) + '\n'


def _tables(rows: Sequence[Row], *, transfer: bool = True) -> list[_Table]:
    best = _best(rows)  # of all rows, or a lesser one would win where a better one is left out
    groups = _grouped((row for row in rows if transfer or not _origin(row)), _table_of)
    tables = []
    for (labels, dataset, protocol, digest), group in sorted(groups.items()):
        columns = _columns(group)
        title = f'{dataset}, probe {protocol} ({_short(digest)}){_if_soft(labels, " · ")}'
        remark = _SOFT if labels == 'soft' else _PUBLISHED if any(theirs for _, theirs in columns) else ''
        head = ['published' if theirs else backbone for backbone, theirs in columns]
        table = _Table(title, remark, ['method', 'ipc', *head, 'n'])
        placed = _grouped(group, lambda row: (_ipc_order(row['ipc']), row['method'], _origin(row), row['settings']))
        for (_, method, origin, settings), line in sorted(placed.items()):
            name = method + (f' (from {origin})' if origin else '') + (f' ({settings})' if settings else '')
            cells = dict.fromkeys(columns, '')
            for row in line:
                backbone = row['eval_backbone']
                cells[backbone, False] = _cell(row, name, table.notes)
                if row['published_mean'] is not None:
                    cells[backbone, True] = f'{row["published_mean"]:.1f}{_plus_minus(row["published_std"])}'
                if row['top1_mean'] is not None and _shown(row) == best.get(_rivals(row)):
                    table.bold.add((len(table.body), 2 + columns.index((backbone, False))))
            counts = sorted({row['n_repeats'] for row in line if row['n_repeats']})
            n = '' if not counts else f'{counts[0]}' if len(counts) == 1 else f'{counts[0]}–{counts[-1]}'
            table.body.append([name, _ipc_text(line[0]['ipc']), *cells.values(), n])
        tables.append(table)
    return tables


def _best(rows: Sequence[Row]) -> dict[tuple[Any, ...], float]:
    """Return the best mean as it is shown, by `_rivals`; none where there is nothing to compare: a single row, full data."""
    ranked = _grouped((row for row in rows if row['top1_mean'] is not None and row['ipc'] is not None), _rivals)
    return {rivals: max(map(_shown, some)) for rivals, some in ranked.items() if len(some) > 1}


def _rivals(row: Row) -> tuple[Any, ...]:
    return *_table_of(row), row['eval_backbone'], row['ipc']


def _columns(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """Return (eval backbone, whether it holds published numbers): such a column follows ours where a row has a number."""
    known = {row['eval_backbone'] for row in rows if row['published_mean'] is not None}
    backbones = sorted({row['eval_backbone'] for row in rows})
    return [(name, theirs) for name in backbones for theirs in (False, True) if not theirs or name in known]


def _origin(row: Row) -> str:
    """Return the source backbone where it is another than the one the probe is tested with."""
    return '' if row['source_backbone'] in (row['eval_backbone'], records.ANY_SOURCE) else row['source_backbone']


def _shown(row: Row) -> float:
    """Return the mean as it is shown: two that look equal are both the best."""
    return round(row['top1_mean'], 1)


def _cell(row: Row, name: str, notes: list[str]) -> str:
    """Return the text of one cell, and add a note where a record failed."""
    cell = 'failed' if row['top1_mean'] is None else f'{_shown(row):.1f}{_plus_minus(row["top1_std"])}'
    if row['n_failed']:
        error = ' '.join(str(row['error']).split())
        error = error if len(error) <= 200 else error[:199] + '…'
        of = row['n_failed'] + row['n_seeds']
        notes.append(
            f'[{len(notes) + 1}] {name}, ipc {_ipc_text(row["ipc"])}, on {row["eval_backbone"]}: '
            f'{row["n_failed"]} of {_count(of, "seed")} failed: {error}'
        )
        cell += f' [{len(notes)}]'
    return cell


def _plus_minus(std: float | None) -> str:
    return '' if std is None else f' ± {std:.1f}'


def _escape(cell: str) -> str:
    return cell.replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*')


def _line(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'


# --- command ----------------------------------------------------------------------------------------------------------


def write(board: Board, *, results_dir: Path | str) -> tuple[Path, Path]:
    """Write leaderboard.csv and leaderboard.md, each atomically, and return their paths."""
    paths = Path(results_dir, 'leaderboard.csv'), Path(results_dir, 'leaderboard.md')
    write_atomic(paths[0], csv_text(board.rows))
    write_atomic(paths[1], markdown(board.rows, board.warnings))
    return paths


def update(document: Path, board: Board) -> None:
    """Replace what stands between a document's two markers by the tables, without transfer.

    Raises:
      InputError: if the document or one of its markers is missing.
    """
    tables = markdown(board.rows, board.warnings, transfer=False).partition('do not edit -->\n\n')[2]
    replace_block(document, 'leaderboard', tables.replace('\n## ', '\n### '))


def run(results_dir: Path | str, into: Sequence[Path | str] = (), *, with_published: bool = True) -> int:
    """Regenerate the leaderboard of a results folder, print it, and return the exit status.

    `into` names documents that show the tables between their markers.
    """
    board = read(results_dir, with_published=with_published)
    for problem in board.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    ignored = f'{_count(len(board.problems), "file")} ignored, named above' if board.problems else ''
    if not board.rows:
        raise InputError(
            f'{Path(results_dir, "records")}: expected the records of bench.run, found none'
            + (f' ({ignored})' if ignored else '; run python -m bench.run first, or give --results_dir')
        )
    for document in into:
        update(Path(document), board)
    paths = write(board, results_dir=results_dir)
    print(text(board.rows, board.warnings))
    print(f'wrote {paths[0]} and {paths[1]}: {_count(len(board.rows), "row")}')
    if ignored:
        print(ignored, file=sys.stderr)
    return 0


def main() -> int:
    try:
        return run(flags.FLAGS.results_dir, flags.FLAGS.into, with_published=flags.FLAGS.published)
    except OSError as error:
        raise InputError(f'{error.filename}: cannot be written: {error.strerror}') from error


if __name__ == '__main__':
    flags.DEFINE_string('results_dir', 'results', 'folder with records/; the tables are written into it')
    flags.DEFINE_multi_string('into', [], 'document with the tables between its leaderboard markers, such as README.md')
    flags.DEFINE_bool('published', True, 'show the published numbers (published.csv) beside ours, in columns of their own')
    cli.start(main)
