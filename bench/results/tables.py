"""The rows of the leaderboard as CSV, as markdown and as text for the terminal.

Tables of soft labels come last. The output depends only on the records and the published accuracies: equal input gives equal
bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core import tables
from bench.core.disk import write_atomic
from bench.core.tables import markdown_escape, replace_block
from bench.results.gate import NOT_GATED, PASSES, STRESS_TEST
from bench.results.ranking import LEAST_TASKS, Standing, overall
from bench.results.record import ANY_SOURCE
from bench.results.summary import COLUMNS, Board, Row, counted, grouped, if_soft, ipc_order, ipc_text, short, table_of

# Column -> number format; columns without a format are text.
_FORMATS = {
    'top1_mean': '.4f', 'top1_std': '.4f', 'top1_half': '.4f', 'top1_ci_low': '.4f', 'top1_ci_high': '.4f',
    'recovered': '.2f', 'recovered_low': '.2f', 'recovered_high': '.2f', 'images_encoded': '.0f',
    'seconds_method': '.3f', 'seconds_probe': '.3f',
    'peak_memory_mb': '.1f', 'error_units': '.4f', 'error_images': '.4f', 'freedom': '.1f', 'std_sets': '.4f',
    'std_probes': '.4f', 'worst_group': '.4f', 'group_adjusted': '.4f', 'published_mean': '.1f', 'published_std': '.1f',
}  # fmt: skip
_MEANING = (
    'Top-1 test accuracy in percent ± half of its 95 % interval, which covers the choice of distilled sets, probe seeds and '
    'test images. In parentheses the first and last rank that a method can have in its column at its number of images per '
    'class: all pairs are compared on the same test images, at 5 % after Holm. † One set of a method that draws its sets: ± '
    'leaves out how much sets differ, and there is no rank. Full data is a reference and has none. Cost: images sent '
    'through a backbone and seconds, for a set and its probes, mean over the columns; what was cached does not count.'
)
_NO_TRANSFER = (
    'Rows with images made through another backbone (transfer) are not shown here; they have no ranks.'
)
_STANDINGS = (
    'Wins and losses: rivals that the method beats, or that beat it, over the columns. Recovered gap: share of the way from '
    'random images to full data, mean with its 95 % interval over the columns in which that way is at least 30 points, as a '
    'statement about all columns that these could be drawn from.'
)
_OVERALL = (
    f'A task is a data set and an eval backbone; the test needs {LEAST_TASKS}. Tasks of one data set share their images, so '
    'the p-values are somewhat too small.'
)
_TUNED = 'What was chosen for a method before the tables, and on which images.'
_SOFT = (
    'Trained on soft labels: not comparable with any table of hard labels, because a soft label carries more information '
    'per image, one float per class instead of one class.'
)
_PUBLISHED = (
    'Published: the result of arXiv 2511.16674 for the cell to its left, ± over five runs. It is not ranked.'
)

_GATE = {
    PASSES: 'passes the gate (nearest mean / best linear, best linear - random)',
    STRESS_TEST: '‡ stress test, in no verdict and no mean (nearest mean / best linear, best linear - random)',
    NOT_GATED: 'not gated (python -m bench.gate)',
}


@dataclass
class _Table:
    """One table of the markdown file: cells as text, a remark above and numbered notes below."""

    where: tuple[str, ...]
    title: str
    remark: str
    head: list[str]
    body: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def csv_text(rows: Sequence[Row]) -> str:
    """Return the rows as CSV, with the columns of `COLUMNS`; missing values are empty."""
    return tables.csv_text(COLUMNS, ([_csv_cell(row[name], _FORMATS.get(name, '')) for name in COLUMNS] for row in rows))


def _csv_cell(value: Any, form: str) -> str | None:
    return None if value is None else ' '.join(format(value, form).split())


def markdown(board: Board, *, transfer: bool = True) -> str:
    """Return the board as markdown: one table per kind of labels, dataset and protocol, with one column per eval backbone.

    A table with several columns is followed by the standings of its methods. `transfer=False` leaves out rows whose images
    were made through another backbone.
    """
    lines = ['# Leaderboard', '', '<!-- made by `python -m bench.leaderboard`; do not edit -->', '', _MEANING]
    lines += [] if transfer else ['', _NO_TRANSFER]
    for table in _tables(board.rows, transfer=transfer):
        body = [list(map(markdown_escape, cells)) for cells in table.body]
        lines += ['', f'## {markdown_escape(table.title)}', '', *([table.remark, ''] if table.remark else [])]
        lines.append(tables.markdown(list(map(markdown_escape, table.head)), body, right=range(2, len(table.head))))
        lines += ['', *(f'- {markdown_escape(note)}' for note in table.notes)] if table.notes else []
        lines += _standings(board.standings.get(table.where, []))
    lines += _overall(board.rows) + _tuned(board)
    if board.warnings:
        lines += ['', '## Warnings', '', *(f'- {markdown_escape(warning)}' for warning in board.warnings)]
    return '\n'.join(lines) + '\n'


def _standings(standings: Sequence[Standing]) -> list[str]:
    """Return the lines that show the standings of a table's methods, nothing if it has a single column."""
    if max((standing.columns for standing in standings), default=0) < 2:
        return []
    body = []
    for standing in standings:
        gap = '' if standing.recovered is None else f'{standing.recovered} ({standing.gaps})'
        body.append([
            markdown_escape(standing.method), str(standing.ipc), f'{standing.rank:.1f}',
            f'{standing.wins}–{standing.losses}', gap, str(standing.columns),
        ])  # fmt: skip
    head = ('method', 'ipc', 'mean rank', 'wins–losses', 'recovered gap, % (columns)', 'columns')
    return ['', _STANDINGS, '', tables.markdown(head, body, right=range(2, 6))]


