"""Peak memory of one update of Linear Gradient Matching at a fixed chunk size, for increasing numbers of classes.

    python -m benchmarks.lgm_memory [--classes=10,100,1000] [--chunk_size=45] [--json=FILE]

Every line is one update in a fresh process. `working` is its peak minus the memory before the update (the interpreter, the
backbone, cached real features of a fixed number of images) and minus the images themselves: their levels, gradients and
Adam's two moments, which must grow with the classes and are computed exactly. From three chunks on, the rest should not grow
(the first chunk's backward pass runs before there are gradients, and the last chunk may be short). `features` is the part
that does grow, the gradient of the features of all views. Like real backbones, the default network has large feature maps
and short features.

The processes return every freed tensor to the system at once, so that the peak is memory in use. A normal run keeps freed
memory for speed (bench/machine/device.py) and therefore holds more.
"""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.core.types import Precision
from bench.machine.cost import measured
from benchmarks.lgm_step import Workload, cached_features, full_pyramid, random_backbone, timed_update
from methods._synthesis.match import Chunking

# Allowed growth of `working` from the fewest to the most classes.
GOAL = 0.10
_REAL_IMAGES = 2000
# glibc maps tensors above this size separately, and unmaps them when they are freed
_MAPPED_BYTES = '65536'


def measure(
    *, backbone: str, input_side: int | None, classes: int, augmentations: int, chunk_size: int, precision: Precision,
    device: str,
) -> dict[str, Any]:  # fmt: skip
    """Measure the memory of one update in this process, in MB."""
    frozen, _ = random_backbone(backbone, input_side=input_side, precision=precision, device=torch.device(device))
    f_VND = np.random.default_rng(0).standard_normal((1, _REAL_IMAGES, frozen.feature_dim), dtype=np.float32)
    real = cached_features(frozen, f_VND, np.arange(_REAL_IMAGES) % classes, classes)
    assert len(real.views_VND.f_VND) == 1  # read into memory now
    with measured(frozen.device) as before:
        pass
    pyramid = full_pyramid(frozen, classes)
    work = Workload(frozen, None, pyramid, real, None, augmentations, chunk_size=chunk_size)
    for level in pyramid.levels:
        level.grad = torch.zeros_like(level)
    work.optimizer.step()  # creates the moments, like a first update
    seconds, _, peak_mb = timed_update(work, ours=True)
    # each level, its gradient, and two moments
    images_mb = 4 * sum(level.numel() * level.element_size() for level in pyramid.levels) / 2**20
    return {
        'augmentations': augmentations,
        'classes': classes,
        'peak_mb': peak_mb,
        'before_mb': before.peak_memory_mb,
        'images_mb': images_mb,
        'working_mb': peak_mb - before.peak_memory_mb - images_mb,
        'features_mb': augmentations * classes * frozen.feature_dim * 4 / 2**20,
        'seconds': seconds,
        'chunks': len(Chunking(augmentations, chunk_size).blocks(classes)),
    }


def growth(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Return the largest growth of `working_mb` per number of views, relative to the fewest classes with three chunks."""
    found = {}
    for augmentations in sorted({row['augmentations'] for row in rows}):
        several = [row for row in rows if row['augmentations'] == augmentations and row['chunks'] > 2]
        several.sort(key=lambda row: row['classes'])
        if len(several) > 1:
            found[augmentations] = max(row['working_mb'] for row in several[1:]) / several[0]['working_mb'] - 1
    return found


def report(rows: list[dict[str, Any]]) -> str:
    """Return the table, and the growth compared with the goal."""
    integers = ('augmentations', 'classes', 'chunks')
    names = (*integers, 'peak_mb', 'before_mb', 'images_mb', 'working_mb', 'features_mb', 'seconds')
    lines = ['  '.join(name.rjust(11) for name in names)]
    for row in rows:
        cells = (f'{row[name]:{max(len(name), 11)}.{0 if name in integers else 1}f}' for name in names)
        lines.append('  '.join(cells))
    for augmentations, more in growth(rows).items():
        lines.append(f'{augmentations} views: working memory {more:+.1%} with the classes; goal: within {GOAL:.0%}')
    return '\n'.join(lines)


def _integers(flag: str) -> list[int]:
    text: list[str] = flags.FLAGS[flag].value or []
    if not text or not all(part.isdigit() and int(part) > 0 for part in text):
        raise InputError(f'--{flag}={",".join(text)}: expected positive integers such as 10,100')
    return [int(part) for part in text]


def main() -> int:
    names = ('backbone', 'input_side', 'chunk_size', 'precision', 'device')
    settings: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    os.environ['MALLOC_MMAP_THRESHOLD_'] = os.environ['MALLOC_TRIM_THRESHOLD_'] = _MAPPED_BYTES
    rows = []
    for augmentations in _integers('augmentations'):
        for classes in _integers('classes'):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as fresh:
                job = fresh.submit(measure, classes=classes, augmentations=augmentations, **settings)
                rows.append(job.result())
    print(', '.join(f'{name} {value}' for name, value in settings.items()) + f', torch {torch.__version__}')
    print(report(rows))
    if flags.FLAGS.json:
        found = {**settings, 'torch': torch.__version__, 'goal': GOAL, 'growth': growth(rows), 'rows': rows}
        Path(flags.FLAGS.json).write_text(json.dumps(found, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    flags.DEFINE_list('classes', ['10', '100', '1000'], 'numbers of classes, with one image per class')
    flags.DEFINE_list('augmentations', ['1', '10'], 'numbers of views per image and update')
    # 10 classes x 10 views and 100 x 1 take three chunks
    flags.DEFINE_integer('chunk_size', 45, 'views in the backbone at once', lower_bound=1)
    flags.DEFINE_string('backbone', 'edgenext_xx_small', 'timm model, or tiny_simclr')
    flags.DEFINE_integer('input_side', 96, 'pixels', lower_bound=8)
    flags.DEFINE_enum('precision', 'float32', ['float32', 'bfloat16'], 'of the network')
    flags.DEFINE_enum('device', 'cpu', ['cpu', 'cuda'], 'where')
    flags.DEFINE_string('json', None, 'file for the measurements')
    cli.start(main)
