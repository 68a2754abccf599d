"""A record says all that is needed to run its cell again: committed ones can be rebuilt, and give the same numbers."""

import copy
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, TOY_LINES, all_records, files_below

from bench.config import registry
from bench.core.errors import InputError
from bench.core.hashing import derive_seed, short_hash
from bench.core.types import Places
from bench.features.views import CenterView, RandomView
from bench.pipeline import probe as second_stage
from bench.pipeline import replay
from bench.pipeline.replay import TOLERANCE, Replay, cell_of
from bench.pipeline.session import Session
from bench.probes.task import ProbeTask
from bench.results.record import Correct, Record
from bench.results.store import dumps, load
from methods._synthesis import distil
from tests import commands

COMMITTED = ROOT / 'results' / 'records'
WORLD = [
    "run.methods = ['random', 'centroid', 'lgm', 'mine=lgm', 'neighbors', 'full']", 'run.seeds = [1]',
    "lgm.parameterization = 'pixels'", 'lgm.num_updates = 2', 'lgm.num_augmentations = 1', 'lgm.num_views = 1',
    'mine/lgm.noise_prob = 0.0', 'lgm.checkpoint_every = None',  # the last changes nothing, and no record keeps it
    "run.eval_backbones = ['toy_net', 'other=toy_net']", 'other/toy_net.seed = 1', 'paper_v1.full_epochs = 2',
]  # fmt: skip


def session_in(folder):
    places = Places(None, None, folder / 'cache')
    return Session(places, folder / 'results', torch.device('cpu'), say=lambda line: None)


@pytest.fixture
def toy_record(run_bench, tmp_path):
    """The record of one cell of the toy world, lgm's."""
    assert run_bench(bind=["run.methods = ['lgm']", *WORLD[2:6], 'lgm.log_every = 1']).status == 0
    (record,) = all_records(tmp_path / 'results')
    return record


# --- from a record to its cell ----------------------------------------------------------------------------------------


def test_the_cell_of_every_committed_record_can_be_rebuilt(monkeypatch):
    monkeypatch.setattr(registry, 'find', cache(registry.find))  # it reads all methods' files each time
    problems, labelled = {}, 0
    paths = sorted(COMMITTED.rglob('*.json'))
    assert len(paths) > 700
    for path in paths:
        record = load(path)
        try:
            cell = cell_of(record)
        except InputError as error:
            problems[str(path.relative_to(COMMITTED))] = str(error)
            continue
        kept = record.cell.config
        assert cell.key == record.key == path.stem and cell.config == kept
        assert vars(record.method_facts) == cell.method_facts
        labelled += kept['eval_backbone'] != kept['eval_name']
    assert not problems
    assert labelled, 'backbones with labels of their own, such as mobilenetv2_100=timm:mobilenetv2_100, are among them'


def test_changed_settings_are_refused_with_both_keys(toy_record, monkeypatch):
    cell = cell_of(toy_record)
    assert cell.key == toy_record.key
    changed = copy.deepcopy(toy_record)
    changed.cell.settings['method_settings']['num_updates'] += 1
    changed = replace(changed, provenance=replace(changed.provenance, commit='abc123'))
    with pytest.raises(InputError) as caught:
        cell_of(changed)
    said = str(caught.value)
    assert said.startswith(f'record {toy_record.key} cannot be replayed: its cell now has the key ')
    assert said.endswith('check out its commit, abc123') and '\n' not in said
    there = said.partition('has the key ')[2].partition(',')[0]
    assert len(there) == 16 and there != toy_record.key
    # a setting that was added since
    older = copy.deepcopy(toy_record)
    del older.cell.settings['method_settings']['flip_prob']
    older = replace(older, key=short_hash(older.cell.config))
    with pytest.raises(InputError, match=f'record {older.key} .* has the key {toy_record.key}, because a setting'):
        cell_of(older)
    monkeypatch.setattr('bench.probes.task.PROBE_VERSION', -1)
    with pytest.raises(InputError, match=f'record {toy_record.key} .* or a protocol has changed'):
        cell_of(toy_record)


