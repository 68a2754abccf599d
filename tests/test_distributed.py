"""Several gloo processes give the same result as one; a process that dies ends the job."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, TOY, all_records, methods_where
from distributed_worker import LONG, METHODS, SHORT, all_images, distilled_images

from bench.distillation.distilled_set import DistilledSet
from bench.machine.processes import ALONE, World

WORKER = str(ROOT / 'tests' / 'distributed_worker.py')


def torchrun(processes, *arguments, limit=300):
    """Run a command in several processes on this machine; returns (exit status, output, seconds)."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}', *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=limit,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def sets_below(folder):
    """Return every distilled set by its path below a folder."""
    return {path.parent.relative_to(folder): DistilledSet.load(path.parent) for path in folder.rglob('set.json')}


def test_blocks_cover_all_rows_once_and_differ_by_at_most_one():
    for count, size in ((10, 3), (2, 5), (0, 2), (7, 7)):
        blocks = [list(range(count))[World(rank, size).share(count)] for rank in range(size)]
        assert sum(blocks, []) == list(range(count))
        lengths = [len(block) for block in blocks]
        assert max(lengths) - min(lengths) <= 1


def assert_alike(x_NCHW, expected_NCHW, precision):
    """Check that images differ by no more than the order of sums explains: docs/protocol.md, Rounding."""
    assert x_NCHW.shape == expected_NCHW.shape == (12, 3, 9, 9) and x_NCHW.dtype is getattr(torch, precision)
    bound = {'float64': 1e-9, 'float32': 1e-3}[precision]
    assert ((x_NCHW - expected_NCHW).norm() / expected_NCHW.norm()).item() < bound


@pytest.mark.numerical
@pytest.mark.parametrize('processes', [2, 3])
def test_several_processes_make_the_images_of_one(toy, tmp_path, processes):
    status, out, _ = torchrun(processes, WORKER, str(tmp_path / 'shared'), str(tmp_path / 'all.pt'))
    assert status == 0, out
    found, alone = torch.load(tmp_path / 'all.pt'), all_images(ALONE, tmp_path / 'alone')
    assert found.keys() == alone.keys() and len(alone) == 2 * len(METHODS) + 1
    for (name, precision, fresh), x_NCHW in alone.items():
        assert_alike(found[name, precision, fresh], x_NCHW, precision)


@pytest.mark.numerical
@pytest.mark.parametrize('name', METHODS)
def test_chunks_of_any_size_make_the_images_of_one_pass(toy, tmp_path, name):
    """12 images of two views each: all sizes up to 24 for LGM, some for the others, which share its loop."""
    for precision, schedule in (('float64', LONG), ('float32', SHORT)):
        whole_NCHW = distilled_images(ALONE, tmp_path, name, precision, **schedule)
        for size in range(1, 25) if name == 'lgm' else (1, 7, 24):
            x_NCHW = distilled_images(ALONE, tmp_path, name, precision, **schedule, chunk_size=size)
            assert_alike(x_NCHW, whole_NCHW, precision)


def test_a_process_that_dies_ends_the_job_with_its_error(tmp_path):
    status, out, seconds = torchrun(2, WORKER, str(tmp_path / 'cache'), str(tmp_path / 'out.pt'), 'fail')
    assert status != 0 and 'the second process fails here' in out
    assert seconds < 60 and not (tmp_path / 'out.pt').exists()


@pytest.mark.numerical
def test_more_processes_than_classes_leave_the_records_of_one(run_bench, tmp_path):
    """For every method; there is nothing to do for one process in three."""
    methods = methods_where()
    lines = [
        "run.datasets = ['toy_data']", "run.backbones = ['toy_net']", f'run.methods = {methods}',
        'toy_data.num_classes = 2', 'lgm.num_updates = 10', 'lgm.level_every = 2', 'lgm.num_views = 2',
        'lgm_fast.num_updates = 10', 'lgm_fast.level_every = 2', 'lgm_fast.log_every = 5', 'lgm_fast.checkpoint_every = 5',
        'paper_v1.epochs = 3', 'paper_v1.repeats = 2', 'paper_v1.num_views = 2', 'paper_v1.full_epochs = 1',
        'paper_v1.full_views = 1',
    ]  # fmt: skip
    bindings = [f'--gin_bindings={line}' for line in lines]
    places = [f'--results_dir={tmp_path / "three"}', f'--cache_dir={tmp_path / "cache_three"}']
    status, out, _ = torchrun(3, '-m', 'bench.run', f'--plugin={TOY}', '--device=cpu', *places, *bindings)
    assert status == 0, out
    assert out.count('1 of 3 processes are idle while images of toy_data are made: it has 2 classes') == 1
    assert run_bench(*bindings).status == 0
    three, one = ({r.key: r for r in all_records(tmp_path / name)} for name in ('three', 'results'))
    assert three.keys() == one.keys() and len(one) == len(methods)
    for key, record in one.items():
        # sums over processes have another order: a byte may be rounded the other way, and one test image with it
        assert three[key].top1 == pytest.approx(record.top1, abs=1.01 / record.n_test)
        assert three[key].images_encoded == record.images_encoded
    three, one = (sets_below(tmp_path / name / 'distilled') for name in ('three', 'results'))
    assert three.keys() == one.keys() and len(one) == len(methods)
    for folder, ours in one.items():
        theirs = three[folder]
        np.testing.assert_array_equal(theirs.labels_N, ours.labels_N)
        if ours.kind == 'real':
            np.testing.assert_array_equal(theirs.indices_N, ours.indices_N)
        else:
            assert np.abs(theirs.images_NHWC.astype(int) - ours.images_NHWC).max() <= 1, folder
    features = sorted(path.name for path in (tmp_path / 'cache_three' / 'features').iterdir())
    assert features == sorted(path.name for path in (tmp_path / 'cache' / 'features').iterdir())
    assert all(json.loads(path.read_text()) for path in (tmp_path / 'cache_three').rglob('key.json'))
