"""The published accuracies of arXiv 2511.16674, shown next to ours. Imports neither torch nor gin.

`published.csv` holds the paper's tables, `published_ablations.csv` its ablations of LGM: accuracies in percent, at one image
per class or with full data. Both files are read from the results folder if it has them, else from the project's results/.

A published ± is over five runs. For `random` these are five choices of images with one probe each; for all other methods
they are five probe seeds of one distilled set, so the ± does not include the spread over distillation seeds. The released
evaluation code uses numpy's default standard deviation, which divides by 5. We assume the same for the ± of `random`, which
the authors computed over separate runs.
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
# The published rules: the released evaluator. Our own protocols, paper-v1 among them, move rows by more than the published
# ±, so their rows stand beside no published number. Changed settings change the name.
PROTOCOLS = ('release-v1',)
_COLUMNS = ('dataset', 'method', 'source_backbone', 'eval_backbone', 'top1_mean', 'top1_std')
_OWN = ROOT / 'results'

Condition = tuple[str, str, str, str]  # dataset, method, source backbone, eval backbone


@dataclass(frozen=True)
class Accuracy:
    """A published accuracy in percent; `std` is None if the paper gives none."""

    mean: float
    std: float | None

    @property
    def sample_std(self) -> float | None:
        """The standard deviation with ddof 1, as for our results."""
        return None if self.std is None else self.std * math.sqrt(RUNS / (RUNS - 1))


def load(results_dir: Path | str) -> dict[Condition, Accuracy]:
    """Read the published accuracies, including ablations tested on the backbone that made their images.

    Raises:
      InputError: if a file lacks a column or has an invalid number; the message names the line.
    """
    found = {}
    for condition, mean, std, origin in [*_tables(results_dir), *_ablations(results_dir)]:
        try:
            accuracy = Accuracy(float(mean), float(std) if std else None)
        except (TypeError, ValueError):
            accuracy = Accuracy(math.nan, None)
        if not 0 <= accuracy.mean <= 100 or (accuracy.std is not None and not 0 <= accuracy.std <= 100):
            raise InputError(f'{origin}: expected an accuracy in percent and its ±, got {mean!r} and {std!r}')
        found[condition] = accuracy
    return found


def beside(rows: Iterable[Mapping[str, Any]], accuracies: Mapping[Condition, Accuracy]) -> list[dict[str, Any]]:
    """Return leaderboard rows with `published_mean` and `published_std` added, None if nothing was published.

    Only rows with hard labels, at one image per class or with full data, under the published probe rules are matched.
    """
    found = [(row, accuracies.get(_condition(row)) if _comparable(row) else None) for row in rows]
    return [
        {**row, 'published_mean': accuracy and accuracy.mean, 'published_std': accuracy and accuracy.std}
        for row, accuracy in found
    ]


def _comparable(row: Mapping[str, Any]) -> bool:
    whole = row['method'] == 'full'
    return row['labels'] == 'hard' and row['protocol'] in PROTOCOLS and row['ipc'] == (None if whole else 1)


def _condition(row: Mapping[str, Any]) -> Condition:
    # our `random` and `full` have no source backbone; the paper lists them under the eval backbone
    source = row['eval_backbone'] if row['source_backbone'] == ANY_SOURCE else row['source_backbone']
    return row['dataset'], row['method'], source, row['eval_backbone']


def _tables(results_dir: Path | str) -> Iterable[tuple[Condition, str, str, str]]:
    for line, origin in _lines(results_dir, TABLES, _COLUMNS):
        dataset, method, source, eval_backbone, mean, std = (line[name] for name in _COLUMNS)
        yield (dataset, method, source, eval_backbone), mean, std, origin


def _ablations(results_dir: Path | str) -> Iterable[tuple[Condition, str, str, str]]:
    """Yield the same-model ablations of LGM. The cross-model values are means over several cells, so they are left out."""
    named = ('dataset', 'setting', 'variant')
    for line, origin in _lines(results_dir, ABLATIONS, named):
        if line['setting'] == 'same_model' and line['variant'] != 'full':
            for backbone in line.keys() - {*named}:
                yield (line['dataset'], line['variant'], backbone, backbone), line[backbone], '', origin


def means_over_others(results_dir: Path | str) -> list[tuple[str, str, str, float]]:
    """Return (data set, variant, source backbone, accuracy in percent) of the ablations on the three other backbones.

    Raises:
      InputError: if the file lacks a column or has an invalid number.
    """
    named, found = ('dataset', 'setting', 'variant'), []
    for line, origin in _lines(results_dir, ABLATIONS, named):
        for backbone in line.keys() - {*named} if line['setting'] == 'mean_of_3_other_models' else ():
            try:
                found.append((line['dataset'], line['variant'], backbone, float(line[backbone])))
            except (TypeError, ValueError):
                raise InputError(f'{origin}: expected an accuracy in percent, got {line[backbone]!r}') from None
    return found


def _lines(results_dir: Path | str, name: str, columns: tuple[str, ...]) -> Iterable[tuple[dict[str, str], str]]:
    """Yield (line as a dict, its file and line number) for each line of a file; nothing if the file does not exist."""
    path = next((path for path in (Path(results_dir, name), _OWN / name) if path.is_file()), None)
    if path is None:
        return
    try:
        with path.open(encoding='utf-8', newline='') as file:
            reader = csv.DictReader(file)
            if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
                raise InputError(f'{path}: expected the columns {", ".join(columns)}; {missing[0]} is missing')
            for line in reader:
                yield line, f'{path}, line {reader.line_num}'
    except (UnicodeError, csv.Error) as error:
        raise InputError(f'{path}: expected a CSV file in UTF-8, got: {error}; restore the file') from error
