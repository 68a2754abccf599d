"""What a cell's key holds: settings unless neutral, the code of plug-ins, the versions of what is built in."""

import functools
import importlib
import inspect
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

import pytest
from conftest import ROOT, all_records

import bench
from bench.config import gin_files as config
from bench.config import plugins, registry, source
from bench.config.gin_files import loaded
from bench.core import ranges
from bench.core.errors import InputError
from bench.core.ranges import Fraction, PositiveInt, Since
from bench.features import store as features
from bench.features.views import CenterView, RandomView
from bench.pipeline.grid import RUN, grid
from bench.pipeline.replay import cell_of
from bench.probes import protocols
from bench.results.record import CodeFacts, MethodFacts
from bench.results.store import load

COMMITTED = ROOT / 'results' / 'records'
GRID = [
    "run.datasets = ['plumage']", "run.backbones = ['tiny_moco']", "run.methods = ['lgm', 'lgm_real_init', 'neighbors']",
]  # fmt: skip
# what makes each part of a cell, and how gin calls it
FACTORIES = {
    'plumage': 'bench.datasets.plumage.plumage:plumage', 'tiny_moco': 'bench.backbones.tiny.encoders:tiny',
    'lgm': 'methods.lgm:lgm', 'paper_v1': 'bench.probes.adam:adam_probe',
}  # fmt: skip
Later = Annotated[Fraction, Since('2026-11', neutral=0.0)]


def cells_of(*lines):
    with loaded([], [*GRID, *lines], command=RUN) as bound:
        return grid(bound)


def keys_of(*lines):
    return [cell.key for cell in cells_of(*lines)]


def with_setting(function, name, annotation, default):
    """Return a factory that takes one setting more, and does what it did."""

    @functools.wraps(function)
    def longer(*args, **settings):
        return function(*args, **{key: value for key, value in settings.items() if key != name})

    # stands where the function does, else it would be a plug-in's
    file = inspect.unwrap(function).__code__.co_filename
    longer.__code__ = longer.__code__.replace(co_filename=file)
    own = inspect.signature(function)
    extra = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    longer.__signature__ = own.replace(parameters=[*own.parameters.values(), extra])
    longer.__annotations__ = {**function.__annotations__, name: annotation}
    return longer


@pytest.fixture
def add(monkeypatch):
    """Give a factory one setting more."""

    def adding(address, annotation, default):
        module, _, name = address.partition(':')
        module = importlib.import_module(module)
        monkeypatch.setattr(module, name, with_setting(getattr(module, name), 'later', annotation, default))
        config._collectors.clear()  # gin knows the settings of before

    yield adding
    config._collectors.clear()


# --- settings that came later -----------------------------------------------------------------------------------------


def test_a_setting_that_came_later_moves_no_committed_record(add, monkeypatch):
    for address in FACTORIES.values():
        add(address, Later, 0.0)
    assert 'later' in registry.find('method', 'lgm_real_init')[0].defaults()
    monkeypatch.setattr(registry, 'find', cache(registry.find))
    paths = sorted(COMMITTED.rglob('*.json'))
    cells = [cell_of(load(path)) for path in paths]
    assert [cell.key for cell in cells] == [path.stem for path in paths] and len(paths) > 700
    later = [cell.method.settings.get('later') for cell in cells if cell.method.label.startswith('lgm')]
    assert later and set(later) <= {0.0, None}


@pytest.mark.parametrize('entry', FACTORIES)
def test_a_setting_is_in_the_key_unless_it_has_its_neutral_value(add, entry):
    before = keys_of()
    add(FACTORIES[entry], Annotated[Fraction, Since('2026-11', neutral=0)], 0.0)
    assert keys_of() == keys_of(f'{entry}.later = 0.0') == keys_of(f'{entry}.later = 0') == before
    after = cells_of(f'{entry}.later = 0.5')
    # of a method also the variant, and what starts from its images
    assert not {cell.key for cell in after} & set(before)
    assert 'later' in str(after[0].config)
    assert after[0].protocol_label.startswith('paper-v1+') == (entry == 'paper_v1')


def test_a_default_may_be_another_than_the_neutral_value(add):
    """Then records of before are those of the neutral value."""
    before = keys_of()
    add(FACTORIES['lgm'], Later, 0.5)
    assert not set(keys_of()) & set(before)
    assert keys_of('lgm.later = 0.0') == before


def test_a_setting_without_a_neutral_value_is_always_in_the_key(add):
    before = keys_of()
    add(FACTORIES['lgm'], Fraction, 0.0)
    assert not set(keys_of()) & set(before)


