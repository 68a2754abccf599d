"""Rules that matter: no method sees the test split, and nobody knows more of the house than their own room."""

import ast
from dataclasses import replace
from types import FunctionType, MethodType

import numpy as np
import pytest
from conftest import ROOT

from bench import pipeline, registry
from bench.types import Dataset, Split

METHODS = (
    'random', 'centroid', 'herding', 'k_center', 'full', 'lgm', 'lgm_real_init', 'lgm_plus', 'sfm', 'frf', 'dm', 'clp',
    'neighbors',
)  # fmt: skip


def imports_of(path):
    """Return every module that a file imports anywhere in it, by dotted name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: a relative import'
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return found


def is_below(name, module):
    return name == module or name.startswith(f'{module}.')


def python_files(folder):
    files = sorted((ROOT / folder).rglob('*.py'))
    assert files
    return files


# --- who may know whom ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', python_files('methods'), ids=lambda path: str(path.relative_to(ROOT)))
def test_methods_know_neither_the_command_nor_the_pipeline_nor_gin(path):
    above = (
        'run', 'pipeline', 'grid', 'config', 'cli', 'records', 'leaderboard', 'probe', 'datasets', 'tensorboard',
        'pretrain', 'analysis',
    )  # fmt: skip
    forbidden = {name for name in imports_of(path) if any(is_below(name, f'bench.{room}') for room in above)}
    assert not forbidden and not any(is_below(name, 'gin') for name in imports_of(path))


def test_bench_finds_methods_through_the_registry_only():
    for path in python_files('bench'):
        assert not any(is_below(name, 'methods') for name in imports_of(path)), path


def test_gin_stays_at_the_outermost_layer():
    users = [path for path in python_files('bench') if any(is_below(name, 'gin') for name in imports_of(path))]
    assert users == [ROOT / 'bench' / 'config.py']


@pytest.mark.parametrize('kind', ['recipe', 'analysis'])
def test_recipes_and_analyses_know_neither_a_command_nor_its_settings(kind):
    above = ('run', 'config', 'cli', 'grid', 'analyze', 'pretrain.__main__')
    for row in registry.rows(kind).values():
        path = ROOT / f'{row.target.partition(":")[0].replace(".", "/")}.py'
        forbidden = {name for name in imports_of(path) if any(is_below(name, f'bench.{room}') for room in above)}
        assert not forbidden and not any(is_below(name, 'gin') for name in imports_of(path)), row.name


def test_records_and_leaderboard_import_neither_torch_nor_gin():
    """Follows their imports through the project, those inside functions too."""
    heavy = ('torch', 'torchvision', 'gin', 'timm', 'open_clip')
    todo, seen = ['bench.records', 'bench.leaderboard'], set()
    while todo:
        name = todo.pop()
        path = ROOT / f'{name.replace(".", "/")}.py'
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        found = imports_of(path)
        assert not [n for n in found if any(is_below(n, module) for module in heavy)], name
        todo += [n for n in found if is_below(n, 'bench')]
    assert {'bench.provenance', 'bench.types', 'bench.cli'} <= seen


# --- the test split ---------------------------------------------------------------------------------------------------


class Guarded:
    """Test images that may not be looked at while `closed`."""

    closed = False

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        assert not Guarded.closed, 'a method looked at the test split'
        return self.images[i]


@pytest.fixture
def guarded_world(toy, run_bench, monkeypatch):
    """The toy world whose test images raise while a method works."""
    Guarded.closed = False

    def guarded_data(places, *, per_class: int = 6, num_classes: int = 6):
        made = toy.toy_data(places, per_class=per_class, num_classes=num_classes)
        return replace(made, test=replace(made.test, images=Guarded(made.test.images)))

    monkeypatch.setitem(registry._plugins['dataset'], 'toy_data', registry.Row('toy_data', guarded_data, 'guarded'))
    distil = pipeline._distil

    def closed_distil(*args):
        before, Guarded.closed = Guarded.closed, True  # one method may start from the set of another
        try:
            return distil(*args)
        finally:
            Guarded.closed = before

    monkeypatch.setattr(pipeline, '_distil', closed_distil)


def test_no_method_looks_at_the_test_split(guarded_world, run_bench):
    outcome = run_bench(bind=[
        f'run.methods = {list(METHODS)}', 'lgm.num_updates = 1', 'lgm.num_augmentations = 1', 'lgm.num_views = 1',
            "lgm.parameterization = 'pixels'",
        'paper_v1.full_epochs = 1', 'paper_v1.full_views = 1',
    ])  # fmt: skip
    assert outcome.status == 0, outcome


def test_a_method_that_looked_at_the_test_split_would_be_caught(guarded_world, toy, run_bench):
    def peeker(task):
        return registry.find('dataset', 'toy_data')[0].load()(None).test.images[0]

    registry.register('method', registry.Row('peeker', peeker, 'looks where it must not'))
    outcome = run_bench(bind=["run.methods = ['peeker']"])
    assert outcome.status == 1 and 'a method looked at the test split' in outcome.out


def reachable(start):
    """Return every object that can be reached from a task by attributes, containers, closures and bound methods."""
    todo, seen = [start], {}
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type, np.ndarray)):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, dict):
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, (list, tuple, set)):
            todo += list(thing)
        elif isinstance(thing, MethodType):
            todo += [thing.__self__, thing.__func__]
        elif isinstance(thing, FunctionType):
            todo += [cell.cell_contents for cell in thing.__closure__ or ()]
        elif hasattr(thing, '__dict__'):
            todo += list(vars(thing).values())
    return list(seen.values())


def test_nothing_of_the_test_split_can_be_reached_from_a_task(guarded_world, run_bench, monkeypatch):
    tasks = []
    task_class = pipeline.Task
    monkeypatch.setattr(pipeline, 'Task', lambda **fields: tasks.append(task_class(**fields)) or tasks[-1])
    assert run_bench(bind=["run.methods = ['random', 'centroid']"]).status == 0
    assert len(tasks) == 2 and tasks[1].backbone is not None
    for task in tasks:
        found = reachable(task)
        assert any(thing is task.train.images for thing in found), 'the walk itself works'
        assert not [thing for thing in found if isinstance(thing, (Guarded, Dataset))]
        assert {thing.name for thing in found if isinstance(thing, Split)} == {'train'}
