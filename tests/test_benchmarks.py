"""The benchmarks: both timed formulations compute the same gradient, and the reports are complete."""

import json
import multiprocessing
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TOY_LINES

from bench.core.errors import InputError
from bench.core.types import Places
from bench.features.crops import _grid
from bench.results.record import Seconds
from bench.results.store import load
from benchmarks import imagenet_scale, lgm_accuracy, lgm_memory, lgm_step
from benchmarks.imagenet_scale import Size
from benchmarks.lgm_accuracy import Preset
from methods._synthesis.augment import Augmentation
from methods._synthesis.pyramid import Pyramid
from tests import commands

CPU = torch.device('cpu')
STEP_KEYS = {
    'ratio', 'outside_share', 'peak_memory_mb', 'ours_seconds', 'released_seconds', 'backbone', 'classes', 'augmentations',
    'input_side', 'precision', 'device', 'torch', 'repetitions', 'spread', 'gradient_difference',
}  # fmt: skip


def _work(name='tiny_simclr', **changed):
    settings = {'classes': 3, 'augmentations': 2, 'input_side': 32, 'precision': 'float32', 'device': CPU, **changed}
    return lgm_step.make_workload(name, **settings)


# --- one update ---------------------------------------------------------------------------------------------------------


@pytest.mark.numerical
@pytest.mark.parametrize('chunk_size', [None, 1, 4])
@pytest.mark.parametrize('name', ['tiny_simclr', 'test_vit'])
def test_the_released_formulation_has_the_same_image_gradient_as_ours(name, chunk_size):
    work = _work(name)
    work.chunk_size = chunk_size
    assert work.network is not work.backbone.network and all(p.requires_grad for p in work.network.parameters())
    assert lgm_step.gradient_difference(work) < 1e-4
    weights = list(work.network.parameters())
    assert any(weight.grad is not None for weight in weights), 'the release goes backward to the weights too'
    assert all(parameter.grad is None for parameter in work.backbone.network.parameters())


@pytest.mark.numerical
def test_other_probes_views_or_real_images_have_another_gradient():
    work = _work()
    views = work.views()

    def gradient(views, w_CD):
        work.optimizer.zero_grad(set_to_none=True)
        lgm_step.released_backward(work, views, w_CD)
        return torch.cat([level.grad.flatten() for level in work.pyramid.levels])

    w_CD = lgm_step.draw_probe(work)
    base = gradient(views, w_CD)
    torch.testing.assert_close(gradient(views, w_CD), base)
    others = [gradient(work.views(), w_CD), gradient(views, 100 * lgm_step.draw_probe(work))]
    work.x_BCHW = work.x_BCHW.roll(1, dims=0)
    for other in [*others, gradient(views, w_CD)]:
        assert (other - base).norm() > 1e-2 * base.norm()


def test_a_step_reports_what_it_promises():
    found = lgm_step.measure(_work(), repetitions=2)
    assert found.keys() >= STEP_KEYS and json.loads(json.dumps(found)) == found
    assert found['ours_seconds'] > 0 and found['released_seconds'] > found['released_real_seconds'] > 0
    low, high = found['spread']['ratio']
    assert 0 < low <= found['ratio'] <= high
    assert 0 < found['outside_share'] < 1
    text = lgm_step.report(found)
    assert 'goal <= 0.45' in text and 'goal < 5%' in text


@pytest.mark.parametrize(('chunk_size', 'spans'), [(None, 2), (2, 9)])
def test_the_clock_sees_every_pass_through_the_backbone(chunk_size, spans):
    work, clock = _work(), lgm_step.Clock(CPU)
    work.chunk_size = chunk_size
    lgm_step.our_backward(work, work.views(), lgm_step.ClockedBackbone(work.backbone, clock))
    assert len(clock.spans) == spans  # forward and backward; in chunks one more forward pass of each
    assert all(end > start for start, end in clock.spans)


def test_an_unknown_network_is_named():
    with pytest.raises(InputError, match='--backbone=vit_smal'):
        _work('vit_smal')


# --- the fast forms compute what the plain ones do ----------------------------------------------------------------------


