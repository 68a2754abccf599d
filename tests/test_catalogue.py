"""Every published dataset: a miniature in the official layout, loaded by the production loader from its archives."""

import hashlib
import pickle
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from conftest import ROOT
from PIL import Image
from test_datasets import check_usable

from bench.config import registry
from bench.core.errors import InputError
from bench.core.types import Places
from bench.datasets import ROWS
from bench.datasets.published import catalogue, obtain, status
from bench.datasets.published.sets import imagenet100
from tests.miniatures import BUILDERS, install

NAMES = sorted(catalogue.CATALOGUE)


@pytest.fixture
def places(tmp_path):
    (tmp_path / 'data').mkdir()
    return Places(tmp_path / 'data', None, tmp_path / 'cache')


def load(name, places):
    return registry.find('dataset', name)[0].load()(name, places)


def relative(paths, root):
    return sorted(str(path.relative_to(root)) for path in paths)


def archives_of(name, root):
    return relative((path for path in root.rglob('*') if path.name in _archive_names(name)), root)


def _archive_names(name):
    return {file.path.rpartition('/')[2] for file in catalogue.CATALOGUE[name].files}


def test_every_dataset_of_the_catalogue_has_a_miniature_and_a_row():
    assert sorted(BUILDERS) == NAMES
    assert {row.name for row in ROWS if row.fixed} == set(NAMES)


NEW_SET = """
from bench.datasets.published.facts import PublishedDataset, OfficialFile
from bench.datasets.published.official import Contents, Listing

DATASET = PublishedDataset(
    'squares', 'two colours', classes=2, train=2, test=2, folder='squares', licence='CC0', licence_url='http://a/',
    citation='nobody', files=(OfficialFile('squares.tar', {url!r}, makes='squares'),),
)


def read(root):
    return Contents(Listing(['red.png', 'blue.png'], [0, 1]), Listing(['rose.png', 'sky.png'], [0, 1]), ['red', 'blue'])
"""


def test_a_new_dataset_is_one_file_that_appears(tmp_path):
    """In a copy of the project: it is listed, can be chosen by name, and is fetched, checked and loaded."""
    shutil.copytree(ROOT / 'bench', tmp_path / 'bench', ignore=shutil.ignore_patterns('weights', '__pycache__'))
    with tarfile.open(tmp_path / 'official.tar', 'w') as tar:
        for file in ('red', 'blue', 'rose', 'sky'):
            Image.new('RGB', (4, 4), {'rose': 'pink', 'sky': 'cyan'}.get(file, file)).save(tmp_path / 'picture.png')
            tar.add(tmp_path / 'picture.png', f'{file}.png')
    text = NEW_SET.format(url=(tmp_path / 'official.tar').as_uri())
    (tmp_path / 'bench/datasets/published/sets/squares.py').write_text(text)

    def run(*words):
        return subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)

    places = ('--data_root=data', '--cache_dir=cache')
    asked = run('-m', 'bench.data', 'check', 'squares', *places, '--data_root=.')
    assert asked.returncode == 1 and asked.stdout.startswith('squares') and 'absent' in asked.stdout, asked
    made = run('-m', 'bench.data', 'prepare', 'squares', *places)
    assert made.stdout == 'squares: 2 train and 2 test images; licence: CC0\n', made
    assert '\n  squares           two colours\n' in run('-m', 'bench.list', '--datasets').stdout
    (tmp_path / 'bench/datasets/published/sets/squares.py').rename(tmp_path / 'bench/datasets/published/sets/rings.py')
    assert "rings.py: expected the dataset 'rings', got 'squares'" in run('-m', 'bench.data', 'list').stderr


def test_names_are_listed_without_what_takes_seconds():
    code = 'import sys, bench.datasets; print(*sorted({"torch", "torchvision", "scipy", "pandas"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == '\n'


