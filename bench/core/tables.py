"""Tables as text: aligned columns for a terminal, markdown, CSV and LaTeX. Pure functions of cells that are text already.

Also the one way into a document: `replace_block` puts a table between two markers.

A table is a head and rows of the same length. `right` names the columns, counted from 0, that stand at the right: such as
`range(1, 4)`.
"""

import csv
import io
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.core.disk import write_atomic
from bench.core.errors import InputError

_LATEX = str.maketrans({
    '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
    '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$', '–': '--', '≥': r'$\geq$', '×': r'$\times$',
})  # fmt: skip


def number(value: Any, form: str = '.1f') -> str:
    """Return the text of a cell: a float in the given format, '' for None and NaN, any other value as a string."""
    if value is None or value != value:
        return ''
    return format(value, form) if isinstance(value, float) else str(value)


def aligned(rows: Iterable[Sequence[str]], *, right: Container[int] = (), indent: str = '', gap: str = '  ') -> str:
    """Return rows as lines of aligned columns, by default two spaces apart; a header is simply the first row.

    Lines have no trailing spaces, and the text does not end with a newline.
    """
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        indent + gap.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )  # fmt: skip


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Return a markdown table, without a newline after the last row.

    Args:
      head: names of the columns.
      rows: cells in markdown; escape plain text with `markdown_escape`.
      right: indices of right-aligned columns.
    """
    rules = ['---:' if i in right else '---' for i in range(len(head))]
    lines = [head, rules, *rows]
    assert all(len(line) == len(head) for line in lines), lines
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def markdown_escape(cell: str) -> str:
    """Escape plain text for a cell of a markdown table."""
    return cell.replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*')


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV with \\n line endings; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerows([head, *rows])
    return buffer.getvalue()


def latex(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Return a LaTeX tabular with the rules of the package booktabs; it ends with a newline.

    Args:
      head: names of the columns.
      rows: cells in LaTeX; escape plain text with `latex_escape`.
      right: indices of right-aligned columns.
    """
    lines = [f'\\begin{{tabular}}{{{"".join("r" if i in right else "l" for i in range(len(head)))}}}', '\\toprule']
    lines += [_latex_line(head), '\\midrule', *map(_latex_line, rows), '\\bottomrule', '\\end{tabular}', '']
    return '\n'.join(lines)


def latex_escape(cell: str) -> str:
    """Escape plain text for LaTeX."""
    return cell.translate(_LATEX)


def replace_block(document: Path, name: str, block: str) -> None:
    """Replace the text of a document between `<!-- name:start -->` and `<!-- name:end -->`.

    Raises:
      InputError: if the document or one of its markers is missing.
    """
    start, end = f'<!-- {name}:start -->', f'<!-- {name}:end -->'
    content = document.read_text(encoding='utf-8') if document.is_file() else ''
    before, found_start, rest = content.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise InputError(f'{document}: expected the lines {start} and {end}, got none or one; add both')
    write_atomic(document, f'{before}{start}\n\n{block}\n{end}{after}')


def _latex_line(cells: Sequence[str]) -> str:
    return ' & '.join(cells) + ' \\\\'
