"""Rules that matter: no method sees the test split, and nobody knows more of the house than their own room."""

import ast
import re
from dataclasses import replace
from graphlib import TopologicalSorter
from types import FunctionType, MethodType

import numpy as np
import pytest
from conftest import ROOT, methods_where

from bench.config import registry
from bench.core.types import Dataset, Split
from bench.pipeline import distil as first_stage
from bench.pipeline import execute as pipeline


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


# The rooms of the house, from the ground up, and the rooms that each one may import; commands may import every room.
ROOMS = {
    'core': '',
    'config': 'core',
    'machine': 'core',
    'results': 'core',
    'datasets': 'config core',
    'backbones': 'config machine core',
    'features': 'backbones machine core',
    'distillation': 'features backbones machine core',
    'probes': 'features backbones config core',
    'pipeline': 'distillation probes features backbones datasets results config machine core',
    'analysis': 'distillation probes features results config core',
    'pretrain': 'features datasets backbones config machine core',
    'methods': 'distillation features backbones machine core',
}
COMMANDS = {'run', 'leaderboard', 'compare', 'analyze', 'claims', 'replay', 'list', 'data', 'fingerprint', 'gate'}


def room_of(module):
    """Return the room of a module, `bench` for a command at the top of bench/ and for what is no room, None outside."""
    top, *rest = module.split('.')
    if top == 'methods':
        return 'methods'
    if top != 'bench' or not rest:
        return None
    return rest[0] if (ROOT / 'bench' / rest[0]).is_dir() else 'bench'


def test_a_folder_of_bench_is_a_room_and_a_file_a_command():
    folders = {path.name for path in (ROOT / 'bench').iterdir() if path.is_dir() and path.name != '__pycache__'}
    assert folders == ROOMS.keys() - {'methods'}
    assert {path.stem for path in (ROOT / 'bench').glob('*.py')} == {'__init__', *COMMANDS}


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room):
    allowed, order = ROOMS[room].split(), list(ROOMS)
    assert all(order.index(below) < order.index(room) for below in allowed), 'no circle'
    for path in python_files('methods' if room == 'methods' else f'bench/{room}'):
        wrong = {name for name in imports_of(path) if room_of(name) not in (None, room, *allowed)}
        assert not wrong, f'{path.relative_to(ROOT)} imports {sorted(wrong)}'


def test_no_files_import_each_other_in_a_circle():
    """Counts what is imported inside functions too."""
    files = {}
    for path in [*python_files('bench'), *python_files('methods')]:
        files['.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')] = path

    def known(name, path):
        # `from package import module` names both; the package is what is meant only where it holds the name itself
        found = {other for other in imports_of(path) if other in files and other != name}
        return {other for other in found if not any(is_below(more, other) and more != other for more in found)}

    graph = {name: known(name, path) for name, path in files.items()}
    assert sum(map(len, graph.values())) > 200
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


def test_the_table_of_rooms_in_the_documents_is_this_one():
    text = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    shown = re.findall(r'^\| `(?:bench/)?(\w+)` \| [^|]+ \| ([\w, ]*)\|$', text, flags=re.MULTILINE)
    assert [(room, rooms.strip().split(', ')) for room, rooms in shown] == [
        (room, rooms.split() or ['']) for room, rooms in ROOMS.items()
    ]


def test_gin_is_imported_in_one_file():
    users = [path for path in python_files('bench') if any(is_below(name, 'gin') for name in imports_of(path))]
    assert users == [ROOT / 'bench' / 'config' / 'gin_files.py']


def test_the_root_of_the_project_is_found_in_one_file():
    finders = [path for path in python_files('bench') if '(__file__).resolve()' in path.read_text(encoding='utf-8')]
    assert finders == [ROOT / 'bench' / 'core' / 'paths.py']


@pytest.mark.parametrize('kind', ['recipe', 'analysis'])
def test_recipes_and_analyses_know_neither_a_command_nor_its_settings(kind):
    above = ('run', 'analyze', 'config', 'core.cli', 'pipeline', 'pretrain.__main__')
    for row in registry.rows(kind).values():
        path = ROOT / f'{row.target.partition(":")[0].replace(".", "/")}.py'
        forbidden = {name for name in imports_of(path) if any(is_below(name, f'bench.{room}') for room in above)}
        assert not forbidden and not any(is_below(name, 'gin') for name in imports_of(path)), row.name


@pytest.mark.parametrize('room', ['core', 'config', 'results'])
def test_light_rooms_import_no_torch(room):
    for path in python_files(f'bench/{room}'):
        assert not [name for name in imports_of(path) if is_below(name.partition('.')[0], 'torch')], path


def test_records_and_leaderboard_import_neither_torch_nor_gin():
    """Follows their imports through the project, those inside functions too."""
    heavy = ('torch', 'torchvision', 'gin', 'timm', 'open_clip')
    todo, seen = ['bench.leaderboard', *(f'bench.results.{path.stem}' for path in python_files('bench/results'))], set()
    while todo:
        name = todo.pop()
        path = ROOT / f'{name.replace(".", "/")}.py'
        if name in seen or not path.is_file():
            continue
        seen.add(name)
        found = imports_of(path)
        assert not [n for n in found if any(is_below(n, module) for module in heavy)], name
        todo += [n for n in found if is_below(n, 'bench')]
    assert {'bench.results.provenance', 'bench.core.types', 'bench.core.cli'} <= seen


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
    distil = pipeline.distil

    def closed_distil(*args, **settings):
        Guarded.closed = True
        try:
            return distil(*args, **settings)
        finally:
            Guarded.closed = False

    monkeypatch.setattr(pipeline, 'distil', closed_distil)


def test_no_method_looks_at_the_test_split(guarded_world, run_bench):
    outcome = run_bench(bind=[
        f'run.methods = {methods_where()}', 'lgm.num_updates = 1', 'lgm.num_augmentations = 1', 'lgm.num_views = 1',
        "lgm.parameterization = 'pixels'", 'lgm_fast.num_updates = 1',
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
    task_class = first_stage.Task
    monkeypatch.setattr(first_stage, 'Task', lambda **fields: tasks.append(task_class(**fields)) or tasks[-1])
    assert run_bench(bind=["run.methods = ['random', 'centroid']"]).status == 0
    assert len(tasks) == 2 and tasks[1].backbone is not None
    for task in tasks:
        found = reachable(task)
        assert any(thing is task.train.images for thing in found), 'the walk itself works'
        assert not [thing for thing in found if isinstance(thing, (Guarded, Dataset))]
        assert {thing.name for thing in found if isinstance(thing, Split)} == {'train'}
