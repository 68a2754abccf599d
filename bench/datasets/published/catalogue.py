"""The catalogue of published datasets: the files of `sets/` by name, and how to load them."""

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.core import tables
from bench.core.errors import InputError, near
from bench.core.types import Dataset, Places
from bench.datasets.published import sets
from bench.datasets.published.facts import OfficialFile, PublishedDataset, size_of
from bench.datasets.published.obtain import obtain
from bench.datasets.published.official import official_dataset


def _collect(package: ModuleType) -> dict[str, PublishedDataset]:
    """Return the `DATASET` of each file of a package, sorted by name. Files that start with `_` are shared code."""
    found = {}
    for file in sorted(file.name for file in pkgutil.iter_modules(package.__path__) if not file.name.startswith('_')):
        found[file] = importlib.import_module(f'{package.__name__}.{file}').DATASET
        assert found[file].name == file, f'{file}.py: expected the dataset {file!r}, got {found[file].name!r}'
    return found


CATALOGUE = _collect(sets)


def find(name: str) -> PublishedDataset:
    """Return the published dataset of a name.

    Raises:
      InputError: for a name that is not in the catalogue.
    """
    if name not in CATALOGUE:
        raise InputError(f'unknown dataset {name!r}{near(name, CATALOGUE)}; see python -m bench.data list')
    return CATALOGUE[name]


def load(name: str, places: Places) -> Dataset:
    """Load a published dataset with its official split; missing files are downloaded.

    Raises:
      InputError: if files are missing and cannot be downloaded, or are not the official ones.
    """
    published = CATALOGUE[name]
    root = obtain(published, places)
    contents = importlib.import_module(f'{sets.__name__}.{name}').read(root)
    return official_dataset(published, contents, root=root, cache_dir=places.cache_dir)


# ---- for people ------------------------------------------------------------------------------------------------------


def listing(chosen: Iterable[PublishedDataset]) -> str:
    """Return datasets as an aligned text table: sizes, groups, download and licence."""
    head = ('name', 'classes', 'train', 'test', 'groups', 'download', 'licence', 'stated at')
    return tables.aligned([head, *(_facts(published) for published in chosen)])


def _facts(published: PublishedDataset) -> tuple[str, ...]:
    size = size_of(published.num_bytes) if published.num_bytes else 'unknown'
    download = f'{size} by hand' if published.manual else size
    sizes = ('-' if size is None else f'{size:,}' for size in (published.classes, published.train, published.test))
    return (published.name, *sizes, str(len(published.groups) or '-'), download, published.licence, published.licence_url)


def markdown() -> str:
    """Return the catalogue as a markdown table with all facts of each dataset."""
    head = ('name', 'what', 'classes', 'train', 'test', 'groups', 'files, checksums', 'revision', 'licence', 'cite')
    rows = []
    for published in CATALOGUE.values():
        name, classes, train, test, *_ = _facts(published)
        groups = ', '.join(group.name for group in published.groups)
        files = '<br>'.join(_file(file) for file in published.files)
        licence = f'[{published.licence}]({published.licence_url})'
        name, about, cite = f'`{name}`', published.summary, published.citation
        rows.append((name, about, classes, train, test, groups, files, published.revision, licence, cite))
    return tables.markdown(head, rows, right=range(2, 5))


def _file(file: OfficialFile) -> str:
    name = f'[{Path(file.path).name}]({file.url})' if file.url else f'{Path(file.path).name}, by hand'
    size = f', {size_of(file.num_bytes)}' if file.num_bytes else ''
    return f'{name}{size}, {file.checksum}'
