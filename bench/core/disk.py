"""Atomic writes: a file or folder is complete or does not exist."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder. It becomes `folder` if the block succeeds, and is removed if the block fails.

    If another process has created `folder` in the meantime, that one stays: names are hashes of content, so both are equal.
    """
    unfinished = folder.with_name(f'.unfinished-{os.getpid()}-{secrets.token_hex(4)}')
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        try:
            os.replace(unfinished, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically (text as UTF-8): readers and crashes see the complete old content or the complete new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp')
    try:
        with open(temporary, 'xb') as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def safe_name(name: str) -> str:
    """Return a name as one folder name: `timm:a/b` -> `timm_a_b`. Keys keep what lies below clashing names apart."""
    return re.sub(r'^\.+|[^A-Za-z0-9._-]', '_', name)[:120] or '_'
