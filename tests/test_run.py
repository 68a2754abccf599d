"""The command from end to end on the toy world: what it leaves, what it does again, and what happens when it fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TOY, TOY_LINES, all_records, files_below, methods_where

from bench.config import registry
from bench.core import cli
from bench.distillation import gallery
from bench.distillation.distilled_set import DistilledSet
from bench.results.store import load

METHODS = methods_where()
SYNTHETIC = methods_where(lambda needs: not needs.real)
# two seeds of what is random, of what synthesises and of what starts from that
CELLS = len(METHODS) + len(methods_where(lambda needs: needs.seed or needs.of is not None))
PLUGIN = '''"""A user's file."""
import numpy as np
from bench.distillation.distilled_set import DistilledSet
from bench.config.registry import register_method

@register_method
def mine(task, *, first: int = 0):
    """Take one image of each class by its place."""
    if first < 0:
        raise RuntimeError('no such place: ' + str(first))
    indices = np.array([members[first] for members in task.members()])
    return DistilledSet(task.train.labels_N[indices], indices_N=indices)
'''


@pytest.fixture(scope='module')
def whole(command, tmp_path_factory):
    """Every method on the toy world: (results folder, arguments, outcome)."""
    folder = tmp_path_factory.mktemp('whole')
    places = [f'--results_dir={folder / "results"}', f'--cache_dir={folder / "cache"}']
    arguments = ['--gin_file=tests/toy.gin', f'--gin_bindings=run.methods = {METHODS}', *places]
    return folder / 'results', arguments, command(*arguments)


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / 'my_method.py'
    path.write_text(PLUGIN)
    return f'--plugin={path}'


def load_records(results):
    return {path.parent.name: load(path) for path in sorted((results / 'records').rglob('*.json'))}


def rows_of(results):
    with (results / 'leaderboard.csv').open() as file:
        return list(csv.DictReader(file))


def refuse(*args, **settings):
    raise AssertionError('a backbone was made')


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_every_method_runs_and_leaves_records_and_a_leaderboard(whole):
    results, _, outcome = whole
    assert outcome.status == 0 and outcome.err == '', outcome.err
    assert outcome.out.startswith(f'{CELLS} cells, 0 of them done') and f'[{CELLS}/{CELLS}]' in outcome.out
    assert len(list((results / 'records').rglob('*.json'))) == CELLS
    rows = {row['method']: row for row in rows_of(results)}
    assert set(rows) == set(METHODS) and all(row['status'] == 'ok' for row in rows.values())
    assert (rows['lgm']['n_repeats'], rows['centroid']['n_repeats']) == ('4', '2')
    assert (rows['full']['ipc'], rows['full']['n_train_images'], rows['random']['source_backbone']) == ('', '39', 'any')
    assert 'lgm_real_init' in (results / 'leaderboard.md').read_text()


def test_a_record_tells_what_was_asked_what_ran_and_what_it_cost(whole):
    results, _, _ = whole
    record = load_records(results)['lgm']
    assert record.gin.asked['lgm.num_updates'] == 12 and record.gin.operative['lgm.num_probes'] == 1
    assert (record.distilled.kind, record.distilled.bytes) == ('synthetic', 6 * 9 * 9 * 3)
    assert record.distilled.facts['image_size'] == 9
    assert record.seconds.method > 0 and record.peak_memory_mb > 10 and record.device == 'cpu'
    assert record.n_test == record.correct.n == 36 and len(record.top1) == 2
    assert record.top1 == list(record.correct.unpack().mean(axis=1))


def test_distilled_sets_and_pictures_lie_beside_what_they_cost(whole):
    results, _, _ = whole
    folders = [path.parent for path in (results / 'distilled').rglob('set.json')]
    assert len(folders) == CELLS
    for folder in folders:
        drawn = {'timelapse.gif', 'neighbors.png'} if folder.parent.name in SYNTHETIC else set()
        assert {path.name for path in folder.iterdir()} == {
            'set.json', 'set.safetensors', 'cost.json', 'contact_sheet.png', *drawn,
        }, folder  # fmt: skip
    hashes = {DistilledSet.load(folder).hash for folder in folders}
    assert hashes == {record.distilled.hash for record in all_records(results)}
    assert len(list((results / 'tensorboard').rglob('events.*'))) == CELLS


def test_nothing_goes_through_a_backbone_twice(whole):
    results, _, _ = whole
    records_made = all_records(results)
    encoded = sum(record.images_encoded for record in records_made)
    kept = [json.loads(path.read_text()) for path in (results.parent / 'cache' / 'features').glob('*/key.json')]
    # 36 test images, 39 training images, and 2 views of them twice: for what synthesises, and for the probe of full
    shapes = [entry['shape'][:2] for entry in kept]
    assert {(1, 36), (1, 39), (2, 39)} <= set(map(tuple, shapes)) and shapes.count([2, 39]) >= 2
    # nobody is charged for the picture of a synthetic set's 6 images beside their nearest photographs
    pictures = 6 * sum(record.distilled.kind == 'synthetic' for record in records_made)
    assert encoded + pictures == sum(views * images for views, images in shapes)
    assert len({json.dumps(entry['key']) for entry in kept}) == len(kept)
    # at ipc 1 herding and centroid are one set, which is encoded once: for the one that comes first
    both = [record for record in records_made if record.cell.method in ('centroid', 'herding')]
    assert len({record.distilled.hash for record in both}) == 1
    assert min(record.images_encoded for record in both) == 0 < max(record.images_encoded for record in both)


def test_a_second_run_makes_no_backbone_and_changes_nothing(whole, command, toy, own_plugins, monkeypatch):
    results, arguments, _ = whole
    before = files_below(results)
    monkeypatch.setattr(toy, 'frozen_backbone', refuse)
    outcome = command(*arguments)
    assert outcome.status == 0 and f'{CELLS} cells, {CELLS} of them done' in outcome.out and 'k_center' in outcome.out
    assert files_below(results) == before


def test_dry_run_writes_nothing_and_marks_what_is_done(whole, command, tmp_path):
    results, arguments, _ = whole
    before = files_below(results)
    done = command(*arguments, '--dry_run')
    assert done.status == 0 and done.out.count('  done  ') == CELLS and 'to do' not in done.out
    assert files_below(results) == before
    fresh = command(*arguments, '--dry_run', f'--results_dir={tmp_path / "none"}')
    assert fresh.out == done.out.replace('  done  ', '  to do  ').replace('\n', '  (new)\n')
    assert not (tmp_path / 'none').exists()
    assert all(record.key in done.out for record in load_records(results).values())


@pytest.mark.numerical
def test_force_runs_the_cells_again_and_gets_the_same_numbers(run_bench, tmp_path):
    lines = [
        "run.methods = ['lgm']", 'lgm.num_updates = 6', 'lgm.level_every = 1', 'lgm.num_views = 2',
        'lgm.num_augmentations = 1',
    ]  # fmt: skip
    assert run_bench(bind=lines).status == 0
    first = load_records(tmp_path / 'results')['lgm']
    again = run_bench('--force', bind=lines)
    second = load_records(tmp_path / 'results')['lgm']
    assert again.status == 0 and '[1/1]' in again.out
    assert second.provenance.created >= first.provenance.created and second.seconds != first.seconds
    assert second.distilled == first.distilled and second.correct == first.correct


@pytest.mark.numerical
def test_one_distilled_set_serves_every_eval_backbone_and_protocol(run_bench, tmp_path):
    outcome = run_bench(bind=[
        "run.methods = ['centroid']", "run.eval_backbones = ['toy_net', 'b=toy_net']",
        "run.protocol = ['paper-v1', 'ridge-v1']", 'b/toy_net.seed = 3',
    ])  # fmt: skip
    assert outcome.status == 0, outcome.err
    found = all_records(tmp_path / 'results')
    assert len(found) == 4 and len({record.distilled.hash for record in found}) == 1
    assert len(list((tmp_path / 'results' / 'distilled').rglob('set.json'))) == 1
    weights = {(r.cell.eval_backbone, r.fingerprints.eval_weights) for r in found}
    assert len({theirs for _, theirs in weights}) == len(weights) == 2
    assert len({r.fingerprints.source_weights for r in found}) == 1


# --- a user's method, and failures ------------------------------------------------------------------------------------


def test_a_method_from_one_file_runs_and_stands_in_the_leaderboard(run_bench, plugin, tmp_path):
    outcome = run_bench(plugin, bind=["run.methods = ['random', 'mine', 'third=mine']", 'third/mine.first = 2'])
    assert outcome.status == 0, outcome.err
    assert {row['method'] for row in rows_of(tmp_path / 'results')} == {'random', 'mine', 'third'}
    assert load_records(tmp_path / 'results')['third'].cell.settings['method_settings'] == {'first': 2}


def test_a_failing_method_leaves_a_record_others_go_on_and_it_is_tried_again(run_bench, plugin, tmp_path):
    lines = ["run.methods = ['mine', 'random']", 'mine.first = -1']
    outcome = run_bench(plugin, bind=lines)
    assert outcome.status == 1
    assert outcome.err == 'bench.run: 1 of 2 cells failed; their records hold the errors\n'
    assert 'FAILED, RuntimeError: no such place: -1' in outcome.out
    found = load_records(tmp_path / 'results')
    assert (found['mine'].status, found['random'].status) == ('failed', 'ok')
    error = found['mine'].error
    assert error.message == 'no such place: -1' and 'my_method.py' in error.traceback
    assert {row['method']: row['status'] for row in rows_of(tmp_path / 'results')} == {'mine': 'failed', 'random': 'ok'}

    # the same command tries it again, and only it
    again = run_bench(plugin, bind=lines)
    assert again.status == 1 and '2 cells, 1 of them done' in again.out
    mended = tmp_path / 'mended' / 'my_method.py'
    mended.parent.mkdir()
    mended.write_text(PLUGIN.replace('if first < 0', 'if False'))
    del registry._plugins['method']['mine']
    mended_run = run_bench(f'--plugin={mended}', bind=lines)
    assert mended_run.status == 0, mended_run.err
    # the failed record is of other code
    kept = [record for record in all_records(tmp_path / 'results') if record.cell.method == 'mine']
    assert sorted(record.status for record in kept) == ['failed', 'ok']
    assert len({record.cell.settings['code']['method'] for record in kept}) == 2


@pytest.mark.filterwarnings('ignore:invalid value encountered in cast')
def test_a_loss_that_is_not_finite_fails_the_cell_and_names_the_update(run_bench, tmp_path, monkeypatch):
    import methods.lgm

    calls = []

    def sometimes_nan(g_PCD, target_PCD):
        calls.append(None)
        return (g_PCD - target_PCD).sum() * (float('nan') if len(calls) == 5 else 1)

    monkeypatch.setattr(methods.lgm, 'gradient_distance', sometimes_nan)
    lines = ['lgm.num_updates = 8', 'lgm.level_every = 1', 'lgm.log_every = 4', 'lgm.num_views = 1']
    outcome = run_bench(bind=["run.methods = ['lgm']", *lines])
    assert outcome.status == 1
    error = load_records(tmp_path / 'results')['lgm'].error
    assert error.type == 'FloatingPointError' and error.message.startswith('the meta-loss is nan at update 5;')
    assert not list((tmp_path / 'results').rglob('set.json'))


@pytest.mark.parametrize('name', ['set.safetensors', 'set.json', 'cost.json'])
def test_a_damaged_distilled_set_is_moved_aside_and_made_again(run_bench, tmp_path, name):
    lines = ["run.methods = ['centroid']", "run.protocol = ['paper-v1', 'ridge-v1']"]
    assert run_bench(bind=[lines[0]]).status == 0
    (file,) = (tmp_path / 'results').rglob(name)
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    outcome = run_bench(bind=lines)
    assert outcome.status == 0
    (said,) = (line for line in outcome.out.splitlines() if 'is damaged' in line)
    assert f'distilled set {file.parent} is damaged' in said and 'made again' in said
    (aside,) = file.parent.parent.glob('.*.damaged-*')
    assert aside.name in said and (aside / name).read_bytes() == damaged
    assert name == 'cost.json' or file.read_bytes() == whole
    assert 'is damaged' not in run_bench('--force', bind=lines).out


def test_a_picture_that_cannot_be_drawn_fails_no_cell_and_one_that_was_lost_is_drawn_again(run_bench, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError('no font')

    lines = ["run.methods = ['centroid']"]
    with monkeypatch.context() as patched:
        patched.setattr(gallery, 'contact_sheet', fails)
        outcome = run_bench(bind=lines)
    assert outcome.status == 0 and 'pictures of centroid were not drawn: RuntimeError: no font' in outcome.out
    assert not list(tmp_path.rglob('contact_sheet.png'))
    assert run_bench('--force', bind=[*lines, "run.protocol = ['ridge-v1', 'paper-v1']"]).status == 0
    assert len(list(tmp_path.rglob('contact_sheet.png'))) == 1


# --- what is found on disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize('content', ['notes of mine', '{"schema_version": 99}', ''])
def test_a_file_that_is_no_record_in_a_cells_place_is_named_and_not_touched(run_bench, tmp_path, content):
    lines = ["run.methods = ['random']"]
    key = run_bench('--dry_run', bind=lines).out.split()[0]
    place = tmp_path / 'results' / 'records' / 'toy_data' / 'toy_net' / 'random' / f'{key}.json'
    place.parent.mkdir(parents=True)
    place.write_text(content)
    before = files_below(tmp_path)
    for flag in ([], ['--force'], ['--dry_run']):
        outcome = run_bench(*flag, bind=lines)
        assert outcome.status == 2 and str(place) in outcome.err and outcome.err.count('\n') == 1, outcome
    assert 'never overwritten' in outcome.err and files_below(tmp_path) == before


def test_records_of_other_images_under_the_same_name_stop_the_run(run_bench, toy, tmp_path, monkeypatch):
    lines = ["run.methods = ['random']"]
    assert run_bench(bind=lines).status == 0
    before = files_below(tmp_path / 'results')
    monkeypatch.setattr(toy, 'hash_bytes', lambda chunks: 'changed')
    outcome = run_bench(bind=lines)
    assert outcome.status == 2 and 'was made from other toy_data images' in outcome.err, outcome
    assert files_below(tmp_path / 'results') == before
    assert run_bench('--force', bind=lines).status == 0
    assert load_records(tmp_path / 'results')['random'].fingerprints.dataset['train'] == 'changed'


def test_an_unfinished_record_is_never_seen_when_writing_it_fails(run_bench, tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full_disk)
    outcome = run_bench(bind=["run.methods = ['random']"])
    assert outcome.status == 2 and 'cannot write: no space left on device' in outcome.err
    assert not list((tmp_path / 'results' / 'records').rglob('*.*'))


def test_whatever_is_written_may_be_read_as_the_umask_says(run_bench, tmp_path):
    before = os.umask(0o027)
    try:
        lines = ["run.methods = ['random', 'lgm']", 'lgm.num_updates = 3', "lgm.parameterization = 'pixels'"]
        assert run_bench(bind=lines).status == 0
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for folder in ('results', 'cache') for path in (tmp_path / folder).rglob('*')}
    assert any(path.name == 'set.safetensors' for path in modes)
    assert [path for path, mode in modes.items() if mode != (0o750 if path.is_dir() else 0o640)] == []


def test_an_interrupted_run_keeps_finished_cells_and_the_same_command_goes_on(command, tmp_path):
    lines = [
        *TOY_LINES, "run.methods = ['random', 'lgm']", 'lgm.num_updates = 100000', 'lgm.num_views = 1',
        "lgm.parameterization = 'pixels'", 'lgm.checkpoint_every = None',
    ]  # fmt: skip
    arguments = [f'--plugin={TOY}', f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}']
    flags = [*arguments, *(f'--gin_bindings={line}' for line in lines)]
    process = subprocess.Popen(
        [sys.executable, '-m', 'bench.run', *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list((tmp_path / 'results').rglob('toy_net/lgm/*/events.*')) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert 'Traceback' not in err and 'bench.run: interrupted; finished work is kept' in err
    assert [r.cell.method for r in all_records(tmp_path / 'results')] == ['random']
    left = [name for name in files_below(tmp_path) if '.unfinished' in name or '.tmp' in name]
    assert left == [] and not [name for name in files_below(tmp_path / 'results' / 'distilled') if '/lgm/' in name]
    short = [flag.replace('= 100000', '= 2') for flag in flags]
    rest = command(*short)
    assert rest.status == 0 and '2 cells, 1 of them done' in rest.out


def test_an_interrupt_that_falls_into_a_destructor_is_not_lost(monkeypatch):
    class Bar:
        def __del__(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, 'unraisablehook', cli.interrupt_again)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            Bar()
            time.sleep(60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - start < 30, 'it also ends a wait'