@pytest.mark.parametrize(
    'annotation, neutral, others',
    [
        (PositiveInt | None, None, [1, 2]),
        (bool, False, [True]),
        (tuple[int, ...], (1, 2), [[1, 3], [1]]),
        (str, '', ['x']),
        (int | bool, 1, [True, 2]),
    ],
)
def test_neutral_values_of_every_kind(annotation, neutral, others):
    def factory(*, first: int = 1, later: Annotated[annotation, Since('2026-11', neutral=neutral)] = neutral):
        """Nothing."""

    as_bound = list(neutral) if isinstance(neutral, tuple) else neutral
    for value in (neutral, as_bound):
        ranges.check(factory, {'later': value}, name='factory')
        assert ranges.lasting(factory, {'first': 1, 'later': value}) == {'first': 1}
    for value in others:
        ranges.check(factory, {'later': value}, name='factory')
        assert ranges.lasting(factory, {'later': value}) == {'later': value}


def test_a_setting_that_came_later_keeps_its_range(add):
    add(FACTORIES['lgm'], Later, 0.0)
    with pytest.raises(InputError, match=r'lgm.later: expected a number in \[0, 1\], got 2'):
        cells_of('lgm.later = 2')


def test_the_leaderboard_tells_a_record_with_the_setting_from_one_without(run_bench, add):
    lines = ["run.methods = ['centroid']"]
    assert run_bench(bind=lines).status == 0
    add('methods.centroid:centroid', Later, 0.0)
    again = run_bench(bind=lines)
    assert again.status == 0 and '1 cells, 1 of them done' in again.out
    outcome = run_bench(bind=[*lines, 'centroid.later = 0.5'])
    assert outcome.status == 0, outcome
    assert 'has records with different settings, shown in separate rows (later=0.5 | no later)' in outcome.out


# --- code -------------------------------------------------------------------------------------------------------------

MINE = '''"""A user's file."""
import numpy as np
from helper import place
from bench.distillation.distilled_set import DistilledSet
from bench.config.registry import register_method

@register_method
def mine(task, *, first: int = 0):
    """Take one image of each class by its place."""
    indices = np.array([members[place(first)] for members in task.members()])  # one each
    return DistilledSet(task.train.labels_N[indices], indices_N=indices)
'''
HELPER = 'def place(first):\n    return first + 1\n'


@pytest.fixture
def edit(run_bench, tmp_path, monkeypatch):
    """Write a plug-in and what it imports, and return what a dry run says of its cell: key, state and why."""
    monkeypatch.syspath_prepend(str(tmp_path / 'mine'))

    def written(mine=MINE, helper=HELPER, folder='mine', run=False):
        for name, text in (('mine.py', mine), ('helper.py', helper)):
            path = tmp_path / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        for name in [name for name in sys.modules if name == 'helper' or name.startswith('bench_plugin_mine_')]:
            del sys.modules[name]
        registry._plugins['method'].pop('mine', None)
        importlib.invalidate_caches()
        flags = [f'--plugin={tmp_path / folder / "mine.py"}', *([] if run else ['--dry_run'])]
        outcome = run_bench(*flags, bind=["run.methods = ['mine']"])
        assert outcome.status == 0, outcome
        return outcome.out.strip()

    yield written
    sys.modules.pop('helper', None)


def test_an_edited_plugin_is_run_again_and_the_dry_run_says_why(edit):
    new = edit()
    assert '  to do  ' in new and new.endswith('(new)')
    assert '1 cells, 0 of them done' in edit(run=True) and '1 cells, 1 of them done' in edit(run=True)
    done = edit()
    assert done == new.replace('to do', 'done').replace('  (new)', '')
    for edited in ({'mine': MINE.replace('members[place(first)]', 'members[-1]')}, {'helper': HELPER.replace('1', '2')}):
        said = edit(**edited)
        assert '  to do  ' in said and '(code: method = source ' in said and ', was source ' in said, said
        assert said.split()[0] != done.split()[0]
        assert edit() == done, 'undone'


def test_comments_layout_docstrings_and_the_folder_of_a_plugin_do_not_count(edit):
    before = edit().split()[0]
    other = MINE.replace('  # one each', '').replace('by its place', 'somehow').replace('\n@', '\n\n# mine\n@')
    for cosmetic in ({'mine': other}, {'helper': f'"""Say."""\n{HELPER}'}, {'folder': 'moved'}):
        assert edit(**cosmetic).split()[0] == before


