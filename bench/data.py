"""The catalogue of published datasets: list them, check the local copies, and prepare missing ones.

    python -m bench.data list [names]                               sizes, licence, download; --into=FILE: the full table
    python -m bench.data check [names] --data_root=/data            present, absent (and what to put where) or damaged
    python -m bench.data prepare names... --data_root=/data         download, verify and extract missing files

`prepare` resumes a broken download. If a licence has to be accepted in person, it says what to do instead.
Status 1: `check` found a damaged dataset, or a named dataset is absent. Status 2: `prepare` could not get everything.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from bench.core import cli
from bench.core.errors import InputError, reason_of
from bench.core.tables import replace_block
from bench.core.types import Places
from bench.datasets.published import catalogue
from bench.datasets.published.facts import PublishedDataset
from bench.datasets.published.status import check, prepare

_USAGE = 'expected python -m bench.data list [names], check [names] or prepare names...'


def main(words: Sequence[str]) -> int:
    command, *names = words or ['']
    chosen = [catalogue.find(name) for name in names]
    if command == 'list':
        if flags.FLAGS.into:
            replace_block(Path(flags.FLAGS.into), 'datasets', catalogue.markdown())
        else:
            print(catalogue.listing(chosen or catalogue.CATALOGUE.values()))
        return 0
    if command not in ('check', 'prepare') or (command == 'prepare' and not names):
        raise InputError(f'{_USAGE}, got {" ".join(words) or "nothing"!r}')
    if flags.FLAGS.data_root is None:
        raise InputError('expected --data_root=<folder with the data sets>, got none')
    if command == 'prepare':
        _make_folder(Path(flags.FLAGS.data_root))
    places = cli.places()
    return _check(chosen, places) if command == 'check' else _prepare(chosen, places)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f'{reason_of(error)} ({error.filename})'
        raise InputError(f'--data_root={folder}: expected a folder that exists or can be created, got: {got}') from error


def _check(chosen: Sequence[PublishedDataset], places: Places) -> int:
    status = 0
    for published in chosen or catalogue.CATALOGUE.values():
        state, text = check(published, places)
        print(f'{published.name:15}  {state:7}  {text}', flush=True)
        status |= state == 'damaged' or (bool(chosen) and state == 'absent')
    return status


def _prepare(chosen: Sequence[PublishedDataset], places: Places) -> int:
    status = 0
    for published in chosen:
        try:
            print(prepare(published, places), flush=True)
        except InputError as error:
            print(f'bench.data: {error}', file=sys.stderr)
            status = 2
    return status


if __name__ == '__main__':
    flags.DEFINE_string('into', None, 'with list: markdown file to update between its datasets markers')
    cli.define('data_root', 'weights_root', 'cache_dir')
    cli.start(main, words=True)
