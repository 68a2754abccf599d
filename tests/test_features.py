"""The feature store and the views: computed once, recomputed when anything differs, the same for every process."""

import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import Pictures
from PIL import Image
from scipy import stats

from bench.core import leases, progress
from bench.core.types import Split
from bench.features import crops
from bench.features import encode as encoding
from bench.features import store as storing
from bench.features.encode import as_floats, encode, release, workers_for
from bench.features.store import FeatureStore
from bench.features.views import CenterView, RandomView, resize_side
from methods._synthesis.augment import Augmentation

pytestmark = pytest.mark.numerical

N = 5


@pytest.fixture(scope='module')
def backbone(toy):
    return toy.toy_net(None, torch.device('cpu'))


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path)


def make_split(count=N, seed=0, name='train', fingerprint='data'):
    images = np.random.default_rng(seed).integers(0, 256, (count, 14, 18, 3))
    return Split(name, Pictures(images), np.arange(count) % 2, ('a', 'b'), fingerprint)


VIEW = CenterView(8, 'bilinear')
RANDOM = RandomView(8, 'bilinear', seed=1, noise_std=0.2, noise_prob=0.5)


def entries(store):
    return sorted((store.cache_dir / 'features').iterdir())


# --- the store --------------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_backbone_and_are_computed_once(store, backbone):
    split = make_split()
    f_VND = store.features(split, backbone, VIEW)
    x_NCHW = torch.stack([VIEW(image, index=i, view=0) for i, image in enumerate(split.images)]).float() / 255
    np.testing.assert_allclose(f_VND[0], backbone.encode(x_NCHW).detach(), rtol=1e-5, atol=1e-5)
    assert f_VND.dtype == np.float32 and f_VND.shape == (1, N, 8) and store.images_encoded == N

    again = FeatureStore(store.cache_dir)
    np.testing.assert_array_equal(again.features(split, backbone, VIEW), f_VND)
    assert again.images_encoded == 0 and len(entries(store)) == 1


def test_float64_features_are_kept_as_such_beside_the_others(store, backbone, toy):
    split, double = make_split(), toy.toy_net(None, torch.device('cpu'), precision='float64')
    single_VND, f_VND = (store.features(split, each, VIEW) for each in (backbone, double))
    x_NCHW = torch.stack([VIEW(image, index=i, view=0) for i, image in enumerate(split.images)]).float() / 255
    np.testing.assert_allclose(f_VND[0], double.encode(x_NCHW).detach(), rtol=1e-12)
    assert f_VND.dtype == np.float64 and len(entries(store)) == 2
    assert 0 < np.abs(single_VND - f_VND).max() < 1e-5
    again = FeatureStore(store.cache_dir)
    np.testing.assert_array_equal(again.features(split, double, VIEW), f_VND)
    assert again.images_encoded == 0
    fresh_VND = store.fresh(split, double, VIEW, views=range(1))
    assert fresh_VND.dtype is torch.float64
    np.testing.assert_allclose(fresh_VND, f_VND, rtol=1e-12)


def test_the_array_is_read_through_a_map_and_cannot_be_written(store, backbone):
    for f_VND in (store.features(make_split(), backbone, VIEW), store.features(make_split(), backbone, VIEW)):
        assert isinstance(f_VND, np.memmap) and not f_VND.flags.writeable
        with pytest.raises(ValueError, match='read-only'):
            f_VND[0, 0, 0] = 1


def test_views_are_rows_of_one_entry_and_are_encoded_in_order(store, backbone):
    split = make_split()
    f_VND = store.features(split, backbone, RANDOM, num_views=3)
    x_CHW = RANDOM(split.images[2], index=2, view=1)
    x_CHW = x_CHW.float() / 255 if x_CHW.dtype is torch.uint8 else x_CHW
    np.testing.assert_allclose(f_VND[1, 2], backbone.encode(x_CHW[None])[0].detach(), rtol=1e-5, atol=1e-5)
    assert f_VND.shape == (3, N, 8) and store.images_encoded == 3 * N


