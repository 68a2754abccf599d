"""What a cell's key holds: a setting that came later leaves every earlier record where it is."""

import functools
import importlib
import inspect
from functools import cache
from typing import Annotated

import pytest
from conftest import ROOT

from bench.config import gin_files as config
from bench.config import registry
from bench.config.gin_files import loaded
from bench.core import ranges
from bench.core.errors import InputError
from bench.core.ranges import Fraction, PositiveInt, Since
from bench.pipeline.grid import grid
from bench.replay import cell_of
from bench.results import record as records

COMMITTED = ROOT / 'results' / 'records'
GRID = [
    "run.datasets = ['plumage']", "run.backbones = ['tiny_moco']", "run.methods = ['lgm', 'lgm_real_init', 'neighbors']",
]  # fmt: skip
# what makes each part of a cell, and how gin calls it
FACTORIES = {
    'plumage': 'bench.datasets.plumage.plumage:plumage', 'tiny_moco': 'bench.backbones.tiny.encoders:tiny', 'lgm': 'methods.lgm:lgm',
    'paper_v1': 'bench.probe:adam_probe',
}  # fmt: skip
Later = Annotated[Fraction, Since('2026-11', neutral=0.0)]


def cells_of(*lines):
    with loaded([], [*GRID, *lines]) as bound:
        return grid(bound)


def keys_of(*lines):
    return [cell.key for cell in cells_of(*lines)]


def with_setting(function, name, annotation, default):
    """Return a factory that takes one setting more, and does what it did."""

    @functools.wraps(function)
    def longer(*args, **settings):
        return function(*args, **{key: value for key, value in settings.items() if key != name})

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
    cells = [cell_of(records.load(path)) for path in paths]
    assert [cell.key for cell in cells] == [path.stem for path in paths] and len(paths) >= 799
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
    assert 'has records with different settings, shown in rows of their own (later=0.5 | no later)' in outcome.out
