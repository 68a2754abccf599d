"""Writing that is finished or not there at all."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` when the block ends well, and disappears when it does not.

    If another process has made `folder` meanwhile, theirs stays: entries are named by content, so both are equal.
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
    """Write a file (text as UTF-8) so that a reader, or a crash, finds the old content or the new one, whole."""
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
