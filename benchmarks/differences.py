"""The effect of each difference from the release on accuracy: every variant of a run against its first, in points.

    python -m bench.run --gin_file=gin/differences/images.gin --results_dir=out/differences
    python -m benchmarks.differences --gin_file=gin/differences/images.gin --results_dir=out/differences

Takes the gin file of a finished run. If the run has several protocols, each is compared with the first, for every method;
otherwise each method is compared with the first, for every eval backbone. An effect is the difference of two mean accuracies
with its 95 % interval: paired by test image (`bench.results.statistics`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.results.statistics import Estimate, Scores, scores_of
from bench.results.store import load, path_of

FLAGS = flags.FLAGS


def effects(results_dir: Path, cells: Sequence[Any]) -> list[dict[str, Any]]:
    """Return one row per comparison: `place`, `variant`, `first`, both accuracies and their difference (`Estimate`).

    Args:
      results_dir: folder with records/.
      cells: the cells of the run, in the order of its lists.

    Raises:
      InputError: if a cell has no record.
    """
    by_protocol = len({cell.protocol_label for cell in cells}) > 1
    found: dict[tuple[str, str], list[Any]] = {}
    for cell in cells:
        path = path_of(results_dir, cell.config, cell.key)
        if not path.is_file():
            raise InputError(f'{results_dir}: no record of {cell} ({cell.key}); run bench.run with the same gin file first')
        where = [cell.dataset.label, cell.eval.label, cell.method.label if by_protocol else cell.protocol_label]
        variant = cell.protocol.label if by_protocol else cell.method.label
        found.setdefault((' x '.join(where), variant), []).append(load(path).scored)
    scores = {key: scores_of(records) for key, records in found.items()}
    rows: list[dict[str, Any]] = []
    for (place, variant), score in scores.items():
        first = next(other for where, other in scores if where == place)
        if variant != first:
            rows.append(_row(place, variant, score, first, scores[place, first]))
    return rows


def _row(place: str, variant: str, score: Scores, first: str, reference: Scores) -> dict[str, Any]:
    a, b = score.accuracy(), reference.accuracy()
    return {'place': place, 'variant': variant, 'first': first, 'accuracy': a, 'reference': b, 'effect': a - b}


def report(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a markdown table."""

    def percent(sample: Estimate) -> str:
        return f'{100 * sample.mean:.1f}'

    lines = ['| data, backbone | variant | accuracy | without it | effect | seeds |', '|---|---|---|---|---|---|']
    for row in rows:
        effect: Estimate = row['effect']
        shown = f'{100 * effect.mean:+.1f} [{100 * effect.low:+.1f}, {100 * effect.high:+.1f}]'
        lines.append(
            f'| {row["place"]} | {row["variant"]} | {percent(row["accuracy"])} | {percent(row["reference"])} '
            f'({row["first"]}) | {shown} | {effect.n} |'
        )
    return '\n'.join(lines)


def main() -> int:
    """Gin file -> cells -> records -> table; returns the exit status."""
    from bench.config import plugins
    from bench.config.gin_files import loaded
    from bench.pipeline.grid import RUN, grid

    if not FLAGS.gin_file:
        raise InputError('expected --gin_file=FILE, such as gin/differences/images.gin; got none')
    plugins.load(FLAGS.plugin)
    with loaded(FLAGS.gin_file, FLAGS.gin_bindings, command=RUN) as config:
        cells = grid(config)
    rows = effects(Path(FLAGS.results_dir), cells)
    if not rows:
        raise InputError('expected a run with several protocols or several methods, got one of each')
    print(report(rows))
    return 0


if __name__ == '__main__':
    cli.define('gin_file', 'gin_bindings', 'plugin', 'results_dir')
    cli.start(main)
