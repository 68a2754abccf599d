"""Plant each change of `tests/mutants/planted.py` in a copy of the project, and run the tests that should notice it.

    make mutants                               all of them, about ten minutes
    python -m tests.mutants --only=NAME,...    some of them
    python -m tests.mutants --full             give survivors a second chance: the whole suite

The working tree is never touched. The exit status is 1 if a change is not noticed by the tests that its entry names.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from bench.core.paths import ROOT
from tests.mutants.planted import MUTANTS, Mutant

# Seconds that the named tests of one change, and the whole suite, may take.
_LIMIT, _LIMIT_OF_ALL = 300, 3600
# The whole suite without the tests that notice every edit.
_ALL = ('tests', '--ignore=tests/test_code_versions.py', '--ignore=tests/test_mutants.py')
# A change that ends in one of these is no change of the science: it does not run.
_BROKEN = re.compile(r' - (NameError|AttributeError|TypeError|SyntaxError|IndentationError|ImportError|UnboundLocalError)\b')
_NOTICED, _SURVIVED, _INVALID = 'killed by', 'SURVIVED', 'NOT APPLICABLE'
# Shows that tests import the copy and not the installed project.
_SENTINEL = Mutant(
    'sentinel', 'the intervals raise an error', 'bench/results/intervals.py',
    'half = float(stdtrit', "raise RuntimeError('planted')\n    half = float(stdtrit",
    ('tests/test_records.py::test_statistics_worked_by_hand',),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run of tests said: pytest's exit status (None at the time limit), the first failed test and its output."""

    status: int | None
    killer: str
    output: str


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.mutants', description=__doc__.splitlines()[0])
    parser.add_argument('--only', metavar='NAME,...', default='', help='only these changes')
    parser.add_argument('--jobs', type=int, default=1, metavar='N', help='copies of the project to work in at once')
    parser.add_argument('--full', action='store_true', help='run the whole suite where the named tests notice nothing')
    asked = parser.parse_args(arguments)
    names = [name for name in asked.only.split(',') if name]
    if unknown := set(names) - {mutant.name for mutant in MUTANTS}:
        parser.error(f'--only={asked.only}: expected names in tests/mutants/planted.py, got {", ".join(sorted(unknown))}')
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]

    with tempfile.TemporaryDirectory(prefix='mutants-') as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        copies = [copy_to(Path(folder, str(job))) for job in range(max(1, asked.jobs))]
        if problem := problem_without_change(copies[0], chosen):
            print(problem)
            return 1
        for tree in copies:
            trees.put(tree)

        def judge(mutant: Mutant) -> tuple[str, float]:
            tree, start = trees.get(), time.perf_counter()
            try:
                return verdict(tree, mutant, full=asked.full), time.perf_counter() - start
            finally:
                trees.put(tree)

        bad, width = 0, max(len(mutant.name) for mutant in chosen)
        with ThreadPoolExecutor(len(copies)) as pool:
            for mutant, (said, seconds) in zip(chosen, pool.map(judge, chosen), strict=True):
                bad += not said.startswith(_NOTICED)
                print(f'{mutant.name:{width}}  {seconds:4.0f} s  {said}', flush=True)
    print(f'{len(chosen) - bad} of {len(chosen)} changes are noticed')
    return 1 if bad else 0


def copy_to(folder: Path) -> Path:
    """Copy the tracked files, as they are in the working tree, to `folder`/tree; return it."""
    tree = folder / 'tree'
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    if (ROOT.parent / 'shared').is_dir():
        (folder / 'shared').symlink_to(ROOT.parent / 'shared')
    return tree


def problem_without_change(tree: Path, mutants: Sequence[Mutant]) -> str:
    """Return why verdicts would mean nothing, or '': the named tests have to pass, and to test the copy."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    outcome = run(tree, tests, limit=_LIMIT_OF_ALL, stop=False)
    if outcome.status != 0:
        return f'expected that the named tests pass without a change, got:\n{outcome.output}'
    with planted(tree, _SENTINEL):
        outcome = run(tree, _SENTINEL.tests, limit=_LIMIT)
    return '' if 'RuntimeError: planted' in outcome.output else f'expected tests of the copy, got:\n{outcome.output}'


def verdict(tree: Path, mutant: Mutant, *, full: bool) -> str:
    """Return what became of a change."""
    if (tree / mutant.file).read_text(encoding='utf-8').count(mutant.before) != 1:
        return f'{_INVALID}: {mutant.file} does not hold the text to replace exactly once'
    with planted(tree, mutant):
        outcome = run(tree, mutant.tests, limit=_LIMIT)
        if outcome.status == 0 and full:
            outcome = run(tree, _ALL, limit=_LIMIT_OF_ALL)
            if outcome.status == 1:
                return f'{_SURVIVED} the tests named, not {outcome.killer}: name it in tests/mutants/planted.py'
    if outcome.status == 0:
        return f'{_SURVIVED}: {mutant.breaks}'
    if outcome.status != 1 or _BROKEN.search(outcome.killer):
        return f'{_INVALID}: the changed code does not run ({outcome.killer or outcome.output.strip()[-300:]})'
    return f'{_NOTICED} {outcome.killer}'


class planted:
    """The change is in the copy for as long as this context is open."""

    def __init__(self, tree: Path, mutant: Mutant) -> None:
        self.path, self.mutant = tree / mutant.file, mutant
        self.text = self.path.read_text(encoding='utf-8')

    def __enter__(self) -> None:
        self.path.write_text(self.text.replace(self.mutant.before, self.mutant.after), encoding='utf-8')

    def __exit__(self, *error: object) -> None:
        self.path.write_text(self.text, encoding='utf-8')


def run(tree: Path, tests: Sequence[str], *, limit: float, stop: bool = True) -> Outcome:
    """Run tests of a copy, by default until the first fails."""
    # no bytecode: a change and its undoing may fall into one second and have one size, which is all that Python compares
    environment = {
        'OMP_NUM_THREADS': '1', **os.environ, 'PYTHONPATH': str(tree), 'PYTHONDONTWRITEBYTECODE': '1', 'COLUMNS': '250',
    }  # fmt: skip
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--tb=no', '-rfE', *['-x'] * stop, *tests]
    process = subprocess.Popen(
        command, cwd=tree, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return Outcome(None, f'nothing within {limit:.0f} s', process.communicate()[0])
    failed = re.search(r'^(?:FAILED|ERROR) (.*)$', output, re.MULTILINE)
    return Outcome(process.returncode, failed[1] if failed else '', output)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
