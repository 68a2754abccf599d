"""Every gin file parses as it stands, and runs on the toy world; for gin/analysis and gin/pretrain other tests see to it."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from bench.analysis.suite import SUITE as SUITE_ROW
from bench.analyze import ANALYZE
from bench.config import registry
from bench.config.gin_files import find_file, loaded
from bench.pipeline.grid import RUN, grid
from bench.pretrain.__main__ import PRETRAIN
from tests.conftest import ROOT

RUNS = sorted((ROOT / 'gin').glob('*.gin'))
# the files that run something, with the command in the head; they include the others
SUITE = [
    path for folder in ('suites', 'tuning') for path in sorted((ROOT / 'gin' / folder).glob('*.gin'))
    if f'--gin_file=gin/{folder}/{path.name}' in path.read_text()
]  # fmt: skip
PAPER = [path for path in SUITE if path.stem.startswith('paper_')]
# of one method: what it is compared with stands in the file that they belong to
LGM_ALONE = ('ablation', 'grocery_rivals', 'noise_mean', 'paper_table3', 'paper_table6')
ALL = sorted((ROOT / 'gin').rglob('*.gin'))
# by folder; of the other files it is bench.run
COMMANDS = {'analysis': ANALYZE, 'claims': SUITE_ROW, 'pretrain': PRETRAIN}
METHODS = sorted((ROOT / 'gin' / 'methods').glob('*.gin'))
SMALL = [
    "run.datasets = ['toy_data']", "run.backbones = ['toy_net']", 'run.eval_backbones = None',
    'run.ipc = [2]', 'run.seeds = [0]', 'run.seeds_for = {}',
]  # fmt: skip
SHORT = {'epochs': 2, 'full_epochs': 2, 'repeats': 2}


def small(path, *more):
    """Return the flags that run a file on the toy world, with few updates of its LGM and few epochs of its protocols."""
    files = {Path(file).name for file in (path, *includes(path))}
    lgm = 'lgm' if files & {'lgm_released.gin', 'neighbors.gin'} else 'lgm_fast'
    few = {'num_updates': 6, 'level_every': 1, 'num_augmentations': 2, 'num_views': 2, 'log_every': 1}
    with loaded([str(path)], [], command=RUN) as config:
        names = config.command_settings()['protocol']
    rows = [registry.find('protocol', name.rpartition('=')[2])[0] for name in ([names] if isinstance(names, str) else names)]
    short = [f'{row.identifier}.{key} = {value}' for row in rows for key, value in SHORT.items() if key in row.defaults()]
    lines = [*SMALL, *(f'{lgm}.{key} = {value}' for key, value in few.items()), *short, *more]
    return [f'--gin_bindings={line}' for line in lines]


def test_every_folder_of_gin_files_is_tested():
    """`analysis`, `claims` and `pretrain` in the tests of that name, `worlds` through the files that include them."""
    folders = {path.parent.name for path in ALL}
    assert folders == {'gin', 'methods', 'suites', 'worlds', 'analysis', 'claims', 'pretrain', 'differences', 'tuning'}
    named = ''.join(path.read_text() for path in ALL)
    for path in [*(ROOT / 'gin' / 'worlds').glob('*.gin'), *(ROOT / 'gin' / 'suites').glob('*.gin')]:
        assert path in SUITE or f"include '{path.relative_to(ROOT)}'" in named


@pytest.mark.parametrize('path', sorted((ROOT / 'gin' / 'differences').glob('*.gin')), ids=lambda path: path.stem)
def test_differences_name_the_release_and_what_differs_by_its_label(path):
    with loaded([str(path)], [], command=RUN) as config:
        cells = grid(config)
    assert {'release-v1'} <= {cell.protocol.row.name for cell in cells}
    assert len({(cell.method.label, cell.protocol.label) for cell in cells}) > 1
    assert f'bench.run --gin_file={path.relative_to(ROOT)}' in path.read_text()


@pytest.mark.parametrize('path', [*RUNS, *SUITE], ids=lambda path: path.stem)
def test_it_lists_its_cells_with_every_binding_in_use(path, toy):
    with loaded([str(path)], [], command=RUN) as config:
        cells = grid(config)
    names = {cell.method.row.name for cell in cells}
    assert {'random', 'full'} <= names or path.stem in LGM_ALONE
    assert any(name.startswith('lgm') for name in names)
    head = path.read_text().partition('\nrun.')[0]
    assert head.startswith('# ') and f'--gin_file={path.relative_to(ROOT)}' in head


@pytest.mark.parametrize('path', PAPER, ids=lambda path: path.stem)
def test_the_command_lists_the_cells_of_a_published_table_and_touches_nothing(path, run_bench, tmp_path):
    with loaded([str(path)], [], command=RUN) as config:
        cells = grid(config)
    (rules,) = {cell.protocol_label for cell in cells}
    outcome = run_bench(f'--gin_file={path}', '--dry_run')
    lines = outcome.out.splitlines()
    assert (outcome.status, outcome.err) == (0, '') and [line.split()[0] for line in lines] == [cell.key for cell in cells]
    assert all(' to do ' in line and line.endswith(f', {rules}  (new)') for line in lines)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('path', RUNS, ids=lambda path: path.stem)
def test_it_runs_on_the_toy_world(path, run_bench):
    outcome = run_bench(f'--gin_file={path}', *small(path))
    assert (outcome.status, outcome.err) == (0, '')
    assert 'toy_data' in outcome.out and 'FAILED' not in outcome.out


@pytest.mark.parametrize('path', SUITE, ids=lambda path: path.stem)
def test_a_file_of_the_suite_runs_on_the_toy_world(path, run_bench):
    bindings = small(path, 'run.ipc = [1]')
    outcome = run_bench(f'--gin_file={path}', *bindings)
    assert (outcome.status, outcome.err) == (0, '')
    assert 'toy_data' in outcome.out and 'FAILED' not in outcome.out


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_the_head_of_a_methods_file_says_how_it_was_tuned(path):
    name = 'lgm' if path.stem == 'lgm_released' else path.stem
    assert f'# Tuned: {registry.find("method", name)[0].tuned}.\n' in path.read_text()


def includes(path):
    """Return the paths of the files that a file includes, by way of others too."""
    text = Path(path).read_text()
    found = [find_file(name) for name in re.findall(r"^include '(.*)'", text, flags=re.MULTILINE)]
    return {*found, *(deeper for name in found for deeper in includes(name))}


def resets(path):
    """Return what is bound anew, with another value, by a file that does not include all that bound it before."""
    with loaded([str(path)], [], command=COMMANDS.get(path.parent.name, RUN)) as config:
        statements = config.statements
    values, files, found = {}, defaultdict(set), []
    for statement in statements:
        name, file = '/'.join(filter(None, statement[:3])), statement.location.filename
        if values.setdefault(name, statement.value) != statement.value and not files[name] <= includes(file):
            found.append(name)
        values[name] = statement.value
        files[name].add(file)
    return found


@pytest.mark.parametrize('path', ALL, ids=lambda path: path.stem)
def test_includes_come_first_and_none_resets_what_another_binds(path):
    assert re.fullmatch(r"(#.*\n)*\n?(include '.*'\n)*((?!include).*\n)*", path.read_text())
    assert not resets(path)


def test_a_reset_is_noticed_wherever_it_stands(tmp_path):
    def write(name, *lines):
        (tmp_path / name).write_text('\n'.join(lines) + '\n')
        return f"include '{tmp_path / name}'"

    base = write('base.gin', 'lgm.num_updates = 1', 'x/lgm.num_views = 1', 'N = 1')
    same = write('same.gin', 'lgm.num_updates = 1')
    variant = write('variant.gin', base, 'lgm.num_updates = 2')
    for lines, expected in (
        ([base, same, 'lgm.num_updates = 2', 'lgm.num_views = 2'], []),
        ([variant, 'lgm.num_updates = 3', 'x/lgm.num_views = 3', 'N = 3'], []),
        ([variant, base], ['lgm/num_updates']),
        ([base, variant], []),
        ([same, variant], ['lgm/num_updates']),
        (['N = 2', 'x/lgm.num_views = 2', base], ['x/lgm/num_views', 'N']),
        (['N = 1', 'N = 2'], ['N']),
    ):
        write('run.gin', *lines)
        assert resets(tmp_path / 'run.gin') == expected, lines


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_a_methods_file_binds_its_method_alone_and_runs(path, run_bench):
    name = max((name for name in registry.rows('method') if path.stem.startswith(name)), key=len)  # lgm_released binds lgm
    with loaded([str(path)], [], command=RUN) as config:
        assert {statement.selector for statement in config.statements} == {name}
    outcome = run_bench(f'--gin_file={path}', *small(path, f"run.methods = ['{name}']"))
    assert (outcome.status, outcome.err) == (0, '')


def test_the_released_file_binds_the_defaults_of_the_method():
    with loaded(['gin/methods/lgm_released.gin'], [], command=RUN) as config:
        bound = {name.removeprefix('lgm.'): value for name, value in config.asked().items()}
    defaults = registry.find('method', 'lgm')[0].defaults()
    assert bound == {name: defaults[name] for name in bound}
    # what it leaves out: the cost, and settings of other methods than the published one
    assert defaults.keys() - bound.keys() == {
        'soft_labels', 'label_temperature', 'chunk_size', 'log_every', 'checkpoint_every', 'compile_backbone',
    }  # fmt: skip
