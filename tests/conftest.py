"""Shared fixtures: the toy world, the bench.run command in this process, the photographs in ../shared."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ['HF_HUB_OFFLINE'] = '1'  # read when the hub's client is imported: no test waits for a network

from bench.core.paths import ROOT  # isort: skip  (sets OpenMP's waiting before torch is imported)
from bench.config import plugins, registry  # isort: skip  (sets OpenMP's waiting before torch is imported)
from bench.results.record import Record  # isort: skip  (sets OpenMP's waiting before torch is imported)
from bench.results.store import load  # isort: skip  (sets OpenMP's waiting before torch is imported)

import numpy as np
import pytest
import torch

from bench.distillation.task import Needs, needs_of
from tests import commands
from tests.commands import Outcome

TOY = str(ROOT / 'tests' / 'toy.py')
# The toy world with the shortest protocols: the base of a run that a test spells out line by line.
TOY_LINES = (
    "run.datasets = ['toy_data']", "run.backbones = ['toy_net']", 'paper_v1.epochs = 3', 'paper_v1.repeats = 2',
    'paper_v1.num_views = 2',
)  # fmt: skip

if 'OMP_NUM_THREADS' not in os.environ:  # where it is set, torch has read it
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope='session', autouse=True)
def unraisable():
    """Commands take over what becomes of errors in destructors, of unclosed files too: let pytest see them all the same."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, '__unraisablehook__', sys.unraisablehook)
        patched.setattr(threading, '__excepthook__', threading.excepthook)
        yield


@pytest.fixture(autouse=True)
def seeded():
    """Let random weights that a test does not seed itself be the same in every run, whatever ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def toy():
    """The toy world's module, loaded once as the plug-in it is."""
    return toy_module()


def toy_module():
    """Register the toy world as the plug-in it is, and return its module."""
    plugins.load([TOY])
    return next(module for name, module in list(sys.modules.items()) if name.startswith('bench_plugin_toy_'))


@pytest.fixture(scope='session')
def shared():
    """The folder with real photographs and weights."""
    path = ROOT.parent / 'shared'
    if not path.is_dir():
        pytest.skip(f'{path} is absent: its photographs and weights are test data that the project does not ship')
    return path


@pytest.fixture(scope='session')
def command(toy):
    """Run `python -m bench.run` with these arguments, in this process."""
    return partial(commands.run, 'bench.run')


@pytest.fixture
def own_plugins(toy, monkeypatch):
    """Forget after the test which plug-ins it loaded."""
    known = {kind: dict(rows) for kind, rows in registry._plugins.items()}
    monkeypatch.setattr(registry, '_plugins', known)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith('bench_plugin_'):
            del sys.modules[name]


@pytest.fixture
def run_bench(command, own_plugins, tmp_path):
    """Run the command with results and cache in tmp_path: flags as given, then gin lines on top of the toy world's."""

    def run(*arguments: str, bind: list[str] | None = None) -> Outcome:
        lines = [] if bind is None else [*TOY_LINES, *bind]
        places = [f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}']
        return command(*places, *arguments, *[f'--gin_bindings={line}' for line in lines])

    return run


def methods_where(wanted: Callable[[Needs], bool] = lambda needs: True) -> list[str]:
    """Return the names of all methods, or of those whose needs are as wanted: tests of every method list none by hand."""
    return [name for name, row in registry.rows('method').items() if wanted(needs_of(row.load()))]


def all_records(results: Path) -> list[Record]:
    """Return every record below a results folder."""
    return [load(path) for path in (results / 'records').rglob('*.json')]


def files_below(folder: Path) -> dict[str, bytes]:
    """Return path -> content of every file below a folder, hidden and unfinished ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


class Pictures:
    """Images from an array (N, H, W, 3) of uint8, as a split holds them."""

    def __init__(self, images_NHWC):
        self.images_NHWC = np.asarray(images_NHWC, dtype=np.uint8)

    def __len__(self):
        return len(self.images_NHWC)

    def __getitem__(self, i):
        from PIL import Image

        return Image.fromarray(self.images_NHWC[i])
