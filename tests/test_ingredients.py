"""Every ingredient of a number (a table in docs/protocol.md): changing any one makes its cells stale, cosmetics none."""

import os
import re
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, all_records
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.config import registry, source
from bench.core import contents
from bench.datasets import images as files
from bench.features import store as features
from bench.features.views import CenterView, RandomView
from bench.probes import protocols
from bench.results.store import dumps, load

PLUGIN = '''"""A stranger's method, data set, backbone and protocol."""
import numpy as np
from bench.backbones.remembered import weights_in
from bench.backbones.timm_source import timm
from bench.datasets.folder import folder
from bench.distillation.distilled_set import DistilledSet
from bench.probes.ridge import ridge_probe
from bench.config.registry import Row, register, register_method

@register_method
def mine(task, *, first: int = 0):
    """Take one image of each class by its place."""
    indices = np.array([members[first] for members in task.members()])
    return DistilledSet(task.train.labels_N[indices], indices_N=indices)

def photos(places):
    """Photographs."""
    return folder(places, path='photos')

@weights_in(lambda places: [places.weights_root / 'net.safetensors'])
def net(places, device):
    """A network."""
    return timm('test_resnet', places, device, checkpoint='net.safetensors', input_side=32)

def gentle(task):
    """Gentle rules."""
    return ridge_probe(task, strength=0.5)

register('dataset', Row('photos', photos, 'photographs'))
register('backbone', Row('net', net, 'a network'))
register('protocol', Row('gentle', gentle, 'gentle rules'))
'''
LINES = [
    "run.datasets = ['folder']", "run.backbones = ['timm:test_resnet']", "run.methods = ['centroid']",
    "run.protocol = 'ridge-v1'", "folder.path = 'photos'", "timm.checkpoint = 'net.safetensors'", 'timm.input_side = 32',
]  # fmt: skip
STRANGERS = [
    "run.datasets = ['photos']", "run.backbones = ['net']", "run.methods = ['mine']", "run.protocol = 'gentle'",
]  # fmt: skip


@dataclass
class World:
    """A folder of data, weights, a plug-in and results, and the command on it."""

    place: Path
    command: object

    def run(self, *more, flags=(), built_in=True):
        """Run the grid with further lines, after forgetting the plug-in of the run before."""
        self.forget()
        places = {'results_dir': 'results', 'cache_dir': 'cache', 'data_root': 'data', 'weights_root': 'weights'}
        arguments = [f'--{flag}={self.place / name}' for flag, name in places.items()]
        lines = [*(LINES if built_in else STRANGERS), *more]
        plugin = [] if built_in else [f'--plugin={self.place / "mine.py"}']
        return self.command(*arguments, *plugin, *flags, *(f'--gin_bindings={line}' for line in lines))

    @staticmethod
    def forget():
        for kind in registry.KINDS:
            for name in ('mine', 'photos', 'net', 'gentle'):
                registry._plugins[kind].pop(name, None)
        for name in [name for name in sys.modules if name.startswith('bench_plugin_mine_')]:
            del sys.modules[name]

    def stale(self, *more, **which):
        """Return why the one cell is not done: what a dry run says, 'refused' where a run asks what to do; '' if it is."""
        outcome = self.run(*more, flags=['--dry_run'], **which)
        assert outcome.status == 0, outcome
        if '  to do  ' in outcome.out and not re.search(r'\((data|weights): ', outcome.out):
            return outcome.out.rpartition('  (')[2].partition(':')[0].rstrip(')\n')
        outcome = self.run(*more, **which)
        if outcome.status == 2:
            assert 'was made from other' in outcome.err and outcome.err.count('\n') == 1, outcome
            return 'refused'
        assert outcome.status == 0 and '1 cells, 1 of them done' in outcome.out, outcome
        return ''


@pytest.fixture(scope='module')
def finished(command, tmp_path_factory):
    """A world whose two grids, of what is built in and of a stranger's, were run."""
    import timm

    place = tmp_path_factory.mktemp('world')
    for split, count in (('train', 3), ('test', 2)):
        for label, name in enumerate(('dark', 'light')):
            folder = place / 'data' / 'photos' / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng([label, i, count]).integers(90 * label, 90 * label + 160, (24, 24, 3))
                picture = Image.fromarray(pixels.astype(np.uint8))
                picture.save(folder / f'{i}.{"png" if i else "bmp"}')
    (place / 'weights').mkdir()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model('test_resnet').state_dict(), place / 'weights' / 'net.safetensors')
    (place / 'mine.py').write_text(PLUGIN)
    made = World(place, command)
    for built_in in (True, False):
        outcome = made.run(built_in=built_in)
        assert outcome.status == 0, outcome
    made.forget()
    return made


@pytest.fixture
def world(finished, own_plugins, tmp_path, monkeypatch):
    """A copy of the finished world: it lies elsewhere, and every file of it is another file."""
    shutil.copytree(finished.place, tmp_path / 'copy')
    return World(tmp_path / 'copy', finished.command)


