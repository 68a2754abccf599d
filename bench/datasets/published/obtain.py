"""Getting the official files of a published dataset: download, check, extract."""

from collections.abc import Sequence
from pathlib import Path

from bench.core.errors import InputError, reason_of
from bench.core.types import Places, data_root_of
from bench.datasets.published.archives import check_file, download, extract_safely
from bench.datasets.published.facts import OfficialFile, PublishedDataset, size_of


def absent(published: PublishedDataset, data_root: Path) -> list[OfficialFile]:
    """Return the official files that are missing from the data root."""

    def is_there(file: OfficialFile) -> bool:
        if file.unless and (data_root / file.unless).exists():
            return True
        return (data_root / file.makes).is_dir() if file.makes else (data_root / file.path).is_file()

    return [file for file in published.files if not is_there(file)]


def obtain(published: PublishedDataset, places: Places) -> Path:
    """Return the folder of a dataset, after downloading, checking and extracting the official files that are missing.

    An archive that was already there is used and kept. An archive that this call downloaded is removed after extraction.

    Raises:
      InputError: if a file is missing and cannot be downloaded. The message says which file to put where.
    """
    data_root = data_root_of(places, published.name)
    for file in absent(published, data_root):
        _obtain(published, file, data_root)
    return data_root / published.folder


def _obtain(published: PublishedDataset, file: OfficialFile, data_root: Path) -> None:
    path = data_root / file.path
    if file.url:
        fetched = download(file.url, path, md5=file.md5, sha256=file.sha256)
    else:
        fetched = False
        if not path.is_file():
            missing = how_to_get(published, absent(published, data_root), data_root)
            raise InputError(f'{published.name}: expected {path}, got none; {missing}')
        check_file(path, md5=file.md5, sha256=file.sha256, remedy=how_to_get(published, [file], data_root))
    if not file.makes:
        return
    target = data_root / file.makes
    try:
        extract_safely(path, target, inside=file.inside, nested=file.nested)
    except OSError as error:
        if not target.is_dir():  # otherwise another process has extracted and removed the archive in the meantime
            got = 'a file of that name' if target.is_file() or target.is_symlink() else reason_of(error)
            raise InputError(
                f'{published.name}: expected to extract {path} to {target}, got: {got}; move that away'
            ) from error
    if fetched:
        path.unlink(missing_ok=True)


def how_to_get(published: PublishedDataset, files: Sequence[OfficialFile], data_root: Path) -> str:
    """Return, in one line, what a person has to do to get the missing files."""

    def named(file: OfficialFile) -> str:
        size = size_of(file.num_bytes) if file.num_bytes else 'size not known'
        return f'{file.url or Path(file.path).name} ({size}) to {data_root / file.path}'

    text = ('copy ' if published.manual else 'fetch ') + ', '.join(map(named, files))
    if published.manual:
        text += f': {published.manual}'
    return f'{text}; or {published.alternative}' if published.alternative else text
