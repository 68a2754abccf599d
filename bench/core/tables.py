"""Tables as text: aligned columns for a terminal, markdown, CSV and LaTeX. Pure functions of cells that are text already.

A table is a head and rows of the same length. `right` names the columns, counted from 0, that stand at the right: such as
`range(1, 4)`.
"""

import csv
import io
from collections.abc import Container, Iterable, Sequence
from typing import Any

_LATEX = str.maketrans({
    '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{', '}': r'\}',
    '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$', '–': '--', '≥': r'$\geq$', '×': r'$\times$',
})  # fmt: skip


def number(value: Any, form: str = '.1f') -> str:
    """Return a cell: a float by its format, other values as they are, '' for None and NaN."""
    if value is None or value != value:
        return ''
    return format(value, form) if isinstance(value, float) else str(value)


def aligned(rows: Iterable[Sequence[str]], *, right: Container[int] = (), indent: str = '') -> str:
    """Return rows (the head, where there is one, is the first) as lines of columns, two blanks apart.

    Lines end without blanks, the last one without a line end.
    """
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        indent + '  '.join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )  # fmt: skip


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Return a markdown table, without a line end after the last row.

    Args:
      head: names of the columns.
      rows: cells, which are markdown: what is plain text goes through `markdown_escape` first.
      right: columns at the right.
    """
    rules = ['---:' if i in right else '---' for i in range(len(head))]
    lines = [head, rules, *rows]
    assert all(len(line) == len(head) for line in lines), lines
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def markdown_escape(cell: str) -> str:
    """Return plain text as markdown that a table's cell can hold."""
    return cell.replace('|', '\\|').replace('<', '&lt;').replace('*', '\\*')


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV with \\n line ends; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerows([head, *rows])
    return buffer.getvalue()


def latex(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Container[int] = ()) -> str:
    """Return a LaTeX tabular with the rules of the package booktabs; it ends with a line end.

    Args:
      head: names of the columns.
      rows: cells, which are LaTeX: what is plain text goes through `latex_escape` first.
      right: columns at the right.
    """
    lines = [f'\\begin{{tabular}}{{{"".join("r" if i in right else "l" for i in range(len(head)))}}}', '\\toprule']
    lines += [_latex_line(head), '\\midrule', *map(_latex_line, rows), '\\bottomrule', '\\end{tabular}', '']
    return '\n'.join(lines)


def latex_escape(cell: str) -> str:
    """Return plain text as LaTeX."""
    return cell.translate(_LATEX)


def _latex_line(cells: Sequence[str]) -> str:
    return ' & '.join(cells) + ' \\\\'