@pytest.mark.parametrize('kind', ['dataset', 'backbone'])
def test_the_code_of_other_plugins_counts_too(run_bench, toy, tmp_path, kind, monkeypatch):
    """The toy world is a plug-in, of which a copy is edited."""
    lines = ["run.methods = ['centroid']"]
    before = run_bench('--dry_run', bind=lines).out.split()[0]
    (row,) = [row for row in registry._plugins[kind].values() if row.name in ('toy_data', 'toy_net')]
    copy = tmp_path / 'toy_copy.py'
    text = Path(toy.__file__).read_text(encoding='utf-8')
    copy.write_text(text.replace('normal(0, 30', 'normal(0, 31'))
    monkeypatch.setitem(registry._plugins, 'dataset', {})
    monkeypatch.setitem(registry._plugins, 'backbone', {})
    after = run_bench('--dry_run', f'--plugin={copy}', bind=lines)
    assert after.status == 0 and after.out.split()[0] != before
    (cell,) = cells_of("run.datasets = ['toy_data']", "run.backbones = ['toy_net']", *lines)
    part = 'dataset' if kind == 'dataset' else 'source'
    assert cell.config['code'][part].startswith('source ') and 'method' not in cell.config['code']


def test_a_protocol_of_a_plugin_has_its_source_in_its_hash(tmp_path, own_plugins):
    path = tmp_path / 'rules.py'
    text = """
from bench.probes.ridge import ridge_probe
from bench.config.registry import Row, register

def gentle(task, *, strength: float = 1.0):
    return ridge_probe(task, strength=strength)

register('protocol', Row('gentle-v1', gentle, 'ridge, but gentler'))
"""
    path.write_text(text)
    hashes = []
    for content in (text, text.replace('strength=strength', 'strength=2 * strength'), f'# mine\n{text}'):
        path.write_text(content)
        registry._plugins['protocol'].clear()
        for name in [name for name in sys.modules if name.startswith('bench_plugin_rules_')]:
            del sys.modules[name]
        plugins.load([str(path)])
        (cell,) = cells_of("run.methods = ['centroid']", "run.protocol = 'gentle-v1'")
        hashes.append((cell.key, cell.protocol_hash))
    assert hashes[0] == hashes[2] and not set(hashes[0]) & set(hashes[1])


def test_a_function_that_stands_in_no_file_is_refused(own_plugins):
    scope = {}
    exec('def typed(task):\n    return None', scope)
    registry.register('method', registry.Row('typed', scope['typed'], 'typed at a prompt'))
    with pytest.raises(InputError, match='plug-in typed: expected a function defined in a file; save it to one'):
        cells_of("run.methods = ['typed']")


def test_a_raised_version_moves_its_own_cells_alone(monkeypatch):
    def keys():
        return {
            (c.method.label, c.protocol_label): (c.key, c.distilled_key, c.protocol_hash)
            for c in cells_of("run.methods = ['random', 'centroid', 'lgm', 'dm', 'lgm_real_init', 'neighbors']",
                              "run.protocol = ['paper-v1', 'ridge-v1']")
        }  # fmt: skip

    def moved(part=0):
        now = keys()
        return {name for name in before if now[name][part] != before[name][part]}

    before = keys()
    everything, now = set(before), source.version_of(registry.find('method', 'lgm')[0])
    facts = source._facts

    def raised(*names):
        def other(path, *look):
            found = facts(path, *look)
            return replace(found, version=2) if path.as_posix().endswith(names) else found

        return other

    with monkeypatch.context() as patched:
        patched.setattr(source, '_facts', raised('methods/lgm.py'))
        assert {name for name, _ in moved()} == {'lgm', 'lgm_real_init', 'neighbors'} and moved(part=2) == set()
        assert cells_of()[0].config['code'] == {'method': f'version {now + 1}'}
    with monkeypatch.context() as patched:
        patched.setattr(source, '_facts', raised('methods/_synthesis/__init__.py', 'methods/lgm.py'))
        assert {name for name, _ in moved()} == {'lgm', 'dm', 'lgm_real_init', 'neighbors'}
        assert cells_of()[0].config['code'] == {'method': f'version {now + 2}'}
    with monkeypatch.context() as patched:
        rows = tuple(replace(row, version=2) if row.name == 'ridge-v1' else row for row in protocols.ROWS)
        patched.setattr(protocols, 'ROWS', rows)
        assert {rules for _, rules in moved()} == {'ridge-v1'} and moved(part=1) == set() and moved(part=2) == moved()
    for thing, name in ((RandomView, 'VERSION'), (CenterView, 'VERSION'), (features, 'CODE_VERSION')):
        with monkeypatch.context() as patched:
            patched.setattr(thing, name, 2)
            assert moved() == moved(part=2) == everything
            assert {name for name, _ in everything - moved(part=1)} == {'random'}, 'which looks at no features'
    assert moved() == set()


