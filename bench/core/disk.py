"""Atomic writes: a file or folder is complete or does not exist."""

import errno
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bench.core.errors import InputError, reason_of


@contextmanager
def new_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder. It becomes `folder` if the block succeeds, and is removed if the block fails.

    If `folder` exists by then, that one stays: names are hashes of content, so both are equal. With `replace` it is moved
    aside first, and removed when the new one is in place, so that what another process reads is complete.
    """
    unfinished = folder.with_name(_temporary(folder.name, 'unfinished'))
    unfinished.mkdir(parents=True)
    aside = folder.with_name(_temporary(folder.name, 'replaced'))
    try:
        yield unfinished
        for path in (*unfinished.rglob('*'), unfinished):
            sync(path)
        if replace:
            with suppress(FileNotFoundError):
                os.rename(folder, aside)
        try:
            os.rename(unfinished, folder)
        except OSError:
            if not folder.is_dir():
                raise
        sync(folder.parent)
    finally:
        for path in (unfinished, aside):
            shutil.rmtree(path, ignore_errors=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically (text as UTF-8): readers and crashes see the complete old content or the complete new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file, open for reading and writing. It becomes `path` if the block succeeds."""
    temporary = path.with_name(_temporary(path.name, 'unfinished'))
    try:
        with open(temporary, 'x+b') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_folder(path: Path, *, flag: str) -> None:
    """Check that the folder that a flag names exists or can be created. Nothing is left of the attempt.

    Raises:
      InputError: if it cannot.
    """
    created = []
    try:
        str(path).encode()
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            created.append(folder)
    except UnicodeEncodeError:
        raise InputError(f'--{flag}={str(path)!r}: expected a name in UTF-8') from None
    except OSError as error:
        raise InputError(f'--{flag}={path}: expected a folder, or a new path; {reason_of(error)}') from error
    finally:
        for folder in reversed(created):
            with suppress(OSError):  # another process may use it by now
                folder.rmdir()


def set_aside(path: Path, reason: str) -> Path:
    """Rename a file or folder that cannot be used, such as a damaged one; return its new, hidden path beside the old one."""
    aside = path.with_name(f'.{path.name}.{reason}-{secrets.token_hex(4)}')
    os.rename(path, aside)
    return aside


def sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's entries, is on the disk; a rename is lasting only then."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot sync a folder
            raise
    finally:
        os.close(number)


def look(path: Path) -> tuple[int, ...]:
    """Return the status of a file that tells whether it changed since: inode, size and time; () if there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def checksum(path: Path, size: int | None = None) -> int:
    """Return the CRC-32 of a file's first `size` bytes, or of all."""
    value, left = 0, path.stat().st_size if size is None else size
    with open(path, 'rb') as file:
        while left > 0 and (chunk := file.read(min(left, 1 << 22))):
            value, left = zlib.crc32(chunk, value), left - len(chunk)
    return value


# Names of files and folders that are being written, and of leases that are being taken (`bench.core.leases`).
TEMPORARY = re.compile(r'\.(?P<target>.+)\.(?:(?:unfinished|replaced)-\d+-[0-9a-f]{8}|lease\.[0-9a-f]{16})')


def _temporary(name: str, state: str) -> str:
    """Return a hidden name for something on its way to `name`, or away from it."""
    return f'.{name}.{state}-{os.getpid()}-{secrets.token_hex(4)}'


def safe_name(name: str) -> str:
    """Return a name as one folder name: `timm:a/b` -> `timm_a_b`. Keys keep what lies below clashing names apart."""
    return re.sub(r'^\.+|[^A-Za-z0-9._-]', '_', name)[:120] or '_'
