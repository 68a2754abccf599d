"""The registry: unique names, hints, open names, variants read from files, plug-ins by path and by name."""

import inspect
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from bench import list as bench_list
from bench.analyze import ANALYZE
from bench.config import gin_files as config
from bench.config import plugins, registry
from bench.core.errors import InputError
from bench.pipeline.grid import RUN
from bench.pretrain.__main__ import PRETRAIN

PLUGIN = '''"""A file of a user."""

from bench.config.registry import register_method


@register_method(strength=2.0)
def {name}(task, *, strength: float = 1.0):
    """Pick what the user likes."""
'''


@pytest.fixture(autouse=True)
def no_trace(monkeypatch):
    """Forget after each test what it registered and imported."""
    monkeypatch.setattr(registry, '_plugins', {kind: {} for kind in registry.KINDS})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith('bench_plugin_'):
            del sys.modules[name]


def test_names_are_unique_across_kinds_and_summaries_are_one_line():
    rows = [row for kind in registry.KINDS for row in registry.rows(kind).values()]
    identifiers = [row.identifier for row in rows]
    assert len(identifiers) == len(set(identifiers))
    for row in rows:
        assert row.summary and '\n' not in row.summary, row.name


def test_every_method_states_its_tuning_budget():
    for row in registry.rows('method').values():
        assert row.tuned and '\n' not in row.tuned, f'{row.name}: write TUNED = ... in its file'


def test_every_kind_has_names_of_its_own_that_are_no_commands():
    assert registry.KINDS == ('method', 'dataset', 'backbone', 'protocol', 'recipe', 'analysis')
    assert [registry.plural(kind) for kind in ('method', 'recipe', 'analysis')] == ['methods', 'recipes', 'analyses']
    assert {'simclr', 'moco', 'dino', 'mim', 'clip'} <= set(registry.rows('recipe'))
    assert {'transfer', 'alignment'} <= set(registry.rows('analysis'))
    identifiers = {row.identifier for kind in registry.KINDS for row in registry.rows(kind).values()}
    assert not identifiers & {row.identifier for row in (RUN, ANALYZE, PRETRAIN)}


@pytest.mark.parametrize('kind', ['recipe', 'analysis'])
def test_every_setting_of_a_recipe_or_an_analysis_has_a_default_and_a_line(kind):
    for row in registry.rows(kind).values():
        factory = row.load()
        named = [p for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert all(p.default is not p.empty for p in named), row.name
        assert [p.name for p in named if f'{p.name}:' not in factory.__doc__] == [], row.name


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(InputError, match=r"unknown method 'centriod'; did you mean centroid"):
        registry.find('method', 'centriod')
    with pytest.raises(InputError, match='known: .*random'):
        registry.find('method', 'qqqqqq')
    with pytest.raises(InputError, match=r"unknown recipe 'dinno'; did you mean dino\?"):
        registry.find('recipe', 'dinno')


def test_open_names_need_what_follows_the_colon():
    registry.register('backbone', registry.Row('zoo', 'zoo:load', 'any model', argument='model name'))
    row, argument = registry.find('backbone', 'zoo:small/v2')
    assert (row.name, argument) == ('zoo', 'small/v2')
    for name in ('zoo', 'zoo:'):
        with pytest.raises(InputError, match='zoo:<model name>'):
            registry.find('backbone', name)
    with pytest.raises(InputError, match='expected the form random'):
        registry.find('method', 'random:1')
    assert 'zoo:<model name>' in bench_list.listing(['backbone'])


def test_a_plugin_file_registers_a_method(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(PLUGIN.format(name='mine'))
    plugins.load([str(path), str(path)])
    row, _ = registry.find('method', 'mine')
    assert row.defaults() == {'strength': 2.0} and row.summary == 'Pick what the user likes.'
    assert 'Pick what the user likes.' in bench_list.listing(['method'])
    assert registry.find_identifier('mine') == ('method', row)


def test_a_plugin_module_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / 'bench_plugin_by_name.py').write_text(PLUGIN.format(name='by_name'))
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load(['bench_plugin_by_name'])
    assert 'by_name' in registry.rows('method')


@pytest.mark.parametrize('taken', ['random', 'plumage', 'paper_v1', 'dino', 'transfer'])
def test_a_taken_name_is_refused_whatever_its_kind(tmp_path, taken):
    path = tmp_path / 'mine.py'
    path.write_text(PLUGIN.format(name=taken))
    with pytest.raises(InputError, match='registered twice'):
        plugins.load([str(path)])


@pytest.mark.parametrize(
    'content, message',
    [
        (None, 'no such file'),
        ('import does_not_exist_at_all', "needs the module 'does_not_exist_at_all'"),
        ('1 / 0', 'ZeroDivisionError'),
        ('def (', 'SyntaxError'),
    ],
)
def test_a_plugin_that_does_not_load_ends_in_one_line(tmp_path, content, message):
    path = tmp_path / 'broken.py'
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        plugins.load([str(path)])
    assert '\n' not in str(caught.value)
    with pytest.raises(InputError, match='no module of that name'):
        plugins.load(['no_such_package.no_such_module'])


def test_methods_are_read_from_files_without_importing_them(tmp_path, monkeypatch):
    (tmp_path / 'plain.py').write_text('"""A plain one.\n\nMore.\n"""\nraise RuntimeError\n')
    (tmp_path / 'variant.py').write_text('"""Plain, but slow."""\nVARIANT_OF = \'plain\'\nSETTINGS = {\'lr\': 0.1}\n')
    (tmp_path / '_shared.py').write_text('"""Helpers."""\n')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / '__init__.py').write_text('"""A folder."""\n')
    monkeypatch.setattr(registry, '_METHODS_DIR', tmp_path)
    rows = registry.rows('method')
    assert {name: row.summary for name, row in rows.items()} == {
        'plain': 'A plain one.', 'variant': 'Plain, but slow.', 'folder': 'A folder.',
    }  # fmt: skip
    variant = rows['variant']
    assert (variant.base, variant.target, variant.settings) == ('plain', 'methods.plain:plain', {'lr': 0.1})
    assert (rows['plain'].target, rows['plain'].base) == ('methods.plain:plain', '')


