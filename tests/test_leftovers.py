"""What killed runs left is removed when nobody works on it, and named by a dry run."""

import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT, files_below

from bench.core import disk, leases, leftovers

KILLED = '''
import os, sys
from pathlib import Path
from bench.core import disk, leases
folder = Path(sys.argv[1])
leases.take(leases.path_for(folder / 'set'))
with disk.new_folder(folder / 'set') as made:
    (made / 'part').write_bytes(b'x' * 5000)
    with disk.new_file(folder / 'file') as file:
        os._exit(9)
'''


@pytest.fixture
def left(tmp_path):
    """The folder of a killed process: an unfinished set with its lease, and an unfinished file."""
    subprocess.run([sys.executable, '-c', KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert len([name for name in os.listdir(tmp_path) if '.unfinished-' in name]) == 2
    return tmp_path


def age(folder, seconds):
    for path in (*folder.rglob('*'),):
        os.utime(path, (time.time() - seconds,) * 2)


def test_leftovers_of_a_killed_process_are_removed_when_they_are_old(left):
    leftovers.remove([left, left / 'gone'])
    assert len(files_below(left)) == 3, 'too young'
    age(left, 700)
    leftovers.remove([left])
    assert list(files_below(left)) == ['.set.lease']
    assert leases.take(leases.path_for(left / 'set')) is not None


def test_what_a_live_process_works_on_stays(left):
    age(left, 700)
    with leases.take(leases.path_for(left / 'set')):
        leftovers.remove([left])
        assert [name for name in files_below(left) if name.endswith('/part')]
    age(left, 700)
    next(left.glob('.set.unfinished-*/part')).write_bytes(b'y')  # a long file that grows while its folder stays as it was
    leftovers.remove([left])
    assert [name for name in files_below(left) if name.endswith('/part')]


def test_no_other_name_counts_as_temporary(tmp_path):
    for name in ('.set', '.unfinished', 'set.unfinished-1-01234567', '.a.damaged-01234567', '.a.lease', 'a.checkpoint'):
        (tmp_path / name).write_text('x')
    age(tmp_path, 1e6)
    before = files_below(tmp_path)
    leftovers.remove([tmp_path])
    assert files_below(tmp_path) == before


def test_a_run_removes_what_is_in_its_way_and_a_dry_run_tells_what_could_be_freed(run_bench, tmp_path):
    lines = ["run.methods = ['centroid']"]
    assert run_bench(bind=lines).status == 0
    (folder,) = (tmp_path / 'results' / 'distilled').rglob('centroid')
    (features, *_) = (tmp_path / 'cache' / 'features').iterdir()
    for place in (folder, features.parent):
        (place / '.set.unfinished-1-01234567').mkdir()
        (place / '.set.unfinished-1-01234567' / 'part').write_bytes(b'x' * 2_000_000)
    (folder / 'old.checkpoint').write_bytes(b'x' * 3_000_000)
    disk.set_aside(next(folder.glob('ipc1*')), 'damaged')
    age(tmp_path, 700)
    said = run_bench('--dry_run', bind=lines).err
    assert [line.partition(', ')[2].partition(':')[0] for line in said.splitlines()] == [
        'checkpoint of an unfinished set', 'left by a killed run', 'left by a killed run', 'damaged, and made again'
    ]  # fmt: skip
    assert 'could be freed: 3.0 MB' in said and str(folder / 'old.checkpoint') in said
    assert run_bench('--force', bind=lines).status == 0
    assert not list(tmp_path.rglob('.set.unfinished*')) and (folder / 'old.checkpoint').exists()
