"""Image files: reading, fingerprints and checks.

Shape suffixes: N samples, H height, W width.
"""

import json
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from bench.core.contents import digests
from bench.core.disk import write_atomic
from bench.core.errors import InputError, reason_of
from bench.core.hashing import hash_bytes, short_hash
from bench.core.progress import progress
from bench.core.types import Fingerprints

# Part of every fingerprint. Change it when `to_rgb` changes the pixels it returns, so that cached features become stale.
READING_RULES = 'files-v1'
_SKIP_HINT = "repair or remove them, or leave them out with folder.on_error = 'skip'"
_BATCH = 1024  # images handed to the thread pool at a time; bounds the queue's memory for sets of ImageNet's size
# Formats of pixels that PIL decodes by itself. Of the others some start programs (EPS starts Ghostscript), whatever the
# extension says.
FORMATS = ('AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PCX', 'PNG', 'PPM', 'QOI', 'SGI', 'TGA', 'TIFF', 'WEBP')
MAX_PIXELS, MAX_ASPECT = 100_000_000, 100.0  # 300 MB decoded; a strip of 100:1 with its shorter side at 256 px has 20 MB

Image.MAX_IMAGE_PIXELS = None  # `Limits` replaces PIL's own limit, which warns on the way


# ---- reading ---------------------------------------------------------------------------------------------------------


def image_extensions() -> frozenset[str]:
    """Return the lower-case file extensions, dot included, of all `FORMATS`."""
    known = _formats()
    return frozenset(extension for extension, form in Image.EXTENSION.items() if form in known)


@cache
def _formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this installation of PIL decodes."""
    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


@dataclass(frozen=True)
class Limits:
    """Sizes above which an image is refused before it is decoded: `pixels` in all, and its longer by its shorter side."""

    pixels: int = MAX_PIXELS
    aspect: float = MAX_ASPECT

    def check(self, width: int, height: int) -> None:
        """Check the size of an image.

        Raises:
          InputError: if it is above a limit; the message names the setting of `folder` that raises the limit.
        """
        if width * height > self.pixels:
            raise InputError(f'{width} x {height} px, more than max_pixels = {self.pixels}')
        if max(width, height) > self.aspect * min(width, height):
            raise InputError(f'{width} x {height} px, sides further apart than max_aspect = {self.aspect:g}')


def read_image(source: Path | BinaryIO, limits: Limits = Limits()) -> Image.Image:
    """Read an image file as `to_rgb` returns it.

    Raises:
      InputError: if the image is above the limits, or the path is not that of a file.
      Exception: almost any type, if the file is damaged or of another format than `FORMATS`.
    """
    if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
        raise InputError('not a file')  # opening a pipe would wait for somebody to write
    with Image.open(source, formats=_formats()) as image:
        limits.check(*image.size)
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as a person sees it: upright, in 8-bit RGB.

    EXIF orientation is applied. Transparent parts become white, as on a page. Grey images of more than 8 bits are
    scaled by the range of their format, never by their own brightest pixel, so that photographs stay comparable: integers
    from [0, 65535], floats from [0, 1] (or from [0, 255] if any value exceeds 1). An animation is read as its first frame.
    """
    image.load()  # raises here if the pixels are damaged
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata raises almost any type; the pixels are still good
        image = image.copy()
    if image.mode == 'I' or image.mode.startswith('I;16'):
        grey_HW = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((grey_HW + 128) // 257).astype(np.uint8)).convert('RGB')
    if image.mode == 'F':
        grey_HW = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255 if grey_HW.max(initial=0) <= 1 else 1
        return Image.fromarray(np.clip(grey_HW * scale + 0.5, 0, 255).astype(np.uint8)).convert('RGB')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        return Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image).convert('RGB')
    return image.convert('RGB')


@dataclass(frozen=True)
class ImageFiles:
    """Image files as `bench.core.types.Images`, read on access. Picklable: it holds names only.

    `files` are paths relative to `root`, with forward slashes. An item that cannot be read raises an `InputError` that
    names the file.
    """

    root: Path
    files: tuple[str, ...]
    limits: Limits = Limits()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image.Image:
        path = self.root / self.files[index]
        try:
            return read_image(path, self.limits)
        except MemoryError:
            raise
        except Exception as error:  # on damaged files PIL's decoders raise almost any type, even SyntaxError
            reason = reason_of(error)
            raise InputError(f'{path}: expected an image PIL can read, got {reason}; repair or remove it') from error


def is_broken_link(path: Path) -> bool:
    """Return whether a path is a link that leads nowhere or to itself: such an image is unreadable, not absent."""
    return os.path.islink(path) and not os.path.exists(path)


