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

from bench.core import leases
from bench.core.disk import checksum, look, new_file
from bench.core.progress import progress, remark
from bench.datasets.plumage.pen import SIDE

_CHUNK = 50  # images per job: few enough for a smooth progress bar, enough to hide the cost of the pipe
_CRC_BYTES = 4
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
    # status of the file when its checksum was right; loader workers inherit it and do not read the whole file again
    _sound: tuple[int, ...] = field(default=(), repr=False, compare=False)

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
        """Draw and cache the pictures unless a sound cache file exists. Other processes wait for the one that draws."""
        if self._sound and self._sound == look(self.path):
            return
        if not _is_whole(self.path, self.size):
            self._draw()
        self._sound = look(self.path)

    def _draw(self) -> None:
        with leases.hold(leases.path_for(self.path), waiting=lambda holder: remark(f'{holder} draws {self.path}: waiting')):
            if not _is_whole(self.path, self.size):
                _draw_file(self)


def _is_whole(path: Path, count: int) -> bool:
    """Return whether the cache file has the right shape and checksum; log a warning if it is damaged."""
    if not path.exists():
        return False
    try:
        pixels_NHWC = np.load(path, mmap_mode='r')
        whole = pixels_NHWC.shape == (count, SIDE, SIDE, 3) and pixels_NHWC.dtype == np.uint8
        end = path.stat().st_size - _CRC_BYTES
        with open(path, 'rb') as file:
            file.seek(end)
            whole = whole and checksum(path, end) == int.from_bytes(file.read(), 'little')
    except (ValueError, OSError, EOFError):
        whole = False
    if not whole:
        logging.warning('damaged cache file %s: drawn again', path)
    return whole


def _draw_file(images: RenderedImages) -> None:
    """Draw a split into a temporary file, then rename it.

    The file is a .npy file followed by the CRC-32 of its bytes, which readers of .npy files do not see. It is written with
    plain writes: on a full disk these fail, while a memory map kills the process.
    """
    split, count, drawing = images.split, images.size, images.drawing
    codes_N = drawing.codes_of(images.seed, split, count)
    starts = range(0, count, _CHUNK)
    jobs = [(drawing.draw, images.seed, split, start, codes_N[start : start + _CHUNK]) for start in starts]
    images.path.parent.mkdir(parents=True, exist_ok=True)
    with (
        new_file(images.path) as file,
        progress(total=count, title=f'{drawing.name}: drawing {split}', unit='image') as advance,
    ):
        shape = (count, SIDE, SIDE, 3)
        np.lib.format.write_array_header_1_0(file, {'descr': '|u1', 'fortran_order': False, 'shape': shape})
        first = file.tell()
        for start, part_NHWC in _drawn(jobs, count):
            file.seek(first + start * SIDE * SIDE * 3)
            file.write(part_NHWC.data)
            advance(len(part_NHWC))
        end = file.seek(0, os.SEEK_END)
        file.flush()
        file.write(checksum(Path(file.name), end).to_bytes(_CRC_BYTES, 'little'))


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
