"""Leases: one holder at a time, dead and silent holders lose theirs, and nobody else does."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.core import leases


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, '_seen', {})
    return leases.path_for(tmp_path / 'set')


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_one_holder_at_a_time(path):
    lease = leases.take(path)
    assert lease is not None and leases.take(path) is None
    assert leases.holder(path).pid == os.getpid()
    lease.release()
    assert list(path.parent.iterdir()) == [] and leases.holder(path) is None
    with leases.take(path):
        assert path.exists()
    assert not path.exists()


def test_of_many_that_try_at_once_one_succeeds(path):
    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            won = [lease for lease in pool.map(lambda _: leases.take(path), range(8)) if lease]
        assert len(won) == 1
        won[0].release()


def test_the_lease_of_a_dead_process_is_taken_at_once_and_by_one(path):
    code = (
        'import os, sys; from pathlib import Path; from bench.core import leases; '
        'leases.take(Path(sys.argv[1])); os._exit(9)'
    )
    subprocess.run([sys.executable, '-c', code, str(path)], check=False)
    assert path.exists() and leases.holder(path) is None
    dead = path.read_text()
    for _ in range(10):
        path.write_text(dead)
        with ThreadPoolExecutor(8) as pool:
            won = [lease for lease in pool.map(lambda _: leases.take(path), range(8)) if lease]
        assert len(won) == 1 and leases.holder(path).pid == os.getpid()
        won[0].release()
        assert list(path.parent.iterdir()) == []


def test_a_process_number_that_is_used_again_is_another_process(path):
    leases.take(path)
    change(path, started='1')
    assert leases.holder(path) is None and leases.take(path) is not None


def test_a_silent_holder_on_another_machine_loses_its_lease_by_the_readers_clock(path, monkeypatch):
    lease = leases.take(path)
    change(path, machine='another', token='theirs')
    now = time.monotonic()
    monkeypatch.setattr(leases.time, 'monotonic', lambda: now)
    os.utime(path, (0, 0))  # whatever its own clock says
    assert leases.take(path) is None
    now += leases.STALE - 1
    assert leases.take(path) is None
    os.utime(path, (5, 5))  # a sign of life
    now += 2
    assert leases.take(path) is None
    now += leases.STALE + 1
    assert (taken := leases.take(path)) is not None
    lease.release()
    assert path.exists(), 'who lost it does not release that of another'
    taken.release()
    assert not path.exists()


def test_a_lease_that_was_taken_over_meanwhile_is_not_replaced(path):
    leases.take(path)
    kept = path.read_text()
    assert not leases._take_over(path, 'the stale one', 'ours')
    assert path.read_text() == kept and len(list(path.parent.iterdir())) == 1


def test_who_dies_while_it_takes_over_keeps_nobody_from_it(path):
    leases.take(path)
    change(path, started='1')
    guard = path.with_name(f'{path.name}.takeover')
    guard.write_text(path.read_text())
    assert leases.take(path) is None and not guard.exists()
    assert leases.take(path) is not None and [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_holder_gives_signs_of_life(path, monkeypatch):
    with leases.take(path) as lease:
        os.utime(path, (0, 0))
        monkeypatch.setattr(leases.time, 'sleep', lambda seconds: None if path.stat().st_mtime == 0 else sys.exit())
        with pytest.raises(SystemExit):
            leases._beat()
        change(path, token='theirs')
        os.utime(path, (0, 0))
        monkeypatch.setattr(leases.time, 'sleep', lambda seconds, left=[1, 0]: None if left.pop(0) else sys.exit())
        with pytest.raises(SystemExit):
            leases._beat()
        assert path.stat().st_mtime == 0 and lease.token


def test_waiting_names_the_holder(path, monkeypatch):
    heard, first = [], leases.take(path)
    monkeypatch.setattr(leases.time, 'sleep', lambda seconds: first.release() if seconds == leases.POLL else None)
    with leases.hold(path, waiting=heard.append):
        assert len(heard) == 1 and heard[0].startswith(f'process {os.getpid()} on ')


def test_without_hard_links_creation_is_exclusive(path, monkeypatch):
    def no_links(*_):
        raise OSError(leases.errno.EPERM, 'no')

    monkeypatch.setattr(leases.os, 'link', no_links)
    lease = leases.take(path)
    assert lease and leases.take(path) is None and leases.holder(path).pid == os.getpid()
    lease.release()
    assert list(path.parent.iterdir()) == []


def test_an_unreadable_lease_counts_as_held_until_it_is_stale(path, monkeypatch):
    path.write_text('{"host"')
    now = time.monotonic()
    monkeypatch.setattr(leases.time, 'monotonic', lambda: now)
    assert leases.take(path) is None and str(leases.holder(path)) == 'process 0 on an unknown machine'
    now += leases.STALE + 1
    assert leases.take(path) is not None


def test_switched_off_every_process_gets_its_own(path, monkeypatch):
    monkeypatch.setattr(leases, '_OFF', False)
    leases.switch_off()
    with leases.take(path), leases.take(path):
        assert not path.exists()
