"""Code that makes numbers changes knowingly: with another version, or with a confirmation that numbers are the same."""

import ast

import code_versions
import pytest

from bench.config import source

PRODUCTS = code_versions.products()
HOUSE = 'RATE = 2\ndef made(x):\n    return helper(x) * RATE\ndef helper(x):\n    return x + 1\n'


@pytest.mark.parametrize('name', PRODUCTS)
def test_code_is_as_confirmed_and_answers_as_before(name):
    product, entry = PRODUCTS[name], code_versions.kept().get(name)
    said = code_versions.changed(product, entry)
    assert not said, (
        f'{name}: {said}. If its numbers change, raise its version (tests/code_versions.py says where). Then, or if they '
        'are the same, run: python -m tests.code_versions --confirm="why"'
    )
    assert code_versions.same(product.answer(), entry['answer']), f'{name}: other numbers, {product.answer()}'


def test_every_kept_entry_has_a_product_and_a_reason():
    assert code_versions.kept().keys() == PRODUCTS.keys()
    assert all(entry['why'].strip() and '\n' not in entry['why'] for entry in code_versions.kept().values())


def test_what_a_product_reaches():
    def names(address):
        return {name for name, _ in source.reached(address)}

    assert {'lgm', 'synthesise', 'match', 'Pyramid', 'herd', 'probe_gradient', 'teacher_labels'} <= names('methods.lgm:lgm')
    assert {'adam_probe', '_adam_step', 'score', 'derive_seed'} <= names('bench.probes.adam:adam_probe')
    assert 'ridge_probe' not in names('bench.probes.adam:adam_probe')
    # of its own version, or no part of a number
    assert not {'RandomView', 'FeatureStore', 'progress', 'Checkpoint'} & names('methods.lgm:lgm')


def forget():
    source._names.cache_clear()
    source.built_in_hash.cache_clear()


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A project of two files, which a test writes."""
    monkeypatch.setattr(source, 'ROOT', tmp_path)
    forget()

    def write(**files):
        for name, text in files.items():
            path = tmp_path / 'bench' / f'{name}.py'
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        forget()
        return source.built_in_hash('bench.one:made')

    yield write
    forget()


def test_a_hash_stays_where_code_is_moved_split_commented_or_laid_out_anew(house):
    before = house(one=f'"""Doc."""\n{HOUSE}')
    helper = 'def helper(x):\n    """Say."""\n    return (x + 1)\n'
    same = house(one=f'RATE = 2  # why\n\n\n{helper}def made(x): return helper(x) * RATE\n')
    moved = house(one='from bench.two import helper, RATE\ndef made(x):\n    return helper(x) * RATE\n',
                  two='import os\ndef helper(x):\n    return x + 1\nRATE = 2\ndef idle():\n    return 0\n')  # fmt: skip
    through = house(one='from bench import two\nfrom bench.two import RATE\ndef made(x):\n    return two.helper(x) * RATE\n')
    assert before == same == moved
    assert through != before, 'another way of writing it'
    assert house(two='def helper(x):\n    return x + 2\nRATE = 2\n') != through, 'what is reached through a module counts'


@pytest.mark.parametrize(
    'old, new',
    [('x + 1', 'x + 2'), ('RATE = 2', 'RATE = 3'), ('x + 1', 'x - 1'), ('* RATE', '* RATE or None'), ('n helper(x)', 'n x')],
)
def test_a_hash_changes_with_every_edit_of_what_is_reached(house, old, new):
    assert house(one=HOUSE) != house(one=HOUSE.replace(old, new))


def test_none_and_its_absence_are_two_things():
    trees = [ast.parse(text) for text in ('x = None', 'x = 0', 'x = False', "x = ''", 'return_ = None', 'f()', 'f(None)')]
    assert len({source.tree_hash([tree]) for tree in trees}) == len(trees)
