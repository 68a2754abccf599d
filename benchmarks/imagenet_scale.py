"""A dry run at the size of ImageNet-1k: time and memory of every stage, with simulated photographs and a simulated backbone.

    python -m benchmarks.imagenet_scale [--images=1281167] [--classes=1000] [--out=out/imagenet_scale]

The dataset has 1,281,167 training images in 1,000 classes of 732 to 1,300 images (sizes drawn with a fixed seed) and 50,000
test images. Pictures are 8 x 8 pixels of one colour that encodes the number of the image. The backbone has width 768 and
draws features around a centre per class. Everything else is the code of `python -m bench.run`: feature store, selectors,
probes, records, leaderboard.

Every stage runs in a fresh process, which is monitored from outside together with its loader workers. `memory` is the peak
including the mapped pages of memory-mapped files, which the system may drop at any time; `own` is the peak without them. The
full-data probe runs few epochs here, and the time of the published number is extrapolated. Features are deleted at the end.
"""

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from absl import flags
from PIL import Image
from torch import Tensor, nn

from bench.backbones.base import Backbone, frozen_backbone
from bench.config import registry
from bench.core import cli
from bench.core.errors import InputError
from bench.core.hashing import derive_seed, hash_bytes, numpy_generator
from bench.core.types import Dataset, Places, Split
from bench.results.record import Record

# ImageNet-1k: training images, classes, sizes of the largest and smallest class, number of classes below the largest size.
IMAGES, CLASSES, LARGEST, SMALLEST, SHORT = 1_281_167, 1000, 1300, 732, 105
MEMORY_GOAL, SELECTOR_GOAL = 6.0, 300.0
PUBLISHED = {'epochs': 100, 'views': 8, 'repeats': 5}
_GB = 1e9
_PICTURE_SIDE = 8
# Scale of class centres in units of the noise: a probe on all data is right more often than not, one image per class rarely.
_CENTRE_STD = 0.2
_NOISE_ROWS = 4096
_SAMPLE_SECONDS = 0.25


# --- simulated data and backbone ----------------------------------------------------------------------------------------


def class_sizes(images: int, classes: int) -> np.ndarray:
    """Return the size of each class, in ImageNet's proportions: most classes are equal, about a tenth are smaller."""
    mean = images / classes
    largest, smallest = round(mean * LARGEST * CLASSES / IMAGES), round(mean * SMALLEST * CLASSES / IMAGES)
    generator = numpy_generator('imagenet_scale', 'class sizes')
    short = generator.choice(classes, max(1, round(classes * SHORT / CLASSES)), replace=False)
    missing = classes * largest - images
    # the first of these is the smallest class; the rest of the deficit is distributed at random over the others
    first = min(largest - smallest, missing)
    edges = np.cumsum(generator.random(len(short) - 1))
    edges = np.round(edges / edges[-1] * (missing - first)) if len(edges) else edges
    sizes = np.full(classes, largest)
    sizes[short] -= np.concatenate([[first], np.diff(edges, prepend=0)]).astype(int)
    if sizes.sum() != images or sizes.min() < 1:
        raise InputError(f'--images={images} cannot be shared by {classes} classes; give at least 10 per class')
    return sizes


def pretended_data(
    places: Places, *, images: int = IMAGES, classes: int = CLASSES, test_images: int = 50_000
) -> Dataset:
    """Return numbered pictures, sorted by class like image folders; the test split's numbers follow the training split's."""

    def split(name: str, first: int, labels_N: np.ndarray) -> Split:
        names = tuple(f'class {c}' for c in range(classes))
        fingerprint = hash_bytes([f'{name} {first} {_PICTURE_SIDE}'.encode(), labels_N.tobytes()])
        return Split(name, _Numbered(first, len(labels_N)), labels_N, names, fingerprint)

    train_N = np.repeat(np.arange(classes), class_sizes(images, classes))
    return Dataset(
        'pretended_data', split('train', 0, train_N), split('test', images, np.arange(test_images) % classes),
        licence='none', source='made here',
    )


