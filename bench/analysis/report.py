"""The result of an analysis and its files: CSV for programs, markdown for readers, a figure as SVG and PNG."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.core import tables
from bench.core.disk import write_atomic


@dataclass(frozen=True)
class Report:
    """The result of one analysis.

    `tables` are data frames by title, the main one first. `text` is markdown that explains them. `figure` is a matplotlib
    figure or a PIL image. `dpi` is the resolution of its PNG.
    """

    title: str
    text: str
    tables: dict[str, Any]
    figure: Any = None
    formats: dict[str, str] = field(default_factory=dict)
    dpi: int = 130


def write(report: Report, folder: Path, name: str, *, command: str) -> list[Path]:
    """Write `<name>.csv`, a CSV file for each further table, `<name>.md` and the figure, and return the paths.

    Args:
      report: the result of the analysis.
      folder: output folder; created if necessary.
      name: stem of the file names.
      command: the command that makes the files, shown in the markdown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, paths = [f'# {report.title}', '', report.text, ''], []
    if report.figure is not None:
        paths += _write_figure(report.figure, folder / name, dpi=report.dpi)
        lines += [f'![{report.title}]({name}.png)', '']
    for number, (title, table) in enumerate(report.tables.items()):
        path = folder / (f'{name}.csv' if not number else f'{name}_{_slug(title)}.csv')
        write_atomic(path, table.to_csv(index=False, float_format='%.6g', lineterminator='\n'))
        paths.append(path)
        lines += [f'## {title}', '', markdown_table(table, formats=report.formats), '']
    lines += [f'Made by `{command}`.', '']
    write_atomic(folder / f'{name}.md', '\n'.join(lines))
    return [folder / f'{name}.md', *paths]


def markdown_table(table: Any, *, formats: dict[str, str] | None = None) -> str:
    """Return a data frame as a markdown table: numbers are right-aligned, missing values are empty.

    Args:
      table: the data frame.
      formats: column -> number format; other columns have one decimal.
    """
    formats = formats or {}
    columns = list(table)
    return tables.markdown(
        [str(column).replace('_', ' ') for column in columns],
        [
            [tables.number(value, formats.get(column, '.1f')) for column, value in zip(columns, row, strict=True)]
            for row in table.itertuples(index=False)
        ],
        right={i for i, column in enumerate(columns) if table[column].dtype.kind in 'fiu'},
    )


def _slug(title: str) -> str:
    return '_'.join(''.join(c if c.isalnum() else ' ' for c in title.lower()).split())


def _write_figure(figure: Any, stem: Path, *, dpi: int) -> list[Path]:
    """Write SVG and PNG of a matplotlib figure, or only PNG of a PIL image.

    A newly made figure gives the same bytes each time. Saving one figure object twice may not, because each drawing adjusts
    the layout further.
    """
    if not hasattr(figure, 'savefig'):
        data = io.BytesIO()
        figure.save(data, format='PNG')
        write_atomic(stem.with_suffix('.png'), data.getvalue())
        return [stem.with_suffix('.png')]
    import matplotlib

    paths = []
    for suffix, metadata in (('.svg', {'Date': None}), ('.png', {'Software': None})):
        data = io.BytesIO()
        with matplotlib.rc_context({'svg.hashsalt': 'bench', 'svg.fonttype': 'none'}):
            figure.savefig(data, format=suffix[1:], dpi=dpi, metadata=metadata, bbox_inches='tight')
        write_atomic(stem.with_suffix(suffix), data.getvalue())
        paths.append(stem.with_suffix(suffix))
    return paths