@pytest.mark.numerical
@pytest.mark.parametrize('start_size', [1, 8, 20])
def test_decoding_sums_bilinear_upsamples_and_so_does_its_gradient(start_size):
    pyramid = Pyramid(4, image_size=20, start_size=start_size, decorrelate=False, seed=0)
    weights = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    while True:
        for level in pyramid.levels:
            level.grad = None
        plain = [level.detach().clone().requires_grad_() for level in pyramid.levels]
        ups = [F.interpolate(level[1:3], (20, 20), mode='bilinear', align_corners=False) for level in plain]
        expected = torch.sigmoid(2 * sum(ups))
        decoded = pyramid.decode(slice(1, 3))
        torch.testing.assert_close(decoded, expected)
        for _ in range(2):  # gradients add up over blocks
            (expected * weights).sum().backward(retain_graph=True)
        (decoded * weights).sum().backward()
        (pyramid.decode(slice(1, 3)) * weights).sum().backward()
        for level, other in zip(pyramid.levels, plain, strict=True):
            torch.testing.assert_close(level.grad, other.grad, rtol=1e-4, atol=1e-5)
        if pyramid.complete:
            return
        pyramid.grow()


@pytest.mark.numerical
def test_the_sampling_grid_is_that_of_an_affine_map():
    views = Augmentation().sample(3, 2, side=40, generator=torch.Generator().manual_seed(0))
    top, left, height, width = views.boxes_NA4.flatten(0, 1).unbind(1)
    zero, mirrored = torch.zeros_like(top), torch.where(views.flip_NA.flatten(), -width, width)
    rows = [torch.stack([mirrored, zero, 2 * left + width - 1], 1), torch.stack([zero, height, 2 * top + height - 1], 1)]
    expected = F.affine_grid(torch.stack(rows, dim=1), [6, 3, 24, 24], align_corners=False)
    torch.testing.assert_close(_grid(views.boxes_NA4, views.flip_NA, side=24).permute(1, 2, 3, 0), expected)


# --- memory -------------------------------------------------------------------------------------------------------------


def test_memory_counts_the_images_exactly():
    row = lgm_memory.measure(
        backbone='tiny_simclr', input_side=32, classes=4, augmentations=3, chunk_size=3, precision='float32', device='cpu'
    )
    sides = [1, 2, 4, 8, 16, 32, 37]  # 256/224 of 32 px
    assert row['images_mb'] * 2**20 == 4 * 4 * 4 * 3 * sum(side * side for side in sides)
    assert row['chunks'] == 4 and row['features_mb'] * 2**20 == 3 * 4 * 448 * 4
    assert row['working_mb'] == row['peak_mb'] - row['before_mb'] - row['images_mb']
    assert '3' in lgm_memory.report([row]) and lgm_memory.growth([row]) == {}


def test_growth_starts_where_there_are_three_chunks():
    rows = [
        {'augmentations': 2, 'classes': classes, 'chunks': chunks, 'working_mb': working}
        for classes, chunks, working in ((1000, 50, 110.0), (10, 1, 20.0), (100, 5, 100.0), (300, 15, 120.0))
    ]
    assert lgm_memory.growth(rows) == {2: pytest.approx(0.2)}


# --- accuracy over time -------------------------------------------------------------------------------------------------


@pytest.fixture
def accuracy_of(toy, tmp_path):
    """Run `lgm_accuracy.measure` for presets given by their lines, on the toy world."""
    from bench.pipeline.session import Session

    base = tmp_path / 'base.gin'
    base.write_text(
        "run.datasets = ['toy_data']\nrun.backbones = ['toy_net']\n"
        "run.methods = ['random']\nrun.seeds_for = {'random': [3]}\n"
        'paper_v1.epochs = 2\npaper_v1.repeats = 2\npaper_v1.num_views = 2\n'
        'lgm.level_every = 1\nlgm.level_delay = 0\nlgm.num_augmentations = 2\nlgm.num_views = 2\nlgm.num_updates = 7\n'
    )

    def run(presets, **settings):
        named = []
        for name, lines in presets.items():
            path = tmp_path / f'{name}.gin'
            path.write_text(lines)
            named.append(Preset.parse(f'{name}={path if lines else ""}{"@6" if name == "own" else ""}'))
        session = Session(Places(None, None, tmp_path / 'cache'), tmp_path / 'results', CPU, say=lambda line: None)
        settings = {'method': 'lgm', 'updates': [], 'gin_files': [str(base)], 'bindings': [], 'cold': True, **settings}
        return lgm_accuracy.measure(session, named, **settings)

    return run


