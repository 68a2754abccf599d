"""Every gin file parses as it stands, and runs on the toy world; for gin/analysis and gin/pretrain other tests see to it."""

import pytest

from bench.config import registry
from bench.config.gin_files import loaded
from bench.pipeline.grid import grid
from tests.conftest import ROOT

RUNS = sorted((ROOT / 'gin').glob('*.gin'))
# the files that run something, with the command in the head; they include the others
SUITE = [
    path for path in sorted((ROOT / 'gin' / 'suites').glob('*.gin'))
    if f'--gin_file=gin/suites/{path.name}' in path.read_text()
]  # fmt: skip
PAPER = [path for path in SUITE if path.stem.startswith('paper_')]
# of one method: what it is compared with stands in the file that they belong to
LGM_ALONE = ('ablation', 'paper_table3', 'paper_table6')
METHODS = sorted((ROOT / 'gin' / 'methods').glob('*.gin'))
SMALL = [
    "run.datasets = ['toy_data']", "run.backbones = ['toy_net']", 'run.eval_backbones = None',
    'run.ipc = [2]', 'run.seeds = [0]', 'run.seeds_for = {}',
    'lgm.num_updates = 5', 'lgm.level_every = 1', 'lgm.num_augmentations = 2', 'lgm.num_views = 2', 'lgm.log_every = 1',
    'paper_v1.epochs = 2', 'paper_v1.full_epochs = 2', 'paper_v1.repeats = 2',
]  # fmt: skip


def test_every_folder_of_gin_files_is_tested():
    """`analysis` in test_analysis.py, `pretrain` in test_pretrain.py, `worlds` through the files that include them."""
    folders = {path.parent.name for path in (ROOT / 'gin').rglob('*.gin')}
    assert folders == {'gin', 'methods', 'suites', 'worlds', 'analysis', 'pretrain'}
    named = ''.join(path.read_text() for path in [*RUNS, *SUITE])
    for path in [*(ROOT / 'gin' / 'worlds').glob('*.gin'), *(ROOT / 'gin' / 'suites').glob('*.gin')]:
        assert path in SUITE or f"include '{path.relative_to(ROOT)}'" in named


@pytest.mark.parametrize('path', [*RUNS, *SUITE], ids=lambda path: path.stem)
def test_it_lists_its_cells_with_every_binding_in_use(path, toy):
    with loaded([str(path)], []) as config:
        cells = grid(config)
    names = {cell.method.row.name for cell in cells}
    assert {'random', 'full'} <= names or path.stem in LGM_ALONE
    assert any(name.startswith('lgm') for name in names)
    head = path.read_text().partition('\nrun.')[0]
    assert head.startswith('# ') and f'--gin_file={path.relative_to(ROOT)}' in head


@pytest.mark.parametrize('path', PAPER, ids=lambda path: path.stem)
def test_the_command_lists_the_cells_of_a_published_table_and_touches_nothing(path, run_bench, tmp_path):
    with loaded([str(path)], []) as config:
        keys = [cell.key for cell in grid(config)]
    outcome = run_bench(f'--gin_file={path}', '--dry_run')
    lines = outcome.out.splitlines()
    assert (outcome.status, outcome.err) == (0, '') and [line.split()[0] for line in lines] == keys
    assert all(' to do ' in line and line.endswith(', paper-v1  (new)') for line in lines)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('path', RUNS, ids=lambda path: path.stem)
def test_it_runs_on_the_toy_world(path, run_bench):
    bindings = [f'--gin_bindings={line}' for line in SMALL]
    outcome = run_bench(f'--gin_file={path}', *bindings)
    assert (outcome.status, outcome.err) == (0, '')
    assert 'toy_data' in outcome.out and 'FAILED' not in outcome.out


@pytest.mark.parametrize('path', SUITE, ids=lambda path: path.stem)
def test_a_file_of_the_suite_runs_on_the_toy_world(path, run_bench):
    lines = [line for line in SMALL if path.stem != 'convex' or not line.startswith('paper_v1')]  # another protocol
    bindings = [f'--gin_bindings={line}' for line in [*lines, 'run.ipc = [1]']]
    outcome = run_bench(f'--gin_file={path}', *bindings)
    assert (outcome.status, outcome.err) == (0, '')
    assert 'toy_data' in outcome.out and 'FAILED' not in outcome.out


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_a_methods_file_binds_nothing_but_its_method_and_runs(path, run_bench):
    name = max((name for name in registry.rows('method') if path.stem.startswith(name)), key=len)  # lgm_fast binds lgm
    assert all(line.startswith(('#', 'include', f'{name}.')) for line in path.read_text().splitlines() if line)
    bindings = [f'--gin_bindings={line}' for line in [*SMALL, f"run.methods = ['lgm', '{name}']"]]
    outcome = run_bench(f'--gin_file={path}', *bindings)
    assert (outcome.status, outcome.err) == (0, '')


def test_the_released_settings_are_the_functions_defaults_but_for_the_balance():
    with loaded(['gin/methods/lgm_released.gin'], ["run.methods = ['lgm']"]) as config:
        choice = config.choose('method', 'lgm')
    assert choice.settings == {**choice.row.defaults(), 'class_balanced': False}
