"""The facts of a published dataset, known before any of its files is here."""

from dataclasses import dataclass

from bench.core.types import Group


@dataclass(frozen=True)
class OfficialFile:
    """One official file of a dataset.

    `path` says where to put the file and `makes` which folder it is extracted to ('' for a file that is used as it is);
    both are relative to the data root. `inside` is the folder inside the archive that becomes `makes` ('' for the whole
    archive); `nested` marks an archive of tar files. `url` is '' for a file that has to be downloaded by hand. `md5` or
    `sha256` is the checksum, '' if none is published. `unless` is a path that makes this file unnecessary.
    """

    path: str
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
class PublishedDataset:
    """The facts of a published dataset.

    `train`, `test` and `classes` are the published sizes (None if none is published), `train_groups` the sizes of the
    training groups. `folder`, relative to the data root, holds the files. `licence_url` is the page that states the licence.
    `revision` is the version of the release. `groups` and `homes` are as in `bench.core.types.Dataset`. `manual` says how
    to get files that need a person's consent or that no server offers any more; `alternative` describes another way to get
    the same images. `decode` says whether every image is decoded once before any work starts. It is off for datasets where
    that would take an hour; there a damaged image is noticed only when it is used.
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
    files: tuple[OfficialFile, ...]
    revision: str = ''
    groups: tuple[Group, ...] = ()
    homes: tuple[str, ...] = ()
    train_groups: tuple[int, ...] = ()
    manual: str = ''
    alternative: str = ''
    decode: bool = True

    @property
    def num_bytes(self) -> int:
        """The size of the download, 0 if unknown."""
        return sum(file.num_bytes for file in self.files)

    @property
    def source(self) -> str:
        """The exact origin of the files, for the record."""
        return ', '.join(f'{file.url or file.path} ({file.checksum})' for file in self.files)


def size_of(num_bytes: int) -> str:
    """Return a size for people, such as '1.15 GB'."""
    if num_bytes < 1e5:
        return f'{num_bytes / 1e3:.1f} kB'
    return f'{num_bytes / 1e9:.2f} GB' if num_bytes >= 1e8 else f'{num_bytes / 1e6:.1f} MB'