def _overall(rows: Sequence[Row]) -> list[str]:
    """Return the lines that compare methods over all data sets."""
    lines = []
    ranked = (row for row in rows if row['rank_low'] is not None)
    groups = grouped(ranked, lambda row: (row['labels'], row['protocol'], row['ipc']))
    for (labels, protocol, ipc), some in sorted(groups.items()):
        found = overall(some)
        if found.ranks is None:
            continue
        ranks = ', '.join(f'{name} {rank:.1f}' for name, rank in sorted(found.ranks.items(), key=lambda pair: pair[1]))
        differs = '; '.join(f'{a} ahead of {b}' for a, b in found.differs) or 'no two methods'
        lines.append(
            f'- {protocol}, {ipc} per class{if_soft(labels, ", ")}, {found.tasks} tasks: mean ranks {ranks}. Friedman p = '
            f'{found.p:.2g}. Different by Nemenyi at 5 %: {differs}.'
        )
    return ['', '## Over all data sets', '', _OVERALL, '', *map(markdown_escape, lines)] if lines else []


def _tuned(board: Board) -> list[str]:
    """Return the lines with the tuning budget of each method that is on the board under its own name."""
    shown = sorted({row['method'] for row in board.rows} & board.tuned.keys())
    lines = [f'- {markdown_escape(name)}: {markdown_escape(board.tuned[name] or "not stated")}' for name in shown]
    return ['', '## Tuning budgets', '', _TUNED, '', *lines] if lines else []


def text(board: Board) -> str:
    """Return the same tables as `markdown`, in aligned columns for the terminal."""
    lines = []
    for table in _tables(board.rows):
        lines += [table.title, *([f'  {table.remark}'] if table.remark else [])]
        lines.append(tables.aligned([table.head, *table.body], right=range(2, len(table.head)), indent='  '))
        lines += [f'  {note}' for note in table.notes] + ['']
    lines.append(_MEANING)
    return '\n'.join([*lines, *(f'warning: {warning}' for warning in board.warnings)]) + '\n'


def _tables(rows: Sequence[Row], *, transfer: bool = True) -> list[_Table]:
    groups = grouped((row for row in rows if transfer or not _origin(row)), table_of)
    found = []
    for (labels, dataset, protocol, digest), group in sorted(groups.items()):
        columns = _columns(group)
        title = f'{dataset}, probe {protocol} ({short(digest)}){if_soft(labels, " · ")}'
        remark = _SOFT if labels == 'soft' else _PUBLISHED if any(theirs for _, theirs in columns) else ''
        gated = {row['eval_backbone']: (row['gate'], row.get('gate_numbers')) for row in group if row['gate']}
        stressed = {name for name, (verdict, _) in gated.items() if verdict == STRESS_TEST}
        head = ['published' if theirs else f'{name} ‡' if name in stressed else name for name, theirs in columns]
        table = _Table((labels, dataset, protocol, digest), title, remark, ['method', 'ipc', *head, 'sets x probes', 'cost'])
        placed = grouped(group, lambda row: (ipc_order(row['ipc']), row['method'], _origin(row), row['settings']))
        for (_, method, origin, settings), line in sorted(placed.items()):
            name = method + (f' (from {origin})' if origin else '') + (f' ({settings})' if settings else '')
            cells = dict.fromkeys(columns, '')
            for row in line:
                backbone = row['eval_backbone']
                cells[backbone, False] = _cell(row, name, table.notes)
                if row['published_mean'] is not None:
                    cells[backbone, True] = f'{row["published_mean"]:.1f}{_plus_minus(row["published_std"])}'
            n = [_range(row[name] for row in line if row[name]) for name in ('n_sets', 'n_probes')]
            table.body.append([name, ipc_text(line[0]['ipc']), *cells.values(), ' x '.join(filter(None, n)), _cost(line)])
        table.notes += _gate_notes(gated)
        found.append(table)
    return found