@pytest.mark.parametrize('name', ['waterbirds', 'spawrious'])
def test_a_dataset_with_backgrounds_says_where_classes_are_at_home(name, places, monkeypatch):
    install(name, places.data_root, monkeypatch)
    dataset = load(name, places)
    train, test = dataset.train, dataset.test
    for split in (train, test):
        assert [dataset.groups[group].label for group in split.groups_N] == split.labels_N.tolist()
        for group in dataset.groups:
            assert group.name.split(' ')[::2] == [split.class_names[group.label], group.background]
    shown_N = dataset.backgrounds_of(train.groups_N)
    most = [np.bincount(shown_N[train.labels_N == label]).argmax() for label in range(train.num_classes)]
    assert tuple(dataset.backgrounds[background] for background in most) == dataset.homes
    at_home_N = dataset.backgrounds_of(test.groups_N) == dataset.homes_of(test.labels_N)
    assert at_home_N.sum() == 0, 'of the miniature of Waterbirds too'


@pytest.mark.parametrize('name', NAMES)
def test_a_miniature_of_the_official_archives_loads(name, places, monkeypatch):
    expected = install(name, places.data_root, monkeypatch)
    kept = archives_of(name, places.data_root)
    entry, dataset = catalogue.CATALOGUE[name], load(name, places)
    check_usable(dataset)
    assert archives_of(name, places.data_root) == kept, 'what the user has put there stays'
    assert dataset.name == name and dataset.train.class_names == expected.class_names
    for split, files, labels, groups in (
        (dataset.train, expected.train, expected.train_labels, expected.train_groups),
        (dataset.test, expected.test, expected.test_labels, expected.test_groups),
    ):
        assert split.labels_N.tolist() == labels
        assert (list(split.images.files) == files) if files else len(split.images) == len(labels)
        assert (None if split.groups_N is None else split.groups_N.tolist()) == groups
        assert split.group_names == (tuple(group.name for group in entry.groups) if groups else ())
    assert entry.files[0].checksum in dataset.source and load(name, places).fingerprints == dataset.fingerprints


def test_cifar_rows_are_planes_of_red_green_and_blue(places, monkeypatch):
    install('cifar10', places.data_root, monkeypatch)
    dataset = load('cifar10', places)
    pixels = np.asarray(dataset.test.images[2])
    assert pixels.shape == (32, 32, 3) and (pixels == (20, 20, 30)).all()


