"""A cache of weights fingerprints, so that a backbone's fingerprint is known without building the backbone.

The cache key is the content of the weights' files and the code that reads them. A loader declares its files with
`@weights_in(files)`; `files` is called like the loader, but without the device, and returns all files that determine the
weights, or None if it cannot tell.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.core.contents import digests
from bench.core.disk import write_atomic
from bench.core.hashing import short_hash
from bench.core.packages import installed_version
from bench.core.types import Places

_LIBRARIES = ('torch', 'timm', 'open_clip_torch', 'safetensors')
Files = Callable[..., Sequence[Path] | None]


def weights_in(files: Files) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare which files a loader reads its weights from. The decorator returns the loader itself."""

    def mark(loader: Callable[..., Any]) -> Callable[..., Any]:
        loader.weights_in = files  # type: ignore[attr-defined]  # a function carries any name
        return loader

    return mark


def entry_of(
    loader: Callable[..., Any], arguments: tuple[str, ...], places: Places, settings: dict[str, Any], *, code: str
) -> Path | None:
    """Return the path of the cache entry for a backbone's fingerprint, or None if its files are not known.

    Args:
      loader: the backbone's loader.
      arguments: the arguments before `places`, usually the name.
      places: folders of the weights and of the cache.
      settings: the loader's settings.
      code: version of the loader's code, as in the key of a cell.
    """
    files = getattr(loader, 'weights_in', lambda *_, **settings: None)(*arguments, places, **settings)
    if files is None or not all(path.is_file() for path in files):
        return None
    memo = places.cache_dir / 'weights' / f'files-{short_hash([str(path.resolve()) for path in files])}.npz'
    held = [digest.hex() for digest in digests(files, memo=memo)] if files else []
    if not all(held):
        return None
    read_by = {name: installed_version(name) for name in _LIBRARIES}
    key = {
        'loader': f'{loader.__module__}:{loader.__qualname__}', 'arguments': arguments, 'settings': settings, 'code': code,
        'files': held, 'read by': read_by,
    }  # fmt: skip
    return places.cache_dir / 'weights' / f'{short_hash(key)}.json'


def recall(entry: Path | None) -> str | None:
    """Return the cached fingerprint, or None if there is none."""
    try:
        return str(json.loads(entry.read_text(encoding='utf-8'))['fingerprint']) if entry else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(entry: Path | None, fingerprint: str) -> None:
    """Cache the fingerprint of a backbone that was built."""
    if entry is not None and recall(entry) != fingerprint:
        write_atomic(entry, json.dumps({'fingerprint': fingerprint}))
