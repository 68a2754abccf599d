"""The gate: which pairs of a data set and a backbone behave like the published ones. Imports neither torch nor gin.

`python -m bench.gate` measures a pair on held-out training images and writes its line of `gate.csv`, accuracies in percent.
The file is read from the results folder and from the project's results/; the results folder wins. A pair passes if

- nearest_mean is at least `MEAN_SHARE` of best_linear: class means say what classes are, as for the published backbones, and
- best_linear, the reference for full data, is more than `GAP` points above random: there is something to win.

Other pairs are stress tests: their numbers are shown, but are part of no verdict and no mean. A pair without a line is not
gated, and neither is one whose line was measured on other training images or other weights.
"""

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.core.disk import write_atomic
from bench.core.errors import InputError
from bench.core.paths import ROOT
from bench.core.tables import aligned, csv_text

FILE = 'gate.csv'
MEAN_SHARE, GAP = 0.8, 30.0
Verdict = Literal['passes', 'stress test', 'not gated']
PASSES: Verdict = 'passes'
STRESS_TEST: Verdict = 'stress test'
NOT_GATED: Verdict = 'not gated'
_OWN = ROOT / 'results'
# numbers are rounded when a pair is made, so that its verdict is that of its line
_DIGITS = {'nearest_mean': 2, 'best_linear': 2, 'random': 2, 'participation_ratio': 2, 'five_components': 4}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One line of `gate.csv`: a data set and a backbone, by the labels that records have.

    Accuracies are those of `n_held` held-out training images, in percent, of classifiers trained on `n_fit` others:
    `nearest_mean` (Euclidean), `best_linear` (ridge regression of the best `strength`, see the protocol ridge-v2), and
    `random` (the same from one image per class, mean over draws). The spectrum is that of all training features:
    `participation_ratio` is (sum of eigenvalues)^2 / sum of squares, and `five_components` the share of the variance in the
    largest five. `data` is the training split's fingerprint in records, `weights` that of the backbone.
    """

    dataset: str
    backbone: str
    nearest_mean: float
    best_linear: float
    random: float
    strength: float
    participation_ratio: float
    five_components: float
    n_fit: int
    n_held: int
    data: str
    weights: str

    def __post_init__(self) -> None:
        for name, digits in _DIGITS.items():
            object.__setattr__(self, name, round(float(getattr(self, name)), digits))

    @property
    def mean_share(self) -> float:
        """nearest_mean / best_linear; 0 if both are."""
        return self.nearest_mean / self.best_linear if self.best_linear else 0.0

    @property
    def gap(self) -> float:
        """Points between random and best_linear."""
        return round(self.best_linear - self.random, 2)

    @property
    def failures(self) -> list[str]:
        """The conditions that the pair does not meet."""
        found = []
        if self.mean_share < MEAN_SHARE:
            found.append(f'nearest mean / best linear is {self.mean_share:.3f}, below {MEAN_SHARE}')
        if self.gap <= GAP:
            found.append(f'best linear - random is {self.gap:.1f} points, not above {GAP:g}')
        return found

    @property
    def verdict(self) -> Verdict:
        return STRESS_TEST if self.failures else PASSES


Pairs = Mapping[tuple[str, str], Pair]  # by data set and backbone
COLUMNS = (*(field.name for field in dataclasses.fields(Pair)), 'verdict')


def load(results_dir: Path | str) -> dict[tuple[str, str], Pair]:
    """Return all gated pairs by (data set, backbone).

    Raises:
      InputError: if a file lacks a column, or a line is damaged or contradicts itself; the message names the line.
    """
    folders = dict.fromkeys([_OWN.resolve(), Path(results_dir).resolve()])
    return {(pair.dataset, pair.backbone): pair for folder in folders for pair in _read(folder / FILE)}


def find(pairs: Pairs, dataset: str, backbone: str, *, data: str | None, weights: str | None) -> Pair | None:
    """Return the line of a pair, or None if it is not gated.

    Args:
      pairs: see `load`.
      dataset: label of the data set.
      backbone: label of the eval backbone.
      data: fingerprint of the record's data set, 'train' or 'train/test'; eight digits of each are enough.
      weights: fingerprint of the record's eval backbone, of which eight digits are enough.
    """
    pair, train = pairs.get((dataset, backbone)), (data or '').partition('/')[0]
    if pair is None or not train or not weights:
        return None
    return pair if _same(pair.data, train) and _same(pair.weights, weights) else None


def verdict(pairs: Pairs, dataset: str, backbone: str, *, data: str | None, weights: str | None) -> Verdict:
    """Return whether a pair passes, is a stress test or is not gated; the arguments are those of `find`."""
    pair = find(pairs, dataset, backbone, data=data, weights=weights)
    return NOT_GATED if pair is None else pair.verdict


def beside(rows: Iterable[Mapping[str, Any]], pairs: Pairs) -> list[dict[str, Any]]:
    """Return leaderboard rows with `gate`, the verdict on their data set and eval backbone, and `gate_numbers`.

    The numbers are the two of the rule: nearest_mean / best_linear, and best_linear - random. Both columns are None for a
    row without a finished record, because it does not know its weights.
    """
    found = []
    for row in rows:
        known = {'data': row['dataset_fingerprint'], 'weights': row['eval_weights']}
        pair = find(pairs, row['dataset'], row['eval_backbone'], **known)
        said = pair.verdict if pair else NOT_GATED if known['weights'] else None
        numbers = f'{pair.mean_share:.2f}, {pair.gap:.0f}' if pair else None
        found.append({**row, 'gate': said, 'gate_numbers': numbers})
    return found


def write(results_dir: Path | str, measured: Iterable[Pair]) -> Path:
    """Add lines to the table of a results folder, in place of older lines of the same pairs; return its path.

    Raises:
      InputError: if the table exists and cannot be read.
    """
    path = Path(results_dir, FILE)
    pairs = {(pair.dataset, pair.backbone): pair for pair in [*_read(path), *measured]}
    write_atomic(path, csv_text(COLUMNS, ([getattr(pairs[key], name) for name in COLUMNS] for key in sorted(pairs))))
    return path


def text(pairs: Iterable[Pair]) -> str:
    """Return a table for the terminal, and below it why pairs do not pass."""
    pairs = list(pairs)
    head = [
        'data set', 'backbone', 'nearest mean', 'best linear', 'ratio', 'random', 'gap', 'participation', 'share of five',
        'fit', 'held out', 'verdict',
    ]  # fmt: skip
    body = [
        [
            pair.dataset, pair.backbone, f'{pair.nearest_mean:.1f}', f'{pair.best_linear:.1f}', f'{pair.mean_share:.2f}',
            f'{pair.random:.1f}', f'{pair.gap:.1f}', f'{pair.participation_ratio:.1f}', f'{pair.five_components:.2f}',
            str(pair.n_fit), str(pair.n_held), pair.verdict,
        ]
        for pair in pairs
    ]  # fmt: skip
    notes = [f'{pair.dataset} x {pair.backbone}: {"; ".join(pair.failures)}' for pair in pairs if pair.failures]
    return '\n'.join([aligned([head, *body], right=range(2, 11)), *notes])


def _read(path: Path) -> list[Pair]:
    if not path.is_file():
        return []
    found = []
    try:
        with path.open(encoding='utf-8', newline='') as file:
            reader = csv.DictReader(file)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                raise InputError(f'{path}: expected the columns {", ".join(COLUMNS)}; {missing[0]} is missing')
            found = [_pair(line, where=f'{path}, line {reader.line_num}') for line in reader]
    except (UnicodeError, csv.Error) as error:
        raise InputError(f'{path}: expected a CSV file in UTF-8, got: {error}; restore the file') from error
    return found


def _pair(line: Mapping[str, Any], *, where: str) -> Pair:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Pair):
        text = line[field.name] or ''
        try:
            values[field.name] = field.type(text)  # type: ignore[operator]  # each is str, int or float
        except ValueError:
            text = ''
        if not text or values[field.name] != values[field.name]:
            got = f'{line[field.name]!r} as {field.name}'
            raise InputError(f'{where}: expected a text or a number, got {got}; run python -m bench.gate')
    pair = Pair(**values)
    if line['verdict'] != pair.verdict:
        raise InputError(
            f'{where}: the verdict is {line["verdict"]!r}, its numbers say {pair.verdict!r}; run python -m bench.gate'
        )
    return pair


def _same(fingerprint: str, known: str) -> bool:
    return fingerprint == known or fingerprint[:8] == known
