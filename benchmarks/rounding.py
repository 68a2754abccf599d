"""How far rounding carries: images and accuracy of runs that differ only in the order of their sums.

    python -m benchmarks.rounding [--precision=float32,bfloat16,float64] [--updates=24,160] [--seeds=3] [--json=FILE]

Distils plumage through tiny_clip with lgm_fast in one pass per update, in chunks of 20 views, and with two processes; then
trains the probes of paper-v1. In exact arithmetic all three are the same. All runs read the same cached features of the real
images. `images` is the relative difference |x - y| / |y| of the stored 8-bit images to those made in one pass, `bytes` the
share of their bytes that differ, both averaged over the method seeds.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.core.paths import ROOT
from bench.core.tables import markdown
from bench.distillation.distilled_set import DistilledSet
from bench.results.store import load

# name -> (chunk_size, number of processes); the first is what the others are compared with
WAYS: dict[str, tuple[int | None, int]] = {'one pass': (None, 1), 'chunks of 20': (20, 1), 'two processes': (None, 2)}
_LEVELS = 8  # of plumage's pictures, 73 px


def run(folder: Path, *, cache: Path, bindings: list[str], processes: int) -> None:
    """Run bench.run with one or several processes.

    Raises:
      InputError: if it fails; the message holds its output.
    """
    torchrun = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}'] if processes > 1 else []
    places = [f'--results_dir={folder}', f'--cache_dir={cache}', '--device=cpu']
    command = [sys.executable, *torchrun, '-m', 'bench.run', *places, *(f'--gin_bindings={line}' for line in bindings)]
    threads = {'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', '1')}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **threads})
    if done.returncode:
        raise InputError(f'{" ".join(command)}: failed: {done.stdout[-2000:]}{done.stderr[-2000:]}')


def measure(precision: str, updates: int, *, seeds: int, folder: Path, more: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return one row for each of `WAYS`: differences to the first, and the mean accuracy in percent of all seeds.

    Args:
      precision: of the network.
      updates: of each run.
      seeds: number of method seeds.
      folder: for results and cache.
      more: bindings on top of all others.
    """
    first: dict[int, np.ndarray] = {}
    rows = []
    for name, (chunk_size, processes) in WAYS.items():
        results = folder / f'{precision} {updates} {name}'
        bindings = [
            "run.datasets = ['plumage']", "run.backbones = ['tiny_clip']", f"tiny_clip.precision = '{precision}'",
            "run.methods = ['lgm_fast']", f'run.seeds = {list(range(seeds))}', f'lgm_fast.num_updates = {updates}',
            f'lgm_fast.level_every = {min(8, (updates - 1) // (_LEVELS - 1))}', f'lgm_fast.chunk_size = {chunk_size}', *more,
        ]  # fmt: skip
        run(results, cache=folder / 'cache', bindings=bindings, processes=processes)
        records = [load(path) for path in (results / 'records').rglob('*.json')]
        images = {seed: _images(results, seed) for seed in range(seeds)}
        first = first or images
        rows.append({
            'precision': precision, 'updates': updates, 'way': name,
            'images': float(np.mean([_relative(images[seed], first[seed]) for seed in images])),
            'bytes': float(np.mean([np.mean(images[seed] != first[seed]) for seed in images])),
            'accuracies': sorted(100 * record.accuracy for record in records),
            'accuracy': 100 * float(np.mean([record.accuracy for record in records])),
        })  # fmt: skip
    return rows


def _images(results: Path, seed: int) -> np.ndarray:
    (path,) = (results / 'distilled').rglob(f'ipc1-seed{seed}-*/set.json')
    images_NHWC = DistilledSet.load(path.parent).images_NHWC
    assert images_NHWC is not None, 'lgm_fast synthesises'
    return images_NHWC


def _relative(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.norm(x.astype(float) - y) / np.linalg.norm(y.astype(float)))


def main() -> int:
    values, rows = flags.FLAGS, []
    with tempfile.TemporaryDirectory() as folder:
        for precision in values.precision:
            for updates in map(int, values.updates):
                if updates < _LEVELS:
                    raise InputError(f'--updates={updates}: expected at least {_LEVELS}, one for each level')
                rows += measure(precision, updates, seeds=values.seeds, folder=Path(folder))
    head = ('precision', 'updates', 'way', 'images', 'bytes', 'accuracy')
    shown = [
        (row['precision'], str(row['updates']), row['way'], f'{100 * row["images"]:.2g} %', f'{100 * row["bytes"]:.2g} %',
         f'{row["accuracy"]:.2f} %')
        for row in rows
    ]  # fmt: skip
    print(markdown(head, shown, right={1, 3, 4, 5}))
    if values.json:
        Path(values.json).write_text(json.dumps(rows, indent=1), encoding='utf-8')
    return 0


if __name__ == '__main__':
    flags.DEFINE_list('precision', ['float32', 'bfloat16', 'float64'], 'of the network')
    flags.DEFINE_list('updates', ['24', '160'], 'of each run')
    flags.DEFINE_integer('seeds', 3, 'number of method seeds', lower_bound=1)
    flags.DEFINE_string('json', None, 'also write the rows to this file')
    cli.start(main)
