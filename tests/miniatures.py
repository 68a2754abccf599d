"""Miniatures of the published datasets: a few tiny images in the exact layout of the official archives.

`install(name, ...)` packs the archives that the catalogue names, under the names it gives them, and makes the entry's
sizes and checksums those of the miniature. The production loader does the rest.
"""

import hashlib
import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torchvision
from PIL import Image
from scipy.io import savemat

from bench.datasets.published import catalogue
from bench.datasets.published.sets import imagenet100, spawrious


@dataclass(frozen=True)
class Expected:
    """What the production loader must make of a miniature."""

    train: list[str]  # files relative to the dataset's folder; of arrays, nothing
    train_labels: list[int]
    test: list[str]
    test_labels: list[int]
    class_names: tuple[str, ...]
    train_groups: list[int] | None = None
    test_groups: list[int] | None = None


def image(path, seed=0, kind='JPEG'):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, kind)


def images(folder, files, kind='JPEG'):
    for seed, file in enumerate(files):
        image(folder / file, seed, kind)


def lines(path, *content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in content))


def column(*values):
    """A MATLAB cell column, as the lists of Stanford Dogs hold it."""
    cells = np.empty((len(values), 1), dtype=object)
    cells[:, 0] = values
    return cells


# Each function writes, below `root`, a folder for every archive and a file for every plain file of its entry, named as the
# entry's sources are, and returns what is expected.


def cub200(root):
    top = root / 'CUB_200_2011.tgz' / 'CUB_200_2011'
    albatross, wren = '001.Black_footed_Albatross', '002.Rock_Wren'
    files = [f'{albatross}/A_0001_796111.jpg', f'{albatross}/A_0002_55.jpg', f'{wren}/R_0001_1.jpg', f'{wren}/R_0002_2.jpg']
    images(top / 'images', files)
    lines(top / 'images.txt', *(f'{i} {file}' for i, file in enumerate(files, 1)))
    lines(top / 'image_class_labels.txt', '1 1', '2 1', '3 2', '4 2')
    lines(top / 'train_test_split.txt', '1 0', '2 1', '3 1', '4 0')
    lines(top / 'classes.txt', f'1 {albatross}', f'2 {wren}')
    lines(top / 'bounding_boxes.txt', '1 60.0 27.0 325.0 304.0')
    lines(top / 'attributes' / 'certainties.txt', '1 not visible')
    lines(top.parent / 'attributes.txt', '1 has_bill_shape::curved_(up_or_down)')
    train, test = [f'images/{files[1]}', f'images/{files[2]}'], [f'images/{files[0]}', f'images/{files[3]}']
    return Expected(train, [0, 1], test, [0, 1], ('Black footed Albatross', 'Rock Wren'))


def stanford_dogs(root):
    terrier, chihuahua = 'n02098105-soft-coated_wheaten_terrier', 'n02085620-Chihuahua'
    lists = {
        'train': ([f'{chihuahua}/n02085620_5927.jpg', f'{terrier}/n02098105_7.jpg'], [1, 2]),
        'test': ([f'{terrier}/n02098105_99.jpg', f'{chihuahua}/n02085620_2650.jpg'], [2, 1]),
    }
    lists['file'] = (lists['train'][0] + lists['test'][0], [1, 2, 2, 1])
    images(root / 'stanford_dogs/images.tar' / 'Images', lists['file'][0])
    folder = root / 'stanford_dogs/lists.tar'
    folder.mkdir(parents=True)
    for name, (files, labels) in lists.items():
        content = {
            'file_list': column(*files), 'annotation_list': column(*(file.removesuffix('.jpg') for file in files)),
            'labels': np.array(labels, dtype=np.uint8)[:, None],
        }  # fmt: skip
        savemat(folder / f'{name}_list.mat', content)
    train, test = ([f'Images/{file}' for file in lists[split][0]] for split in ('train', 'test'))
    return Expected(train, [0, 1], test, [1, 0], ('Chihuahua', 'soft-coated wheaten terrier'))