def test_anything_that_changes_the_features_changes_the_entry(store, backbone):
    split = make_split()
    others = [
        (split, backbone, VIEW, 1),
        (replace(split, fingerprint='other data'), backbone, VIEW, 1),
        (replace(split, name='test'), backbone, VIEW, 1),
        (split, replace(backbone, fingerprint='other weights'), VIEW, 1),
        (split, replace(backbone, source='other file'), VIEW, 1),
        (split, replace(backbone, precision='bfloat16'), VIEW, 1),
        (split, replace(backbone, mean=(0.4, 0.5, 0.5)), VIEW, 1),
        (split, replace(backbone, std=(0.4, 0.5, 0.5)), VIEW, 1),
        (split, replace(backbone, feature='other pooling'), VIEW, 1),
        (split, backbone, CenterView(7, 'bilinear'), 1),
        (split, backbone, CenterView(8, 'bicubic'), 1),
        *((split, backbone, replace(RANDOM, **change), 1) for change in (
            {}, {'seed': 2}, {'crop': False}, {'scale': (0.1, 1.0)}, {'ratio': (0.5, 2.0)}, {'flip_prob': 0.0},
            {'noise_std': 0.1}, {'noise_mean': 0.1}, {'noise_prob': 0.1}, {'side': 7}, {'interpolation': 'bicubic'},
        )),
        (split, backbone, RANDOM, 2),
    ]  # fmt: skip
    for count, (data, encoder, view, num_views) in enumerate(others, start=1):
        store.features(data, encoder, view, num_views=num_views)
        assert len(entries(store)) == count, (data, encoder, view, num_views)
    # a name is not content
    store.features(split, replace(backbone, name='another name'), VIEW)
    assert len(entries(store)) == len(others)


@pytest.mark.parametrize('damage', ['cut short', 'flipped byte', 'bad json', 'no json', 'no array', 'other shape'])
def test_a_damaged_entry_is_made_again_and_said_once(store, backbone, caplog, damage):
    expected = np.array(store.features(make_split(), backbone, VIEW))
    (folder,) = entries(store)
    array, meta = folder / 'features.npy', folder / 'key.json'
    content = bytearray(array.read_bytes())
    if damage == 'cut short':
        array.write_bytes(content[:-9])
    elif damage == 'flipped byte':
        content[-3] ^= 64
        array.write_bytes(content)
    elif damage == 'bad json':
        meta.write_text('{"shape": [1,')
    elif damage == 'other shape':
        meta.write_text(json.dumps({**json.loads(meta.read_text()), 'shape': [1, N + 1, 8]}))
    else:
        (meta if damage == 'no json' else array).unlink()
    again = FeatureStore(store.cache_dir)
    np.testing.assert_array_equal(again.features(make_split(), backbone, VIEW), expected)
    np.testing.assert_array_equal(again.features(make_split(), backbone, VIEW), expected)
    assert again.images_encoded == N
    said = [record.getMessage() for record in caplog.records if 'is damaged' in record.getMessage()]
    assert len(said) == 1 and str(folder) in said[0] and 'computed again' in said[0]


def test_the_bytes_of_an_entry_are_read_through_once_unless_it_is_touched(store, backbone, monkeypatch):
    read, checksum = [], storing.checksum
    monkeypatch.setattr(storing, 'checksum', lambda path: read.append(path) or checksum(path))
    expected = np.array(store.features(make_split(), backbone, VIEW))
    assert len(read) == 1  # of what was written
    store.features(make_split(), backbone, VIEW)
    again = FeatureStore(store.cache_dir)
    for _ in range(3):
        again.features(make_split(), backbone, VIEW)
    assert len(read) == 2
    (folder,) = entries(store)
    array = folder / 'features.npy'
    content = bytearray(array.read_bytes())
    content[-3] ^= 64
    array.write_bytes(content)
    os.utime(array, (1, 1))
    np.testing.assert_array_equal(again.features(make_split(), backbone, VIEW), expected)
    assert len(read) == 4 and again.images_encoded == N


def test_released_pages_are_read_again(store, backbone):
    f_VND = store.features(make_split(), backbone, RANDOM, num_views=2)
    before = np.array(f_VND)
    release(f_VND[1])
    np.testing.assert_array_equal(f_VND, before)
    release(before)  # an array in memory stays as it is
    np.testing.assert_array_equal(f_VND, before)


