"""Disks that are full, read-only or forbidden: one line, status 2, nothing half written, and the same command goes on."""

import errno
import os
import shutil
import subprocess
import threading

import pytest
from conftest import TOY, TOY_LINES, all_records, files_below

from bench.core import cli, disk
from bench.core.errors import InputError, unwritable

LINES = [
    "run.methods = ['random', 'centroid', 'lgm']", "run.protocol = ['ridge-v1', 'paper-v1']", 'lgm.num_updates = 6',
    "lgm.parameterization = 'pixels'", 'lgm.num_views = 1', 'lgm.log_every = 1', 'lgm.checkpoint_every = 2',
]  # fmt: skip


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 4 MB; the test is skipped where it may not be mounted."""
    place = tmp_path / 'disk'
    place.mkdir()
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'cannot mount a file system: {done.stderr.strip()}')
    yield place
    subprocess.run(['umount', str(place)], check=True)


def flags(results, cache):
    return [f'--plugin={TOY}', f'--results_dir={results}', f'--cache_dir={cache}',
            *(f'--gin_bindings={line}' for line in (*TOY_LINES, *LINES))]  # fmt: skip


def check_one_line(outcome, reason):
    assert outcome.status == 2 and outcome.err.count('\n') == 1, outcome
    assert outcome.err.startswith('bench.run: cannot write: ') and reason in outcome.err


@pytest.mark.parametrize('full', ['results', 'cache'])
def test_a_full_disk_ends_the_run_and_more_room_finishes_it(command, own_plugins, small_disk, tmp_path, full):
    places = {'results': tmp_path / 'results', 'cache': tmp_path / 'cache', full: small_disk / full}
    filler = small_disk / 'filler'
    outcomes = []
    for left in (0, 20, 60, 150, 400):  # kB
        free = shutil.disk_usage(small_disk).free // 1024
        filler.write_bytes(b'x' * 1024 * max(0, free + (filler.stat().st_size // 1024 if filler.exists() else 0) - left))
        outcome = command(*flags(**places))
        outcomes.append(outcome.status)
        if outcome.status:
            check_one_line(outcome, 'no space left on device')
        assert not [name for name in files_below(small_disk) if 'unfinished' in name or '.lease' in name]
        all_records(places['results'])  # each can be read
    assert outcomes[0] == 2
    filler.unlink()
    assert command(*flags(**places)).status == 0
    whole = {'results': tmp_path / 'whole', 'cache': tmp_path / 'whole_cache'}
    assert command(*flags(**whole)).status == 0
    scores = [{record.key: record.correct for record in all_records(p['results'])} for p in (places, whole)]
    assert scores[0] == scores[1] and len(scores[0]) == 6


def test_wherever_the_disk_fills_up_the_run_ends_in_one_line_and_the_same_command_goes_on(
    command, own_plugins, tmp_path, monkeypatch
):
    """A fault at one write after the other, each in a new results folder."""
    sync, scores, at = os.fsync, set(), 1
    while True:
        synced = []

        def fault(number, synced=synced, at=at):
            synced.append(number)
            if len(synced) == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(number)

        given = flags(tmp_path / f'results{at}', tmp_path / f'cache{at}')
        with monkeypatch.context() as patched:
            patched.setattr(os, 'fsync', fault)
            outcome = command(*given)
        if outcome.status:
            check_one_line(outcome, 'no space left on device')
            assert not [name for name in files_below(tmp_path) if 'unfinished' in name or '.lease' in name]
            assert command(*given).status == 0
        records = all_records(tmp_path / f'results{at}')
        scores.add(tuple(sorted((record.key, record.distilled.hash, *record.top1) for record in records)))
        assert len(records) == 6 and not list(tmp_path.rglob('*.checkpoint'))
        if len(synced) < at:
            break
        at += 9
    assert at > 50 and len(scores) == 1


def test_a_read_only_place_is_one_line(command, own_plugins, small_disk, tmp_path):
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)
    for places in ((small_disk / 'results', tmp_path / 'cache'), (tmp_path / 'results', small_disk / 'cache')):
        outcome = command(*flags(*places))
        assert outcome.status == 2 and outcome.err.count('\n') == 1 and 'read-only file system' in outcome.err


@pytest.mark.parametrize('place', ['/proc/results', '{file}/results', '{long}'])
def test_a_place_that_cannot_be_a_folder_is_one_line(command, own_plugins, tmp_path, place):
    file = tmp_path / 'file'
    file.write_text('x')
    place = place.format(file=file, long=tmp_path / ('x' * 300))
    for places in ((place, tmp_path / 'cache'), (tmp_path / 'results', place)):
        outcome = command(*flags(*places))
        assert outcome.status == 2 and outcome.err.count('\n') == 1 and 'Traceback' not in outcome.err, outcome


def test_what_cannot_be_written_is_told_from_what_cannot_be_read():
    assert unwritable(OSError(errno.ENOSPC, 'No space left on device', 'a/b')) == 'no space left on device: a/b'
    wrapped = RuntimeError('torch')
    wrapped.__cause__ = OSError(errno.EDQUOT, 'Disk quota exceeded')
    assert unwritable(wrapped) == 'disk quota exceeded'
    assert unwritable(OSError(errno.EIO, 'x')) == unwritable(ValueError('x')) == ''
    unreadable = InputError('a.jpg: expected an image')
    unreadable.__cause__ = PermissionError(errno.EACCES, 'Permission denied', 'a.jpg')
    assert unwritable(unreadable) == ''


def test_files_and_their_folders_are_synced_before_and_after_the_rename(tmp_path, monkeypatch):
    told, sync, rename = [], os.fsync, os.replace

    def look(number):
        told.append(os.path.basename(os.readlink(f'/proc/self/fd/{number}')))
        sync(number)

    monkeypatch.setattr(os, 'fsync', look)
    monkeypatch.setattr(os, 'replace', lambda a, b: (told.append('rename'), rename(a, b)))
    disk.write_atomic(tmp_path / 'in' / 'file', 'x')
    assert told[0].startswith('.file.unfinished-') and told[1:] == ['rename', 'in']
    del told[:]
    monkeypatch.setattr(os, 'rename', lambda a, b: (told.append('rename'), rename(a, b)))
    with disk.new_folder(tmp_path / 'set') as folder:
        (folder / 'a').write_text('x')
    assert told[0] == 'a' and told[1].startswith('.set.unfinished-') and 'rename' in told[2:]
    assert told[-1] == tmp_path.name


def test_an_error_of_a_thread_is_reported_unless_the_main_one_does(monkeypatch):
    """TensorBoard writes in a thread, which hands a full disk to the main one; a traceback beside its line says no more."""
    heard = []
    monkeypatch.setattr(threading, '__excepthook__', lambda failure: heard.append(failure.exc_type))
    monkeypatch.setattr(threading, 'excepthook', cli.report_of_thread)
    for error in (OSError(errno.ENOSPC, 'No space left on device'), ZeroDivisionError()):

        def fails(error=error):
            raise error

        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
    assert heard == [ZeroDivisionError]