def flowers102(root):
    images(root / 'flowers-102/102flowers.tgz' / 'jpg', [f'image_{i:05d}.jpg' for i in range(1, 7)])
    savemat(root / 'flowers-102/imagelabels.mat', {'labels': np.array([[77, 1, 1, 77, 102, 102]], dtype=np.uint8)})
    ids = {'trnid': [[6, 1, 2]], 'valid': [[3]], 'tstid': [[4, 5]]}
    savemat(root / 'flowers-102/setid.mat', {name: np.array(value, dtype=np.uint16) for name, value in ids.items()})
    train = ['jpg/image_00006.jpg', 'jpg/image_00001.jpg', 'jpg/image_00002.jpg']
    names = tuple(torchvision.datasets.Flowers102.classes)
    return Expected(train, [101, 76, 0], ['jpg/image_00004.jpg', 'jpg/image_00005.jpg'], [76, 101], names)


def food101(root):
    top = root / 'food-101.tar.gz' / 'food-101'
    table = {
        'train': {'apple_pie': ['apple_pie/2', 'apple_pie/1'], 'waffles': ['waffles/5']},
        'test': {'apple_pie': ['apple_pie/3'], 'waffles': ['waffles/4']},
    }
    for split, classes in table.items():
        files = [file for group in classes.values() for file in group]
        lines(top / 'meta' / f'{split}.json', json.dumps(classes))
        lines(top / 'meta' / f'{split}.txt', *files)
        images(top / 'images', [f'{file}.jpg' for file in files])
    lines(top / 'meta' / 'classes.txt', 'apple_pie', 'waffles')
    lines(top / 'meta' / 'labels.txt', 'Apple pie', 'Waffles')
    lines(top / 'license_agreement.txt', 'scientific fair use')
    train = ['images/apple_pie/2.jpg', 'images/apple_pie/1.jpg', 'images/waffles/5.jpg']
    test = ['images/apple_pie/3.jpg', 'images/waffles/4.jpg']
    return Expected(train, [0, 0, 1], test, [0, 1], ('apple pie', 'waffles'))


def fgvc_aircraft(root):
    data = root / 'fgvc-aircraft-2013b.tar.gz' / 'fgvc-aircraft-2013b' / 'data'
    images(data / 'images', [f'000000{i}.jpg' for i in (1, 2, 3)])
    lines(data / 'variants.txt', '707-320', 'Falcon 900')
    for split, content in {
        'train': ['0000002 Falcon 900'], 'val': ['0000001 707-320'],
        'trainval': ['0000002 Falcon 900', '0000001 707-320'], 'test': ['0000003 Falcon 900'],
    }.items():  # fmt: skip
        lines(data / f'images_variant_{split}.txt', *content)
    lines(data / 'families.txt', 'Boeing 707', 'Falcon 900')
    train = ['data/images/0000002.jpg', 'data/images/0000001.jpg']
    return Expected(train, [1, 0], ['data/images/0000003.jpg'], [1], ('707-320', 'Falcon 900'))


def stanford_cars(root):
    top = root / 'stanford_cars'
    images(top / 'cars_train.tgz' / 'cars_train', ['00001.jpg', '00002.jpg', '00003.jpg'])
    images(top / 'cars_test.tgz' / 'cars_test', ['00001.jpg', '00002.jpg'])
    devkit = top / 'car_devkit.tgz' / 'devkit'
    devkit.mkdir(parents=True)
    names = np.empty((1, 2), dtype=object)
    names[0] = ['AM General Hummer SUV 2000', 'smart fortwo Convertible 2012']
    savemat(devkit / 'cars_meta.mat', {'class_names': names})
    boxes = [(name, 'uint8') for name in ('bbox_x1', 'bbox_y1', 'bbox_x2', 'bbox_y2')]

    def annotations(rows):
        kinds = [*boxes, ('class', 'uint8'), ('fname', 'O')]
        return {'annotations': np.array([(1, 2, 3, 4, label, file) for label, file in rows], dtype=kinds)[None]}

    savemat(devkit / 'cars_train_annos.mat', annotations([(2, '00001.jpg'), (1, '00002.jpg'), (2, '00003.jpg')]))
    test = [(1, '00001.jpg'), (2, '00002.jpg')]
    without = np.array([(1, 2, 3, 4, file) for _, file in test], dtype=[*boxes, ('fname', 'O')])
    savemat(devkit / 'cars_test_annos.mat', {'annotations': without[None]})
    savemat(top / 'cars_test_annos_withlabels.mat', annotations(test))
    train = [f'cars_train/0000{i}.jpg' for i in (1, 2, 3)]
    return Expected(train, [1, 0, 1], ['cars_test/00001.jpg', 'cars_test/00002.jpg'], [0, 1], tuple(names[0]))


