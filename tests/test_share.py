"""Runs that share a results folder: each cell is computed once, and nothing of another run is lost."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import ROOT, TOY, TOY_LINES, all_records

import methods.lgm
from bench.core import leases
from bench.distillation.distilled_set import DistilledSet
from bench.pipeline import share

LINES = [
    "run.methods = ['random', 'centroid', 'lgm', 'neighbors']", 'run.seeds = [0, 1, 2]',
    "run.protocol = ['ridge-v1', 'paper-v1']", 'lgm.num_updates = 40', "lgm.parameterization = 'pixels'",
    'lgm.num_views = 1',
]  # fmt: skip

CHOSEN = ["run.methods = ['random', 'centroid']"]


@pytest.fixture
def started(tmp_path):
    """Start the toy grid in a process of its own; what is left is killed after the test."""
    processes = []

    def start(*flags):
        places = [f'--plugin={TOY}', f'--results_dir={tmp_path / "results"}', f'--cache_dir={tmp_path / "cache"}']
        lines = [f'--gin_bindings={line}' for line in (*TOY_LINES, *LINES)]
        processes.append(subprocess.Popen(
            [sys.executable, '-m', 'bench.run', *places, *lines, *flags], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, 'OMP_NUM_THREADS': '1'},
        ))  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def computed(out):
    """Return the cells that a run says it computed itself."""
    done = re.findall(r'^\[\d+/\d+\] (.*?): \d.*$', out, re.MULTILINE)
    by_others = re.findall(r'^\[\d+/\d+\] (.*?): \d.*, by another run$', out, re.MULTILINE)
    return Counter(done) - Counter(by_others)


def test_three_runs_share_a_grid_and_take_over_what_a_killed_one_left(started, tmp_path, run_bench, command):
    runs = [started() for _ in range(3)]
    deadline = time.monotonic() + 120
    while not list((tmp_path / 'results').rglob('*/lgm/.*.lease')) and time.monotonic() < deadline:
        time.sleep(0.01)
    (lease, *_) = (tmp_path / 'results').rglob('*/lgm/.*.lease')
    killed = next(run for run in runs if run.pid == json.loads(lease.read_text())['pid'])
    killed.kill()
    outs = {run: run.communicate(timeout=180)[0] for run in runs}
    assert [run.returncode for run in runs if run is not killed] == [0, 0], outs

    counts = sum((computed(out) for out in outs.values()), Counter())
    total = next(int(found) for out in outs.values() for found in re.findall(r'^(\d+) cells', out, re.MULTILINE))
    assert len(counts) == total and set(counts.values()) == {1}, counts
    records = {record.key: record for record in all_records(tmp_path / 'results')}
    assert len(records) == total and not list((tmp_path / 'results').rglob('.*'))

    places = [f'--plugin={TOY}', f'--results_dir={tmp_path / "alone"}', f'--cache_dir={tmp_path / "cache"}']
    assert command(*places, *(f'--gin_bindings={line}' for line in (*TOY_LINES, *LINES))).status == 0
    for alone in all_records(tmp_path / 'alone'):
        assert alone.correct == records[alone.key].correct and alone.distilled.hash == records[alone.key].distilled.hash
    hashes = {DistilledSet.load(path.parent).hash for path in (tmp_path / 'results').rglob('set.json')}
    assert hashes == {record.distilled.hash for record in records.values()}
    assert f'{total} cells, {total} of them done' in run_bench(bind=LINES).out


def test_a_cell_that_another_run_records_meanwhile_is_shown_and_not_computed(run_bench, tmp_path, monkeypatch):
    assert run_bench(bind=CHOSEN).status == 0
    kept = {path: path.read_bytes() for path in (tmp_path / 'results' / 'records').rglob('*.json')}
    for path in kept:
        path.unlink()
    take = leases.take

    def late(path):
        for record, content in kept.items():
            record.write_bytes(content)
        return take(path)

    monkeypatch.setattr(leases, 'take', late)
    outcome = run_bench(bind=CHOSEN)
    assert outcome.status == 0 and computed(outcome.out) == Counter()
    assert outcome.out.count('by another run') == len(kept)


def test_a_failure_that_another_run_records_counts_and_is_not_tried_again(run_bench, tmp_path, monkeypatch):
    def fails(*_):
        raise FloatingPointError('no')

    monkeypatch.setattr(methods.lgm, 'gradient_distance', fails)
    broken = ["run.methods = ['lgm']", 'lgm.num_updates = 2', "lgm.parameterization = 'pixels'"]
    assert run_bench(bind=broken).status == 1
    (path,) = (tmp_path / 'results' / 'records').rglob('*.json')
    monkeypatch.setattr(share, 'look', lambda *_, looks=[(1,), (2,)]: looks.pop(0) if looks else (2,))
    outcome = run_bench(bind=broken)
    assert outcome.status == 1 and 'FAILED, FloatingPointError' in outcome.out and 'by another run' in outcome.out
    assert path.exists()


def test_shards_are_disjoint_and_whole_and_keep_together_what_is_shared(run_bench):
    def cells(*flags):
        lines = run_bench('--dry_run', *flags, bind=[*LINES, "run.backbones = ['toy_net', 'b=toy_net']"]).out.splitlines()
        return {line.split()[0]: line.partition('  ')[2] for line in lines}

    whole, parts = cells(), [cells(f'--shard={i}/3') for i in (1, 2, 3)]
    assert sum(map(len, parts)) == len(whole) and set().union(*parts) == set(whole)
    for seed in range(3):
        for net in ('toy_net', 'b'):
            using = [
                any(f'{net}: lgm seed {seed}' in cell or f'{net}: neighbors seed {seed}' in cell for cell in part.values())
                for part in parts
            ]
            assert sum(using) <= 1
    assert cells('--shard=1/1') == whole


@pytest.mark.parametrize('text', ['0/3', '4/3', '1', 'a/b', '1/0', '-1/2'])
def test_a_shard_that_does_not_exist_is_an_error(run_bench, text):
    outcome = run_bench('--dry_run', f'--shard={text}', bind=LINES)
    assert outcome.status == 2 and 'expected i/n with 1 <= i <= n' in outcome.err and outcome.err.count('\n') == 1


def test_shards_take_no_leases(run_bench, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, '_OFF', False)
    monkeypatch.setattr(leases, '_create', lambda path: pytest.fail('a lease'))
    assert run_bench('--shard=1/1', bind=CHOSEN).status == 0