def test_a_variant_of_a_variant_has_the_function_of_the_first(tmp_path, monkeypatch):
    for name, text in (
        ('plain', ''), ('fast', "VARIANT_OF = 'plain'\nSETTINGS = {'lr': 1}"), ('faster', "VARIANT_OF = 'fast'"),
        ('rival', "FOLLOWS = 'faster'"), ('late_rival', "VARIANT_OF = 'rival'"),
    ):  # fmt: skip
        (tmp_path / f'{name}.py').write_text(f'"Said."\n{text}\n')
    monkeypatch.setattr(registry, '_METHODS_DIR', tmp_path)
    rows = registry.rows('method')
    assert [rows[name].target for name in ('plain', 'fast', 'faster')] == ['methods.plain:plain'] * 3
    assert [rows[name].target for name in ('rival', 'late_rival')] == ['methods.rival:rival'] * 2

    def names(name, **settings):
        return [row.name for row in registry.lineage('method', rows[name], **settings)]

    assert names('faster', follow='plain') == names('faster') == ['plain', 'fast', 'faster']
    assert names('late_rival') == ['plain', 'fast', 'faster', 'rival', 'late_rival']
    assert names('late_rival', follow='plain') == ['plain', 'rival', 'late_rival']
    assert names('rival', follow='rival') == names('rival')


@pytest.mark.parametrize(
    'first, second, message',
    [
        ("VARIANT_OF = 'second'", "VARIANT_OF = 'first'", 'VARIANT_OF of .*: expected another .* first -> second -> first'),
        ("VARIANT_OF = 'secnd'", '', "VARIANT_OF of .*first: .* unknown method 'secnd'; did you mean second"),
        ("FOLLOWS = 'second'", "FOLLOWS = 'first'", "method 'first' follows itself: first -> second -> first"),
        ("FOLLOWS = 'second'", "VARIANT_OF = 'first'", "method 'first' follows itself: first -> second -> first"),
        ("FOLLOWS = 'second'", "FOLLOWS = 'scond'", "second follows another method: unknown method 'scond'; did you mean"),
    ],
)
def test_a_base_that_leads_nowhere_ends_in_one_line(tmp_path, monkeypatch, first, second, message):
    for name, text in (('first', first), ('second', second)):
        (tmp_path / f'{name}.py').write_text(f'"Said."\n{text}\n')
    monkeypatch.setattr(registry, '_METHODS_DIR', tmp_path)
    with pytest.raises(InputError, match=message):
        registry.lineage('method', registry.rows('method')['first'])