@pytest.mark.numerical
def test_images_are_made_again_in_the_chunks_they_were_made_in(run_bench, tmp_path):
    lines = [
        "run.methods = ['lgm', 'mine=lgm', 'neighbors']", *WORLD[2:6], "neighbors.of = 'lgm'", 'mine/lgm.noise_prob = 0.0',
        'mine/lgm.chunk_size = 5',
    ]  # fmt: skip
    assert run_bench(bind=[*lines, 'lgm.chunk_size = 3']).status == 0
    # the sets are loaded from disk: another chunk size of this run is none of theirs
    other = [*lines, 'lgm.chunk_size = 4', "run.eval_backbones = ['other=toy_net']", 'other/toy_net.seed = 1']
    assert run_bench(bind=other).status == 0
    records = all_records(tmp_path / 'results')
    assert len(records) == 6
    for record in records:
        cell = cell_of(record)
        if record.cell.method == 'neighbors':
            assert cell.of.settings['chunk_size'] == (3 if record.cell.eval_backbone == 'toy_net' else 4)
            continue
        size = {'lgm': 3, 'mine': 5}[record.cell.method]
        facts = record.distilled.facts
        assert (facts['chunk_size'], facts['processes'], facts['compile_backbone']) == (size, 1, False)
        assert cell.method.settings['chunk_size'] == size
        # records of before have only the bindings of their run
        before = replace(record, distilled=replace(record.distilled, facts={}))
        bound = {'mine': 5, 'lgm': 3 if record.cell.eval_backbone == 'toy_net' else 4}[record.cell.method]
        assert cell_of(before).method.settings['chunk_size'] == bound
        assert cell_of(replace(before, gin=None)).method.settings['chunk_size'] is None


def test_what_is_gone_since_is_named(toy_record):
    gone = copy.deepcopy(toy_record)
    gone.cell.settings['method_settings']['temperament'] = 3
    with pytest.raises(InputError, match='cannot be replayed: lgm no longer has a setting temperament; check out'):
        cell_of(gone)
    gone = copy.deepcopy(toy_record)
    gone.cell.settings['method_name'] = 'lgmm'
    with pytest.raises(InputError, match="unknown method 'lgmm'; did you mean lgm"):
        cell_of(gone)


# --- running it again -------------------------------------------------------------------------------------------------


@pytest.mark.numerical
def test_every_kind_of_cell_of_the_toy_world_replays_identically(run_bench, tmp_path):
    outcome = run_bench(bind=WORLD)
    assert outcome.status == 0, outcome
    made = all_records(tmp_path / 'results')
    cells = {(r.cell.method, r.cell.eval_backbone) for r in made}
    assert len(cells) == len(made) == 12 and {('mine', 'other'), ('neighbors', 'other'), ('full', 'toy_net')} <= cells
    session = session_in(tmp_path / 'again')
    for record in made:
        assert '+' in record.cell.protocol, 'with settings of its own'
        found = replay.replay(record, session)
        assert found.same_platform and found.identical and found.same_images and found.difference == 0
        assert str(found) == f'identical: {100 * record.mean:.2f} %, the same test images are correct'
    before = files_below(session.results_dir)
    with pytest.raises(InputError, match=f'already holds record {made[0].key}: replay into another results folder'):
        replay.replay(made[0], session)
    assert files_below(session.results_dir) == before


def test_a_failed_record_is_refused(toy_record, tmp_path):
    with pytest.raises(InputError, match=f'record {toy_record.key} is of a failed cell'):
        replay.replay(replace(toy_record, status='failed'), session_in(tmp_path / 'again'))
    assert not (tmp_path / 'again').exists()


def test_other_data_are_refused(toy_record, tmp_path):
    other = replace(toy_record, fingerprints=replace(toy_record.fingerprints, eval_weights='retrained'))
    with pytest.raises(InputError, match='was made from other data or weights than those found here'):
        replay.replay(other, session_in(tmp_path / 'again'))


def test_a_cell_that_fails_is_no_replay_even_where_an_earlier_one_is_kept(toy_record, tmp_path, monkeypatch):
    import methods.lgm

    def broken(*args):
        raise RuntimeError('no gradient today')

    with monkeypatch.context() as patched:
        patched.setattr(methods.lgm, 'gradient_distance', broken)
        with pytest.raises(RuntimeError, match='toy_data x toy_net: lgm .*: RuntimeError: no gradient today'):
            replay.replay(toy_record, session_in(tmp_path / 'again'))
    assert replay.replay(toy_record, session_in(tmp_path / 'again'), force=True).identical
    monkeypatch.setattr(methods.lgm, 'gradient_distance', broken)
    with pytest.raises(RuntimeError, match='toy_data x toy_net: lgm .*: it failed: see above'):
        replay.replay(toy_record, session_in(tmp_path / 'again'), force=True)


