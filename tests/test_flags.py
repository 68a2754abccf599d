"""Flags that several commands have: one meaning and one default each, shown by --help of every command that has them."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from tests import commands

PLACES = ('cache_dir', 'data_root', 'weights_root')


def test_device_plugin_and_places_are_defined_once():
    """But for benchmarks.lgm_memory: its processes must give freed memory back, so they do not choose as commands do."""
    sources = [*(ROOT / 'bench').rglob('*.py'), *(ROOT / 'benchmarks').glob('*.py')]
    defined = re.compile(rf"DEFINE_\w+\(\s*'({'|'.join(('device', 'gin_file', 'gin_bindings', *PLACES))})'")
    assert {path.stem for path in sources if defined.search(path.read_text(encoding='utf-8'))} == {'lgm_memory'}


@pytest.mark.parametrize('module', ['bench.analyze', 'bench.replay'])
def test_what_loads_data_and_backbones_has_the_flags_of_a_run(module):
    ours, runs = commands.parsed(module), commands.parsed('bench.run')
    for name in ('plugin', 'device', *PLACES):
        assert ours[name] == runs[name]


def test_a_command_may_have_a_default_of_its_own():
    assert [commands.parsed(f'bench.{name}')['results_dir'] for name in ('run', 'replay')] == ['results', 'out/replay']
    # kept features were made on the CPU
    assert [commands.parsed(f'bench.{name}')['device'] for name in ('run', 'fingerprint')] == ['auto', 'cpu']


def test_help_shows_the_flags_that_commands_share():
    command = [sys.executable, '-m', 'bench.analyze', '--help']
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout
    assert all(flag in shown for flag in ('--gin_file:', '--plugin:', '--device:', '--weights_root:'))
    assert '--force' not in shown


@pytest.mark.parametrize(
    'words',
    [
        ('bench.analyze', '--gin_file=gin/analysis/transfer.gin'),
        ('bench.pretrain', '--gin_file=gin/pretrain/tiny_moco.gin'),
        ('bench.replay', '--record=none.json'),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize('flag', ['--plugin=no.py', '--device=tpu'])
def test_a_mistake_in_such_a_flag_is_one_line(words, flag):
    done = commands.run(*words, flag)
    assert done.status == 2 and flag.partition('=')[2] in done.err and done.err.count('\n') == 1
    assert done.err.startswith(f'{words[0]}: ') and done.out == ''
