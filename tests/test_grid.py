"""The grid: how many cells, what their keys depend on, and labels that tell changed rules apart."""

import sys
from dataclasses import replace
from importlib import import_module

import pytest

from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.pipeline.grid import RUN, grid
from bench.probes import protocols

TOY = ["run.datasets = ['toy_data']", "run.backbones = ['toy_net']"]
ALL = "run.methods = ['random', 'centroid', 'herding', 'k_center', 'full', 'lgm', 'lgm_real_init']"


@pytest.fixture(autouse=True)
def world(own_plugins):
    """Every test has the toy world."""


def cells_of(*lines):
    with loaded([], [*TOY, *lines], command=RUN) as bound:
        return grid(bound)


def cell_of(*lines):
    (cell,) = cells_of("run.methods = ['lgm']", *lines)
    return cell


def counts(cells):
    methods = [cell.method.label for cell in cells]
    return {name: methods.count(name) for name in methods}


# --- expansion --------------------------------------------------------------------------------------------------------


def test_methods_without_a_seed_an_ipc_or_a_backbone_have_fewer_cells():
    cells = cells_of(ALL, 'run.seeds = [0, 1, 2]', 'run.ipc = [1, 5]')
    assert counts(cells) == {
        'random': 3 * 2, 'centroid': 2, 'herding': 2, 'k_center': 2, 'full': 1, 'lgm': 3 * 2, 'lgm_real_init': 3 * 2,
    }  # fmt: skip
    full = next(cell for cell in cells if cell.method.label == 'full')
    assert (full.ipc, full.seed, full.source, full.config['source_backbone']) == (None, 0, None, 'any')
    assert len({cell.key for cell in cells}) == len(cells)


def test_some_methods_may_have_seeds_of_their_own():
    cells = cells_of("run.methods = ['random', 'lgm']", 'run.seeds = [0, 1, 2]', "run.seeds_for = {'lgm': [5]}")
    assert [(c.method.label, c.seed) for c in cells] == [('random', 0), ('random', 1), ('random', 2), ('lgm', 5)]
    with pytest.raises(InputError, match="run.seeds_for names 'full', which is not in run.methods"):
        cells_of("run.methods = ['random']", "run.seeds_for = {'full': [1]}")


def test_without_eval_backbones_each_source_is_tested_on_itself():
    cells = cells_of("run.backbones = ['toy_net', 'b=toy_net']", "run.methods = ['random', 'centroid']")
    pairs = {(c.method.label, c.source and c.source.label, c.eval.label) for c in cells}
    assert pairs == {
        ('random', None, 'toy_net'), ('random', None, 'b'),
        ('centroid', 'toy_net', 'toy_net'), ('centroid', 'b', 'b'),
    }  # fmt: skip


def test_eval_backbones_make_the_transfer_grid():
    cells = cells_of(
        "run.backbones = ['toy_net', 'b=toy_net']", "run.eval_backbones = ['b=toy_net', 'c=toy_net']",
        "run.methods = ['random', 'centroid']",
    )  # fmt: skip
    pairs = {(c.method.label, c.source and c.source.label, c.eval.label) for c in cells}
    assert pairs == {
        ('random', None, 'b'), ('random', None, 'c'), ('centroid', 'toy_net', 'b'), ('centroid', 'toy_net', 'c'),
        ('centroid', 'b', 'b'), ('centroid', 'b', 'c'),
    }  # fmt: skip
    assert len(cells) == 6
    # one distilled set serves both backbones it is tested on
    assert len({c.distilled_key for c in cells if c.method.label == 'centroid'}) == 2


def test_protocols_are_an_axis_and_repeats_are_dropped():
    rules = "run.protocol = ['paper-v1', 'ridge-v1']"
    cells = cells_of("run.methods = ['random', 'random']", rules, 'run.seeds = [1, 1]')
    assert [cell.protocol_label for cell in cells] == ['paper-v1', 'ridge-v1']
    assert len({cell.protocol_hash for cell in cells}) == 2 and len({cell.distilled_key for cell in cells}) == 1


def test_one_name_or_number_may_stand_without_a_list():
    one = cells_of("run.methods = 'random'", 'run.ipc = 2', 'run.seeds = 3', "run.protocol = 'ridge-v1'")
    many = cells_of("run.methods = ['random']", 'run.ipc = [2]', 'run.seeds = [3]', "run.protocol = ['ridge-v1']")
    assert [cell.key for cell in one] == [cell.key for cell in many] and len(one) == 1


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_stable_from_one_version_to_the_next():
    """If this fails, records of earlier versions are no longer found: change it knowingly, with a line in CHANGELOG."""
    embedded = ["run.datasets = ['plumage']", "run.backbones = ['tiny_moco']"]
    (cell,) = cells_of(*embedded, "run.methods = ['random']", "run.protocol = 'ridge-v1'")
    assert cell.key == '5436f9567b4950db'
    assert cell.distilled_key == 'f1ad648bab93a02c'


def test_keys_hold_no_address_of_code(monkeypatch):
    lines = ["run.protocol = 'paper-v1'", "run.protocol = 'ridge-v1'"]
    before = [cell_of(line) for line in lines]
    moved = []
    for row in protocols.ROWS:
        module, _, function = row.target.partition(':')
        monkeypatch.setitem(sys.modules, f'{function}s', import_module(module))
        moved.append(replace(row, target=f'{function}s:{function}'))
    monkeypatch.setattr(protocols, 'ROWS', tuple(moved))
    after = [cell_of(line) for line in lines]
    assert [cell.protocol.row.target for cell in after] == ['adam_probes:adam_probe', 'ridge_probes:ridge_probe']
    assert [(cell.key, cell.protocol_hash) for cell in after] == [(cell.key, cell.protocol_hash) for cell in before]
    assert all(row.rules for row in protocols.ROWS), 'else a renamed row would make its records stale'


