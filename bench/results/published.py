"""The published numbers of arXiv 2511.16674, to stand beside ours. Imports neither torch nor gin.

`published.csv` holds the paper's tables, `published_ablations.csv` its ablations of LGM: accuracies in percent, at one
image a class or on full data. They are looked for in the results folder, else in the project's own results/.

A published ± is over five runs: five choices of images with one probe each for `random`, five probe seeds of one set for
all others. So it holds nothing of the spread over distillation seeds. The released evaluation takes numpy's default standard
deviation, which divides by 5; that for `random`, taken over runs by hand, is assumed to do so too.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import InputError
from bench.core.paths import ROOT
from bench.results.record import ANY_SOURCE

RUNS = 5
TABLES, ABLATIONS = 'published.csv', 'published_ablations.csv'
# A probe of 64 cached views, or of a fresh view each epoch: the published rules. Changed settings have another name.
PROTOCOLS = ('paper-v1', 'paper-v1-exact')
_COLUMNS = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'top1_mean', 'top1_std')
_OWN = ROOT / 'results'

Place = tuple[str, str, str, str]  # dataset, method, source backbone, eval backbone


@dataclass(frozen=True)
class Figure:
    """A published accuracy in percent; `std` is None where none was given."""

    mean: float
    std: float | None

    @property
    def sample_std(self) -> float | None:
        """The standard deviation with one degree of freedom taken off, as ours."""
        return None if self.std is None else self.std * math.sqrt(RUNS / (RUNS - 1))


def load(results_dir: Path | str) -> dict[Place, Figure]:
    """Read what was published, ablations on their own backbone among it.

    Raises:
      InputError: for a file without the columns, or with something that is no number, naming the line.
    """
    found = {}
    for place, mean, std, origin in [*_tables(results_dir), *_ablations(results_dir)]:
        try:
            figure = Figure(float(mean), float(std) if std else None)
        except (TypeError, ValueError):
            figure = Figure(math.nan, None)
        if not 0 <= figure.mean <= 100 or (figure.std is not None and not 0 <= figure.std <= 100):
            raise InputError(f'{origin}: expected an accuracy in percent and its ±, got {mean!r} and {std!r}')
        found[place] = figure
    return found


def beside(rows: Iterable[Mapping[str, Any]], figures: Mapping[Place, Figure]) -> list[dict[str, Any]]:
    """Return rows of the leaderboard with `published_mean` and `published_std`, None where nothing was published.

    Only rows of hard labels, at one image a class or with full data, under the published probe rules can have a figure.
    """
    found = [(row, figures.get(_place(row)) if _comparable(row) else None) for row in rows]
    return [
        {**row, 'published_mean': figure and figure.mean, 'published_std': figure and figure.std} for row, figure in found
    ]


def _comparable(row: Mapping[str, Any]) -> bool:
    whole = row['method'] == 'full'
    return row['labels'] == 'hard' and row['protocol'] in PROTOCOLS and row['ipc'] == (None if whole else 1)


def _place(row: Mapping[str, Any]) -> Place:
    # the paper names the backbone where our random and full data have none
    source = row['eval_backbone'] if row['source_backbone'] == ANY_SOURCE else row['source_backbone']
    return row['dataset'], row['method'], source, row['eval_backbone']


def _tables(results_dir: Path | str) -> Iterable[tuple[Place, str, str, str]]:
    for line, origin in _lines(results_dir, TABLES, _COLUMNS):
        dataset, method, source, eval_backbone, mean, std = (line[name] for name in _COLUMNS)
        yield (dataset, method, source, eval_backbone), mean, std, origin


def _ablations(results_dir: Path | str) -> Iterable[tuple[Place, str, str, str]]:
    """Yield the variants of LGM tested on the backbone they were made through; the means over others are no single cell."""
    named = ('dataset', 'setting', 'variant')
    for line, origin in _lines(results_dir, ABLATIONS, named):
        if line['setting'] == 'same_model' and line['variant'] != 'full':
            for backbone in line.keys() - {*named}:
                yield (line['dataset'], line['variant'], backbone, backbone), line[backbone], '', origin


def _lines(results_dir: Path | str, name: str, columns: tuple[str, ...]) -> Iterable[tuple[dict[str, str], str]]:
    """Yield (line by column, where it stands) of a file; none where it is nowhere."""
    path = next((path for path in (Path(results_dir, name), _OWN / name) if path.is_file()), None)
    if path is None:
        return
    try:
        with path.open(encoding='utf-8', newline='') as file:
            reader = csv.DictReader(file)
            if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise InputError(f'{path}: expected the columns {", ".join(columns)}, got none named {missing[0]}')
            for line in reader:
                yield line, f'{path}, line {reader.line_num}'
    except (UnicodeError, csv.Error) as error:
        raise InputError(f'{path}: expected a table in UTF-8, got: {error}; restore the file') from error