def written_twice_at_once(store, backbone, images_of):
    split, found = make_split(), {}
    split = replace(split, images=images_of(split.images.images_NHWC))
    writers = [
        threading.Thread(target=lambda i=i: found.update({i: store.features(split, backbone, VIEW)})) for i in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    np.testing.assert_array_equal(found[0], found[1])
    return store.images_encoded // len(split)


def test_of_two_that_need_an_entry_one_encodes_it(store, backbone, monkeypatch, capsys):
    monkeypatch.setattr(leases, 'POLL', 0.01)

    class Waited(Pictures):
        def __getitem__(self, i):
            while 'waiting for its features' not in (said := getattr(self, 'said', '') + capsys.readouterr().out):
                time.sleep(0.01)
            self.said = said
            return super().__getitem__(i)

    assert written_twice_at_once(store, backbone, Waited) == 1


def test_two_writers_of_one_entry_at_once_both_get_it(store, backbone, monkeypatch):
    monkeypatch.setattr(leases, '_OFF', True)
    meet = threading.Barrier(2, timeout=30)

    class Meeting(Pictures):
        def __getitem__(self, i):
            if i == 0:
                meet.wait()  # neither has renamed its entry yet
            return super().__getitem__(i)

    assert written_twice_at_once(store, backbone, Meeting) == 2


def test_an_image_that_cannot_be_read_leaves_no_entry(store, backbone):
    class Broken(Pictures):
        def __getitem__(self, i):
            raise OSError('photo 3 is gone')

    with pytest.raises(OSError, match='photo 3 is gone'):
        store.features(replace(make_split(), images=Broken(np.zeros((N, 9, 9, 3)))), backbone, VIEW)
    assert entries(store) == []


# --- views ------------------------------------------------------------------------------------------------------------


def test_batch_size_and_workers_change_nothing(backbone, monkeypatch):
    split = make_split(count=257)
    whole = torch.cat(list(encode(split, backbone, RANDOM, views=range(2), batch_size=514)))
    monkeypatch.setattr(encoding, 'workers_for', lambda count: 2)
    torch.testing.assert_close(torch.cat(list(encode(split, backbone, RANDOM, views=range(2), batch_size=7))), whole)
    monkeypatch.undo()
    later = torch.cat(list(encode(split, backbone, RANDOM, views=range(1, 2))))
    torch.testing.assert_close(later, whole[257:])


def test_there_is_a_worker_for_each_core_of_this_process_up_to_a_limit(monkeypatch):
    def workers(count, cores):
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: range(cores), raising=False)
        return workers_for(count)

    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    assert [workers(10_000, cores) for cores in (1, 2, 12, 64)] == [1, 2, 12, 16]
    assert [workers(count, 64) for count in (500, 512, 1024)] == [0, 2, 4]
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '8')
    assert [workers(10_000, cores) for cores in (2, 64, 256)] == [1, 8, 16]


def test_views_travel_as_bytes_and_become_the_same_floats(backbone, monkeypatch):
    passed = []
    monkeypatch.setattr(encoding, 'as_floats', lambda x: passed.append(x) or as_floats(x))
    split = make_split()
    (f_ND,) = encode(split, backbone, VIEW, views=range(1))
    assert [(x.dtype, len(x)) for x in passed] == [(torch.uint8, N)]
    x_NCHW = torch.stack([VIEW(image, index=i, view=0).float() / 255 for i, image in enumerate(split.images)])
    torch.testing.assert_close(f_ND, backbone.encode(x_NCHW))
    torch.testing.assert_close(as_floats(torch.arange(256, dtype=torch.uint8)), torch.arange(256) / 255, rtol=0, atol=0)


@pytest.mark.parametrize(
    'decoding, encoding, told',
    [
        (3.0, 1.0, '{}: 5 images in 20 s, waiting for data 75 % of the time\n'),
        (0.5, 1.5, '{}: 5 images in 10 s, waiting for data 25 % of the time\n'),
        (0.5, 0.4, ''),  # less than five seconds
    ],
)
def test_a_long_pass_tells_how_long_the_device_waited_for_data(backbone, monkeypatch, capsys, decoding, encoding, told):
    clock = [0.0]
    monkeypatch.setattr(progress, 'time', SimpleNamespace(perf_counter=lambda: clock[0]))

    class Slow(Pictures):
        def __getitem__(self, i):
            clock[0] += decoding
            return super().__getitem__(i)

    def network(x_NCHW):
        clock[0] += encoding * len(x_NCHW)
        return backbone.network(x_NCHW)

    split = make_split()
    split = replace(split, images=Slow(split.images.images_NHWC))
    for title in ('features of train x toy_net', ''):
        list(encode(split, replace(backbone, network=network), VIEW, views=range(1), batch_size=2, title=title))
        assert capsys.readouterr().out == (told.format(title) if title else '')