def test_what_differs_is_said(toy_record):
    def record(correct_RN, digest):
        return replace(
            toy_record, correct=Correct.pack(np.array(correct_RN)), mean=float(np.mean(correct_RN)),
            distilled=replace(toy_record.distilled, hash=digest),
        )  # fmt: skip

    found = Replay(record([[1, 1, 0, 0], [1, 1, 0, 0]], 'a'), record([[1, 1, 1, 0], [1, 0, 1, 0]], 'a'))
    assert not found.identical and found.same_images and found.difference == pytest.approx(0.125)
    assert str(found) == (
        '50.00 -> 62.50 % (+12.50 points; correctness changed for 37.50 % of the test images; '
        'same images in the distilled set)'
    )
    assert 'other images' in str(Replay(record([[1, 0]], 'a'), record([[0, 1]], 'b')))
    several = replace(found.old, distilled=replace(found.old.distilled, facts={'processes': 2}))
    assert found.same_platform and not Replay(several, found.new).same_platform
    assert str(Replay(several, found.new)).endswith('distilled set; its images were made by 2 processes, these by 1)')
    assert str(Replay(several, several)).startswith('identical') and 'processes' not in str(Replay(several, several))


@pytest.mark.numerical
def test_the_command(toy_record, tmp_path):
    def main(*paths, results_dir=tmp_path / 'again'):
        words = [f'--record={path}' for path in paths]
        return commands.run('bench.replay', *words, f'--results_dir={results_dir}', f'--cache_dir={tmp_path / "cache2"}')

    (path,) = (tmp_path / 'results' / 'records').rglob('*.json')
    for _ in range(2):  # over its own result
        done = main(path)
        assert done.status == 0 and done.out.splitlines()[-1].startswith(f'{path}: identical: ')
    other = tmp_path / 'other' / path.name
    other.parent.mkdir()
    correct_RN = ~toy_record.correct.unpack()
    top1 = [float(share) for share in correct_RN.mean(axis=1)]
    changed = replace(toy_record, correct=Correct.pack(correct_RN), top1=top1, mean=toy_record.mean - 2 * TOLERANCE)
    other.write_text(dumps(changed))
    done = main(other, path)
    assert done.status == 1
    assert f'({200 * TOLERANCE:+.2f} points; correctness changed for 100.00 % of the test images; same images' in done.out
    before = path.read_bytes()
    for done, said in (
        (main(path, results_dir=tmp_path / 'results'), f'the replay would overwrite {path}; use another folder'),
        (main(), 'expected --record=FILE'),
        (main(tmp_path / 'none.json'), 'none.json: cannot be read: No such file'),
    ):
        assert done.status == 2 and said in done.err and done.err.count('\n') == 1
    assert path.read_bytes() == before


# --- on another processor -----------------------------------------------------------------------------------------------

# as `make test-portable` sets them: torch, oneDNN, MKL and numpy's OpenBLAS have to be told separately
PROCESSORS = [
    dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41', MKL_CBWR='COMPATIBLE', OPENBLAS_CORETYPE='Nehalem'),
    dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', MKL_CBWR='AVX2', OPENBLAS_CORETYPE='Haswell'),
]
# 40 test images of a class, five probes that do not learn all, and updates large enough to amplify rounding
FAR = [
    *TOY_LINES[:2], "run.methods = ['random', 'lgm', 'full']", 'run.seeds = [1]', 'toy_data.per_class = 40',
    'lgm.num_updates = 12', 'lgm.level_every = 2', 'lgm.num_augmentations = 2', 'lgm.num_views = 2',
    'lgm.learning_rate = 0.05', 'paper_v1.epochs = 30', 'paper_v1.full_epochs = 3', 'paper_v1.num_views = 4',
    'paper_v1.full_views = 2', 'paper_v1.rate_per_256 = 0.03',
]  # fmt: skip


