"""What all commands share: how they are started, and how they end where nobody reads what they say."""

import os
import subprocess
import sys

from conftest import ROOT

OURS = {'cwd': ROOT, 'env': {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}, 'text': True}


def test_a_command_that_is_run_as_a_file_says_how_to_run_it():
    sources = [path for folder in ('bench', 'benchmarks') for path in sorted((ROOT / folder).rglob('*.py'))]
    commands = [path.relative_to(ROOT) for path in sources if '\n    cli.start(main' in path.read_text()]
    assert len(commands) > 10
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
