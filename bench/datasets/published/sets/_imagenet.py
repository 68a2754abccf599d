"""Shared code of ImageNet (ILSVRC2012) and its subsets of classes. The validation images are the test split.

The licence has to be accepted in person, so the archives are never downloaded. The code reads `imagenet/train/<wnid>/*.JPEG`
and `imagenet/val`. The validation images may lie flat, as in the official archive (then the development kit provides the
labels), or in one folder per wnid, as most people sort them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents, Listing, load_mat, names_in, remedy_for

_NUM_CLASSES = 1000
_FILES = (
    OfficialFile(
        'imagenet/ILSVRC2012_img_train.tar', md5='1d675b47d978889d74fa0da5fadfb00e', num_bytes=147_897_477_120,
        makes='imagenet/train', nested=True,
    ),
    OfficialFile(
        'imagenet/ILSVRC2012_img_val.tar', md5='29b22e2961454d5413ddabcf34fc5622', num_bytes=6_744_924_160,
        makes='imagenet/val',
    ),
    OfficialFile(
        'imagenet/ILSVRC2012_devkit_t12.tar.gz', md5='fa75699e90414af021442c21a62c3abf',
        makes='imagenet/ILSVRC2012_devkit_t12', inside='ILSVRC2012_devkit_t12', unless='imagenet/val/n01440764',
    ),
)  # fmt: skip
imagenet_entry = partial(
    PublishedDataset,
    folder='imagenet',
    licence='ImageNet terms of access: non-commercial research and education',
    licence_url='https://image-net.org/download.php',
    files=_FILES,
    revision='ILSVRC2012',
    manual='accept the terms at https://image-net.org/download.php, then take the ILSVRC2012 archives from there',
    alternative='put folders of your own copy there, train/<wnid>/*.JPEG and val/<wnid>/*.JPEG',
)
MTT = 'Cazenavette, Wang, Torralba, Efros, Zhu: Dataset Distillation by Matching Training Trajectories. CVPR 2022'


def classes_of(name: str, root: Path, choose: Callable[[Sequence[str]], Sequence[str]] = list) -> Contents:
    """Return ImageNet's images of the classes that `choose` picks from the sorted list of wnids, labelled in its order.

    Raises:
      InputError: if the files are not the official ones; `name` is the name of the dataset.
    """
    from torchvision.models import ResNet18_Weights

    wnids = names_in(root / 'train', root=root)
    if len(wnids) != _NUM_CLASSES:
        raise InputError(f'{name}: expected {_NUM_CLASSES} class folders in {root / "train"}, got {len(wnids)}')
    chosen = choose(wnids)
    words = dict(zip(wnids, ResNet18_Weights.DEFAULT.meta['categories'], strict=True))
    return Contents(_train(root, chosen, name), _validation(root, chosen, name), [words[wnid] for wnid in chosen])


def _train(root: Path, wnids: Sequence[str], name: str) -> Listing:
    devkit = root / 'ILSVRC2012_devkit_t12' / 'data'
    sizes = {wnid: size for wnid, size in _synsets(devkit).values()} if devkit.is_dir() else {}
    files, labels = [], []
    for label, wnid in enumerate(wnids):
        found = names_in(root / 'train' / wnid, root=root, ending='.JPEG')
        if len(found) != sizes.get(wnid, len(found)):
            got = f'{len(found)} in {root / "train" / wnid}'
            raise InputError(f'{name}: expected {sizes[wnid]} training images, got {got}; {remedy_for(root)}')
        files += [f'train/{wnid}/{file}' for file in found]
        labels += [label] * len(found)
    return Listing(files, labels)


def _validation(root: Path, wnids: Sequence[str], name: str) -> Listing:
    """Return the chosen validation images in the order of their official numbers."""
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    if (root / 'val' / wnids[0]).is_dir():
        folders = {wnid: names_in(root / 'val' / wnid, root=root, ending='.JPEG') for wnid in wnids}
        found = sorted((file, f'val/{wnid}/{file}', wnid) for wnid, files in folders.items() for file in files)
        return Listing([path for _, path, _ in found], [label_of[wnid] for _, _, wnid in found])
    files = names_in(root / 'val', root=root, ending='.JPEG')
    truth = _ground_truth(root / 'ILSVRC2012_devkit_t12' / 'data')
    if len(files) != len(truth):
        got = f'{len(files)} for {len(truth)} labels'
        raise InputError(f'{name}: expected one image per label in {root / "val"}, got {got}; {remedy_for(root)}')
    kept = [(f'val/{file}', label_of[wnid]) for file, wnid in zip(files, truth, strict=True) if wnid in label_of]
    return Listing([file for file, _ in kept], [label for _, label in kept])


def _ground_truth(data: Path) -> list[str]:
    """Return the wnid of each validation image from the development kit."""
    path = data / 'ILSVRC2012_validation_ground_truth.txt'
    synsets = _synsets(data)
    try:
        return [synsets[int(line)][0] for line in path.read_text(encoding='ascii').split()]
    except (OSError, ValueError, LookupError) as error:
        got = f'{reason_of(error)}; {remedy_for(data.parent)}'
        raise InputError(f'{path}: expected the official numbers of classes, got: {got}') from error


def _synsets(data: Path) -> dict[int, tuple[str, int]]:
    """Return a mapping from the official number of each class to its wnid and its number of training images."""
    synsets = load_mat(data / 'meta.mat', root=data.parent)['synsets']
    return {int(s['ILSVRC2012_ID']): (str(s['WNID']), int(s['num_train_images'])) for s in synsets}