def invert(path):
    """Change every pixel of a bitmap, and neither its size nor its time."""
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:54] + bytes(255 - value for value in content[54:]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def repaint(path):
    """Put another picture into a file, padded to its old size."""
    before = path.stat()
    Image.new('RGB', (24, 24), 'red').save(path)
    path.write_bytes(path.read_bytes().ljust(before.st_size, b'\0'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def one_float(path):
    state = load_file(path)
    name = sorted(state)[0]
    state[name].view(-1)[0] += 1e-4
    save_file(state, path)


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def photos(world):
    return world.place / 'data' / 'photos'


# what is changed -> (how, what the cell then is)
CHANGES = {
    'the content of an image': (lambda w, m: invert(photos(w) / 'train' / 'dark' / '0.bmp'), 'refused'),
    'a padded image': (lambda w, m: repaint(photos(w) / 'test' / 'light' / '1.png'), 'refused'),
    'the name of a file': (
        lambda w, m: (photos(w) / 'train' / 'dark' / '0.bmp').rename(photos(w) / 'train' / 'dark' / 'x.bmp'), 'refused'),
    'the label of an image': (
        lambda w, m: (photos(w) / 'train' / 'dark' / '0.bmp').rename(photos(w) / 'train' / 'light' / 'x.bmp'), 'refused'),
    'one image more': (
        lambda w, m: shutil.copy(photos(w) / 'test' / 'dark' / '0.bmp', photos(w) / 'test' / 'dark' / '7.bmp'), 'refused'),
    'how images are read': (lambda w, m: m.setattr(files, 'READING_RULES', 'files-v2'), 'refused'),
    'one float of the weights': (lambda w, m: one_float(w.place / 'weights' / 'net.safetensors'), 'refused'),
    'a setting of the data set': ("folder.source = 'elsewhere'", 'settings'),
    'a setting of the backbone': ("timm.precision = 'bfloat16'", 'settings'),
    'a setting of the protocol': ('ridge_v1.strength = 0.2', 'settings'),
    'the images per class': ('run.ipc = 2', 'new'),
    'the label of the method': ("run.methods = ['x=centroid']", 'new'),
    'the protocol': ("run.protocol = 'paper-v1'", 'new'),
    'the version of a method': ('methods/centroid.py', 'code'),
    'the version of a protocol': (
        lambda w, m: m.setattr(protocols, 'ROWS', tuple(replace(row, version=2) for row in protocols.ROWS)), 'code'),
    'the version of all probes': (lambda w, m: m.setattr('bench.probes.task.PROBE_VERSION', 2), 'code'),
    'the version of the test view': (lambda w, m: m.setattr(CenterView, 'VERSION', 2), 'code'),
    'the version of random views': (lambda w, m: m.setattr(RandomView, 'VERSION', 2), 'code'),
    'the version of features': (lambda w, m: m.setattr(features, 'CODE_VERSION', 2), 'code'),
}  # fmt: skip
STRANGE = {
    "the source of a plug-in's method": ('members[first]', 'members[-1]'),
    "the source of a plug-in's data set": ("path='photos')", "path='photos', source='mine')"),
    "the source of a plug-in's backbone": ('input_side=32', 'input_side=40'),
    "the source of a plug-in's protocol": ('strength=0.5', 'strength=0.6'),
}  # fmt: skip
COSMETIC = {
    'nothing': lambda w: None,
    'files touched': lambda w: [os.utime(path) for path in w.place.rglob('*.*') if path.is_file()],
    'a deleted cache': lambda w: shutil.rmtree(w.place / 'cache'),
    'comments, docstrings and formatting of a plug-in': lambda w: (w.place / 'mine.py').write_text(
        '# mine\n' + PLUGIN.replace('"""A network."""', '"""Mine."""').replace('\n@', '\n\n\n@')
    ),
    'tensors of the weights in another order': lambda w: save_file(
        dict(reversed(load_file(w.place / 'weights' / 'net.safetensors').items())), w.place / 'weights' / 'net.safetensors'
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', CHANGES)
def test_a_changed_ingredient_makes_the_cell_stale(world, monkeypatch, name):
    how, expected = CHANGES[name]
    if callable(how):
        how(world, monkeypatch)
        assert world.stale() == expected
    elif how.endswith('.py'):
        facts = source._facts
        monkeypatch.setattr(
            source, '_facts', lambda p, *look: replace(facts(p, *look), version=2 if p.as_posix().endswith(how) else 1)
        )
        assert world.stale() == expected
    else:
        assert world.stale(how) == expected


@pytest.mark.parametrize('name', STRANGE)
def test_changed_source_of_a_plugin_makes_the_cell_stale(world, name):
    edit(world.place / 'mine.py', *STRANGE[name])
    assert world.stale(built_in=False) == 'code'


@pytest.mark.parametrize('built_in', [True, False])
@pytest.mark.parametrize('name', COSMETIC)
def test_a_cosmetic_change_makes_nothing_stale(world, name, built_in):
    COSMETIC[name](world)
    assert world.stale(built_in=built_in) == ''


def test_the_table_names_every_ingredient():
    document = (ROOT / 'docs' / 'protocol.md').read_text(encoding='utf-8')
    block = document.partition('## What makes a number stale')[2].partition('\n## ')[0]
    rows = [row.split('|')[1].strip() for row in block.splitlines() if row.startswith('|')][2:]
    assert rows == [*CHANGES, *STRANGE]
    plain = ' '.join(block.split())
    assert all(name in plain for name in COSMETIC if name != 'nothing')


def test_the_seed_of_a_method_is_an_ingredient(world):
    lines = ["run.methods = ['random']"]
    assert world.run(*lines).status == 0 and world.stale(*lines) == '' and world.stale(*lines, 'run.seeds = 1') == 'new'


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_other_images_and_other_weights_are_encoded_anew(world):
    for change in (lambda: invert(photos(world) / 'train' / 'dark' / '0.bmp'),
                   lambda: one_float(world.place / 'weights' / 'net.safetensors')):  # fmt: skip
        change()
        outcome = world.run(flags=['--force'])
        assert outcome.status == 0, outcome
        (record,) = [r for r in all_records(world.place / 'results') if r.cell.method == 'centroid']
        assert record.images_encoded > 0
        assert world.stale() == ''


def test_a_second_start_reads_no_image_and_no_weights_and_builds_no_backbone(world, monkeypatch):
    monkeypatch.setattr(contents, '_SETTLED', 0)
    time.sleep(0.02)
    for built_in in (True, False):
        assert world.stale(built_in=built_in) == ''

    def refuse(*args, **settings):
        raise AssertionError('read or built again')

    monkeypatch.setattr(contents, '_digest', refuse)
    monkeypatch.setattr('bench.backbones.timm_source.frozen_backbone', refuse)
    monkeypatch.setattr(files, '_read_all', lambda images, indices: refuse() if len(indices) else {})
    for built_in in (True, False):
        assert world.stale(built_in=built_in) == ''


def test_a_backbone_that_names_no_files_is_built_to_be_compared(world):
    edit(world.place / 'mine.py', "@weights_in(lambda places: [places.weights_root / 'net.safetensors'])\n", '')
    assert world.run(built_in=False).status == 0
    assert world.stale(built_in=False) == ''
    one_float(world.place / 'weights' / 'net.safetensors')
    assert world.stale(built_in=False) == 'refused'


def test_weights_of_a_finished_cell_that_are_gone_are_named(world):
    (world.place / 'weights' / 'net.safetensors').unlink()
    outcome = world.run()
    assert outcome.status == 2 and 'no checkpoint at' in outcome.err and outcome.err.count('\n') == 1
    dry = world.run(flags=['--dry_run'])
    assert dry.status == 0 and dry.err.endswith('weights of timm:test_resnet\n') and '  done  ' in dry.out


def test_a_dry_run_tells_of_other_data_where_they_are_here(world):
    invert(photos(world) / 'test' / 'dark' / '0.bmp')
    outcome = world.run(flags=['--dry_run'])
    assert '  to do  ' in outcome.out and outcome.out.endswith('(data: the record is of other folder images)\n')
    shutil.rmtree(photos(world))
    outcome = world.run(flags=['--dry_run'])
    assert '  done  ' in outcome.out and 'missing or not read yet: data of folder\n' in outcome.err


def test_records_of_earlier_schemas_are_compared_by_what_they_tell(world):
    (path,) = (world.place / 'results' / 'records' / 'folder').rglob('*.json')
    record = load(path)
    assert record.fingerprints.dataset != record.fingerprints.contents
    path.write_text(dumps(replace(record, schema_version=2)))
    assert load(path).fingerprints.contents is None
    assert world.stale() == ''
    repaint(photos(world) / 'test' / 'light' / '1.png')
    assert world.stale() == '', 'which is what such a record cannot tell'
    (photos(world) / 'test' / 'light' / '1.png').write_bytes(b'')
    assert world.stale('folder.on_error = "skip"') == 'settings'


@pytest.mark.parametrize('damage', [b'', b'PK\x03\x04 no archive', None])
def test_what_is_remembered_of_files_is_checked(tmp_path, damage, monkeypatch):
    monkeypatch.setattr(contents, '_SETTLED', 0)
    paths, memo = [tmp_path / 'a', tmp_path / 'b'], tmp_path / 'memo.npz'
    for path in paths:
        path.write_bytes(path.name.encode())
    time.sleep(0.02)
    first = contents.digests(paths, memo=memo)
    assert len(set(first)) == 2 and contents.digests(paths, memo=memo) == first
    if damage is None:
        np.savez(memo, looks=np.zeros((2, 3)), digests=np.zeros((2, 16), dtype=np.uint8))
    else:
        memo.write_bytes(damage)
    assert contents.digests(paths, memo=memo) == first


def test_a_file_written_a_moment_ago_is_read_again(tmp_path):
    path, memo = tmp_path / 'a', tmp_path / 'memo.npz'
    path.write_bytes(b'one')
    looked = contents._look(path)
    contents.digests([path], memo=memo)
    assert looked not in contents._recall(memo)
