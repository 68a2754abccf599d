"""Pictures that are drawn on first use and then read from one memory-mapped file per split.

Shape suffixes: N images, H height, W width, C colour channels.
"""

import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.progress import progress
from bench.datasets.plumage.pen import SIDE

_CHUNK = 50  # images per job: few enough for a smooth progress bar, enough to hide the cost of the pipe
_POOL_FROM = 400  # below this many images, drawing in this process is faster than starting workers


@dataclass(frozen=True)
class Drawing:
    """How the pictures of a data set are drawn. Its functions are pickled by name.

    `codes_of(seed, split, count)` returns codes_N: one number per picture that says what it shows.
    `draw(seed, split, index, code)` returns pixels_HWC in uint8, `SIDE` px wide and high.
    """

    name: str
    codes_of: Callable[[int, str, int], np.ndarray]
    draw: Callable[[int, str, int, int], np.ndarray]


@dataclass
class RenderedImages:
    """The pictures of a split as `bench.core.types.Images`: drawn on first access, then read from a memory-mapped file.

    `path` is the cache file of this split alone. Picklable and cheap to send to loader workers, because each worker opens
    the file itself. Call `prepare` before starting several workers, or each of them draws the split.
    """

    path: Path
    seed: int
    split: str
    size: int
    drawing: Drawing
    _pixels_NHWC: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Image.Image:
        index = int(index)
        if not -self.size <= index < self.size:
            raise IndexError(f'{self.drawing.name} {self.split} has {self.size} images, got index {index}')
        return Image.fromarray(np.array(self.pixels_NHWC[index]))

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_pixels_NHWC': None}

    @property
    def pixels_NHWC(self) -> np.ndarray:
        """All pictures as uint8, memory-mapped and read-only."""
        if self._pixels_NHWC is None:
            self.prepare()
            self._pixels_NHWC = np.load(self.path, mmap_mode='r')
        return self._pixels_NHWC

    def prepare(self) -> None:
        """Draw and cache the pictures unless a complete cache file exists."""
        if not _is_whole(self.path, self.size):
            _draw_file(self)


def _is_whole(path: Path, count: int) -> bool:
    """Return whether the cache file opens and has the right shape; log a warning if it is damaged."""
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
    """Draw a split into a temporary file, then rename it. Two processes may do this at the same time."""
    path, split, count, drawing = images.path, images.split, images.size, images.drawing
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


def _drawn(jobs: list[tuple], count: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (start, pixels) of every job, from a process pool if that is faster."""
    workers = min(_cpu_count(), 16)
    # A loader worker is a daemon and cannot have children, so it draws by itself.
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
    """Leave Ctrl-C to the parent, and end at once when the parent terminates the worker, whatever handlers it inherited."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
