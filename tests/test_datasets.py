"""Your own image folders, the many image formats, and the message for every bad input."""

import os
import pickle
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from bench.core.errors import InputError
from bench.core.types import Places
from bench.datasets import images as files
from bench.datasets.folder import folder
from bench.datasets.images import ImageFiles, files_fingerprint, verify_images

GROCERY = ROOT.parent / 'shared' / 'data' / 'grocery'


@pytest.fixture
def places(tmp_path):
    (tmp_path / 'data').mkdir()
    return Places(tmp_path / 'data', None, tmp_path / 'cache')


def write_image(path, colour=(200, 30, 30), size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, colour).save(path, 'JPEG', quality=95)


def make_folders(root, splits=('train', 'test'), classes=('cat', 'ant'), count=2):
    for split in splits:
        for label, name in enumerate(classes):
            for i in range(count):
                write_image(root / split / name / f'{i}.jpg', (50 * label + 10 * i, 100, 0))


def check_usable(dataset, *, citation=True):
    """What the rest of the project relies on, for any dataset of files."""
    for split in (dataset.train, dataset.test):
        copy = pickle.loads(pickle.dumps(split.images))
        assert len(copy) == len(split) == len(split.images) and split.labels_N.dtype == np.int64
        assert all(image.mode == 'RGB' for image in copy)
        assert set(split.labels_N) <= set(range(split.num_classes))
    assert dataset.train.fingerprint != dataset.test.fingerprint
    assert dataset.train.class_names == dataset.test.class_names
    assert dataset.licence and (dataset.citation or not citation)


def names_of(split):
    return [file.rpartition('/')[2] for file in split.images.files]


# ---- folder ----------------------------------------------------------------------------------------------------------


def test_folder_sorts_and_ignores(places):
    root = places.data_root / 'mine'
    make_folders(root)
    for name in ('LICENSE', 'notes.txt', 'labels.csv', '.hidden.jpg', 'features.h5'):
        (root / 'train' / 'ant' / name).write_text('not an image')
    (root / 'train' / '.cache').mkdir()
    write_image(root / 'train' / 'ant' / 'deeper' / 'below.jpg')
    write_image(root / 'train' / 'ant' / 'UPPER.JPG')
    dataset = folder(places, path='mine', licence='MIT', source='here')
    assert (dataset.name, dataset.licence, dataset.source) == ('folder', 'MIT', 'here')
    assert dataset.train.class_names == ('ant', 'cat')
    assert dataset.train.images.files == tuple(
        f'train/{file}' for file in ('ant/0.jpg', 'ant/1.jpg', 'ant/UPPER.JPG', 'cat/0.jpg', 'cat/1.jpg')
    )
    assert dataset.train.labels_N.tolist() == [0, 0, 0, 1, 1]
    assert dataset.test.labels_N.tolist() == [0, 0, 1, 1]
    assert folder(places, path='mine').fingerprints == dataset.fingerprints


def test_folder_joins_training_splits(places):
    make_folders(places.data_root, splits=('train', 'test'))
    make_folders(places.data_root, splits=('val',), classes=('cat',), count=1)
    dataset = folder(places, train_splits=['train', 'val'])
    assert dataset.train.images.files[:4] == folder(places).train.images.files
    assert dataset.train.images.files[4:] == ('val/cat/0.jpg',)
    assert dataset.train.labels_N.tolist() == [0, 0, 1, 1, 1]