def test_accuracy_has_a_row_for_every_preset_and_time_and_goes_on_from_its_records(accuracy_of, tmp_path):
    presets = {'slow': '', 'fast': 'lgm.num_augmentations = 1\n'}
    rows = accuracy_of(presets, updates=[5, 6], bindings=['run.seeds = [0, 1]'])
    assert [(row['preset'], row['updates']) for row in rows] == [('slow', 5), ('slow', 6), ('fast', 5), ('fast', 6)]
    assert all(row['status'] == 'ok' and row['n_repeats'] == 4 and row['seconds_method'] > 0 for row in rows)
    assert rows[1]['speed_up'] == 1
    assert rows[3]['speed_up'] == pytest.approx(rows[1]['seconds_method'] / rows[3]['seconds_method'])
    kept = [load(path) for path in (tmp_path / 'results' / 'records').rglob('*.json')]
    encoded = {(record.cell.method, record.images_encoded) for record in kept}
    assert len(kept) == 8 and len(encoded) == 4, 'every run encodes the real images itself'
    text = lgm_accuracy.report(rows)
    assert 'toy_data x toy_net, ipc 1' in text and text.count('\n  fast ') == 2

    more = accuracy_of({**presets, 'own': ''}, bindings=['run.seeds = [0]'])
    assert [(row['preset'], row['updates']) for row in more] == [('slow', 7), ('fast', 7), ('own', 6)]
    assert accuracy_of(presets, updates=[5, 6], bindings=['run.seeds = [0, 1]']) == rows  # seconds and all: nothing ran


def test_the_accuracy_command_prints_its_table_and_writes_its_rows(toy, tmp_path):
    own = [f'lgm_fast.{line}' for line in ('level_every = 1', 'num_augmentations = 1', 'num_views = 1', 'num_updates = 5')]
    lines = [*TOY_LINES, 'run.seeds = [0]', *own]
    arguments = ['--preset=own=', f'--results_dir={tmp_path / "results"}', f'--json={tmp_path / "rows.json"}']
    bindings = [f'--gin_bindings={line}' for line in lines]
    done = commands.run('benchmarks.lgm_accuracy', *arguments, *bindings)
    assert done.status == 0 and 'toy_data x toy_net, ipc 1' in done.out
    assert [row['preset'] for row in json.loads((tmp_path / 'rows.json').read_text())] == ['own']


def test_updates_that_end_before_the_last_level_are_refused_before_any_work(accuracy_of, tmp_path):
    with pytest.raises(InputError, match='slow_2/lgm.num_updates = 2 with slow_2/lgm.level_every'):
        accuracy_of({'slow': ''}, updates=[5, 2])
    assert not (tmp_path / 'results' / 'records').exists()


def test_a_preset_is_a_word_a_file_and_updates():
    assert Preset.parse('fast=gin/a=b.gin') == Preset('fast', 'gin/a=b.gin')
    assert Preset.parse('base=@50,100') == Preset('base', '', (50, 100))
    assert Preset.parse('quick=lgm_fast@50') == Preset('quick', '', (50,), 'lgm_fast')
    with pytest.raises(InputError, match='positive numbers'):
        Preset.parse('base=@50,-1')
    for text in ('gin/methods/lgm_released.gin', 'two words=x.gin'):
        with pytest.raises(InputError, match='expected name=METHOD or name=FILE.gin'):
            Preset.parse(text)


# --- the size of ImageNet-1k --------------------------------------------------------------------------------------------