def oxford_pets(root):
    top = root / 'oxford-iiit-pet'
    train, test = ['Abyssinian_100 1 1 1', 'great_pyrenees_7 2 2 1'], ['great_pyrenees_12 2 2 1', 'Abyssinian_2 1 1 1']
    annotations, pictures = top / 'annotations.tar.gz' / 'annotations', top / 'images.tar.gz' / 'images'
    lines(annotations / 'trainval.txt', *train)
    lines(annotations / 'test.txt', *test)
    lines(annotations / 'list.txt', '#Image CLASS-ID SPECIES BREED ID', *train, *test)
    images(pictures, [f'{line.split()[0]}.jpg' for line in train + test])
    Image.new('P', (5, 5)).save(pictures / 'Abyssinian_2.jpg', 'GIF')  # some official files are GIF by content
    lines(pictures / 'Abyssinian_100.mat', 'stray')
    return Expected(
        ['images/Abyssinian_100.jpg', 'images/great_pyrenees_7.jpg'], [0, 1],
        ['images/great_pyrenees_12.jpg', 'images/Abyssinian_2.jpg'], [1, 0], ('Abyssinian', 'Great Pyrenees'),
    )


def _imagenet(root, name):
    """All 1,000 classes, most of them with a single image that no miniature reads."""
    from timm.data import ImageNetInfo

    wnids = ImageNetInfo().label_names()
    chosen = {
        'imagenet1k': wnids,
        'imagenet100': imagenet100.LIST.read_text().split(),
        'imagenet_birds': [wnids[i] for i in (84, 130, 88, 144, 145, 22, 96, 9, 100, 89)],
        'imagenet_fruits': [wnids[i] for i in (953, 954, 949, 950, 951, 957, 952, 945, 943, 948)],
    }[name]
    top = root / 'imagenet'
    buffer = io.BytesIO()
    Image.new('RGB', (4, 4), 'green').save(buffer, 'JPEG')
    twice = set(chosen[:2])  # classes of two training images
    for folder in ('ILSVRC2012_img_train.tar', 'ILSVRC2012_img_val.tar'):
        (top / folder).mkdir(parents=True)
    for wnid in wnids:
        with tarfile.open(top / 'ILSVRC2012_img_train.tar' / f'{wnid}.tar', 'w') as inner:
            for number in (10026, 9)[: 1 + (wnid in twice)]:
                entry = tarfile.TarInfo(f'{wnid}_{number}.JPEG')
                entry.size = len(buffer.getvalue())
                inner.addfile(entry, io.BytesIO(buffer.getvalue()))
    # official numbers follow another order than the sorted wnids, and high-level synsets come after the 1,000
    numbers = {wnid: number for number, wnid in enumerate(reversed(wnids), 1)}
    shown = [chosen[1], wnids[500], chosen[0], chosen[1]]
    for i, _ in enumerate(shown, 1):
        (top / 'ILSVRC2012_img_val.tar' / f'ILSVRC2012_val_{i:08d}.JPEG').write_bytes(buffer.getvalue())
    data = top / 'ILSVRC2012_devkit_t12.tar.gz' / 'ILSVRC2012_devkit_t12' / 'data'
    lines(data / 'ILSVRC2012_validation_ground_truth.txt', *(numbers[wnid] for wnid in shown))
    kinds = [
        ('ILSVRC2012_ID', 'O'), ('WNID', 'O'), ('words', 'O'), ('gloss', 'O'), ('num_children', 'O'), ('children', 'O'),
        ('wordnet_height', 'O'), ('num_train_images', 'O'),
    ]  # fmt: skip
    rows = [(number, wnid, 'a, b', 'gloss', 0, 0, 0, 1 + (wnid in twice)) for wnid, number in numbers.items()]
    rows.append((1001, 'n00001740', 'entity', 'gloss', 3, 1, 9, 0))
    savemat(data / 'meta.mat', {'synsets': np.array(rows, dtype=kinds)[:, None]})

    label_of = {wnid: label for label, wnid in enumerate(chosen)}
    train = [f'train/{wnid}/{wnid}_{n}.JPEG' for wnid in chosen for n in ((10026, 9) if wnid in twice else (10026,))]
    kept = [(f'val/ILSVRC2012_val_{i:08d}.JPEG', label_of[wnid]) for i, wnid in enumerate(shown, 1) if wnid in label_of]
    words = torchvision.models.ResNet18_Weights.DEFAULT.meta['categories']
    return Expected(
        train, [label_of[file.split('/')[1]] for file in train], [file for file, _ in kept], [y for _, y in kept],
        tuple(words[wnids.index(wnid)] for wnid in chosen),
    )  # fmt: skip


