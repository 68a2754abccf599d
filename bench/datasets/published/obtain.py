"""What the catalogue of published datasets says of each, and how its files come to be where the loader reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import InputError
from bench.core.types import Places
from bench.datasets.images import data_root_of, reason_of
from bench.datasets.published.archives import check_file, download, extract_safely


@dataclass(frozen=True)
class Source:
    """One official file of a dataset.

    `file` and `makes` are relative to the data root: where the file is put, and the folder that extracting it makes (''
    where it is used as it is). `inside` names the folder of the archive that becomes `makes` ('' is the whole archive),
    `nested` an archive of tar files. `url` is '' for what has to be fetched by hand. `md5` or `sha256` is the checksum, ''
    where none is published. `unless` names a path that makes this source unnecessary.
    """

    file: str
    url: str = ''
    md5: str = ''
    sha256: str = ''
    num_bytes: int = 0
    makes: str = ''
    inside: str = ''
    nested: bool = False
    unless: str = ''

    @property
    def checksum(self) -> str:
        """The checksum with its kind, for people."""
        return f'sha256 {self.sha256}' if self.sha256 else f'md5 {self.md5}' if self.md5 else 'no checksum published'


@dataclass(frozen=True)
class Entry:
    """A published dataset: all that is known before any file of it is there.

    `train`, `test` and `classes` are the published sizes (None where nobody states one), `train_groups` those of the
    training groups. `folder`, relative to the data root, holds its files. `loader`
    is `module:function` of its family. `licence_url` says where the licence is stated. `revision` is the version of the
    release. `manual` tells how to get files that may not be fetched without a person's consent, or that nobody serves any
    more; `alternative` another way to the same images.
    """

    name: str
    summary: str
    loader: str
    classes: int
    train: int | None
    test: int
    folder: str
    licence: str
    licence_url: str
    citation: str
    sources: tuple[Source, ...]
    revision: str = ''
    groups: tuple[str, ...] = ()
    train_groups: tuple[int, ...] = ()
    manual: str = ''
    alternative: str = ''

    @property
    def family(self) -> str:
        """The file of its loader."""
        return self.loader.partition(':')[0].rpartition('.')[2]

    @property
    def num_bytes(self) -> int:
        """The size of the download; 0 where unknown."""
        return sum(source.num_bytes for source in self.sources)

    @property
    def source(self) -> str:
        """Where exactly the files come from, for the record."""
        return ', '.join(f'{source.url or source.file} ({source.checksum})' for source in self.sources)


def absent(entry: Entry, data_root: Path) -> list[Source]:
    """Return the sources whose files are not where the loader reads them."""

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


def size_of(num_bytes: int) -> str:
    """Return a size for people, such as '1.15 GB'."""
    if num_bytes < 1e5:
        return f'{num_bytes / 1e3:.1f} kB'
    return f'{num_bytes / 1e9:.2f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.1f} MB'
