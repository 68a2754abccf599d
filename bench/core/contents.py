"""Cached hashes of file contents: a file that has not changed is not read again.

A file counts as unchanged if its inode, size, modification time and inode change time are the same; ordinary programs cannot
set the last one. The hash is 128-bit BLAKE2b, the fastest in Python's standard library on processors without instructions
for hashing (1.4 GB/s).
"""

import hashlib
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bench.core.disk import write_atomic
from bench.core.progress import progress

_DIGEST_BYTES = 16
# A file that changed less than this long ago (ns) might change again with the same timestamp, so its hash is not cached.
_SETTLED = 2_000_000_000
_BATCH = 256  # files per batch of the thread pool


def digests(paths: Sequence[Path], *, memo: Path, title: str = '') -> list[bytes]:
    """Return the hash of each file's content, or b'' for a file that cannot be read.

    Args:
      paths: the files.
      memo: cache file for the hashes of exactly these files; it is rewritten whenever one of them was read.
      title: title of the progress line; '' shows none.

    Raises:
      OSError: if a file does not exist.
    """
    now = time.time_ns()
    looks = [_look(path) for path in paths]
    known = _recall(memo)
    unknown = [i for i, look in enumerate(looks) if look not in known]
    found: dict[int, bytes] = {}
    with (
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
        progress(total=len(unknown), title=title if len(unknown) > _BATCH else '', unit='file') as advance,
    ):
        for first in range(0, len(unknown), _BATCH):
            batch = unknown[first : first + _BATCH]
            found |= dict(zip(batch, pool.map(lambda i: _digest(paths[i]), batch), strict=True))
            advance(len(batch))
    every = [found[i] if i in found else known[look] for i, look in enumerate(looks)]
    if found:
        lasting = {
            look: digest for look, digest in zip(looks, every, strict=True) if digest and max(look[2:]) < now - _SETTLED
        }
        _remember(memo, lasting)
    return every


def _look(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        found = os.lstat(path)  # a link that leads nowhere, whose content is b''
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b''  # opening a pipe would wait for somebody to write
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).digest()
    except OSError:
        return b''


def _recall(memo: Path) -> dict[tuple[int, ...], bytes]:
    """Return a mapping from file status to digest; empty if there is no valid cache file."""
    try:
        # opened here, because numpy does not close a damaged archive
        with open(memo, 'rb') as file, np.load(file, allow_pickle=False) as kept:
            looks, hashes = kept['looks'], kept['digests']
        if looks.shape != (len(hashes), 4) or hashes.shape != (len(looks), _DIGEST_BYTES):
            return {}
        return {tuple(look): digest.tobytes() for look, digest in zip(looks.tolist(), hashes, strict=True)}
    except Exception:  # a damaged archive raises almost any type
        return {}


def _remember(memo: Path, lasting: dict[tuple[int, ...], bytes]) -> None:
    looks = np.array(list(lasting), dtype=np.int64).reshape(-1, 4)
    hashes = np.frombuffer(b''.join(lasting.values()), dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
    buffer = io.BytesIO()
    np.savez(buffer, looks=looks, digests=hashes)
    write_atomic(memo, buffer.getvalue())