def test_a_version_is_read_from_a_methods_file(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('raise RuntimeError\n')
    assert source._facts(path, 1).version == 1
    path.write_text('VERSION = 3\nraise RuntimeError\n')
    assert source._facts(path, 2).version == 3
    path.write_text('VERSION = 1 + 3\n')
    with pytest.raises(InputError, match=r'line 1: expected VERSION = 2 or the like, a plain number'):
        source._facts(path, *source._look(path))


def test_the_key_of_a_view_holds_its_version_once_raised(monkeypatch):
    view = RandomView(8, 'bilinear', seed=1)
    assert 'version' not in view.key()
    monkeypatch.setattr(RandomView, 'VERSION', 2)
    assert view.key()['version'] == 2


# --- why --------------------------------------------------------------------------------------------------------------


def test_the_dry_run_says_why(run_bench):
    def why(*lines):
        (line,) = run_bench('--dry_run', bind=["run.methods = ['centroid']", *lines]).out.splitlines()
        return line.partition('  (')[2].removesuffix(')')

    assert why() == 'new'
    assert run_bench(bind=["run.methods = ['centroid']"]).status == 0
    assert why() == '' and why('run.ipc = 2') == 'new'
    assert why('paper_v1.epochs = 5') == 'settings: paper_v1.epochs = 5, was 3'
    said = why('toy_net.seed = 1', 'toy_data.per_class = 7')
    assert said == 'settings: toy_data.per_class = 7, was 6, toy_net.seed = 1, was 0'
    # against the nearest of several
    assert run_bench(bind=["run.methods = ['centroid']", 'paper_v1.epochs = 4', 'toy_net.seed = 5']).status == 0
    assert why('paper_v1.epochs = 4', 'toy_net.seed = 6') == 'settings: toy_net.seed = 6, was 5'


def test_the_dry_run_says_that_a_cell_failed_or_has_other_rules(run_bench, toy, monkeypatch):
    lines = ["run.methods = ['centroid']"]
    with monkeypatch.context() as patched:
        patched.setattr('methods.centroid.DistilledSet', None)
        assert run_bench(bind=lines).status == 1
    assert run_bench('--dry_run', bind=lines).out.endswith('(failed: TypeError)\n')
    assert run_bench(bind=lines).status == 0
    monkeypatch.setattr('bench.probes.task.PROBE_VERSION', 2)
    assert run_bench('--dry_run', bind=lines).out.endswith('(code: the rules of the protocol)\n')


# --- what records tell of code ----------------------------------------------------------------------------------------


def test_a_record_tells_versions_and_the_file_of_a_plugin(run_bench, edit, tmp_path):
    edit(run=True)
    assert run_bench(bind=["run.methods = ['neighbors']", "neighbors.of = 'lgm'", 'lgm.num_updates = 1', 'lgm.num_views = 1',
                           "lgm.parameterization = 'pixels'"]).status == 0  # fmt: skip
    mine, near = sorted(all_records(tmp_path / 'results'), key=lambda record: record.cell.method)
    assert mine.schema_version == 4 and mine.provenance.version == bench.__version__
    code = mine.provenance.code
    mine_hash = mine.cell.settings['code']['method'].removeprefix('source ')
    assert code['method'] == CodeFacts(file='mine.py', hash=mine_hash)
    assert code['dataset'].file == code['eval'].file == 'toy.py'
    assert code['protocol'].version and code['protocol'].hash and code['protocol'].file is None
    assert str(tmp_path) not in str(code)
    own, theirs = near.provenance.code['method'], near.provenance.code['of']
    assert own == CodeFacts(version=1, hash=source.built_in_hash('methods.neighbors:neighbors'))
    assert theirs.hash == source.built_in_hash('methods.lgm:lgm')
    assert mine.method_facts == MethodFacts(real=False, needs_backbone=True, needs_seed=True, needs_ipc=True)
    # with what lgm needs, whose images it starts from
    assert near.method_facts == MethodFacts(real=True, needs_backbone=True, needs_seed=True, needs_ipc=True)


def test_a_plugin_of_a_package_is_called_by_its_place_in_it(tmp_path, monkeypatch, own_plugins):
    package = tmp_path / 'stranger' / 'deep'
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / '__init__.py').write_text('')
    (package.parent / 'shared.py').write_text('RATE = 1\n')
    (package / 'method.py').write_text('from ..shared import RATE\ndef far(task):\n    return RATE\n')
    monkeypatch.syspath_prepend(str(tmp_path))

    def known():
        for name in [name for name in sys.modules if name.partition('.')[0] == 'stranger']:
            del sys.modules[name]
        importlib.invalidate_caches()
        return source.plugin_source(importlib.import_module('stranger.deep.method').far)

    before = known()
    assert before.file == 'stranger/deep/method.py'
    (package.parent / 'shared.py').write_text('RATE = 2.5\n')
    assert known().hash != before.hash
    for name in [name for name in sys.modules if name.partition('.')[0] == 'stranger']:
        del sys.modules[name]