class Evil:
    """A pickle that runs code when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_other_than_the_published_one_is_not_opened(places, tmp_path, monkeypatch):
    install('cifar10', places.data_root, monkeypatch)
    load('cifar10', places)
    folder, ran = places.data_root / 'cifar-10-batches-py', tmp_path / 'ran'
    for file in ('data_batch_1', 'batches.meta'):
        before = (folder / file).read_bytes()
        (folder / file).write_bytes(pickle.dumps(Evil(ran)))
        with pytest.raises(InputError, match='cifar10: expected the official files, got: .*restore'):
            load('cifar10', places)
        assert not ran.exists()
        (folder / file).write_bytes(before)
    pickle.loads(pickle.dumps(Evil(ran)))
    assert ran.exists(), 'opened, it would have run'


# --- absent, damaged, not as published --------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_what_is_absent_is_told_with_its_address_and_place(name, places):
    state, text = status.check(catalogue.CATALOGUE[name], places)
    assert state == 'absent' and '\n' not in text
    for file in catalogue.CATALOGUE[name].files:
        assert str(places.data_root / file.path) in text
        assert not file.url or file.url in text
    assert text.count('size not known') == sum(not file.num_bytes for file in catalogue.CATALOGUE[name].files)
    assert not list(places.data_root.iterdir()) and not places.cache_dir.exists(), 'check fetches nothing'
    if catalogue.CATALOGUE[name].manual:
        with pytest.raises(InputError, match=f'{name}: expected .*, got none; copy .* to .*: '):
            load(name, places)
        assert not list(places.data_root.iterdir())


@pytest.mark.parametrize('name', [name for name in NAMES if name not in ('imagenet1k', 'imagenet100', 'imagenet_fruits')])
def test_check_tells_present_from_damaged(name, places, monkeypatch):
    expected = install(name, places.data_root, monkeypatch)
    entry = catalogue.CATALOGUE[name]
    load(name, places)
    assert status.check(entry, places)[0] == 'present'
    shutil.rmtree(places.cache_dir, ignore_errors=True)  # it remembers that the images were readable
    if expected.test:
        victim = places.data_root / entry.folder / expected.test[0]
        victim.write_bytes(b'')
        assert status.check(entry, places)[0] == 'damaged'
        victim.unlink()
    else:
        victim = next((places.data_root / entry.folder).glob('test*'))
        victim.write_bytes(b'')
    state, text = status.check(entry, places)
    assert state == 'damaged' and '\n' not in text and 'restore' in text


@pytest.mark.parametrize('name', [name for name in NAMES if name not in ('imagenet1k', 'imagenet100', 'imagenet_fruits')])
def test_other_sizes_than_the_published_ones_are_refused(name, places, monkeypatch):
    install(name, places.data_root, monkeypatch)
    monkeypatch.setitem(catalogue.CATALOGUE, name, replace(catalogue.CATALOGUE[name], test=99))
    with pytest.raises(InputError, match=f"{name}: expected the published .*'test': 99"):
        load(name, places)


def test_a_wrong_number_of_training_images_in_a_group_or_class_is_refused(places, monkeypatch):
    install('waterbirds', places.data_root, monkeypatch)
    monkeypatch.setitem(
        catalogue.CATALOGUE, 'waterbirds', replace(catalogue.CATALOGUE['waterbirds'], train_groups=(2, 0, 1, 1))
    )
    with pytest.raises(InputError, match=r'waterbirds: expected training groups of \(2, 0, 1, 1\), got \(2, 1, 0, 1\)'):
        load('waterbirds', places)
    expected = install('imagenet_birds', places.data_root, monkeypatch)
    load('imagenet_birds', places)
    (places.data_root / 'imagenet' / expected.train[0]).unlink()
    with pytest.raises(InputError, match='imagenet_birds: expected 2 training images, got 1 in'):
        load('imagenet_birds', places)


@pytest.mark.parametrize(
    'name, file, content, message',
    [
        ('cub200', 'train_test_split.txt', '1 1\n2 1\n3 1\n4 0\n', "published {'train': 2, .*got {'train': 3, 'test': 1"),
        ('cub200', 'train_test_split.txt', '1 0\n2 1\n3 1\n', 'index files that list the same images'),
        ('cub200', 'train_test_split.txt', '1 0\n2\n', r'split.txt:2: expected "<number> <value>", got \'2\''),
        ('cub200', 'images.txt', None, 'expected the official file .*images.txt, got none'),
        ('stanford_dogs', 'lists/train_list.mat', 'no matrix', 'train_list.mat: expected the official file, got: '),
        ('flowers102', 'setid.mat', 'no matrix', 'flowers102: expected the official files, got: '),
        ('food101', 'meta/test.json', None, 'food101: expected the official files, got: .*test.json.*restore'),
        ('stanford_cars', 'devkit/cars_meta.mat', None, 'stanford_cars: expected the official files, got: '),
        ('imagenet100', 'ILSVRC2012_devkit_t12/data/meta.mat', 'no matrix', 'meta.mat: expected the official file, got'),
        (
            'imagenet1k', 'ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt', '1\n2\n',
            'expected one image per label in .*val, got 4 for 2 labels',
        ),
        ('waterbirds', 'metadata.csv', 'img_id,img_filename,y,split,place\n1,a.jpg,2,0,0\n', 'metadata.csv:2: expected col'),
        ('waterbirds', 'metadata.csv', None, 'metadata.csv: expected the official file, got: no such file'),
        ('waterbirds', 'metadata.csv', 'é'.encode('latin-1'), 'metadata.csv: expected the official file, got: .*decode'),
        ('eurosat', 'eurosat-test.txt', 'é', 'eurosat-test.txt: expected the official list, got: .*decode'),
        ('dtd', 'labels/test1.txt', '', "dtd: expected the published .*got {'train': 3, 'test': 0"),
        ('fgvc_aircraft', 'data/images_variant_trainval.txt', '', "expected the published .*got {'train': 0"),
        ('eurosat', 'eurosat-test.txt', 'Moon_1.jpg\n', "expected images of Forest, SeaLake, got 'Moon' in eurosat-test"),
    ],
)  # fmt: skip
def test_index_files_that_are_not_official_are_named(name, file, content, message, places, monkeypatch):
    install(name, places.data_root, monkeypatch)
    load(name, places)
    path = places.data_root / catalogue.CATALOGUE[name].folder / file
    assert path.exists()
    path.unlink() if content is None else path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        load(name, places)
    assert '\n' not in str(caught.value)


# --- ImageNet -----------------------------------------------------------------------------------------------------------


def test_imagenet_takes_folders_as_people_sort_them_and_needs_no_development_kit(places, monkeypatch):
    expected = install('imagenet_fruits', places.data_root, monkeypatch)
    flat = load('imagenet_fruits', places)
    root = places.data_root / 'imagenet'
    wnids = [file.split('/')[1] for file in expected.train]
    for file, label in zip(expected.test, expected.test_labels, strict=True):
        folder = root / 'val' / dict(zip(expected.train_labels, wnids, strict=True))[label]
        folder.mkdir(exist_ok=True)
        (root / file).rename(folder / file.rpartition('/')[2])
    for wnid in {*wnids, 'n01440764'}:
        (root / 'val' / wnid).mkdir(exist_ok=True)
    shutil.rmtree(root / 'ILSVRC2012_devkit_t12')
    for path in root.glob('*.tar*'):
        path.unlink()
    assert not obtain.absent(catalogue.CATALOGUE['imagenet_fruits'], places.data_root)
    sorted_ = load('imagenet_fruits', places)
    assert [file.rpartition('/')[2] for file in sorted_.test.images.files] == [f.rpartition('/')[2] for f in expected.test]
    assert (sorted_.test.labels_N == flat.test.labels_N).all()


def test_the_list_of_imagenet100_is_the_published_one():
    content = imagenet100.LIST.read_bytes()
    wnids = content.decode().split()
    assert len(set(wnids)) == 100 and wnids[:3] == ['n02869837', 'n01749939', 'n02488291']
    assert hashlib.sha256(content).hexdigest() == '79f3f1552ccc478ce24bd934b4573625db584ddc1f4643ae23c994a94cb11397'


# --- the catalogue itself ---------------------------------------------------------------------------------------------


def test_addresses_and_checksums_are_those_torchvision_knows():
    known = torchvision.datasets
    pairs = {
        'food101': [(known.Food101._URL, known.Food101._MD5)],
        'dtd': [(known.DTD._URL, known.DTD._MD5)],
        'oxford_pets': list(known.OxfordIIITPet._RESOURCES),
        'flowers102': [
            (known.Flowers102._download_url_prefix + file, md5) for file, md5 in known.Flowers102._file_dict.values()
        ],
        'cifar10': [(known.CIFAR10.url, known.CIFAR10.tgz_md5)],
        'cifar100': [(known.CIFAR100.url, known.CIFAR100.tgz_md5)],
    }
    for name, wanted in pairs.items():
        assert {(file.url, file.md5) for file in catalogue.CATALOGUE[name].files} == set(wanted), name
    ours = {file.path.rpartition('/')[2]: file.md5 for file in catalogue.CATALOGUE['imagenet1k'].files}
    assert ours == dict(torchvision.datasets.imagenet.ARCHIVE_META.values())


def test_every_entry_is_whole():
    for entry in catalogue.CATALOGUE.values():
        assert entry.licence and entry.licence_url.startswith('http') and entry.citation and entry.summary
        assert entry.classes > 1 and entry.test and entry.train != 0
        assert not entry.train_groups or sum(entry.train_groups) == entry.train
        assert all(file.url.startswith('http') for file in entry.files) or entry.manual
        for file in entry.files:
            assert not (file.md5 and file.sha256)
            assert not file.makes or file.makes.startswith(entry.folder)
    licences = {entry.licence_url for entry in catalogue.CATALOGUE.values() if entry.folder == 'imagenet'}
    assert len(licences) == 1


@pytest.mark.shared
@pytest.mark.parametrize('name', NAMES)
def test_the_real_one_where_it_is_present(name, shared, tmp_path):
    entry = catalogue.CATALOGUE[name]
    if obtain.absent(entry, shared / 'data'):
        pytest.skip(f'{name} is not in {shared / "data"}')
    assert status.check(entry, Places(shared / 'data', None, tmp_path))[0] == 'present'
