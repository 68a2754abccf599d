"""Stanford Cars: 196 models by make and year."""

from pathlib import Path

from bench.datasets.published.facts import OfficialFile, PublishedDataset
from bench.datasets.published.official import Contents
from bench.datasets.published.sets._torchvision import files_of

DATASET = PublishedDataset(
    'stanford_cars', 'Stanford Cars, 196 models; its server is gone',
    classes=196, train=8144, test=8041, folder='stanford_cars',
    licence='none stated; research use', licence_url='https://github.com/pytorch/vision/issues/7545',
    citation='Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained Categorization. 3dRR, ICCV 2013',
    files=(
        OfficialFile(
            'stanford_cars/car_devkit.tgz', md5='c3b158d763b6e2245038c8ad08e45376', num_bytes=330_960,
            makes='stanford_cars/devkit', inside='devkit',
        ),
        OfficialFile(
            'stanford_cars/cars_train.tgz', md5='065e5b463ae28d29e77c1b4b166cfe61', num_bytes=979_269_282,
            makes='stanford_cars/cars_train', inside='cars_train',
        ),
        OfficialFile(
            'stanford_cars/cars_test.tgz', md5='4ce7ebf6a94d07f1952d94dd34c4d501', num_bytes=977_350_468,
            makes='stanford_cars/cars_test', inside='cars_test',
        ),
        OfficialFile(
            'stanford_cars/cars_test_annos_withlabels.mat', md5='b0a2b23655a3edd16d84508592a98d10', num_bytes=185_758,
        ),
    ),
    manual='the original server has been gone since 2023; these files are available, extracted, at '
    'https://www.kaggle.com/datasets/rickyyyyyyy/torchvision-stanford-cars',
    alternative="take the Hugging Face copy: run.datasets = ['hf:tanganke/stanford_cars'], "
    "hf.revision = '9abf6cf7d6dfa7b95152a0d6e791ea9435b47a40'",
)  # fmt: skip


def read(root: Path) -> Contents:
    """Return the official split, in the official order."""
    return files_of(DATASET, root, 'StanfordCars')
