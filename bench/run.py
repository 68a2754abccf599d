"""python -m bench.run --gin_file=gin/quickstart.gin: run a grid, write its records, print the leaderboard."""

import sys
from pathlib import Path

from absl import flags

from bench.core import cli
from bench.core.errors import InputError

flags.DEFINE_multi_string('gin_file', [], 'gin file; relative to the working directory or to the repository')
flags.DEFINE_multi_string('gin_bindings', [], 'gin binding, such as "run.ipc = [1, 5]"; wins over the files')
flags.DEFINE_multi_string('plugin', [], 'module or .py file that registers methods, datasets or backbones')
flags.DEFINE_string('results_dir', 'results', 'where records, distilled sets and TensorBoard runs are written')
flags.DEFINE_string('cache_dir', None, 'what can be made again, such as features (default: .cache, or $BENCH_CACHE)')
flags.DEFINE_string('data_root', None, 'folder with the datasets')
flags.DEFINE_string('weights_root', None, 'folder with local checkpoints')
flags.DEFINE_enum('device', 'auto', ['auto', 'cpu', 'cuda', 'mps'], 'auto takes cuda, then mps, then cpu')
flags.DEFINE_bool('force', False, 'run cells again that have a record')
flags.DEFINE_bool('dry_run', False, 'print the cells with their keys: done, or why they are to do; needs no data')
FLAGS = flags.FLAGS


def main() -> int:
    """Flags -> config -> cells -> records -> leaderboard; returns the exit status."""
    from bench import leaderboard
    from bench.config import plugins
    from bench.config.gin_files import loaded
    from bench.core.progress import remark
    from bench.machine import processes as distributed
    from bench.pipeline.execute import Bench, execute, found, prepare
    from bench.pipeline.grid import RUN, grid
    from bench.pipeline.why import Why

    if not FLAGS.gin_file and not FLAGS.gin_bindings:
        raise InputError('expected --gin_file=FILE, such as gin/quickstart.gin; got none')
    plugins.load(FLAGS.plugin)
    results_dir = Path(FLAGS.results_dir)
    if results_dir.exists() and not results_dir.is_dir():
        raise InputError(f'--results_dir={results_dir}: expected a folder, found a file')
    with loaded(FLAGS.gin_file, FLAGS.gin_bindings, command=RUN) as config:
        cells = grid(config)
        asked = config.asked()
    if FLAGS.dry_run:
        why = Why(results_dir)
        for cell in cells:
            record = found(results_dir, cell)
            done = record is not None and record['status'] == 'ok'
            print(f'{cell.key}  {"done" if done else "to do"}  {cell}{"" if done else f"  ({why(cell, record)})"}')
        return 0
    device, world = choose_device()
    bench = Bench(cli.places(), results_dir, device, world=world, force=FLAGS.force, asked=asked)
    bench.say = remark if world.leads else _silent
    todo = prepare(bench, cells)
    bench.say(f'{len(cells)} cells, {len(cells) - len(todo)} of them done')
    failed = execute(bench, todo)
    distributed.leave()
    if not world.leads:
        return 0

    board = leaderboard.read(results_dir)
    leaderboard.write(board, results_dir=results_dir)
    print(leaderboard.text(board.rows, board.warnings))
    print(f'leaderboard: {results_dir / "leaderboard.md"}; pictures: {results_dir / "distilled"}/.../contact_sheet.png')
    for problem in board.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    if failed:
        print(f'bench.run: {failed} of {len(todo)} cells failed; their records say why', file=sys.stderr)
    return 1 if failed else 0


def _silent(line: str) -> None:
    """Say nothing: the leading process speaks for all."""


def choose_device():
    """Return the torch device of this process, and its place among those that torchrun started."""
    import torch

    from bench.machine import processes as distributed
    from bench.machine.device import keep_freed_memory

    available = {'cuda': torch.cuda.is_available(), 'mps': torch.backends.mps.is_available(), 'cpu': True}
    wanted = FLAGS.device
    if wanted == 'auto':
        wanted = next(name for name, present in available.items() if present)
    if not available[wanted]:
        raise InputError(f'--device={wanted}: torch finds no such device here; use --device=auto')
    keep_freed_memory()
    if not distributed.asked_for():
        return torch.device(wanted), distributed.ALONE
    device = torch.device(wanted)
    if wanted == 'cuda':
        if distributed.local_rank() >= torch.cuda.device_count():
            raise InputError(f'torchrun started more processes than the {torch.cuda.device_count()} GPUs of this machine')
        device = torch.device('cuda', distributed.local_rank())
        torch.cuda.set_device(device)
    return device, distributed.join(device)


if __name__ == '__main__':
    cli.start(main)