def test_a_view_depends_on_its_seed_index_and_number_and_leaves_the_global_generator_alone():
    image = make_split().images[0]
    view = RandomView(8, 'bilinear', seed=1, noise_std=0.2, noise_prob=1.0)
    torch.manual_seed(5)
    first = view(image, index=3, view=4)
    following = torch.rand(1)
    torch.manual_seed(6)
    torch.testing.assert_close(view(image, index=3, view=4), first, rtol=0, atol=0)
    torch.manual_seed(5)
    assert torch.rand(1) == following
    for changed, index, number in ((view, 4, 4), (view, 3, 5), (replace(view, seed=2), 3, 4)):
        assert not torch.equal(changed(image, index=index, view=number), first)


def test_crops_lie_inside_the_image_and_have_the_asked_area_and_shape():
    """Pixels hold their own coordinates, so that a view tells where it was cut."""
    side = 240
    ramp = np.linspace(0, 255, side)
    image = Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128), axis=2).astype(np.uint8))
    view = RandomView(48, 'bilinear', seed=0, flip_prob=0.0)
    areas, aspects = [], []
    for number in range(200):
        x_CHW = view(image, index=0, view=number).double()
        assert x_CHW[2].eq(128).all(), 'padding was seen'
        height, width = (x_CHW[0, -1, 0] - x_CHW[0, 0, 0]).item(), (x_CHW[1, 0, -1] - x_CHW[1, 0, 0]).item()
        areas.append(height * width / 255**2 * (48 / 47) ** 2)
        aspects.append(width / height)
    assert 0.06 < min(areas) < 0.15 and 0.85 < max(areas) < 1.05 and 0.4 < np.mean(areas) < 0.6
    assert 0.65 < min(aspects) < 0.85 and 1.2 < max(aspects) < 1.5
    mirrored = replace(view, flip_prob=1.0)(image, index=0, view=0)
    torch.testing.assert_close(mirrored.flip(2), view(image, index=0, view=0), rtol=0, atol=0)


SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def generator():
    return torch.Generator().manual_seed(0)


def test_released_boxes_are_uniform_in_area_log_aspect_and_place():
    boxes_M4 = crops.boxes_as_released(20_000, scale=SCALE, ratio=RATIO, generator=generator()).double().numpy()
    top, left, height, width = boxes_M4.T
    uniform = {
        'area': (height * width - 0.08) / 0.92, 'aspect': np.log(width / height) / np.log(4 / 3) / 2 + 0.5,
        'down': top / (1 - height), 'right': left / (1 - width),
    }  # fmt: skip
    for name, values in uniform.items():
        assert stats.kstest(values, 'uniform').pvalue > 0.01, name
    for one, other in (('area', 'aspect'), ('area', 'down'), ('aspect', 'right'), ('down', 'right')):
        assert abs(np.corrcoef(uniform[one], uniform[other])[0, 1]) < 0.03
    # the share of boxes that are longer than the image, from the two densities
    longest = np.log(4 / 3)
    expected = (1 - (1 - np.exp(-longest)) / longest) / 0.92
    outside = (height > 1) | (width > 1)
    assert expected == pytest.approx(0.142, abs=5e-4) and outside.mean() == pytest.approx(expected, abs=0.01)
    assert not ((height > 1) & (width > 1)).any()


def test_boxes_inside_are_distributed_as_torchvisions():
    from torchvision.transforms import RandomResizedCrop

    side, count = 240, 5000
    ours_M4 = side * crops.boxes_inside(count, side=side, scale=SCALE, ratio=RATIO, generator=generator()).numpy()
    blank = torch.zeros(1, side, side)
    torch.manual_seed(1)
    theirs_M4 = np.array([RandomResizedCrop.get_params(blank, list(SCALE), list(RATIO)) for _ in range(count)])

    def described(boxes_M4):
        top, left, height, width = boxes_M4.T
        ends = {'bottom': side - top - height, 'end': side - left - width}
        return {'top': top, 'left': left, **ends, 'area': height * width, 'aspect': width / height}

    for (name, ours), theirs in zip(described(ours_M4).items(), described(theirs_M4).values(), strict=True):
        assert stats.ks_2samp(ours.round(4), theirs.round(4)).pvalue > 0.01, name