class _Numbered:
    """Pictures whose colour encodes their number."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Image.Image:
        return Image.new('RGB', (_PICTURE_SIDE, _PICTURE_SIDE), tuple((self.first + i).to_bytes(3, 'big')))


class Lookup(nn.Module):
    """Decodes the number of an image from its colour and returns the centre of its class plus noise."""

    def __init__(self, labels_M: np.ndarray, *, classes: int, width: int) -> None:
        super().__init__()
        self.labels_M: Tensor
        self.centre_CD: Tensor
        self.noise_KD: Tensor
        generator = torch.Generator().manual_seed(derive_seed('imagenet_scale', 'features'))
        self.register_buffer('labels_M', torch.from_numpy(labels_M))
        self.register_buffer('centre_CD', _CENTRE_STD * torch.randn(classes, width, generator=generator))
        self.register_buffer('noise_KD', torch.randn(_NOISE_ROWS, width, generator=generator) / 2**0.5)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return f_ND for images with channel values 0 to 255."""
        red_N, green_N, blue_N = x_NCHW[:, :, 0, 0].round().long().clamp(0, 255).unbind(dim=1)
        number_N = (red_N * 65536 + green_N * 256 + blue_N).clamp(max=len(self.labels_M) - 1)
        # two rows of a table and a length, so that no two of the images are alike
        first_N, second_N = number_N % _NOISE_ROWS, (number_N * 2654435761 >> 7) % _NOISE_ROWS
        length_N1 = 0.75 + 0.5 * ((number_N * 40503 % 65536).float() / 65536)[:, None]
        noise_ND = self.noise_KD[first_N] + self.noise_KD[second_N].roll(1, dims=1)
        return self.centre_CD[self.labels_M[number_N]] + length_N1 * noise_ND


def pretended_backbone(
    places: Places, device: torch.device, *, images: int = IMAGES, classes: int = CLASSES, test_images: int = 50_000,
    width: int = 768,
) -> Backbone:  # fmt: skip
    """Return the encoder for `pretended_data` of the same size."""
    data = pretended_data(places, images=images, classes=classes, test_images=test_images)
    network = Lookup(np.concatenate([data.train.labels_N, data.test.labels_N]), classes=classes, width=width)
    return frozen_backbone(
        network, name='pretended_backbone', source='made here', device=device, input_side=1, mean=(0.0,) * 3,
        std=(1 / 255,) * 3, interpolation='bilinear', feature='drawn', precision='float32',
    )  # fmt: skip


# --- stages -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """The sizes given by the flags; `epochs`, `views` and `repeats` are those of the full-data probe."""

    images: int = IMAGES
    classes: int = CLASSES
    test_images: int = 50_000
    width: int = 768
    epochs: int = 2
    views: int = 2
    repeats: int = 5

    @property
    def view_bytes(self) -> int:
        """The size on disk of the features of one view of the training images."""
        return 4 * self.images * self.width

    def bindings(self) -> list[str]:
        parts = {'images': self.images, 'classes': self.classes, 'test_images': self.test_images}
        rows = {'pretended_data': parts, 'pretended_backbone': {**parts, 'width': self.width}}
        lines = [f'{row}.{name} = {value}' for row, values in rows.items() for name, value in values.items()]
        return ["run.datasets = ['pretended_data']", "run.backbones = ['pretended_backbone']", *lines]


# Stage -> bindings in addition to those of the size; stages without cells are functions of a session.
SELECTORS = {
    'random, ipc 1': ("run.methods = ['random']", "run.protocol = 'ridge-v1'"),
    'centroid, ipc 1': ("run.methods = ['centroid']", "run.protocol = 'ridge-v1'"),
    'herding, ipc 1': ("run.methods = ['herding']", "run.protocol = 'ridge-v1'"),
    'herding, ipc 10': ("run.methods = ['herding']", "run.protocol = 'ridge-v1'", 'run.ipc = [10]'),
    'k_center, ipc 1': ("run.methods = ['k_center']", "run.protocol = 'ridge-v1'"),
}
STAGES = (
    'features of the test view', *SELECTORS, 'full data, ridge-v1', 'features of random views', 'full data, paper-v1',
    'leaderboard',
)  # fmt: skip