def files_fingerprint(root: Path, relative_paths: Sequence[str], labels: Collection[int]) -> str:
    """Return a hash over (relative path, size in bytes, label) of every file, in order.

    Records of schemas 1 and 2 hold this hash. It does not notice when a file is replaced by another of the same size.

    Raises:
      InputError: naming the first file that is missing.
    """

    def lines() -> Iterable[bytes]:
        yield READING_RULES.encode()
        for file, label in zip(relative_paths, labels, strict=True):
            try:
                size = (os.lstat if is_broken_link(root / file) else os.stat)(root / file).st_size
            except OSError as error:
                raise InputError(f'{root / file}: expected an image file, got {reason_of(error)}; restore it') from error
            yield f'\n{file}\0{size}\0{label}'.encode('utf-8', 'surrogateescape')

    return hash_bytes(lines())


def fingerprints_of(
    root: Path, relative_paths: Sequence[str], labels: Collection[int], *, cache_dir: Path, title: str
) -> Fingerprints:
    """Return the two hashes of a split under the names of its fields.

    Args:
      root: folder that the paths are relative to.
      relative_paths: files, with forward slashes.
      labels: one label per file.
      cache_dir: caches the hashes of file contents, so that each file is read once.
      title: name of the split.

    Returns:
      `fingerprint`, a hash over (relative path, content, label) of every file in order, and `listing`, see
      `files_fingerprint`.

    Raises:
      InputError: naming the first file that is missing.
    """
    listing = files_fingerprint(root, relative_paths, labels)
    memo = cache_dir / 'contents' / f'{short_hash([str(root.resolve()), title])}.npz'
    held = digests([root / file for file in relative_paths], memo=memo, title=f'reading {title}')
    lines = (
        f'\n{file}\0{digest.hex()}\0{label}'.encode('utf-8', 'surrogateescape')
        for file, digest, label in zip(relative_paths, held, labels, strict=True)
    )
    return {'fingerprint': hash_bytes([READING_RULES.encode(), *lines]), 'listing': listing}


# ---- checking --------------------------------------------------------------------------------------------------------


def verify_images(
    images: ImageFiles,
    *,
    on_error: Literal['stop', 'skip'],
    cache_dir: Path,
    fingerprint: str,
    hint: str = _SKIP_HINT,
) -> tuple[int, ...]:
    """Decode every image once, so that damaged ones are found before any work starts. The outcome is cached.

    Args:
      images: the files to read.
      on_error: 'stop' raises an error; 'skip' returns the images to leave out.
      cache_dir: caches the outcome under `verified/`. Nothing is written if 'stop' raises.
      fingerprint: fingerprint of exactly these files, the key of the cached outcome.
      hint: advice for the error message.

    Returns:
      The indices of the unreadable images, ascending.

    Raises:
      InputError: with 'stop', naming the first unreadable files and how many there are.
    """
    memo = cache_dir / 'verified' / f'{short_hash([fingerprint, str(images.root.resolve()), *astuple(images.limits)])}.json'
    known = _recall(memo, len(images))
    # A file that failed before may have been repaired since, so these few are read again.
    unreadable = _read_all(images, range(len(images)) if known is None else known)
    if unreadable and on_error == 'stop':
        named = '; '.join(list(unreadable.values())[:3]) + ('; ...' if len(unreadable) > 3 else '')
        count = f'{len(unreadable)} unreadable of {len(images)}'
        raise InputError(f'{images.root}: expected images PIL can read, got {count}: {named}; {hint}')
    if known is None or set(unreadable) != set(known):
        write_atomic(memo, json.dumps({'images': len(images), 'unreadable': list(unreadable)}))
    return tuple(unreadable)


def _recall(memo: Path, num_images: int) -> list[int] | None:
    """Return the cached indices of unreadable images, or None if there is no valid cache file."""
    try:
        facts = json.loads(memo.read_text(encoding='utf-8'))
        sound = facts['images'] == num_images and all(0 <= i < num_images for i in facts['unreadable'])
        return sorted(facts['unreadable']) if sound else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_all(images: ImageFiles, indices: Sequence[int]) -> dict[int, str]:
    """Return a mapping from the index of every unreadable image to `file (reason)`, in ascending order."""

    def problem(index: int) -> str:
        try:
            images[index]
        except InputError as error:
            return f'{images.files[index]} ({reason_of(error.__cause__ or error)})'
        return ''

    found = {}
    with (
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
        progress(total=len(indices), title='checking images', unit='image') as advance,
    ):
        for start in range(0, len(indices), _BATCH):
            batch = indices[start : start + _BATCH]
            for index, text in zip(batch, pool.map(problem, batch), strict=True):
                if text:
                    found[index] = text
                advance()
    return found
