"""python -m bench.run --gin_file=gin/quickstart.gin: run a grid, write its records, print the leaderboard."""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from bench.core import cli
from bench.core.errors import InputError

FLAGS = flags.FLAGS


def main() -> int:
    """Flags -> config -> cells -> records -> leaderboard; returns the exit status."""
    from bench.config import plugins
    from bench.config.gin_files import loaded
    from bench.core import leases, leftovers
    from bench.core.disk import check_folder
    from bench.core.progress import remark
    from bench.leaderboard import board_of
    from bench.machine.device import choose_device
    from bench.machine.processes import join, leave
    from bench.pipeline.execute import execute
    from bench.pipeline.grid import RUN, grid
    from bench.pipeline.prepare import places_of, prepare
    from bench.pipeline.session import Session
    from bench.pipeline.share import agreed, looks, shard
    from bench.results.tables import text, write

    if not FLAGS.gin_file and not FLAGS.gin_bindings:
        raise InputError('expected --gin_file=FILE, such as gin/quickstart.gin; got none')
    if FLAGS.settings and not FLAGS.dry_run:
        raise InputError('--settings: expected --dry_run beside it, got --settings alone; add --dry_run')
    plugins.load(FLAGS.plugin)
    results_dir = Path(FLAGS.results_dir)
    if results_dir.exists() and not results_dir.is_dir():
        raise InputError(f'--results_dir={results_dir}: expected a folder, found a file')
    with loaded(FLAGS.gin_file, FLAGS.gin_bindings, command=RUN) as config:
        cells = grid(config)
        asked = config.asked()
    if FLAGS.shard:
        cells = shard(cells, FLAGS.shard)
    if FLAGS.dry_run:
        tell(cells, results_dir, settings=FLAGS.settings)
        return 0
    if FLAGS.shard:
        leases.switch_off()
    check_folder(results_dir, flag='results_dir')
    check_folder(cli.cache_dir(), flag='cache_dir')
    device = choose_device(FLAGS.device)
    world = join(device)
    session = Session(cli.places(), results_dir, device, world=world, say=remark if world.leads else _silent)
    before = looks(results_dir, cells)
    todo = agreed(session, cells, prepare(session, cells, force=FLAGS.force))
    if world.leads:
        leftovers.remove(places_of(session, todo))
    session.say(f'{len(cells)} cells, {len(cells) - len(todo)} of them done')
    failed = execute(session, todo, before=before, force=FLAGS.force, asked=asked)
    leave()
    if not world.leads:
        return 0

    board = board_of(results_dir)
    write(board, results_dir=results_dir)
    print(text(board))
    print(f'leaderboard: {results_dir / "leaderboard.md"}; pictures: {results_dir / "distilled"}/.../contact_sheet.png')
    for problem in board.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    if failed:
        print(f'bench.run: {failed} of {len(todo)} cells failed; their records hold the errors', file=sys.stderr)
    return 1 if failed else 0


def tell(cells: list[Any], results_dir: Path, *, settings: bool) -> None:
    """Print for each cell whether it is done, or why it is to do, all settings on request, and what could be freed."""
    from bench.core import leftovers
    from bench.pipeline.prepare import found
    from bench.pipeline.session import Session
    from bench.pipeline.settings import settings_of
    from bench.pipeline.why import Why

    why = Why(Session(cli.places(), results_dir, None))
    for cell in cells:
        reason = why(cell, found(results_dir, cell))
        print(f'{cell.key}  {"to do" if reason else "done"}  {cell}{f"  ({reason})" if reason else ""}')
    for line in settings_of(cells) if settings else ():
        print(line)
    for left in leftovers.found(results_dir, cli.cache_dir()):
        print(f'could be freed: {left.bytes / 1e6:.1f} MB, {left.what}: {left.path}', file=sys.stderr)
    for name in sorted(why.unseen):
        print(f'not compared with the records, because missing or not read yet: {name}', file=sys.stderr)


def _silent(line: str) -> None:
    """Say nothing: the leading process speaks for all."""


if __name__ == '__main__':
    cli.define(
        'gin_file', 'gin_bindings', 'plugin', 'results_dir', 'cache_dir', 'data_root', 'weights_root', 'device', 'force'
    )
    flags.DEFINE_bool('dry_run', False, 'print the cells with their keys: done, or why they are to do; downloads nothing')
    flags.DEFINE_string('shard', '', 'i/n: run only the i-th of n parts of the grid, and take no leases')
    flags.DEFINE_bool('settings', False, 'with --dry_run: print also every setting of the methods, backbones and so on')
    cli.start(main)
