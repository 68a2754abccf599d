"""How the official files of a published dataset come to be where they are read."""

from collections.abc import Sequence
from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.core.types import Places, data_root_of
from bench.datasets.published.archives import check_file, download, extract_safely
from bench.datasets.published.entry import Entry, Source, size_of


def absent(entry: Entry, data_root: Path) -> list[Source]:
    """Return the sources whose files are not where they are read."""

    def is_there(source: Source) -> bool:
        if source.unless and (data_root / source.unless).exists():
            return True
        return (data_root / source.makes).is_dir() if source.makes else (data_root / source.file).is_file()

    return [source for source in entry.sources if not is_there(source)]


def obtain(entry: Entry, places: Places) -> Path:
    """Return the folder of a dataset, after fetching, checking and extracting the official files that are not there.

    An archive that already lies where it belongs is used, and kept; one that was downloaded for this is removed afterwards.

    Raises:
      InputError: where a file is missing and cannot be fetched, in one line that says what to put where.
    """
    data_root = data_root_of(places, entry.name)
    for source in absent(entry, data_root):
        _obtain(entry, source, data_root)
    return data_root / entry.folder


def _obtain(entry: Entry, source: Source, data_root: Path) -> None:
    path = data_root / source.file
    if source.url:
        fetched = download(source.url, path, md5=source.md5, sha256=source.sha256)
    else:
        fetched = False
        if not path.is_file():
            missing = how_to_get(entry, absent(entry, data_root), data_root)
            raise InputError(f'{entry.name}: expected {path}, got none; {missing}')
        check_file(path, md5=source.md5, sha256=source.sha256, remedy=how_to_get(entry, [source], data_root))
    if not source.makes:
        return
    target = data_root / source.makes
    try:
        extract_safely(path, target, inside=source.inside, nested=source.nested)
    except OSError as error:
        if not target.is_dir():  # else another process has extracted and removed the archive in the meantime
            got = 'a file of that name' if target.is_file() or target.is_symlink() else reason_of(error)
            raise InputError(
                f'{entry.name}: expected to extract {path} to {target}, got: {got}; make room for it there'
            ) from error
    if fetched:
        path.unlink(missing_ok=True)


def how_to_get(entry: Entry, sources: Sequence[Source], data_root: Path) -> str:
    """Return what a person has to do for the files that are missing, in one line."""

    def named(source: Source) -> str:
        size = size_of(source.num_bytes) if source.num_bytes else 'size not known'
        return f'{source.url or Path(source.file).name} ({size}) to {data_root / source.file}'

    text = ('copy ' if entry.manual else 'fetch ') + ', '.join(map(named, sources))
    if entry.manual:
        text += f': {entry.manual}'
    return f'{text}; or {entry.alternative}' if entry.alternative else text