def test_keys_change_with_every_setting():
    base = cell_of('run.ipc = 1')
    lines = {
        'dataset': 'toy_data.per_class = 5', 'backbone': 'toy_net.seed = 1', 'ipc': 'run.ipc = 2',
        'seed': 'run.seeds = 1', 'protocol': "run.protocol = 'ridge-v1'", 'rules': 'paper_v1.epochs = 3',
        'label': "run.methods = ['x=lgm']",
    }  # fmt: skip
    words = {
        'parameterization': 'pixels', 'init': 'real', 'real_gradient': 'full', 'image_size': 8, 'num_views': 3,
        'frame': 'whole', 'interpolation': 'bicubic',
    }  # fmt: skip
    lasting = base.config['method_settings']
    assert base.method.settings.keys() - lasting.keys() == {
        'chunk_size', 'log_every', 'checkpoint_every', 'compile_backbone',  # what a run costs, not what comes out
        'moments',  # newer than the first records, and in the key unless it is 0
    }  # fmt: skip
    for name, value in (lasting | {'moments': 0.0}).items():
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, (int, float)):
            other = value + 1 if isinstance(value, int) else value / 2 or 0.5
        else:
            other = words[name]
        lines[name] = f'lgm.{name} = {other!r}'
    keys = {name: cell_of(line).key for name, line in lines.items()}
    assert len({base.key, *keys.values()}) == len(keys) + 1, keys
    assert len(keys) == 7 + len(lasting) + 1


def test_what_only_the_probe_sees_leaves_the_distilled_set_alone():
    base = cell_of()
    for line in ('paper_v1.epochs = 3', "run.protocol = 'ridge-v1'", "run.eval_backbones = ['b=toy_net']"):
        changed = cell_of(line)
        assert changed.key != base.key and changed.distilled_key == base.distilled_key, line


def test_writing_out_a_default_changes_no_key():
    base = cell_of()
    lines = [f'lgm.{name} = {value!r}' for name, value in base.method.settings.items()]
    assert cell_of(*lines).key == base.key
    assert cell_of('lgm.noise_mean = 0').key == base.key


def test_keys_hold_no_path_and_no_flag(run_bench, tmp_path, monkeypatch):
    lines = ["run.methods = ['random', 'lgm']", 'lgm.num_updates = 1']
    monkeypatch.chdir(tmp_path)
    here = run_bench('--dry_run', bind=lines)
    there = run_bench(
        '--dry_run', f'--results_dir={tmp_path}/b', f'--cache_dir={tmp_path}/c', f'--data_root={tmp_path}',
        f'--weights_root={tmp_path}', '--device=cpu', '--force', bind=lines,
    )  # fmt: skip
    assert here.status == 0 and here.out == there.out and here.out.count('to do') == 2
    cell = cell_of()
    assert str(tmp_path) not in str(cell.config) and '/work' not in str(cell.config)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_a_protocol_with_changed_rules_no_longer_bears_the_official_name():
    plain, changed = cell_of(), cell_of('paper_v1.epochs = 3')
    assert plain.protocol_label == plain.config['protocol'] == 'paper-v1'
    assert changed.protocol_label == f'paper-v1+{changed.protocol_hash[:6]}' == changed.config['protocol']
    assert plain.protocol_hash != changed.protocol_hash
    assert cell_of('paper_v1.epochs = 1000').protocol_label == 'paper-v1'
    assert cell_of("run.protocol = 'paper-v1-exact'").protocol_label == 'paper-v1-exact'


def test_one_label_for_two_things_is_refused():
    with pytest.raises(InputError, match="backbone label 'x' has two meanings, toy_net and tiny_simclr"):
        cells_of("run.methods = ['random']", "run.backbones = ['x=toy_net']", "run.eval_backbones = ['x=tiny_simclr']")
    with pytest.raises(InputError, match="method label 'random' has two meanings"):
        cells_of("run.methods = ['random', 'random=centroid']")


@pytest.mark.parametrize(
    'line, message',
    [
        ('run.ipc = [1, 0]', 'run.ipc: expected integers >= 1, got 0'),
        ('run.ipc = -1', 'run.ipc: expected integers >= 1, got -1'),
        ('run.ipc = [1.5]', 'run.ipc: expected integers >= 1, got 1.5'),
        ('run.ipc = [True]', 'run.ipc: expected integers >= 1, got True'),
        ('run.ipc = []', 'run.ipc: expected integers >= 1, got an empty list'),
        ('run.seeds = [-1]', 'run.seeds: expected integers >= 0, got -1'),
        ('run.datasets = []', 'run.datasets is empty'),
        ('run.backbones = []', 'run.backbones is empty'),
        ('run.eval_backbones = []', 'run.eval_backbones is empty'),
        ('run.methods = []', 'run.methods is empty'),
        ('run.protocol = []', 'run.protocol is empty'),
        ('run.methods = [1]', 'run.methods: expected names in quotes, got 1'),
        ("run.methods = ['randon']", "unknown method 'randon'; did you mean random"),
        ("run.datasets = ['plumages']", "unknown dataset 'plumages'; did you mean plumage"),
        ("run.backbones = ['eva02_vitb16']", "unknown backbone 'eva02_vitb16'; did you mean eva02_vitb14"),
        ("run.backbones = ['timm']", r'expected the form timm:<model\[.tag\]>'),
        ("run.methods = ['a b=random']", "a label is one word of letters, digits and underscores, got 'a b'"),
    ],
)
def test_an_axis_that_cannot_be_run_is_named(line, message):
    with pytest.raises(InputError, match=message):
        cells_of("run.methods = ['random']", line)