def test_folder_names_what_is_missing(places, tmp_path):
    with pytest.raises(InputError, match='expected --data_root=.*got none'):
        folder(Places(None, None, tmp_path))
    with pytest.raises(InputError, match='expected an existing folder, got --data_root=.*nowhere'):
        folder(Places(tmp_path / 'nowhere', None, tmp_path))
    root = places.data_root
    with pytest.raises(InputError, match="expected a folder in .*got 'birds'; existing folders: no folders"):
        folder(places, path='birds')
    with pytest.raises(InputError, match='relative to --data_root'):
        folder(places, path=str(root))
    make_folders(root, splits=('train', 'val'))
    with pytest.raises(InputError, match='split folder .*test, got none; existing folders: train, val'):
        folder(places)
    (root / 'test').mkdir()
    with pytest.raises(InputError, match='expected class folders in .*test, got none'):
        folder(places)
    make_folders(root, splits=('test',), classes=('cat', 'ant', 'bee'))
    with pytest.raises(InputError, match='same class folders in training and test, got only in test: bee$'):
        folder(places)
    (root / 'train' / 'bee').mkdir()
    (root / 'train' / 'bee' / 'readme.txt').write_text('soon')
    with pytest.raises(InputError, match='images directly inside every class folder of .*train, got none in bee;'):
        folder(places)
    assert not places.cache_dir.exists()


@pytest.mark.parametrize('train_splits', [['train', 'test'], ['train', 'train'], ['train', './test']])
def test_folder_never_trains_on_test_images(places, train_splits):
    make_folders(places.data_root)
    with pytest.raises(InputError, match='expected different folders for training and test'):
        folder(places, train_splits=train_splits)


@pytest.mark.parametrize('train_splits', ['train', []])
def test_folder_wants_a_list_of_splits(places, train_splits):
    with pytest.raises(InputError, match='expected a list'):
        folder(places, train_splits=train_splits)


def test_held_out_images_come_from_training_and_the_test_images_stay_out(places):
    make_folders(places.data_root, count=10)
    whole, dataset = folder(places), folder(places, held_out=0.2)
    train, held = names_of(dataset.train), names_of(dataset.test)
    assert sorted(train + held) == sorted(names_of(whole.train)) and not set(train) & set(held)
    assert np.bincount(dataset.test.labels_N).tolist() == [2, 2] and len(train) == 16
    assert dataset.train.fingerprint != whole.train.fingerprint
    with pytest.raises(InputError, match='held_out = 0.9: expected it to leave a training image of class ant, got 0 of 2'):
        make_folders(places.data_root, splits=('few', 'test'))
        folder(places, train_splits=['few'], held_out=0.9)


def test_folder_stops_at_or_skips_unreadable_images(places):
    make_folders(places.data_root)
    whole = folder(places)
    bad = places.data_root / 'train' / 'cat' / '0.jpg'
    bad.write_bytes(bad.read_bytes()[:200])
    (places.data_root / 'train' / 'ant' / '1.jpg').write_text('words')
    with pytest.raises(InputError, match=r'2 unreadable of 4: train/ant/1.jpg \(something else\).*folder.on_error'):
        folder(places)
    dataset = folder(places, on_error='skip')
    assert dataset.train.images.files == ('train/ant/0.jpg', 'train/cat/1.jpg')
    assert dataset.train.labels_N.tolist() == [0, 1]
    assert dataset.train.skipped == ('train/ant/1.jpg', 'train/cat/0.jpg')
    assert dataset.train.fingerprint != whole.train.fingerprint
    assert dataset.test.fingerprint == whole.test.fingerprint
    (places.data_root / 'train' / 'ant' / '0.jpg').write_text('words')
    with pytest.raises(InputError, match='expected readable images .* got none in ant'):
        folder(places, on_error='skip')


@pytest.mark.shared
@pytest.mark.skipif(not GROCERY.is_dir(), reason='needs ../shared/data/grocery')
def test_folder_reads_grocery(tmp_path):
    dataset = folder(Places(GROCERY.parent, None, tmp_path), path='grocery')
    assert (dataset.train.num_classes, len(dataset.train), len(dataset.test)) == (81, 2640, 2485)
    assert dataset.train.class_names[0] == '00_Golden-Delicious'
    assert np.bincount(dataset.train.labels_N).min() == 16 and min(dataset.train.images[0].size) == 160


# ---- images ----------------------------------------------------------------------------------------------------------


