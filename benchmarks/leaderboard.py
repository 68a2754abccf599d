"""Time `python -m bench.leaderboard` on a folder of realistic records.

    python -m benchmarks.leaderboard --records=10000
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from bench.core.hashing import short_hash
from bench.core.types import Dataset, ProbeScore, Split
from bench.results import provenance
from bench.results.make import make_record
from bench.results.record import DistilledFacts, GinBindings, Seconds
from bench.results.store import dumps, path_of

REPEATS = 5
# name, classes, test images: the sizes that occur in the suite.
DATASETS = (('plumage', 20, 2000), ('grocery', 81, 2485), ('cub200', 200, 5794), ('oxford_pets', 37, 3669))
METHODS = ('centroid', 'full', 'herding', 'k_center', 'lgm_fast', 'lgm_real_init', 'random')
BACKBONES = ('clip_vitb16', 'dinov2_vitb14', 'eva02_vitb14', 'timm:mobilenetv2_100')
SETTINGS = {f'setting_{i}': i / 7 for i in range(20)}


def generate(results_dir: Path, *, count: int, seed: int = 0) -> int:
    """Write `count` records and return their bytes; as `bench.results.store.write` does it, less the wait for the disk."""
    generator = np.random.default_rng(seed)
    origin = provenance.collect()
    total = 0
    for i in range(count):
        name, classes, tests = DATASETS[i % len(DATASETS)]
        j, method = divmod(i // len(DATASETS), len(METHODS))
        seed, column = divmod(j, len(BACKBONES))
        ipc = None if METHODS[method] == 'full' else 1
        cell = {
            'dataset': name, 'method': METHODS[method], 'source_backbone': BACKBONES[column],
            'eval_backbone': BACKBONES[column], 'ipc': ipc, 'seed': seed, 'protocol': 'paper-v1',
            'method_name': METHODS[method], 'method_settings': SETTINGS, 'protocol_settings': {'epochs': 1000},
        }  # fmt: skip
        labels_N = np.arange(tests) % classes
        class_names = tuple(f'class name number {c}' for c in range(classes))
        split = Split('test', (), labels_N, class_names, short_hash([name, 'test']))
        train = Split('train', (), labels_N, class_names, short_hash([name, 'train']))
        record = make_record(
            ProbeScore(generator.random((REPEATS, tests)) < 0.7, np.full(REPEATS, 0.9), {}, {'steps': 1000}),
            cell=cell, protocol_hash='0123456789abcdef',
            dataset=Dataset(name, train, split, 'MIT', 'made up'), probe_seeds=range(REPEATS),
            distilled=DistilledFacts(hash=short_hash(i), bytes=10**6, kind='synthetic', facts={}), n_train_images=classes,
            source_weights=short_hash(BACKBONES[column]), eval_weights=short_hash(BACKBONES[column]),
            seconds=Seconds(method=100.0, probe=10.0), peak_memory_mb=900.0, device='cpu',
            images_encoded=10**5, provenance=origin,
            gin=GinBindings(SETTINGS, {f'lgm_fast.{name}': value for name, value in SETTINGS.items()}),
        )  # fmt: skip
        path = path_of(results_dir, cell, record.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_text(dumps(record), encoding='utf-8')
    return total


def main(_: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        size = generate(Path(folder), count=flags.FLAGS.records)
        started = time.perf_counter()
        command = [sys.executable, '-m', 'bench.leaderboard', f'--results_dir={folder}']
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        seconds = time.perf_counter() - started
    count = flags.FLAGS.records
    print(f'{count} records of {size / count / 1024:.1f} KiB -> {lines[-1].rsplit(": ")[-1]}')
    print(f'python -m bench.leaderboard: {seconds:.2f} s')
    return 0


if __name__ == '__main__':
    flags.DEFINE_integer('records', 10_000, 'how many records to make', lower_bound=1)
    app.run(main)
