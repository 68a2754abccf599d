"""plumage: procedural bird pictures for fine-grained recognition that need no download.

Twenty species in five families. A family has its own build and colours; its four species are near-twins, each known by
one small mark (crest, wing bar, cap, bill or belly; family k lacks mark k). Pose, scale, flip, light, clutter, twigs in
front and noise are nuisances. `plumage_render` draws; this file turns pictures into splits: rendered on first use,
cached as one memory-mapped file a split. `plumage_families` labels the same pictures by family.

Shape suffixes: N images, H height, W width, C colour channels.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.hashing import numpy_generator, short_hash
from bench.core.progress import progress
from bench.core.ranges import Count, PositiveInt
from bench.core.types import Dataset, Places, Split
from bench.datasets.plumage.pen import SIDE
from bench.datasets.plumage.render import FAMILIES, RENDER_VERSION, SPECIES, render

CLASS_NAMES = tuple(species.name for species in SPECIES)
FAMILY_NAMES = tuple(family.name for family in FAMILIES)
# Coarse label of every class: FAMILY_OF_CLASS[c] indexes FAMILY_NAMES.
FAMILY_OF_CLASS = tuple(species.family for species in SPECIES)

_CHUNK = 50  # images a worker draws before it reports: small enough for a smooth bar, large enough to hide the pipe
_POOL_FROM = 400  # fewer images are drawn in this process: starting workers would take longer


def labels_of(seed: int, split: str, count: int) -> np.ndarray:
    """Return labels_N in int64. Species take turns in the labelled splits, so that every prefix is balanced."""
    if split == 'stream':
        return numpy_generator('plumage', 'species', seed, split).integers(len(SPECIES), size=count)
    return np.arange(count, dtype=np.int64) % len(SPECIES)


def draw(seed: int, split: str, index: int, label: int) -> np.ndarray:
    """Return picture `index` of a split as uint8 pixels_HWC: a function of its arguments and the render version."""
    return render(label, numpy_generator('plumage', RENDER_VERSION, seed, split, index))


@dataclass(frozen=True)
class Drawing:
    """How the pictures of a set come about. Its functions are pickled by name.

    `codes_of(seed, split, count)` returns codes_N, what each picture shows; `draw(seed, split, index, code)` returns
    pixels_HWC in uint8, `SIDE` px wide and high.
    """

    name: str
    codes_of: Callable[[int, str, int], np.ndarray]
    draw: Callable[[int, str, int, int], np.ndarray]


PLUMAGE = Drawing('plumage', labels_of, draw)


@dataclass
class RenderedImages(Sequence):
    """A split's pictures: drawn on first access, then read from a memory-mapped file.

    Nothing else is cached at `path`. Picklable and cheap to send to loader workers: each opens the file for itself. Call
    `prepare` before starting several workers, so that they do not each draw the split.
    """

    path: Path
    seed: int
    split: str
    count: int
    drawing: Drawing = PLUMAGE
    _pixels_NHWC: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image.Image:
        index = int(index)
        if not -self.count <= index < self.count:
            raise IndexError(f'{self.drawing.name} {self.split} has {self.count} images, asked for number {index}')
        return Image.fromarray(np.array(self.pixels_NHWC[index]))

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_pixels_NHWC': None}

    @property
    def pixels_NHWC(self) -> np.ndarray:
        """Every picture as uint8, memory-mapped and read-only."""
        if self._pixels_NHWC is None:
            self.prepare()
            self._pixels_NHWC = np.load(self.path, mmap_mode='r')
        return self._pixels_NHWC

    def prepare(self) -> None:
        """Draw and cache the pictures unless a whole cache file is there."""
        if not _is_whole(self.path, self.count):
            _draw_file(self)


def plumage(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 200, test_per_class: PositiveInt = 100
) -> Dataset:
    """Return the plumage dataset; nothing is drawn before the first image is asked for.

    Args:
      places: pictures are cached under `cache_dir / 'plumage'`, about 74 MB for the official sizes.
      seed: another seed is another draw of every picture; 0 is the official set.
      train_per_class: training images of each of the 20 species. Image i does not depend on the sizes.
      test_per_class: test images of each species.
    """
    return Dataset(
        name='plumage',
        train=_split(places, 'train', seed, train_per_class),
        test=_split(places, 'test', seed, test_per_class),
        licence='Apache-2.0',
        source=f'drawn by bench.datasets.plumage, render version {RENDER_VERSION}, seed {seed}',
        coarse='plumage_families',
    )


def plumage_families(
    places: Places, *, seed: Count = 0, train_per_class: PositiveInt = 200, test_per_class: PositiveInt = 100
) -> Dataset:
    """Return the pictures of plumage, in its order and from its cache, labelled by family: five coarse classes.

    Args:
      places: as for plumage; nothing is drawn twice.
      seed: as for plumage.
      train_per_class: training images of each species, as for plumage: a family has four times as many.
      test_per_class: test images of each species.
    """
    fine = plumage(places, seed=seed, train_per_class=train_per_class, test_per_class=test_per_class)
    return replace(
        fine, name='plumage_families', train=_by_family(fine.train), test=_by_family(fine.test), coarse=''
    )


def _by_family(split: Split) -> Split:
    return replace(
        split,
        labels_N=np.array(FAMILY_OF_CLASS, dtype=np.int64)[split.labels_N],
        class_names=FAMILY_NAMES,
        fingerprint=short_hash(['plumage_families', split.fingerprint]),
    )


def unlabelled_stream(places: Places, *, count: PositiveInt, seed: Count = 0) -> RenderedImages:
    """Return `count` pictures of random species without their labels, for pre-training; disjoint from both splits."""
    return _images(places, 'stream', seed, count)


def _split(places: Places, name: str, seed: int, per_class: int) -> Split:
    count = per_class * len(SPECIES)
    return Split(
        name=name,
        images=_images(places, name, seed, count),
        labels_N=labels_of(seed, name, count),
        class_names=CLASS_NAMES,
        fingerprint=short_hash(['plumage', RENDER_VERSION, seed, name, count]),
    )


def _images(places: Places, split: str, seed: int, count: int) -> RenderedImages:
    key = short_hash(['plumage', RENDER_VERSION, seed])
    return RenderedImages(Path(places.cache_dir) / 'plumage' / key / f'{split}_{count}.npy', seed, split, count)


def _is_whole(path: Path, count: int) -> bool:
    """Whether the cache file can be opened and has the right shape; says so when it must be rebuilt."""
    if not path.exists():
        return False
    try:
        pixels_NHWC = np.load(path, mmap_mode='r')
        whole = pixels_NHWC.shape == (count, SIDE, SIDE, 3) and pixels_NHWC.dtype == np.uint8
    except (ValueError, OSError, EOFError):
        whole = False
    if not whole:
        logging.warning('damaged cache file %s: drawn again', path)
    return whole


def _draw_file(images: RenderedImages) -> None:
    """Draw a split into a temporary file, then rename it; two processes may do so at once."""
    path, split, count, drawing = images.path, images.split, images.count, images.drawing
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    codes_N = drawing.codes_of(images.seed, split, count)
    starts = range(0, count, _CHUNK)
    jobs = [(drawing.draw, images.seed, split, start, codes_N[start : start + _CHUNK]) for start in starts]
    try:
        pixels_NHWC = np.lib.format.open_memmap(temporary, 'w+', dtype=np.uint8, shape=(count, SIDE, SIDE, 3))
        with progress(total=count, title=f'{drawing.name}: drawing {split}', unit='image') as advance:
            for start, part_NHWC in _drawn(jobs, count):
                pixels_NHWC[start : start + len(part_NHWC)] = part_NHWC
                advance(len(part_NHWC))
        pixels_NHWC.flush()
        del pixels_NHWC
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _drawn(jobs: list[tuple], count: int):
    """Yield (start, pixels) of every job, from a process pool where that pays."""
    workers = min(_cpu_count(), 16)
    # A loader worker is a daemon and may have no children: it draws by itself.
    if count < _POOL_FROM or workers == 1 or multiprocessing.current_process().daemon:
        yield from map(_draw_chunk, jobs)
        return
    # Workers only run numpy and PIL, no threads: forking is safe on Linux and skips importing torch again.
    context = multiprocessing.get_context('fork' if sys.platform == 'linux' else 'spawn')
    with context.Pool(workers, initializer=_quiet_worker) as pool:
        yield from pool.imap_unordered(_draw_chunk, jobs)


def _draw_chunk(job: tuple) -> tuple[int, np.ndarray]:
    draw_one, seed, split, start, codes_N = job
    return start, np.stack([draw_one(seed, split, start + i, int(code)) for i, code in enumerate(codes_N)])


def _quiet_worker() -> None:
    """Leave Ctrl-C to the parent, and end at once when it says so, whatever handlers it had installed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
