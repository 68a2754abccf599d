"""Leases: files that say which process makes something, so that processes and machines share the work.

A lease saves work, and nothing else depends on it: what two processes make of the same thing is equal, and is written
atomically. The folder may be on a shared file system. What is assumed of it: a hard link (or, without hard links, an
exclusive creation) and a rename are atomic, and a file that is opened shows its present status, as NFS promises. Neither
flock nor equal clocks are needed: a reader judges a holder by whether its signs of life go on, by the reader's own clock.
"""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BEAT = 10.0  # seconds between two signs of life of a holder
STALE = 60.0  # seconds without one, after which a lease may be taken over
POLL = 1.0  # seconds between two tries of a process that waits


class Lease:
    """A lease that this process holds until `release`, or until the end of a `with` block."""

    def __init__(self, path: Path | None, token: str = '') -> None:
        self.path, self.token = path, token
        if path is not None:
            _beat_for(self)

    def __enter__(self) -> 'Lease':
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the lease back. If another process took it over meanwhile, that one keeps it."""
        if self.path is None:
            return
        with _LOCK:
            _HELD.pop(self.path, None)
        with suppress(OSError):
            if (found := _read(self.path)) and found.token == self.token:
                self.path.unlink()
        self.path = None


@dataclass(frozen=True)
class Holder:
    """What a lease file says about its holder; `sign` changes with every sign of life."""

    host: str
    machine: str
    pid: int
    started: str
    token: str
    sign: int

    def __str__(self) -> str:
        return f'process {self.pid} on {self.host}'


def path_for(target: Path) -> Path:
    """Return the path of the lease of a file or folder that is made: hidden, beside it."""
    return target.with_name(f'.{target.name}.lease')


def take(path: Path) -> Lease | None:
    """Return the lease of a path, or None while another process holds it. Takes over a stale one.

    A lease is stale if its process is known to be dead, which is seen on the machine that ran it, or if it gave no sign of
    life for `STALE` seconds between calls of this function.
    """
    if _OFF:
        return Lease(None)
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    if _create(path, token) or ((found := _read(path)) and _is_stale(path, found) and _take_over(path, found.token, token)):
        return Lease(path, token)
    return None


def hold(path: Path, *, waiting: Callable[[str], Any] = lambda holder: None) -> Lease:
    """Return the lease of a path; wait while another process holds it. `waiting` hears once who that is."""
    told = False
    while (lease := take(path)) is None:
        if not told and (found := _read(path)):
            waiting(str(found))
            told = True
        time.sleep(POLL)
    return lease


def holder(path: Path) -> Holder | None:
    """Return who holds the lease of a path, or None if nobody does, as far as can be told at once."""
    found = _read(path)
    return None if found is None or _is_dead(found) else found


def switch_off() -> None:
    """Take no leases in this process from now on: every `take` succeeds, and nothing is written."""
    global _OFF
    _OFF = True


# --- the file ---------------------------------------------------------------------------------------------------------


def _create(path: Path, token: str) -> bool:
    """Create a lease file that is complete from the first moment; return False if there is one already."""
    with _written(path, token) as own:
        try:
            os.link(own, path)
        except FileExistsError:
            return own.stat().st_nlink == 2  # the answer of a server can get lost after it made the link
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            return _created_without_links(path, own.read_text())
        return True


@contextmanager
def _written(path: Path, token: str) -> Iterator[Path]:
    """Yield a file that holds the content of a lease of this process, under a name of its own."""
    host, machine, pid, started = _self()
    own = path.with_name(f'{path.name}.{token}')
    try:
        own.write_text(json.dumps({'host': host, 'machine': machine, 'pid': pid, 'started': started, 'token': token}))
        yield own
    finally:
        own.unlink(missing_ok=True)


def _created_without_links(path: Path, content: str) -> bool:
    try:
        with open(path, 'x') as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """Return what a lease file says, or None if there is none. An unreadable one has an unknown holder."""
    try:
        with open(path) as file:  # opening asks a server for the present status
            content, sign = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(content), sign=sign)
    except (ValueError, TypeError):
        return Holder('an unknown machine', '', 0, '', '', sign)


def _take_over(path: Path, stale: str, token: str) -> bool:
    """Replace a stale lease, given by its token; return False if another process is doing so or has done so.

    Only one process at a time looks and replaces: a second one would replace the new lease of the first.
    """
    guard = path.with_name(f'{path.name}.takeover')
    if not _create(guard, token):
        if (found := _read(guard)) and _is_stale(guard, found):
            guard.unlink(missing_ok=True)
        return False
    try:
        found = _read(path)
        if found is None or found.token != stale:
            return False
        with _written(path, token) as own:
            os.replace(own, path)
        return True
    finally:
        guard.unlink(missing_ok=True)


# --- who is alive -----------------------------------------------------------------------------------------------------


_seen: dict[Path, tuple[tuple[str, int], float]] = {}  # lease -> its last (token, sign), and when this process first saw it


def _is_stale(path: Path, found: Holder) -> bool:
    if _is_dead(found):
        return True
    now, look = time.monotonic(), (found.token, found.sign)
    seen, since = _seen.get(path, (None, now))
    if seen != look:
        _seen[path] = look, now
        return False
    return now - since > STALE


def _is_dead(found: Holder) -> bool:
    """Return whether the holder ran on this machine and is gone."""
    return found.machine == _self()[1] and found.started != _started(found.pid)


def _self() -> tuple[str, str, int, str]:
    pid = os.getpid()  # not remembered: a process may fork
    return socket.gethostname(), _machine(), pid, _started(pid)


@cache
def _machine() -> str:
    """Identify the running system and its process numbers; a container has its own numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path('/proc/sys/kernel/random/boot_id').read_text().strip())
        parts.append(os.readlink('/proc/self/ns/pid'))
    return ' '.join(parts)


def _started(pid: int) -> str:
    """Return when a process of this machine started, in the kernel's units; '' if there is none.

    Process numbers are used again; a number and a start time are not. Without /proc, all live processes count as the same.
    """
    try:
        # The name in parentheses may hold spaces; the start is field 22, the state field 3.
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        return '' if fields[0] in 'ZX' else fields[19]
    except OSError:
        if Path('/proc/self/stat').exists():
            return ''
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ''
    except OSError:
        pass
    return 'alive'


# --- signs of life ----------------------------------------------------------------------------------------------------


_OFF = False
_LOCK = threading.Lock()
_HELD: dict[Path, Lease] = {}
_beating: tuple[int, threading.Thread] | None = None  # with the process that started it: a fork has no threads


def _beat_for(lease: Lease) -> None:
    global _beating
    assert lease.path is not None
    with _LOCK:
        _HELD[lease.path] = lease
        if _beating is None or _beating[0] != os.getpid():
            _beating = os.getpid(), threading.Thread(target=_beat, daemon=True, name='leases')
            _beating[1].start()


def _beat() -> None:
    while True:
        time.sleep(BEAT)
        with _LOCK:
            held = dict(_HELD)
        for path, lease in held.items():
            # An error passes, or the lease is lost and another process repeats the work.
            with suppress(OSError):
                if (found := _read(path)) and found.token == lease.token:
                    os.utime(path)