def test_the_command_lists_every_name_and_imports_nothing_heavy(tmp_path):
    path = tmp_path / 'mine.py'
    check = "\nimport sys\nassert not {'torch', 'gin', 'pandas'} & set(sys.modules)\n"
    path.write_text(PLUGIN.format(name='mine') + check)
    command = [sys.executable, '-m', 'bench.list', '--methods', '--protocols', '--recipes', '--analyses', f'--plugin={path}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    blocks = dict(block.split('\n', 1) for block in done.stdout.split('\n\n'))
    assert list(blocks) == ['methods', 'protocols', 'recipes', 'analyses']
    assert 'mine ' in blocks['methods'] and 'paper-v1' in blocks['protocols']
    assert 'dino ' in blocks['recipes'] and 'transfer ' in blocks['analyses']


# --- what a file declares: FOLLOWS and SETTINGS ---------------------------------------------------------------------------

FOLLOWER = '''"""A user's loss."""

from bench.config.registry import register_method

SETTINGS = {{'noise_std': 0.05}}


{decorator}
def mine(task, *, num_updates: int = 5, noise_std: float = 0.2, strength: float = 1.0):
    """Match what the user likes."""


FOLLOWS = 'lgm'  # below the function, which is registered before this line runs
'''
BINDINGS = ['lgm.num_updates = 7', 'lgm.noise_std = 0.1', 'mine.strength = 3.0', 'x/lgm.num_updates = 9']


@pytest.fixture
def as_plugin(tmp_path):
    """Load a file of a user as `--plugin`."""

    def load(text, name='mine'):
        (tmp_path / f'{name}.py').write_text(text)
        plugins.load([str(tmp_path / f'{name}.py')])

    return load


@pytest.fixture
def as_entry_point(tmp_path, monkeypatch):
    """Offer a file of a user, in a package that must not be run for a listing, as an entry point."""

    def offer(text, name='mine'):
        package = tmp_path / 'bench_plugin_package'
        package.mkdir()
        (package / '__init__.py').write_text('')
        (package / f'{name}.py').write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        point = (name, f'bench_plugin_package.{name}:{name}')
        monkeypatch.setattr(registry, '_entry_points', lambda group: (point,) if group == 'bench.methods' else ())

    yield offer
    registry._entry_point_row.cache_clear()


def settings_of_mine():
    with config.loaded([], BINDINGS, command=RUN) as bound:
        choices = [bound.choose('method', name) for name in ('mine', 'x=mine')]
        return [[c.settings[name] for name in ('num_updates', 'noise_std', 'strength')] for c in choices]


def test_a_plugin_follows_another_method_as_a_built_in_one_does(as_plugin, tmp_path, monkeypatch):
    built_in = tmp_path / 'methods' / 'mine.py'
    built_in.parent.mkdir()
    built_in.write_text(FOLLOWER.format(decorator=''))
    as_plugin(FOLLOWER.format(decorator='@register_method'))
    found = registry.rows('method')['mine']
    (expected,) = registry._method_rows(built_in.parent).values()
    assert (found.base, found.settings) == (expected.base, expected.settings) == ('lgm', {'noise_std': 0.05})
    assert settings_of_mine() == [[7, 0.05, 3.0], [9, 0.05, 3.0]]


@pytest.mark.parametrize('decorator', ['', '@register_method'])
def test_an_entry_point_does_too_and_is_not_imported_to_be_listed(as_entry_point, decorator):
    as_entry_point(FOLLOWER.format(decorator=decorator))
    assert re.search("  mine +A user's loss.", bench_list.listing(['method']))
    assert not [name for name in sys.modules if name.startswith('bench_plugin_package')]
    assert settings_of_mine() == [[7, 0.05, 3.0], [9, 0.05, 3.0]]


def test_the_arguments_of_the_decorator_win_over_the_files_constants(as_plugin):
    as_plugin(FOLLOWER.format(decorator="@register_method(base='dm', noise_std=0.3)"))
    row = registry.rows('method')['mine']
    assert (row.base, row.settings) == ('dm', {'noise_std': 0.3})


def test_an_entry_point_whose_decorator_says_otherwise_is_refused(as_entry_point):
    as_entry_point(FOLLOWER.format(decorator='@register_method(noise_std=0.3)'))
    with pytest.raises(InputError, match="'mine' is registered twice"):
        registry.rows('method')['mine'].load()


def test_an_entry_point_without_a_module_is_listed(monkeypatch):
    point = ('gone', 'no_such_package.inside:gone')
    monkeypatch.setattr(registry, '_entry_points', lambda group: (point,) if group == 'bench.methods' else ())
    assert registry.rows('method')['gone'].summary == 'plug-in from no_such_package.inside:gone'


@pytest.mark.parametrize(
    'old, new, message',
    [
        ("FOLLOWS = 'lgm'", "FOLLOWS = 'lgn'", "mine follows another method: unknown method 'lgn'; did you mean lgm"),
        ("FOLLOWS = 'lgm'", "FOLLOWS: str = str('lgm')", r'mine.py, line 13: expected FOLLOWS = a name in quotes'),
        ('SETTINGS = ', 'SETTINGS = 1 #', r'line 5: expected SETTINGS = plain values in \{...\}'),
        ("'noise_std': 0.05", "'noise': 0.05", "mine is registered with 'noise', a setting that its function does not have"),
    ],
)
def test_a_constant_that_cannot_be_used_ends_in_one_line(as_plugin, old, new, message):
    with pytest.raises(InputError, match=message):
        as_plugin(FOLLOWER.format(decorator='@register_method').replace(old, new))
        settings_of_mine()
