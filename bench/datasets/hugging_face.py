"""Any image classification dataset on the Hugging Face hub, loaded with the `datasets` library: `hf:<owner>/<name>`."""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.core.errors import InputError, near, reason_of
from bench.core.online import give_up_soon
from bench.core.types import Dataset, Fingerprints, Places, Split
from bench.datasets.images import READING_RULES, read_image


def hf(
    argument: str,
    places: Places,
    *,
    config: str = '',
    revision: str = '',
    train_split: str = 'train',
    test_split: str = 'test',
    image_column: str = '',
    label_column: str = '',
) -> Dataset:
    """Load a dataset from the hub, or from a local folder that `datasets.load_dataset` can read.

    Uses the hub's cache (HF_HOME), and the network for whatever is missing there (HF_HUB_OFFLINE=1 forbids it).

    Args:
      argument: `<owner>/<name>` on the hub, or a folder under `data_root`.
      places: `data_root` may contain that folder.
      config: the dataset's configuration, if it has several.
      revision: git commit, tag or branch of the dataset's repository; '' takes the latest. Pin it for reproducible numbers.
      train_split: the split to train on.
      test_split: the split to test on.
      image_column: '' takes the only column of images.
      label_column: '' takes the only column of class labels.

    Raises:
      InputError: if the dataset cannot be fetched, a split or column is missing, or the labels are not class labels.
    """
    import datasets as library

    give_up_soon()
    name = f'hf:{argument}'
    local = _local(name, argument, places)
    splits: dict[str, Split] = {}
    for kind, wanted in (('train', train_split), ('test', test_split)):
        try:
            table = library.load_dataset(
                str(local or argument), config or None, split=wanted, revision=None if local else revision or None
            )
        except Exception as error:  # the library raises almost any type for something that the hub does not have
            reason = reason_of(error)
            raise InputError(
                f'{name}: expected to load split {wanted!r}, got: {reason}; check name, hf.config, hf.{kind}_split and '
                f'hf.revision, or fetch it on a machine with a network and copy its Hugging Face cache (HF_HOME)'
            ) from error
        image, label = _columns(name, table, image_column, label_column, library)
        class_names = tuple(table.features[label].names)
        table = table.select_columns([image, label]).cast_column(image, library.Image(decode=False))
        labels_N = np.array(table[label], dtype=np.int64)
        if labels_N.min(initial=0) < 0:
            raise InputError(f'{name}: expected labelled images in split {wanted!r}, got unlabelled ones; choose another')
        images = HubImages(name, table, image)
        splits[kind] = Split(kind, images, labels_N, class_names, **images.fingerprints(labels_N))
    info = table.info
    commit = '' if local else _commit(info, argument)
    source = str(argument) if local else f'https://huggingface.co/datasets/{argument} {commit}'.strip()
    licence = info.license or 'see the dataset card'
    return Dataset('hf', splits['train'], splits['test'], licence, source, info.citation.strip())


def _local(name: str, argument: str, places: Places) -> Path | None:
    """Return the folder under the data root, or None if the name refers to the hub."""
    if Path(argument).is_absolute() or '..' in Path(argument).parts:
        raise InputError(f'{name}: expected hf:<owner>/<name>, or a folder under --data_root, got {argument!r}')
    folder = places.data_root / argument if places.data_root else None
    return folder if folder and folder.is_dir() else None


@dataclass(frozen=True)
class HubImages:
    """One column of encoded images as `bench.core.types.Images`, decoded on access."""

    name: str
    table: Any
    column: str

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Image.Image:
        cell = self.table[int(index)][self.column]
        try:
            return read_image(io.BytesIO(cell['bytes']) if cell['bytes'] else Path(cell['path']))
        except MemoryError:
            raise
        except Exception as error:  # on damaged files PIL's decoders raise almost any type
            raise InputError(f'{self.name}: expected image {index} to be readable, got {reason_of(error)}') from error

    def fingerprints(self, labels_N: np.ndarray) -> Fingerprints:
        """Return `fingerprint`, a hash of the bytes and label of every image, and `listing`, the same with sizes only."""
        listing, content = hashlib.sha256(READING_RULES.encode()), hashlib.sha256(READING_RULES.encode())
        for batch in self.table.with_format('arrow').iter(1000):
            for cell in batch[self.column].to_pylist():
                name, data = os.path.basename(cell['path'] or ''), cell['bytes'] or Path(cell['path']).read_bytes()
                listing.update(f'{name}\0{len(data)}\n'.encode())
                content.update(f'{name}\0{len(data)}\n'.encode() + data)
        for digest in (listing, content):
            digest.update(labels_N.tobytes())
        return {'fingerprint': content.hexdigest()[:16], 'listing': listing.hexdigest()[:16]}


def _columns(name: str, table: Any, image: str, label: str, library: Any) -> tuple[str, str]:
    """Return the names of the image column and the label column: the requested ones, or the only ones there are."""
    found = []
    for what, wanted, kind in (('image', image, library.Image), ('label', label, library.ClassLabel)):
        those = [column for column, feature in table.features.items() if isinstance(feature, kind)]
        if wanted and wanted not in those:
            raise InputError(f'{name}: hf.{what}_column: no {what} column {wanted!r}{near(wanted, those)}')
        if not wanted and len(those) != 1:
            raise InputError(
                f'{name}: expected one {what} column, got {", ".join(those) or "none"} among '
                f'{", ".join(table.features)}; bind hf.{what}_column, or choose another dataset'
            )
        found.append(wanted or those[0])
    return found[0], found[1]


def _commit(info: Any, argument: str) -> str:
    """Return the commit that was loaded, read from the library's download checksums; '' if they do not name one."""
    for url in info.download_checksums or ():
        _, at, rest = str(url).partition(f'{argument}@')
        if at:
            return rest.partition('/')[0]
    return ''