def artbench10(root):
    top = root / 'artbench-10-imagefolder-split.tar' / 'artbench-10-imagefolder-split'
    files = {
        'train': ['train/art_nouveau/alphonse-mucha_été.jpg', 'train/ukiyo_e/a_1.jpg', 'train/ukiyo_e/b_2.jpg'],
        'test': ['test/art_nouveau/c_3.jpg', 'test/ukiyo_e/hokusai_wave.jpg'],
    }
    images(top, files['train'] + files['test'])
    (top / 'train' / 'ukiyo_e' / '._a_1.jpg').write_bytes(b'\0\5\26\7')  # what macOS leaves in tar files
    return Expected(files['train'], [0, 1, 1], files['test'], [0, 1], ('art nouveau', 'ukiyo e'))


def waterbirds(root):
    top = root / 'waterbird_complete95_forest2water2.tar.gz' / 'waterbird_complete95_forest2water2'
    albatross, wren = '001.Black_footed_Albatross/A_1.jpg', '002.Rock_Wren/R_{}.jpg'
    rows = [
        (albatross, 1, 0, 1), (wren.format(1), 0, 0, 0), (wren.format(2), 0, 0, 1), (wren.format(3), 0, 1, 0),
        (wren.format(4), 0, 2, 1), ('001.Black_footed_Albatross/A_2.jpg', 1, 2, 0), (wren.format(5), 0, 0, 0),
    ]  # fmt: skip
    images(top, [row[0] for row in rows])
    table = [f'{i},{file},{y},{split},{place},/o/ocean/{i:08d}.jpg' for i, (file, y, split, place) in enumerate(rows, 1)]
    lines(top / 'metadata.csv', 'img_id,img_filename,y,split,place,place_filename', *table)
    train, test = ([row for row in rows if row[2] == split] for split in (0, 2))
    return Expected(
        [row[0] for row in train], [1, 0, 0, 0], [row[0] for row in test], [0, 1], ('landbird', 'waterbird'),
        [3, 0, 1, 0], [1, 2],
    )  # fmt: skip


