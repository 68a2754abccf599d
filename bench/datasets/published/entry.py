"""What is known of a published dataset before any file of it is there."""

from dataclasses import dataclass

from bench.core.types import Group


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
    """A published dataset as the catalogue knows it.

    `train`, `test` and `classes` are the published sizes (None where nobody states one), `train_groups` those of the
    training groups. `folder`, relative to the data root, holds its files. `licence_url` says where the licence is stated.
    `revision` is the version of the release. `groups` and `homes` are those of `bench.core.types.Dataset`. `manual` tells
    how to get files that may not be fetched without a person's consent, or that nobody serves any more; `alternative`
    another way to the same images. `decode` says whether every image is decoded once before any work; where that would
    take an hour, a damaged one shows when it is used.
    """

    name: str
    summary: str
    classes: int
    train: int | None
    test: int
    folder: str
    licence: str
    licence_url: str
    citation: str
    sources: tuple[Source, ...]
    revision: str = ''
    groups: tuple[Group, ...] = ()
    homes: tuple[str, ...] = ()
    train_groups: tuple[int, ...] = ()
    manual: str = ''
    alternative: str = ''
    decode: bool = True

    @property
    def num_bytes(self) -> int:
        """The size of the download; 0 where unknown."""
        return sum(source.num_bytes for source in self.sources)

    @property
    def source(self) -> str:
        """Where exactly the files come from, for the record."""
        return ', '.join(f'{source.url or source.file} ({source.checksum})' for source in self.sources)


def size_of(num_bytes: int) -> str:
    """Return a size for people, such as '1.15 GB'."""
    if num_bytes < 1e5:
        return f'{num_bytes / 1e3:.1f} kB'
    return f'{num_bytes / 1e9:.2f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.1f} MB'
