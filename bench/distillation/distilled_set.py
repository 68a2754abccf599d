"""A distilled set: about one labelled image per class, made by a method and kept on disk between stages.

Shape suffixes: N images, C classes (in `NCHW`: channels), H height, W width.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from bench.core.disk import new_folder, safe_name
from bench.core.errors import InputError
from bench.core.hashing import hash_bytes
from bench.core.types import Images, Split

FORMAT_VERSION = 1


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic images, or selected real ones, with labels.

    Exactly one of `images_NHWC` and `indices_N` (into the training split) is given. `images_NHWC` is uint8: the same 8-bit
    picture is stored, shown and trained on. If `soft_labels_NC` (float32 rows that sum to 1) is given, it replaces
    `labels_N` as the target; `labels_N` then holds the most likely classes (see `bench.distillation.soft_labels`). `facts`
    are values reported by the method (JSON). `curves` maps a tag to [(step, value), ...].
    """

    labels_N: np.ndarray
    images_NHWC: np.ndarray | None = None
    indices_N: np.ndarray | None = None
    soft_labels_NC: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.images_NHWC is None) == (self.indices_N is None):
            raise ValueError('a DistilledSet needs either images_NHWC or indices_N, got both or neither')
        count = sum(len(data) for data in (self.images_NHWC, self.indices_N) if data is not None)
        if count != len(self.labels_N):
            raise ValueError(f'a DistilledSet needs one label per image, got {len(self.labels_N)} for {count}')
        if self.images_NHWC is not None and self.images_NHWC.dtype != np.uint8:
            raise ValueError(f'images_NHWC must be uint8, got {self.images_NHWC.dtype}; use DistilledSet.synthetic')
        if self.soft_labels_NC is not None:
            _check_soft_labels(self.soft_labels_NC, self.labels_N)

    @classmethod
    def synthetic(cls, x_NCHW: Any, labels_N: np.ndarray, **parts: Any) -> 'DistilledSet':
        """Make a set from images in [0, 1] (a tensor or array, NCHW), rounded to 8 bits."""
        x_NCHW = x_NCHW.detach().cpu().numpy() if hasattr(x_NCHW, 'detach') else np.asarray(x_NCHW)
        images = np.round(np.clip(x_NCHW, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return cls(np.asarray(labels_N, dtype=np.int64), images_NHWC=np.ascontiguousarray(images), **parts)

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def kind(self) -> Literal['real', 'synthetic']:
        return 'real' if self.images_NHWC is None else 'synthetic'

    @property
    def label_kind(self) -> Literal['hard', 'soft']:
        return 'hard' if self.soft_labels_NC is None else 'soft'

    @cached_property
    def hash(self) -> str:
        """A hash of the images (or indices) and labels."""
        arrays = (self.images_NHWC, self.indices_N, self.labels_N, self.soft_labels_NC)
        return hash_bytes(np.ascontiguousarray(a).tobytes() if a is not None else b'-' for a in arrays)

    @property
    def num_bytes(self) -> int:
        """Uncompressed size of the images (0 for selected real ones, which are only indices) and of the soft labels."""
        return sum(a.nbytes for a in (self.images_NHWC, self.soft_labels_NC) if a is not None)

    def split(self, train: Split) -> Split:
        """Return the set as a split, so that its images are read like any others."""
        if self.indices_N is not None:
            chosen = _Chosen(train.images, self.indices_N)
            fingerprint = hash_bytes([train.fingerprint.encode(), self.hash.encode()])
            return Split('distilled', chosen, self.labels_N, train.class_names, fingerprint)
        assert self.images_NHWC is not None, 'a set holds one of both'
        return Split('distilled', _Pictures(self.images_NHWC), self.labels_N, train.class_names, self.hash)

    def save(self, folder: Path, *, cost: dict[str, Any] | None = None, replace: bool = False) -> 'DistilledSet':
        """Write the set atomically to a folder, together with its cost, and return the set that the folder holds then.

        If another process saved the same set meanwhile, that one stays, unless it is to `replace` what is there.
        """
        from safetensors.numpy import save

        names = ('labels_N', 'images_NHWC', 'indices_N', 'soft_labels_NC')
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in names if getattr(self, name) is not None}
        meta = {'format': FORMAT_VERSION, 'hash': self.hash, 'facts': self.facts, 'curves': self.curves}
        with new_folder(folder, replace=replace) as unfinished:
            # `save_file` ignores the umask and creates a file that only its owner can read
            (unfinished / 'set.safetensors').write_bytes(save(arrays))
            (unfinished / 'set.json').write_text(json.dumps(meta, indent=1))
            (unfinished / 'cost.json').write_text(json.dumps(cost or {}))
        kept = DistilledSet.load(folder)
        return self if kept.hash == self.hash else kept

    @classmethod
    def load(cls, folder: Path) -> 'DistilledSet':
        """Read a saved set.

        Raises:
          InputError: if the folder is damaged or has another format version.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            meta = json.loads((folder / 'set.json').read_text())
            if meta['format'] != FORMAT_VERSION:
                raise InputError(f'distilled set {folder}: expected format {FORMAT_VERSION}, found {meta["format"]}')
            curves = {tag: [tuple(point) for point in points] for tag, points in meta['curves'].items()}
            loaded = cls(**load_file(folder / 'set.safetensors'), facts=meta['facts'], curves=curves)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError(f'distilled set {folder} is damaged ({error})') from error
        if loaded.hash != meta['hash']:
            raise InputError(f'distilled set {folder} is damaged (its hash differs)')
        return loaded


def folder_of(
    results_dir: Path, *, dataset: str, source: str, method: str, ipc: int | None, seed: int, made_from: str
) -> Path:
    """Return the folder of a distilled set.

    Args:
      results_dir: the results folder.
      dataset: label of the data set.
      source: label of the source backbone, or 'any'.
      method: label of the method.
      ipc: images per class, None for a method without ipc.
      seed: seed of the method.
      made_from: hash of everything that determines the set.
    """
    size = f'ipc{ipc}-' if ipc else ''
    name = f'{size}seed{seed}-{made_from}'
    return Path(results_dir, 'distilled', *map(safe_name, (dataset, source, method)), name)


def find(results_dir: Path, *, digest: str, **cell: Any) -> DistilledSet | None:
    """Return the distilled set with a given hash, or None if there is none.

    Args:
      results_dir: the results folder.
      digest: hash of the set.
      cell: the arguments of `folder_of` except `made_from`, which may have changed since.
    """
    pattern = folder_of(results_dir, **cell, made_from='*')
    for folder in sorted(pattern.parent.glob(pattern.name)):
        if folder.suffix != '.checkpoint' and (found := DistilledSet.load(folder)).hash == digest:
            return found
    return None


def _check_soft_labels(soft_labels_NC: np.ndarray, labels_N: np.ndarray) -> None:
    if soft_labels_NC.dtype != np.float32 or soft_labels_NC.ndim != 2 or len(soft_labels_NC) != len(labels_N):
        raise ValueError(
            f'soft_labels_NC must be float32 with one row per image ({len(labels_N)}), got {soft_labels_NC.dtype} of '
            f'shape {soft_labels_NC.shape}'
        )
    if not ((soft_labels_NC >= 0).all() and np.allclose(soft_labels_NC.sum(axis=1), 1, rtol=0, atol=1e-4)):
        raise ValueError('soft_labels_NC must be distributions: rows of numbers >= 0 that sum to 1')
    other = np.flatnonzero(soft_labels_NC.argmax(axis=1) != labels_N)
    if len(other):
        raise ValueError(
            'labels_N must hold the most likely class of soft_labels_NC: '
            f'image {other[0]} has label {labels_N[other[0]]}, its soft label peaks at {soft_labels_NC[other[0]].argmax()}'
        )


class _Chosen:
    """Real images, selected by index."""

    def __init__(self, images: Images, indices_N: np.ndarray) -> None:
        self.images, self.indices_N = images, indices_N

    def __len__(self) -> int:
        return len(self.indices_N)

    def __getitem__(self, i: int) -> Image.Image:
        return self.images[int(self.indices_N[i])]


class _Pictures:
    """Synthetic images as PIL images."""

    def __init__(self, images_NHWC: np.ndarray) -> None:
        self.images_NHWC = images_NHWC

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __getitem__(self, i: int) -> Image.Image:
        return Image.fromarray(self.images_NHWC[i])
