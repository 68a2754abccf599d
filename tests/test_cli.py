"""Shared by all commands: how they are started, and how they end if nobody reads their output."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT, TOY, TOY_LINES, all_records

OURS = {'cwd': ROOT, 'env': {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}, 'text': True}


def test_a_command_that_is_run_as_a_file_says_how_to_run_it():
    sources = sorted((ROOT / 'bench').rglob('*.py'))
    commands = [path.relative_to(ROOT) for path in sources if '\n    cli.start(main' in path.read_text()]
    assert len(commands) >= 10
    commands.append(ROOT / 'bench' / 'pretrain')  # python runs a folder by its __main__.py
    running = {
        path: subprocess.Popen([sys.executable, path, '--help'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **OURS)
        for path in commands
    }
    for path, process in running.items():
        out, err = process.communicate(timeout=120)
        name = '.'.join((ROOT / path).relative_to(ROOT).with_suffix('').parts).removesuffix('.__main__')
        assert (process.returncode, out) == (2, '')
        assert err == f'{path}: expected a module, got a file; use python -m {name}\n'


@pytest.mark.parametrize(
    'arguments',
    [
        ['run', '--help'], ['list'], ['data', 'list'],
        ['run', '--gin_file=gin/quickstart.gin', '--results_dir=none', '--dry_run'],
    ],
)
def test_a_command_whose_output_nobody_reads_ends_quietly(arguments):
    command = [sys.executable, '-m', f'bench.{arguments[0]}', *arguments[1:]]

    def started(unbuffered):
        environment = {**OURS, 'env': {**OURS['env'], 'PYTHONUNBUFFERED': unbuffered}}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **environment)

    with started('') as buffered, started('1') as unbuffered:
        for process in (buffered, unbuffered):
            process.stdout.close()
        for process in (buffered, unbuffered):
            assert process.stderr.read() == ''
            assert process.wait() == 141


def test_a_run_whose_output_nobody_reads_ends_without_a_failed_record(tmp_path):
    lines = [*TOY_LINES, "run.methods = ['random', 'centroid']"]
    command = [sys.executable, '-m', 'bench.run', f'--plugin={TOY}', *(f'--gin_bindings={line}' for line in lines)]
    command += [f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **OURS) as process:
        assert process.stdout.readline() == '2 cells, 0 of them done\n'
        process.stdout.close()
        assert process.stderr.read() == ''
        assert process.wait() == 141
    assert all(record.status == 'ok' for record in all_records(tmp_path / 'results'))
    done = subprocess.run(command, capture_output=True, **OURS)
    assert done.returncode == 0 and len(all_records(tmp_path / 'results')) == 2


def test_another_broken_pipe_is_an_error(tmp_path):
    (tmp_path / 'loud').mkdir()
    (tmp_path / 'loud' / '__init__.py').touch()
    code = "from bench.core import cli\ndef main():\n    raise BrokenPipeError('a pipe of our own')\ncli.start(main)"
    (tmp_path / 'loud' / '__main__.py').write_text(code)
    done = subprocess.run([sys.executable, '-m', 'loud'], capture_output=True, **{**OURS, 'cwd': tmp_path})
    assert done.returncode == 1 and 'BrokenPipeError: a pipe of our own' in done.stderr