def _cost(line: Sequence[Row]) -> str:
    """Return the mean images encoded, in thousands, and seconds of a set and its probes; '' if no record is finished."""
    done = [row for row in line if row['seconds_probe'] is not None]
    if not done:
        return ''
    seconds = sum((row['seconds_method'] or 0) + row['seconds_probe'] for row in done) / len(done)
    encoded = [row['images_encoded'] for row in done if row['images_encoded'] is not None]
    images = f'{sum(encoded) / len(encoded) / 1000:,.0f}k images, ' if encoded else ''
    return f'{images}{seconds:,.0f} s'


def _range(counts: Iterable[int]) -> str:
    """Return the smallest and largest count, one number if they agree, '' if there is none."""
    found = sorted(set(counts))
    return '–'.join(map(str, found[:1] + found[1:][-1:]))


def _gate_notes(gated: dict[str, tuple[str, str | None]]) -> list[str]:
    """Return one line for each verdict of the gate, with the backbones that have it."""
    lines = []
    for verdict, said in _GATE.items():
        names = [f'{name} ({numbers})' if numbers else name for name, (v, numbers) in sorted(gated.items()) if v == verdict]
        lines += [f'{said}: {"; ".join(names)}'] if names else []
    return lines


def _columns(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    """Return the columns as (eval backbone, published): ours first, then the published ones if a row has any."""
    known = {row['eval_backbone'] for row in rows if row['published_mean'] is not None}
    backbones = sorted({row['eval_backbone'] for row in rows})
    return [(name, theirs) for name in backbones for theirs in (False, True) if not theirs or name in known]


def _origin(row: Row) -> str:
    """Return the source backbone if it differs from the eval backbone, else ''."""
    return '' if row['source_backbone'] in (row['eval_backbone'], ANY_SOURCE) else row['source_backbone']


def _cell(row: Row, name: str, notes: list[str]) -> str:
    """Return the text of one cell, and add a note if a record failed."""
    cell = 'failed'
    if row['top1_mean'] is not None:
        cell = f'{row["top1_mean"]:.1f}{_plus_minus(row["top1_half"])}' + ('†' if row['one_set'] else '')
    if row['rank_low']:
        cell += f' ({_range([row["rank_low"], row["rank_high"]])})'
    if row['n_failed']:
        error = ' '.join(str(row['error']).split())
        error = error if len(error) <= 200 else error[:199] + '…'
        of = row['n_failed'] + row['n_sets']
        notes.append(
            f'[{len(notes) + 1}] {name}, ipc {ipc_text(row["ipc"])}, on {row["eval_backbone"]}: '
            f'{row["n_failed"]} of {counted(of, "seed")} failed: {error}'
        )
        cell += f' [{len(notes)}]'
    return cell


def _plus_minus(half: float | None) -> str:
    return '' if half is None else f' ± {half:.1f}'


# --- files ------------------------------------------------------------------------------------------------------------


def write(board: Board, *, results_dir: Path | str) -> tuple[Path, Path]:
    """Write leaderboard.csv and leaderboard.md atomically and return their paths."""
    paths = Path(results_dir, 'leaderboard.csv'), Path(results_dir, 'leaderboard.md')
    write_atomic(paths[0], csv_text(board.rows))
    write_atomic(paths[1], markdown(board))
    return paths


def update(document: Path, board: Board) -> None:
    """Replace the text between a document's leaderboard markers with the tables, without transfer rows.

    Raises:
      InputError: if the document or one of its markers is missing.
    """
    shown = markdown(board, transfer=False).partition('do not edit -->\n\n')[2]
    replace_block(document, 'leaderboard', shown.replace('\n## ', '\n### '))