def spawrious_(root):
    """Ten images a folder, numbered from 0: of the first environment 9 at home and 1 at the beach, of the second 8 and 2."""
    top = root / 'spawrious/spawrious224__o2o_hard.tar.gz' / 'spawrious224'
    homes = {
        'bulldog': ('jungle', 'mountain'), 'dachshund': ('mountain', 'snow'), 'labrador': ('snow', 'desert'),
        'corgi': ('desert', 'jungle'),
    }  # fmt: skip
    dogs, scenes = ['bulldog', 'corgi', 'dachshund', 'labrador'], ['desert', 'jungle', 'mountain', 'snow', 'beach']
    train, test = [], []
    for environment, at_home in ((0, 9), (1, 8)):
        for dog, own in homes.items():
            for scene in (*own, 'beach'):
                images(top / f'{environment}/{scene}/{dog}', [f'{scene}_{dog}_{n}.png' for n in range(10)], 'PNG')
        for count, place in ((at_home, None), (10 - at_home, 'beach')):
            train += [(environment, place or homes[dog][0], dog, n) for dog in homes for n in range(count)]
        test += [(environment, homes[dog][1], dog, n) for dog in homes for n in range(10)]

    def listed(rows):
        files = [f'{e}/{scene}/{dog}/{scene}_{dog}_{n}.png' for e, scene, dog, n in rows]
        groups = [5 * dogs.index(dog) + scenes.index(scene) for _, scene, dog, _ in rows]
        return files, [dogs.index(dog) for _, _, dog, _ in rows], groups

    (files, labels, groups), (test_files, test_labels, test_groups) = listed(train), listed(test)
    return Expected(files, labels, test_files, test_labels, tuple(dogs), groups, test_groups)


def _cifar(root, archive, folder, files, key, meta, meta_key, names):
    """Rows of a file are planes of red, green and blue; image i of a file is all (10 i, 20, 30)."""
    labels = {}
    for file, count in files.items():
        labels[file] = [(i + 1) % len(names) for i in range(count)]
        planes = [[10 * i] * 1024 + [20] * 1024 + [30] * 1024 for i in range(count)]
        content = {'batch_label': file, key: labels[file], 'data': np.array(planes, dtype=np.uint8)}
        content['filenames'] = [f'{i}.png' for i in range(count)]
        path = root / archive / folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content, protocol=2))
    (root / archive / folder / meta).write_bytes(pickle.dumps({meta_key: names}, protocol=2))
    *train, test = files
    return Expected([], [y for file in train for y in labels[file]], [], labels[test], tuple(names))


def cifar10(root):
    files = {**{f'data_batch_{i}': 1 for i in range(1, 6)}, 'test_batch': 3}
    names = ['airplane', 'automobile', 'bird']
    return _cifar(
        root, 'cifar-10-python.tar.gz', 'cifar-10-batches-py', files, 'labels', 'batches.meta', 'label_names', names
    )


def cifar100(root):
    names = ['apple', 'aquarium_fish', 'baby']
    expected = _cifar(
        root, 'cifar-100-python.tar.gz', 'cifar-100-python', {'train': 4, 'test': 2}, 'fine_labels', 'meta',
        'fine_label_names', names,
    )  # fmt: skip
    return replace(expected, class_names=('apple', 'aquarium fish', 'baby'))


def eurosat(root):
    forest, lake = [f'Forest_{n}.jpg' for n in (1, 2, 10)], [f'SeaLake_{n}.jpg' for n in (1, 2)]
    pictures = [*(f'Forest/{file}' for file in forest), *(f'SeaLake/{file}' for file in lake)]
    images(root / 'eurosat/EuroSAT.zip' / '2750', pictures)
    lines(root / 'eurosat/eurosat-train.txt', lake[1], forest[2], forest[0])
    lines(root / 'eurosat/eurosat-test.txt', lake[0])
    train = ['2750/SeaLake/SeaLake_2.jpg', '2750/Forest/Forest_10.jpg', '2750/Forest/Forest_1.jpg']
    return Expected(train, [1, 0, 0], ['2750/SeaLake/SeaLake_1.jpg'], [1], ('Forest', 'SeaLake'))


def dtd(root):
    top = root / 'dtd/dtd-r1.0.1.tar.gz' / 'dtd'
    parts = {
        'train': ['banded/banded_0002.jpg', 'waffled/waffled_0001.jpg'], 'val': ['banded/banded_0009.jpg'],
        'test': ['waffled/waffled_0007.jpg', 'banded/banded_0004.jpg'],
    }  # fmt: skip
    for split, files in parts.items():
        images(top / 'images', files)
        lines(top / 'labels' / f'{split}1.txt', *files)
        lines(top / 'labels' / f'{split}2.txt', 'other/other_0001.jpg')
    lines(top / 'images' / 'waffled' / '.directory', 'stray')
    train = [f'images/{file}' for file in parts['train'] + parts['val']]
    return Expected(train, [0, 1, 0], [f'images/{file}' for file in parts['test']], [1, 0], ('banded', 'waffled'))


