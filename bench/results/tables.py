"""The rows of the leaderboard as CSV, as markdown and as text for the terminal.

Tables of soft labels come last. The output depends only on the records and the published accuracies: equal input gives equal
bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core import tables
from bench.core.disk import write_atomic
from bench.core.tables import markdown_escape, replace_block
from bench.results.gate import NOT_GATED, PASSES, STRESS_TEST
from bench.results.record import ANY_SOURCE
from bench.results.summary import COLUMNS, Board, Row, counted, grouped, if_soft, ipc_order, ipc_text, short, table_of

# Column -> number format; columns without a format are text.
_FORMATS = {
    'top1_mean': '.4f', 'top1_std': '.4f', 'top1_ci_low': '.4f', 'top1_ci_high': '.4f', 'seconds_method': '.3f',
    'seconds_probe': '.3f', 'peak_memory_mb': '.1f', 'top1_std_seeds': '.4f', 'top1_std_probe': '.4f',
    'worst_group': '.4f', 'group_adjusted': '.4f', 'published_mean': '.1f', 'published_std': '.1f',
}  # fmt: skip
_MEANING = (
    'Top-1 test accuracy in percent, mean ± standard deviation over the n repeats of a row (method seed × probe seed). '
    'Bold: the best accuracy for its eval backbone and ipc, over all source backbones. Accuracies that are equal as shown '
    'are all bold; one without a competitor is never bold. Full data is a reference and is not ranked.'
)
_NO_TRANSFER = (
    'Rows with images made through another backbone (transfer) are not shown here, but they still count: if one of them is '
    'the best, no accuracy is bold.'
)
_SOFT = (
    'Trained on soft labels: not comparable with any table of hard labels, because a soft label carries more information '
    'per image, one float per class instead of one class.'
)
_PUBLISHED = (
    'Published: the result of arXiv 2511.16674 for the cell to its left, ± over five runs. It is not ranked.'
)

_GATE = {
    PASSES: 'passes the gate (nearest mean / best linear, best linear - random)',
    STRESS_TEST: '† stress test, in no verdict and no mean (nearest mean / best linear, best linear - random)',
    NOT_GATED: 'not gated (python -m bench.gate)',
}


@dataclass
class _Table:
    """One table of the markdown file: cells as text, positions of bold cells, a remark above and numbered notes below."""

    title: str
    remark: str
    head: list[str]
    body: list[list[str]] = field(default_factory=list)
    bold: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def csv_text(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, with the columns of `COLUMNS`; missing values are empty."""
    return tables.csv_text(COLUMNS, ([_csv_cell(row[name], _FORMATS.get(name, '')) for name in COLUMNS] for row in rows))


def _csv_cell(value: Any, form: str) -> str | None:
    return None if value is None else ' '.join(format(value, form).split())


def markdown(rows: Sequence[Row], warnings: Sequence[str] = (), *, transfer: bool = True) -> str:
    """Return the rows as markdown: one table per kind of labels, dataset and protocol, with one column per eval backbone.

    `transfer=False` leaves out rows whose images were made through another backbone; bold is decided over all rows.
    """
    lines = ['# Leaderboard', '', '<!-- made by `python -m bench.leaderboard`; do not edit -->', '', _MEANING]
    lines += [] if transfer else ['', _NO_TRANSFER]
    for table in _tables(rows, transfer=transfer):
        body = [
            [f'**{cell}**' if (i, j) in table.bold else cell for j, cell in enumerate(map(markdown_escape, cells))]
            for i, cells in enumerate(table.body)
        ]
        lines += ['', f'## {markdown_escape(table.title)}', '', *([table.remark, ''] if table.remark else [])]
        lines.append(tables.markdown(list(map(markdown_escape, table.head)), body, right=range(2, len(table.head))))
        lines += ['', *(f'- {markdown_escape(note)}' for note in table.notes)] if table.notes else []
    if warnings:
        lines += ['', '## Warnings', '', *(f'- {markdown_escape(warning)}' for warning in warnings)]
    return '\n'.join(lines) + '\n'


def text(rows: Sequence[Row], warnings: Sequence[str] = ()) -> str:
    """Return the same tables as `markdown`, in aligned columns for the terminal; the best accuracies have a star."""
    lines = []
    for table in _tables(rows):
        cells = [
            [f'{cell}*' if (i, j) in table.bold else f'{cell} ' if j > 1 else cell for j, cell in enumerate(line)]
            for i, line in enumerate(table.body)
        ]
        head = [f'{name} ' if j > 1 else name for j, name in enumerate(table.head)]
        lines += [table.title, *([f'  {table.remark}'] if table.remark else [])]
        lines.append(tables.aligned([head, *cells], right=range(2, len(head)), indent='  '))
        lines += [f'  {note}' for note in table.notes] + ['']
    lines.append(_MEANING.replace('Bold:', 'Star:'))
    return '\n'.join([*lines, *(f'warning: {warning}' for warning in warnings)]) + '\n'