def run_stage(name: str, size: Size, out: Path) -> list[Record]:
    """Run one of `STAGES` in this process; return the records that it wrote."""
    from bench.config.gin_files import loaded
    from bench.machine.device import keep_freed_memory
    from bench.pipeline.execute import execute
    from bench.pipeline.grid import RUN, grid
    from bench.pipeline.prepare import finished, prepare
    from bench.pipeline.session import Session
    from bench.results.summary import read
    from bench.results.tables import text, write

    keep_freed_memory()  # as bench.run does
    registry.register('dataset', registry.Row('pretended_data', pretended_data, 'numbered pictures'))
    registry.register('backbone', registry.Row('pretended_backbone', pretended_backbone, 'drawn features'))
    results_dir = out / 'results'
    if name == 'leaderboard':
        board = read(results_dir)
        write(board, results_dir=results_dir)
        print(text(board))
        return []
    published = [f'paper_v1.full_epochs = {size.epochs}', f'paper_v1.full_views = {size.views}']
    lines = {
        **SELECTORS,
        'full data, ridge-v1': ("run.methods = ['full']", "run.protocol = 'ridge-v1'"),
        'full data, paper-v1': ("run.methods = ['full']", *published, f'paper_v1.repeats = {size.repeats}'),
    }.get(name, ("run.methods = ['random']",))
    with loaded([], [*size.bindings(), *lines], command=RUN) as config:
        cells, asked = grid(config), config.asked()
    session = Session(Places(None, None, out / 'cache'), results_dir, torch.device('cpu'))
    if name.startswith('features'):
        _fill_store(session, cells[0], size, random=name.endswith('random views'))
        return []
    # force: run the stage even if an earlier dry run left a record
    if execute(session, prepare(session, cells, force=True), force=True, asked=asked):
        raise RuntimeError(f'{name}: a cell failed, see above')
    return [record for cell in cells if (record := finished(results_dir, cell))]


def _fill_store(session: Any, cell: Any, size: Size, *, random: bool) -> None:
    """Encode the features of the selectors and the ridge probe, or the view pool of the published probe."""
    from bench.features.views import CenterView, RandomView

    data, backbone = session.dataset(cell.dataset), session.backbone(cell.eval)
    if random:
        view = RandomView(backbone.input_side, backbone.interpolation, seed=derive_seed('probe views'))
        session.store.features(data.train, backbone, view, num_views=min(size.views, size.epochs))
    else:
        for split in (data.train, data.test):
            session.store.features(split, backbone, CenterView(backbone.input_side, backbone.interpolation))


