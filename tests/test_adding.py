"""docs/adding.md: every file that it shows is written, every command that it prints is run, in the order of the page."""

import re

import pandas as pd
import pytest
from conftest import ROOT, all_records

from bench.config import registry
from tests import commands

PAGE = ROOT / 'docs' / 'adding.md'
FILE = re.compile(r'^`([\w.]+)`[^\n]*:\n\n```(\w+)\n(.*?)^```', flags=re.DOTALL | re.MULTILINE)
COMMANDS = [each for each in commands.of_markdown(PAGE, ROOT) if 'out/mine' in each.line]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder of somebody who follows the page."""
    folder = tmp_path_factory.mktemp('adding')
    for name, language, text in FILE.findall(PAGE.read_text(encoding='utf-8')):
        assert (folder / name).suffix == {'python': '.py', 'gin': '.gin'}[language] and not (folder / name).exists()
        (folder / name).write_text(text, encoding='utf-8')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv('BENCH_CACHE', raising=False)
        patch.setattr(registry, '_plugins', {kind: dict(rows) for kind, rows in registry._plugins.items()})
        yield folder


@pytest.fixture(scope='module')
def outcomes(folder):
    return [(each.line, commands.run(each.module, *each.arguments)) for each in COMMANDS]


def test_every_command_of_the_page_ends_well(outcomes):
    assert len(outcomes) == 6
    for line, outcome in outcomes:
        assert outcome.status == 0 and not outcome.err and outcome.out.strip(), (line, outcome)


def test_what_was_added_is_in_records_and_tables(folder, outcomes):
    records = all_records(folder / 'out' / 'mine')
    assert {record.status for record in records} == {'ok'}
    assert {record.cell.dataset for record in records} == {'stripes'}
    assert {record.cell.eval_backbone for record in records} == {'edges'}
    assert {record.cell.protocol for record in records} == {'paper-v1', 'nearest-mean'}
    methods = {'random', 'centroid', 'medoid', 'full', 'lgm_fast', 'spread', 'no_pyramid'}
    assert {record.cell.method for record in records} == methods
    assert set(pd.read_csv(folder / 'out' / 'mine' / 'analysis' / 'cost.csv').method) == methods
    assert 'no_pyramid' in dict(outcomes)[next(line for line, _ in outcomes if 'bench.compare' in line)].out


def test_the_variant_shares_the_run_of_its_base(outcomes):
    assert next(each.out for line, each in outcomes if 'variants.gin' in line).startswith('2 cells, 1 of them done')


def test_files_run_in_the_order_of_the_page_and_none_is_left_out():
    text = PAGE.read_text(encoding='utf-8')
    names = {name for name, _, _ in FILE.findall(text)}
    used = set(re.findall(r'--(?:plugin|gin_file)=([\w.]+\.(?:py|gin))', text))
    assert used <= names and len(names) == 10
    assert len(re.findall(r'^```(?:python|gin)$', text, flags=re.MULTILINE)) == len(names)