def read(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return np.asarray(ImageFiles(tmp_path, (name,))[0])


@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_exif_orientation_is_honoured(tmp_path):
    image = Image.new('RGB', (16, 8), 'blue')
    image.paste('red', (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    pixels_HWC = read(tmp_path, image, 'turned.jpg', exif=exif, quality=95)
    assert pixels_HWC.shape == (16, 8, 3)
    assert pixels_HWC[1, 4, 0] > 200 and pixels_HWC[-2, 4, 2] > 200
    pixels_HWC = read(tmp_path, image, 'broken.jpg', exif=b'Exif\0\0MM\0*broken', quality=95)
    assert pixels_HWC.shape == (8, 16, 3)


@pytest.mark.parametrize('form', ['png', 'webp', 'tiff', 'bmp', 'ppm'])
def test_lossless_formats(tmp_path, form):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    options = {'lossless': True} if form == 'webp' else {}
    assert np.array_equal(read(tmp_path, image, f'image.{form}', **options), np.asarray(image))


def test_palette_transparency_and_cmyk(tmp_path):
    red = Image.new('RGB', (4, 4), (255, 0, 0))
    assert read(tmp_path, red.quantize(4), 'a.gif')[0, 0].tolist() == [255, 0, 0]
    assert read(tmp_path, red.quantize(4), 'a.png', transparency=0)[0, 0].tolist() == [255, 255, 255]
    half = Image.new('RGBA', (4, 4), (255, 0, 0, 51))
    assert read(tmp_path, half, 'b.png')[0, 0].tolist() == [255, 204, 204]
    assert read(tmp_path, half, 'b.webp', lossless=True)[0, 0].tolist() == [255, 204, 204]
    assert read(tmp_path, Image.new('LA', (4, 4), (0, 0)), 'c.png')[0, 0].tolist() == [255, 255, 255]
    cyan, magenta, _ = read(tmp_path, Image.new('CMYK', (8, 8), (0, 255, 255, 0)), 'd.jpg')[4, 4].tolist()
    assert cyan > 240 and magenta < 15
    assert read(tmp_path, Image.new('1', (4, 4), 1), 'e.png')[0, 0].tolist() == [255, 255, 255]


def test_deep_grey_keeps_its_range(tmp_path):
    deep_HW = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    for name in ('deep.png', 'deep.tiff', 'deep.pgm'):
        assert read(tmp_path, Image.fromarray(deep_HW), name)[0, :, 0].tolist() == [0, 1, 128, 255], name
    float_HW = np.array([[0, 0.5, 1]], dtype=np.float32)
    assert read(tmp_path, Image.fromarray(float_HW), 'float.tiff')[0, :, 1].tolist() == [0, 128, 255]
    assert read(tmp_path, Image.fromarray(255 * float_HW), 'float2.tiff')[0, :, 1].tolist() == [0, 128, 255]


@pytest.mark.parametrize('content', [b'', b'words', b'\x89PNG\r\n\x1a\n' + b'\0' * 40, None])
def test_unreadable_image_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / 'bad.png').write_bytes(content)
    with pytest.raises(InputError, match=r'bad\.png: expected an image PIL can read, got .*; repair or remove it'):
        ImageFiles(tmp_path, ('bad.png',))[0]


def test_fingerprint_follows_name_size_label_and_order(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / name).write_bytes(b'12345')
    cases = (('ab', (0, 1)), ('ba', (0, 1)), ('ab', (1, 0)))
    seen = [files_fingerprint(tmp_path, names, labels) for names, labels in cases]
    assert seen[0] == files_fingerprint(tmp_path, ['a', 'b'], np.array([0, 1]))
    (tmp_path / 'b').write_bytes(b'123456')
    assert len({*seen, files_fingerprint(tmp_path, 'ab', (0, 1))}) == 4


def test_verify_images_remembers_and_notices_repairs(tmp_path, monkeypatch):
    for i in range(3):
        write_image(tmp_path / f'{i}.jpg')
    good = (tmp_path / '1.jpg').read_bytes()
    (tmp_path / '1.jpg').write_bytes(b'x' * len(good))
    images, reads = ImageFiles(tmp_path, ('0.jpg', '1.jpg', '2.jpg')), []
    read_all = files._read_all
    cache = tmp_path / 'cache'

    def counted(images, wanted):
        reads.append(list(wanted))
        return read_all(images, wanted)

    monkeypatch.setattr(files, '_read_all', counted)

    def verify(on_error):
        return verify_images(images, on_error=on_error, cache_dir=cache, fingerprint='f')

    with pytest.raises(InputError, match=r"1 unreadable of 3: 1.jpg .*folder.on_error = 'skip'"):
        verify('stop')
    assert not cache.exists()
    assert verify('skip') == (1,) and verify('skip') == (1,)
    (tmp_path / '1.jpg').write_bytes(good)
    assert verify('stop') == () and verify('stop') == ()
    assert reads == [[0, 1, 2], [0, 1, 2], [1], [1], []]
    next(cache.rglob('*.json')).write_text('{"images": 3')
    assert verify('stop') == () and reads[-1] == [0, 1, 2]


# ---- hostile files ---------------------------------------------------------------------------------------------------


def png_of(width, height):
    """Return a PNG file that says it has this size and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', zlib.compress(b'\0' * 100)) + chunk(b'IEND', b'')


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n'
HOSTILE = {
    'bomb.png': (lambda path: path.write_bytes(png_of(60_000, 60_000)), '60000 x 60000 px, more than max_pixels = 10000'),
    'strip.png': (lambda path: path.write_bytes(png_of(30_000, 2)), 'sides further apart than max_aspect = 100'),
    'thin.jpg': (lambda path: Image.new('RGB', (65_000, 1)).save(path), '65000 x 1 px, sides further apart'),
    'program.png': (lambda path: path.write_bytes(EPS), 'something else'),
    'gone.jpg': (lambda path: path.symlink_to('nowhere.jpg'), 'no such file or directory'),
    'itself.jpg': (lambda path: path.symlink_to(path.name), 'too many levels of symbolic links'),
    'pipe.jpg': (os.mkfifo, 'not a file'),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_a_hostile_file_is_refused_by_name_and_neither_run_nor_decoded(places, name, monkeypatch):
    make, reason = HOSTILE[name]
    root = places.data_root / 'mine'
    make_folders(root)
    make(root / 'train' / 'ant' / name)
    monkeypatch.setattr('subprocess.Popen', lambda *_, **__: pytest.fail('a program'))  # EPS would start Ghostscript
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        folder(places, path='mine')
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
    assert f'train/ant/{name}' in str(caught.value) and reason in str(caught.value)
    data = folder(places, path='mine', on_error='skip')
    assert data.train.skipped == (f'train/ant/{name}',) and len(data.train) == 4


def test_the_limits_of_images_are_settings_and_outcomes_are_kept_by_them(places):
    root = places.data_root / 'mine'
    make_folders(root)
    write_image(root / 'train' / 'ant' / 'wide.jpg', size=(60, 4))
    assert len(folder(places, path='mine').train) == 5
    for limit, said in (({'max_aspect': 10.0}, 'max_aspect = 10'), ({'max_pixels': 200}, 'max_pixels = 200')):
        with pytest.raises(InputError, match=rf'wide.jpg \(60 x 4 px, .*{said}\)'):
            folder(places, path='mine', **limit)
    assert len(folder(places, path='mine', max_aspect=10.0, on_error='skip').train) == 4
    assert len(folder(places, path='mine').train) == 5


def test_a_folder_that_links_to_itself_holds_no_images(places):
    root = places.data_root / 'mine'
    make_folders(root)
    (root / 'train' / 'ant' / 'again').symlink_to(root / 'train')
    (root / 'train' / 'ant' / 'loop.jpg').symlink_to(root / 'train')
    assert len(folder(places, path='mine').train) == 4
    (root / 'train' / 'self').symlink_to('self')
    assert len(folder(places, path='mine').train) == 4
    (root / 'train' / 'up').symlink_to('..')
    with pytest.raises(InputError, match='only in train: up'):
        folder(places, path='mine')