def _tables(rows: Sequence[Row], *, transfer: bool = True) -> list[_Table]:
    best = _best(rows)  # over all rows: a row must not become the best because a better row is left out
    groups = grouped((row for row in rows if transfer or not _origin(row)), table_of)
    found = []
    for (labels, dataset, protocol, digest), group in sorted(groups.items()):
        columns = _columns(group)
        title = f'{dataset}, probe {protocol} ({short(digest)}){if_soft(labels, " · ")}'
        remark = _SOFT if labels == 'soft' else _PUBLISHED if any(theirs for _, theirs in columns) else ''
        gated = {row['eval_backbone']: (row['gate'], row.get('gate_numbers')) for row in group if row['gate']}
        stressed = {name for name, (verdict, _) in gated.items() if verdict == STRESS_TEST}
        head = ['published' if theirs else f'{name} †' if name in stressed else name for name, theirs in columns]
        table = _Table(title, remark, ['method', 'ipc', *head, 'n'])
        placed = grouped(group, lambda row: (ipc_order(row['ipc']), row['method'], _origin(row), row['settings']))
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
            table.body.append([name, ipc_text(line[0]['ipc']), *cells.values(), n])
        table.notes += _gate_notes(gated)
        found.append(table)
    return found


def _gate_notes(gated: dict[str, tuple[str, str | None]]) -> list[str]:
    """Return one line for each verdict of the gate, with the backbones that have it."""
    lines = []
    for verdict, said in _GATE.items():
        names = [f'{name} ({numbers})' if numbers else name for name, (v, numbers) in sorted(gated.items()) if v == verdict]
        lines += [f'{said}: {"; ".join(names)}'] if names else []
    return lines


def _best(rows: Sequence[Row]) -> dict[tuple[Any, ...], float]:
    """Return the best displayed mean of each group of `_rivals`, except for single rows and full data."""
    ranked = grouped((row for row in rows if row['top1_mean'] is not None and row['ipc'] is not None), _rivals)
    return {rivals: max(map(_shown, some)) for rivals, some in ranked.items() if len(some) > 1}


def _rivals(row: Row) -> tuple[Any, ...]:
    return *table_of(row), row['eval_backbone'], row['ipc']


def _columns(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """Return the columns as (eval backbone, published): ours first, then the published ones if a row has any."""
    known = {row['eval_backbone'] for row in rows if row['published_mean'] is not None}
    backbones = sorted({row['eval_backbone'] for row in rows})
    return [(name, theirs) for name in backbones for theirs in (False, True) if not theirs or name in known]


def _origin(row: Row) -> str:
    """Return the source backbone if it differs from the eval backbone, else ''."""
    return '' if row['source_backbone'] in (row['eval_backbone'], ANY_SOURCE) else row['source_backbone']


def _shown(row: Row) -> float:
    """Return the mean as displayed, so that means that look equal share the first rank."""
    return round(row['top1_mean'], 1)


def _cell(row: Row, name: str, notes: list[str]) -> str:
    """Return the text of one cell, and add a note if a record failed."""
    cell = 'failed' if row['top1_mean'] is None else f'{_shown(row):.1f}{_plus_minus(row["top1_std"])}'
    if row['n_failed']:
        error = ' '.join(str(row['error']).split())
        error = error if len(error) <= 200 else error[:199] + '…'
        of = row['n_failed'] + row['n_seeds']
        notes.append(
            f'[{len(notes) + 1}] {name}, ipc {ipc_text(row["ipc"])}, on {row["eval_backbone"]}: '
            f'{row["n_failed"]} of {counted(of, "seed")} failed: {error}'
        )
        cell += f' [{len(notes)}]'
    return cell


def _plus_minus(std: float | None) -> str:
    return '' if std is None else f' ± {std:.1f}'


# --- files ------------------------------------------------------------------------------------------------------------


def write(board: Board, *, results_dir: Path | str) -> tuple[Path, Path]:
    """Write leaderboard.csv and leaderboard.md atomically and return their paths."""
    paths = Path(results_dir, 'leaderboard.csv'), Path(results_dir, 'leaderboard.md')
    write_atomic(paths[0], csv_text(board.rows))
    write_atomic(paths[1], markdown(board.rows, board.warnings))
    return paths


def update(document: Path, board: Board) -> None:
    """Replace the text between a document's leaderboard markers with the tables, without transfer rows.

    Raises:
      InputError: if the document or one of its markers is missing.
    """
    shown = markdown(board.rows, board.warnings, transfer=False).partition('do not edit -->\n\n')[2]
    replace_block(document, 'leaderboard', shown.replace('\n## ', '\n### '))