def slopes(x_NCHW):
    """Return what tells place, size, mirror image and noise of views of `SLOPES` apart, one array each."""
    x_NCHW = x_NCHW.double()
    half = x_NCHW.shape[-1] // 2
    found = {f'mean of {name}': x_NCHW[:, channel].mean(dim=(1, 2)) for channel, name in enumerate('RGB')}
    found['R to the right'] = (x_NCHW[:, 0, :, half:] - x_NCHW[:, 0, :, :half]).mean(dim=(1, 2))
    found['G downwards'] = (x_NCHW[:, 1, half:] - x_NCHW[:, 1, :half]).mean(dim=(1, 2))
    found['roughness'] = x_NCHW[:, 2].diff(dim=-1).abs().median(dim=-1).values.median(dim=-1).values
    return {name: values.numpy().round(3) for name, values in found.items()}


# Red grows to the right, green downwards; blue is the same everywhere, but for noise and what lies outside.
_RAMP = np.linspace(2, 250, 32)
SLOPES = Image.fromarray(np.stack(np.broadcast_arrays(_RAMP, _RAMP[:, None], 128.0), axis=-1).astype(np.uint8))


@pytest.mark.parametrize('overhang', [False, True])
@pytest.mark.parametrize('frame', ['whole', 'random'])
def test_real_and_synthetic_views_of_one_picture_are_distributed_alike(overhang, frame):
    count, side = 800, 28  # of a 28 px view, the square has 32 px
    shared = {'overhang': overhang, 'noise_std': 0.2, 'noise_mean': 0.3, 'noise_prob': 0.5}
    view = RandomView(side, 'bilinear', seed=0, frame=frame, **shared)
    real_NCHW = torch.stack([as_floats(view(SLOPES, index=0, view=number)) for number in range(count)])
    augmentation = Augmentation(**shared)
    drawn = augmentation.sample(1, count, side=32, generator=generator())
    x_1CHW = torch.from_numpy(np.array(SLOPES)).permute(2, 0, 1)[None].float() / 255
    real, synthetic = slopes(real_NCHW), slopes(augmentation.apply(x_1CHW, drawn, side=side))
    for name, values in real.items():
        assert stats.ks_2samp(values, synthetic[name]).pvalue > 0.005, name
    for found in (real, synthetic):
        assert 0.45 < (found['R to the right'] < 0).mean() < 0.55
        assert 0.45 < (found['roughness'] > 0.05).mean() < 0.55
        assert (found['mean of B'][found['roughness'] < 0.05] < 0.495).mean() == pytest.approx(0.142 * overhang, abs=0.06)


def test_a_square_frame_is_cut_from_the_reduced_image():
    """Of a wide picture whose red tells the column, the crop being the whole square."""
    columns = np.linspace(0, 255, 192)
    wide = Image.fromarray(np.broadcast_to(columns[None, :, None], (96, 192, 3)).astype(np.uint8))

    def middles(frame):
        view = RandomView(56, 'bilinear', seed=0, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip_prob=0.0, frame=frame)
        seen = torch.stack([view(wide, index=0, view=number) for number in range(300)]).double()
        assert (seen[..., -1] - seen[..., 0]).mean().item() == pytest.approx(255 / 2, abs=6)  # as wide as high
        return seen.mean(dim=(1, 2, 3)).numpy() / 255

    np.testing.assert_allclose(middles('center'), 0.5, atol=0.01)
    assert stats.kstest(middles('random'), stats.uniform(0.25, 0.5).cdf).pvalue > 0.01


def test_noise_has_the_asked_mean_spread_and_frequency():
    grey = Image.new('RGB', (20, 20), (128, 128, 128))
    view = RandomView(16, 'bilinear', seed=0, noise_std=0.2, noise_mean=0.1, noise_prob=0.5)
    views = [view(grey, index=0, view=number) for number in range(200)]
    noisy = torch.stack([x for x in views if x.dtype is torch.float32])
    clean = torch.stack([x for x in views if x.dtype is torch.uint8])
    assert 70 < len(noisy) < 130 and len(noisy) + len(clean) == 200 and clean.eq(128).all()
    assert noisy.mean().item() == pytest.approx(128 / 255 + 0.1, abs=0.005)
    assert noisy.std().item() == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize('side, expected', [(224, 256), (160, 183), (64, 73)])
def test_the_test_view_is_torchvisions_resize_and_center_crop(side, expected):
    from torchvision.transforms import v2

    assert resize_side(side) == expected
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    reference = v2.Compose([
        v2.Resize(expected, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(side), v2.PILToTensor(),
    ])  # fmt: skip
    found = CenterView(side, 'bicubic')(Image.fromarray(picture), index=7, view=3)
    torch.testing.assert_close(found, reference(Image.fromarray(picture)), rtol=0, atol=0)
