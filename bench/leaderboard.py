"""Records -> results/leaderboard.csv and leaderboard.md. Imports neither torch nor gin.

    python -m bench.leaderboard [--results_dir=results] [--nopublished]

`bench.results.summary` defines the rows and their columns.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from absl import flags

from bench.config import registry
from bench.core import cli
from bench.core.errors import InputError
from bench.results.summary import Board, counted, read
from bench.results.tables import text, update, write


def board_of(results_dir: Path | str, *, with_published: bool = True) -> Board:
    """Return the leaderboard of a results folder, with the tuning budgets of all methods that are known here."""
    tuned = {name: row.tuned for name, row in registry.rows('method').items()}
    return replace(read(results_dir, with_published=with_published), tuned=tuned)


def run(results_dir: Path | str, into: Sequence[Path | str] = (), *, with_published: bool = True) -> int:
    """Regenerate the leaderboard of a results folder, print it, and return the exit status.

    The tables are also written into the documents `into`, between their leaderboard markers.
    """
    board = board_of(results_dir, with_published=with_published)
    for problem in board.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    ignored = f'{counted(len(board.problems), "file")} ignored, see above' if board.problems else ''
    if not board.rows:
        raise InputError(
            f'{Path(results_dir, "records")}: expected records of bench.run, found none'
            + (f' ({ignored})' if ignored else '; run python -m bench.run first, or give --results_dir')
        )
    for document in into:
        update(Path(document), board)
    paths = write(board, results_dir=results_dir)
    print(text(board))
    print(f'wrote {paths[0]} and {paths[1]}: {counted(len(board.rows), "row")}')
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
    flags.DEFINE_multi_string('into', [], 'document to update between its leaderboard markers, such as README.md')
    flags.DEFINE_bool('published', True, 'show the published results (published.csv) next to ours, in separate columns')
    cli.start(main)