def test_class_sizes_are_those_of_imagenet_in_sum_and_range():
    sizes = imagenet_scale.class_sizes(1_281_167, 1000)
    assert (len(sizes), sizes.sum(), sizes.min(), sizes.max()) == (1000, 1_281_167, 732, 1300)
    assert 850 < (sizes == 1300).sum() < 950
    np.testing.assert_array_equal(imagenet_scale.class_sizes(1_281_167, 1000), sizes)
    for images, classes in ((100, 10), (5000, 50), (31, 2)):
        small = imagenet_scale.class_sizes(images, classes)
        assert len(small) == classes and small.sum() == images and small.min() > 0
    with pytest.raises(InputError, match='give at least 10 per class'):
        imagenet_scale.class_sizes(40, 50)


@pytest.mark.numerical
def test_pretended_features_are_of_one_image_each_and_lie_around_their_class():
    parts = {'images': 3000, 'classes': 6, 'test_images': 600}
    data = imagenet_scale.pretended_data(None, **parts)
    backbone = imagenet_scale.pretended_backbone(None, CPU, **parts, width=48)
    pictures = [split.images[i] for split in (data.train, data.test) for i in range(len(split))]
    assert pictures[-1].getpixel((3, 3)) == (0, 3599 // 256, 3599 % 256)
    x_NCHW = torch.tensor([picture.getpixel((0, 0)) for picture in pictures])[:, :, None, None] / 255
    f_ND = backbone.encode(x_NCHW)
    np.testing.assert_array_equal(f_ND, backbone.encode(x_NCHW))
    assert len(f_ND.unique(dim=0)) == 3600
    labels = torch.from_numpy(np.concatenate([data.train.labels_N, data.test.labels_N]))
    centres = torch.stack([f_ND[:3000][labels[:3000] == label].mean(dim=0) for label in range(6)])
    right = torch.cdist(f_ND[3000:], centres).argmin(dim=1) == labels[3000:]
    assert 0.5 < right.double().mean() < 0.999


def test_a_dry_run_of_few_images_runs_every_stage(own_plugins, tmp_path, capsys):
    size = Size(images=300, classes=6, test_images=60, width=16, epochs=2, views=2, repeats=2)
    rows = [
        {'stage': name, 'seconds': 1.0, 'memory': 5e9, 'own': 1e9, 'records': imagenet_scale.run_stage(name, size, tmp_path)}
        for name in imagenet_scale.STAGES
    ]
    printed = capsys.readouterr().out
    assert 'k_center' in printed and 'full' in printed and 'FAILED' not in printed
    found = {row['stage']: row['records'][0] for row in rows if row['records']}
    assert found.keys() == {*imagenet_scale.SELECTORS, 'full data, ridge-v1', 'full data, paper-v1'}
    # what they read was encoded in a stage of its own, but for the images they chose; herding's first are the centroid's
    assert {name: record.images_encoded for name, record in found.items()} == {
        'random, ipc 1': 6, 'centroid, ipc 1': 6, 'herding, ipc 1': 0, 'herding, ipc 10': 60, 'k_center, ipc 1': 6,
        'full data, ridge-v1': 0, 'full data, paper-v1': 0,
    }  # fmt: skip
    assert found['full data, ridge-v1'].mean > 0.3 > 1 / 6
    for row in rows:
        row['records'] = [replace(record, seconds=Seconds(method=42.0, probe=36.0)) for record in row['records']]
    text = imagenet_scale.report(rows, size)
    assert 'peak memory 5.0 GB of 6; slowest selector 42 s of 300' in text
    # 36 s for 2 epochs x 2 repeats: 100 x 5 take 4500 s
    assert '100 epochs x 5 repeats would take about 1.2 h, 8 views 0.0 GB of disk' in text


def _hold(megabytes, ready):
    held = np.ones(megabytes << 17)
    ready.set()
    time.sleep(30)
    return held


def test_memory_is_that_of_a_process_and_all_below_it():
    ready = multiprocessing.get_context('fork').Event()
    before, after = imagenet_scale.Watch(), imagenet_scale.Watch()
    before.look(os.getpid())
    child = multiprocessing.get_context('fork').Process(target=_hold, args=(200, ready))
    child.start()
    try:
        assert ready.wait(20)
        after.look(os.getpid())
    finally:
        child.kill()
        child.join()
    assert 190 << 20 < after.own - before.own < 300 << 20
    assert before.memory >= before.own and imagenet_scale._fields('/proc/0/status') == {}
