"""Leftovers: what killed runs left behind, and when it may be removed."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core import leases
from bench.core.disk import TEMPORARY

# Seconds without a write after which nobody is at work on a temporary file; clocks of machines may differ by minutes.
_SETTLED = 600.0
_ASIDE = re.compile(r'\..+\.damaged-[0-9a-f]{8}')


@dataclass(frozen=True)
class Leftover:
    """A file or folder that takes `bytes` on the disk; `what` says in words what it is."""

    path: Path
    what: str
    bytes: int


def remove(folders: Iterable[Path]) -> None:
    """Remove temporary files and folders directly below these folders that nobody is at work on."""
    for folder in folders:
        for path in _temporary(folder):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def found(*roots: Path) -> list[Leftover]:
    """Return everything below these folders that could be freed, largest first.

    Checkpoints are among it: they are worth something only to a command that goes on with them.
    """
    every = []
    for root in roots:
        for folder, names, files in os.walk(root):
            temporary = set(_temporary(Path(folder)))
            for path in (Path(folder, name) for name in (*names, *files)):
                what = ''
                if path in temporary:
                    what = 'left by a killed run'
                elif _ASIDE.fullmatch(path.name):
                    what = 'damaged, and made again'
                elif path.suffix == '.checkpoint' and leases.holder(leases.path_for(path.with_suffix(''))) is None:
                    what = 'checkpoint of an unfinished set'
                if what:
                    every.append(Leftover(path, what, _size(path)))
            names[:] = [name for name in names if not name.startswith('.')]
    return sorted(every, key=lambda leftover: (-leftover.bytes, leftover.path))


def _temporary(folder: Path) -> Iterator[Path]:
    """Yield the temporary files and folders directly below a folder that no live process works on."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if not (match := TEMPORARY.fullmatch(name)):
            continue
        path, target = folder / name, folder / match['target']
        if leases.holder(leases.path_for(target)) is None and time.time() - _last_write(path) > _SETTLED:
            yield path


def _last_write(path: Path) -> float:
    """Return when a file, or the newest file of a folder, was written; infinity if it is gone."""
    try:
        return max(part.stat().st_mtime for part in (path, *path.rglob('*')))
    except OSError:
        return float('inf')


def _size(path: Path) -> int:
    return sum(part.stat().st_size for part in (path, *path.rglob('*')) if part.is_file())