BUILDERS = {
    'cub200': cub200, 'stanford_dogs': stanford_dogs, 'flowers102': flowers102, 'food101': food101,
    'fgvc_aircraft': fgvc_aircraft, 'stanford_cars': stanford_cars, 'oxford_pets': oxford_pets, 'artbench10': artbench10,
    **{name: lambda root, name=name: _imagenet(root, name)
       for name in ('imagenet1k', 'imagenet100', 'imagenet_birds', 'imagenet_fruits')},
    'waterbirds': waterbirds, 'spawrious': spawrious_, 'cifar10': cifar10, 'cifar100': cifar100, 'eurosat': eurosat,
    'dtd': dtd,
}  # fmt: skip


_made = {}  # name -> what install needs, made once


def install(name, data_root, monkeypatch):
    """Put the archives of a miniature where a user would put the official ones; return what loading must give."""
    if name not in _made:
        with tempfile.TemporaryDirectory() as folder:
            staging = Path(folder)
            expected = BUILDERS[name](staging)
            archives = {file.path: _packed(staging / file.path) for file in catalogue.CATALOGUE[name].files}
            _made[name] = (expected, archives, _patches(name, staging))
    expected, archives, patches = _made[name]
    files = []
    for file in catalogue.CATALOGUE[name].files:
        content, target = archives[file.path], data_root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        sums = {kind: hashlib.new(kind, content).hexdigest() for kind in ('md5', 'sha256') if getattr(file, kind)}
        files.append(replace(file, num_bytes=len(content), **sums))
    counts = {'train': len(expected.train_labels), 'test': len(expected.test_labels)}
    groups = tuple(np.bincount(expected.train_groups).tolist()) if catalogue.CATALOGUE[name].train_groups else ()
    facts = {**counts, 'classes': len(expected.class_names), 'train_groups': groups, 'files': tuple(files)}
    monkeypatch.setitem(catalogue.CATALOGUE, name, replace(catalogue.CATALOGUE[name], **facts))
    for patch in patches:
        monkeypatch.setattr(*patch)
    return expected


def _packed(made):
    """Return the bytes of a plain file, or of an archive of a folder named like one."""
    if made.is_file():
        return made.read_bytes()
    buffer = io.BytesIO()
    if made.suffix == '.zip':
        with zipfile.ZipFile(buffer, 'w') as zipped:
            for path in sorted(made.rglob('*')):
                zipped.write(path, path.relative_to(made))
    else:
        # the official DTD archive is a plain tar, whatever its name
        plain = made.suffix == '.tar' or 'dtd' in made.name
        with tarfile.open(fileobj=buffer, mode='w' if plain else 'w:gz') as tar:
            for path in sorted(made.iterdir()):
                tar.add(path, path.name)
    return buffer.getvalue()


def _patches(name, staging):
    """Return what sets torchvision's own checksums of files inside archives, and Spawrious's folder size."""

    def md5(path):
        return hashlib.md5(path.read_bytes()).hexdigest()

    if kind := getattr(torchvision.datasets, {'cifar10': 'CIFAR10', 'cifar100': 'CIFAR100'}.get(name, ''), None):
        folder = staging / kind.filename / kind.base_folder
        patches = [(kind, 'meta', {**kind.meta, 'md5': md5(folder / kind.meta['filename'])})]
        for part in ('train_list', 'test_list'):
            patches.append((kind, part, [[file, md5(folder / file)] for file, _ in getattr(kind, part)]))
        return patches
    if name == 'flowers102':
        table = dict(torchvision.datasets.Flowers102._file_dict)
        for part in ('label', 'setid'):
            file = table[part][0]
            table[part] = (file, md5(staging / 'flowers-102' / file))
        return [(torchvision.datasets.Flowers102, '_file_dict', table)]
    if name == 'spawrious':
        return [(spawrious, '_PER_FOLDER', 10), (spawrious, '_SHARES', (0.9, 0.8))]
    return []
