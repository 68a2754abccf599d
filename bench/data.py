"""The catalogue of published datasets: what there is, what is here, and how to get the rest.

    python -m bench.data list [names]                               sizes, licence, download; --into=FILE: the whole table
    python -m bench.data check [names] --data_root=/data            present, absent (and what to put where) or damaged
    python -m bench.data prepare names... --data_root=/data         fetch, verify and extract what is absent

`prepare` goes on with a broken download, and refuses what needs a licence to be accepted in person, saying what to do.
Status 1: check found something damaged, or a dataset that was named is not there. Status 2: prepare could not get all.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags

from bench.config import registry
from bench.core import cli
from bench.core.errors import InputError
from bench.core.tables import replace_block
from bench.core.types import Places
from bench.datasets.images import reason_of
from bench.datasets.published import catalogue
from bench.datasets.published import obtain as entries
from bench.datasets.published.obtain import Entry, Source, size_of

_USAGE = 'expected python -m bench.data list [names], check [names] or prepare names...'


def listing(chosen: Iterable[Entry]) -> str:
    """Return datasets as aligned columns: sizes, groups, download and licence of each."""
    head = ('name', 'classes', 'train', 'test', 'groups', 'download', 'licence', 'stated at')
    lines = [head, *(_facts(entry) for entry in chosen)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return '\n'.join('  '.join([*(f.ljust(w) for f, w in zip(line, widths, strict=False)), line[-1]]) for line in lines)


def _facts(entry: Entry) -> tuple[str, ...]:
    size = size_of(entry.num_bytes) if entry.num_bytes else 'unknown'
    download = f'{size} by hand' if entry.manual else size
    sizes = ('-' if size is None else f'{size:,}' for size in (entry.classes, entry.train, entry.test))
    return (entry.name, *sizes, str(len(entry.groups) or '-'), download, entry.licence, entry.licence_url)


def markdown() -> str:
    """Return the catalogue as a markdown table: all that is known of each dataset."""
    lines = ['| name | what | family | classes | train | test | groups | files, checksums | revision | licence | cite |']
    lines += ['| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- | --- | --- |']
    for entry in catalogue.ENTRIES.values():
        name, classes, train, test, *_ = _facts(entry)
        files = '<br>'.join(_file(source) for source in entry.sources)
        licence = f'[{entry.licence}]({entry.licence_url})'
        facts = (f'`{name}`', entry.summary, f'`{entry.family}`', classes, train, test, ', '.join(entry.groups), files)
        lines.append('| ' + ' | '.join([*facts, entry.revision, licence, entry.citation]) + ' |')
    return '\n'.join(lines)


def _file(source: Source) -> str:
    name = f'[{Path(source.file).name}]({source.url})' if source.url else f'{Path(source.file).name}, by hand'
    size = f', {size_of(source.num_bytes)}' if source.num_bytes else ''
    return f'{name}{size}, {source.checksum}'


def check(entry: Entry, places: Places) -> tuple[str, str]:
    """Return 'present', 'absent' or 'damaged', and what to know of it. Fetches nothing.

    Every image of a dataset that is there is decoded once (except those of imagenet1k and imagenet100, which are too many);
    a second call is quick.
    """
    if missing := entries.absent(entry, places.data_root):
        begun = 'in part: ' if len(missing) < len(entry.sources) else ''
        return 'absent', begun + entries.how_to_get(entry, missing, places.data_root)
    try:
        dataset = _load(entry, places)
    except InputError as error:
        return 'damaged', str(error)
    return 'present', f'{places.data_root / entry.folder}: {len(dataset.train):,} train, {len(dataset.test):,} test'


def _load(entry: Entry, places: Places):
    return registry.find('dataset', entry.name)[0].load()(entry.name, places)


def prepare(entry: Entry, places: Places) -> str:
    """Fetch, verify and extract what is absent, load it, and return a line about it.

    Raises:
      InputError: for what cannot be fetched, needs a licence, or is not as published.
    """
    entries.obtain(entry, places)
    dataset = _load(entry, places)
    return f'{entry.name}: {len(dataset.train):,} train and {len(dataset.test):,} test images; licence: {entry.licence}'


def main(words: Sequence[str]) -> int:
    command, *names = words or ['']
    chosen = [_entry(name) for name in names]
    if command == 'list':
        if flags.FLAGS.into:
            replace_block(Path(flags.FLAGS.into), 'datasets', markdown())
        else:
            print(listing(chosen or catalogue.ENTRIES.values()))
        return 0
    if command not in ('check', 'prepare') or (command == 'prepare' and not names):
        raise InputError(f'{_USAGE}, got {" ".join(words) or "nothing"!r}')
    if flags.FLAGS.data_root is None:
        raise InputError('expected --data_root=<folder that holds the datasets>, got none')
    if command == 'prepare':
        _make_folder(Path(flags.FLAGS.data_root))
    places = cli.places()
    return _check(chosen, places) if command == 'check' else _prepare(chosen, places)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f'{reason_of(error)} ({error.filename})'
        raise InputError(f'--data_root={folder}: expected a folder that is there or can be made, got: {got}') from error


def _entry(name: str) -> Entry:
    if name not in catalogue.ENTRIES:
        raise InputError(f'unknown dataset {name!r}{registry.near(name, catalogue.ENTRIES)}; see python -m bench.data list')
    return catalogue.ENTRIES[name]


def _check(chosen: Sequence[Entry], places: Places) -> int:
    status = 0
    for entry in chosen or catalogue.ENTRIES.values():
        state, text = check(entry, places)
        print(f'{entry.name:15}  {state:7}  {text}', flush=True)
        status |= state == 'damaged' or (bool(chosen) and state == 'absent')
    return status


def _prepare(chosen: Sequence[Entry], places: Places) -> int:
    status = 0
    for entry in chosen:
        try:
            print(prepare(entry, places), flush=True)
        except InputError as error:
            print(f'bench.data: {error}', file=sys.stderr)
            status = 2
    return status


def define_flags() -> None:
    """Define the flag that this command has beside those of bench.run."""
    flags.DEFINE_string('into', None, 'markdown file whose block of datasets list writes')


if __name__ == '__main__':
    define_flags()
    flags.DEFINE_string('data_root', None, 'folder with the datasets')
    flags.DEFINE_string('weights_root', None, 'of no use here; accepted because all commands with data take it')
    flags.DEFINE_string('cache_dir', None, 'remembers which images were readable (default: .cache, or $BENCH_CACHE)')
    cli.start(main, words=True)