# --- measuring ----------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Peak memory of a process and its children in bytes: `memory` with the pages of mapped files, `own` without them."""

    memory: int = 0
    own: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def over(self, pid: int) -> Iterator[None]:
        """Sample a process every quarter of a second while the block runs."""
        thread = threading.Thread(target=self._look_on, args=(pid,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _look_on(self, pid: int) -> None:
        while True:
            self.look(pid)
            if self._ended.wait(_SAMPLE_SECONDS):
                break

    def look(self, pid: int) -> None:
        """Update the peaks. Shared pages count once; the kernel's high-water mark of each process is taken into account."""
        parts = [_fields(f'/proc/{one}/smaps_rollup') for one in _tree(pid)]
        together = sum(part.get('Pss', 0) for part in parts)
        self.memory = max(self.memory, together, _fields(f'/proc/{pid}/status').get('VmHWM', 0))
        self.own = max(self.own, sum(part.get('Pss_Anon', 0) + part.get('Pss_Shmem', 0) for part in parts))


def _fields(path: str) -> dict[str, int]:
    """Return the sizes listed in a file of the kernel, in bytes; {} if the process has ended."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    return {line.split(':')[0]: int(line.split()[-2]) * 1024 for line in lines if line.endswith(' kB')}


def _tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = []
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        try:
            children += [int(child) for child in path.read_text().split()]
        except OSError:
            continue  # the thread has ended
    return [pid, *(below for child in children for below in _tree(child))]


def measure(name: str, size: Size, out: Path) -> dict[str, Any]:
    """Run a stage in a fresh process and return its seconds, memory and records."""
    spawn, method = multiprocessing.get_context('spawn'), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_start_others, initargs=(method,)) as fresh:
        pid, watch = fresh.submit(os.getpid).result(), Watch()
        started = time.perf_counter()
        with watch.over(pid):
            found = fresh.submit(run_stage, name, size, out).result()
        seconds = time.perf_counter() - started
    return {'stage': name, 'seconds': seconds, 'memory': watch.memory, 'own': watch.own, 'records': found}


def _start_others(method: str) -> None:
    """Let a spawned process start its loader workers as bench.run does, instead of spawning them too."""
    multiprocessing.set_start_method(method, force=True)


def report(rows: list[dict[str, Any]], size: Size) -> str:
    """Return the table of stages, a summary with the goals, and the time that the published probe would take."""
    lines = [f'{"stage":28} {"seconds":>8} {"method":>8} {"probe":>8} {"memory":>10} {"own":>10} {"top-1":>7}']
    for row in rows:
        parts = [f'{row["stage"]:28} {row["seconds"]:8.0f}']
        for record in row['records'] or [None]:
            seconds = (record.seconds.method, record.seconds.probe) if record else ()
            parts += [f'{value:8.1f}' for value in seconds] or [' ' * 8] * 2
            parts += [f'{row[key] / _GB:7.2f} GB' for key in ('memory', 'own')]
            parts += [f'{100 * record.mean:5.1f} %'] if record else []
        lines.append(' '.join(parts))
    slowest = max(row['records'][0].seconds.method for row in rows if row['stage'] in SELECTORS)
    peak = max(row['memory'] for row in rows) / _GB
    lines.append(f'peak memory {peak:.1f} GB of {MEMORY_GOAL:.0f}; slowest selector {slowest:.0f} s of {SELECTOR_GOAL:.0f}')
    full = next(row['records'][0] for row in rows if row['stage'] == 'full data, paper-v1')
    hours = full.seconds.probe / size.epochs * PUBLISHED['epochs'] * PUBLISHED['repeats'] / size.repeats / 3600
    disk = PUBLISHED['views'] * size.view_bytes / _GB
    lines.append(
        f'full data, paper-v1: {size.epochs} epochs x {size.repeats} repeats from {size.views} views here; '
        f'{PUBLISHED["epochs"]} epochs x {PUBLISHED["repeats"]} repeats would take about {hours:.1f} h, '
        f'{PUBLISHED["views"]} views {disk:.1f} GB of disk'
    )
    return '\n'.join(lines)


def main() -> int:
    names = ('images', 'classes', 'test_images', 'width', 'epochs', 'views', 'repeats')
    asked: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    size, out = Size(**asked), Path(flags.FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    needed = (1 + min(size.views, size.epochs)) * size.view_bytes + 4 * size.test_images * size.width
    if (free := shutil.disk_usage(out).free) < 1.1 * needed:
        raise InputError(f'--out={out}: expected {1.1 * needed / _GB:.1f} GB of free disk, found {free / _GB:.1f}')
    print(f'{size}, {torch.get_num_threads()} threads, torch {torch.__version__}', flush=True)
    rows = []
    for name in STAGES:
        rows.append(measure(name, size, out))
        print(f'{name}: {rows[-1]["seconds"]:.1f} s, {rows[-1]["memory"] / _GB:.2f} GB', flush=True)
    print(report(rows, size))
    shutil.rmtree(out / 'cache')
    return 0


if __name__ == '__main__':
    flags.DEFINE_integer('images', IMAGES, 'training images', lower_bound=10)
    flags.DEFINE_integer('classes', CLASSES, 'classes', lower_bound=2)
    flags.DEFINE_integer('test_images', 50_000, 'test images', lower_bound=1)
    flags.DEFINE_integer('width', 768, 'width of the features', lower_bound=1)
    flags.DEFINE_integer('epochs', 2, 'epochs of the full-data probe; the published ones are 100', lower_bound=1)
    flags.DEFINE_integer('views', 2, 'views in its pool; the protocol has 8', lower_bound=1)
    flags.DEFINE_integer('repeats', 5, 'its probe seeds', lower_bound=1)
    flags.DEFINE_string('out', 'out/imagenet_scale', 'folder for features, deleted at the end, and for results')
    cli.start(main)
