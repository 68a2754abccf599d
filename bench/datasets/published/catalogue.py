"""The catalogue of published datasets: the files of `sets/`, by name, and how each of them is loaded."""

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.core import tables
from bench.core.errors import InputError, near
from bench.core.types import Dataset, Places
from bench.datasets.published import sets
from bench.datasets.published.entry import Entry, Source, size_of
from bench.datasets.published.obtain import obtain
from bench.datasets.published.official import official_dataset


def _collect(package: ModuleType) -> dict[str, Entry]:
    """Return the entry of each file of a package, sorted by name; those that begin with `_` are shared code."""
    entries = {}
    for file in sorted(file.name for file in pkgutil.iter_modules(package.__path__) if not file.name.startswith('_')):
        entries[file] = importlib.import_module(f'{package.__name__}.{file}').ENTRY
        assert entries[file].name == file, f'{file}.py: expected the entry of {file!r}, got that of {entries[file].name!r}'
    return entries


ENTRIES = _collect(sets)


def find(name: str) -> Entry:
    """Return the entry of a name.

    Raises:
      InputError: for a name that is not in the catalogue.
    """
    if name not in ENTRIES:
        raise InputError(f'unknown dataset {name!r}{near(name, ENTRIES)}; see python -m bench.data list')
    return ENTRIES[name]


def load(name: str, places: Places) -> Dataset:
    """Return a published dataset with its official split; its files are fetched where they are absent.

    Raises:
      InputError: where files are absent and cannot be fetched, or are not the official ones.
    """
    entry = ENTRIES[name]
    root = obtain(entry, places)
    contents = importlib.import_module(f'{sets.__name__}.{name}').read(root)
    return official_dataset(entry, contents, root=root, cache_dir=places.cache_dir)


# ---- for people ------------------------------------------------------------------------------------------------------


def listing(chosen: Iterable[Entry]) -> str:
    """Return datasets as aligned columns: sizes, groups, download and licence of each."""
    head = ('name', 'classes', 'train', 'test', 'groups', 'download', 'licence', 'stated at')
    return tables.aligned([head, *(_facts(entry) for entry in chosen)])


def _facts(entry: Entry) -> tuple[str, ...]:
    size = size_of(entry.num_bytes) if entry.num_bytes else 'unknown'
    download = f'{size} by hand' if entry.manual else size
    sizes = ('-' if size is None else f'{size:,}' for size in (entry.classes, entry.train, entry.test))
    return (entry.name, *sizes, str(len(entry.groups) or '-'), download, entry.licence, entry.licence_url)


def markdown() -> str:
    """Return the catalogue as a markdown table: all that is known of each dataset."""
    head = ('name', 'what', 'classes', 'train', 'test', 'groups', 'files, checksums', 'revision', 'licence', 'cite')
    rows = []
    for entry in ENTRIES.values():
        name, classes, train, test, *_ = _facts(entry)
        groups = ', '.join(group.name for group in entry.groups)
        files = '<br>'.join(_file(source) for source in entry.sources)
        licence = f'[{entry.licence}]({entry.licence_url})'
        name = f'`{name}`'
        rows.append((name, entry.summary, classes, train, test, groups, files, entry.revision, licence, entry.citation))
    return tables.markdown(head, rows, right=range(2, 5))


def _file(source: Source) -> str:
    name = f'[{Path(source.file).name}]({source.url})' if source.url else f'{Path(source.file).name}, by hand'
    size = f', {size_of(source.num_bytes)}' if source.num_bytes else ''
    return f'{name}{size}, {source.checksum}'