@pytest.fixture(scope='module')
def from_afar(toy, tmp_path_factory):
    """Records by method, made by a process whose arithmetic is that of another processor."""
    folder = tmp_path_factory.mktemp('afar')
    other = next(each for each in PROCESSORS if each['ATEN_CPU_CAPABILITY'] != os.environ.get('ATEN_CPU_CAPABILITY'))
    places = [f'--results_dir={folder / "results"}', f'--cache_dir={folder / "cache"}', '--device=cpu']
    subprocess.run(
        [sys.executable, '-m', 'bench.run', f'--plugin={TOY}', *places, *(f'--gin_bindings={line}' for line in FAR)],
        cwd=ROOT, env={**os.environ, **other}, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return {record.cell.method: record for record in all_records(folder / 'results')}


def replayed_here(record, folder):
    """Replay a record with the weights of this process: they are drawn at random, elsewhere with other last bits."""
    session = session_in(folder)
    weights = session.backbone(cell_of(record).eval).fingerprint
    used = {name: weights for name in ('source_weights', 'eval_weights') if getattr(record.fingerprints, name)}
    return replay.replay(replace(record, fingerprints=replace(record.fingerprints, **used)), session)


@pytest.mark.numerical
@pytest.mark.parametrize('method', ['random', 'lgm', 'full'])
def test_a_record_of_another_processor_replays_within_the_tolerance(from_afar, tmp_path, method):
    found = replayed_here(from_afar[method], tmp_path)
    assert not found.same_platform and abs(found.difference) <= TOLERANCE == 0.01, str(found)


def seedless(purpose):
    return lambda *parts: derive_seed(*parts[: 2 if parts[:2] == ('synthesis', purpose) else None])


@pytest.mark.numerical
@pytest.mark.parametrize(
    'method, module, name, mistake',
    [
        ('full', second_stage, 'ProbeTask', lambda **given: ProbeTask(**{**given, 'is_full': False})),
        ('lgm', distil, 'derive_seed', seedless('views')),
        ('lgm', distil, 'derive_seed', seedless('real')),
    ],
    ids=['full data probed as a small set', 'views ignore the seed', 'real draws ignore the seed'],
)
def test_a_replay_notices_a_mistake(from_afar, tmp_path, monkeypatch, method, module, name, mistake):
    monkeypatch.setattr(module, name, mistake)
    found = replayed_here(from_afar[method], tmp_path)
    assert abs(found.difference) > TOLERANCE, str(found)


# --- the committed records --------------------------------------------------------------------------------------------


def committed(folder: Path, methods: tuple[str, ...] = ('random', 'centroid', 'lgm_fast', 'full')) -> list[Record]:
    """Return the records of the smallest seed of these methods, on the first of two encoders that has them all."""
    for backbone in ('tiny_moco', 'tiny_clip'):
        found = []
        for method in methods:
            kept = [load(path) for path in (folder / 'plumage_spurious' / backbone / method).glob('*.json')]
            kept = [r for r in kept if r.status == 'ok' and r.cell.protocol == 'paper-v1' and r.cell.ipc in (1, None)]
            found += sorted(kept, key=lambda record: record.cell.seed)[:1]
        if len(found) == len(methods):
            return found
    return []


@pytest.fixture
def one_thread():
    """The suite runs with one thread a process (Makefile), and the order of a sum changes its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_committed_records_of_the_suite_replay(tmp_path, one_thread):
    kept = committed(COMMITTED)
    if not kept:
        pytest.skip('no committed records of these methods on plumage_spurious yet: make suite makes them')
    session = session_in(tmp_path)
    for record in kept:
        found = replay.replay(record, session)
        said = f'{record.cell.method} {record.key}: {found}'
        if found.same_platform:
            assert found.identical and found.same_images, said
        else:
            assert abs(found.difference) <= TOLERANCE, said


@pytest.mark.numerical
def test_a_replay_notices_a_probe_that_is_trained_on_the_test_view(tmp_path, one_thread, monkeypatch):
    """Not in the toy world, whose pictures look the same in every view."""
    kept = committed(COMMITTED, ('centroid',))
    if not kept:
        pytest.skip('no committed record of centroid on plumage_spurious yet: make suite makes it')
    monkeypatch.setattr(
        RandomView, '__call__', lambda self, image, **which: CenterView(self.side, self.interpolation)(image, **which)
    )
    assert abs(replay.replay(kept[0], session_in(tmp_path)).difference) > TOLERANCE
