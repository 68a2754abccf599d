"""Canonical JSON, short hashes, and random seeds derived from a purpose."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np


def canonical_json(value: Any) -> str:
    """Return a JSON text that is the same for equal configurations (sorted keys, no spaces, no NaN)."""
    return json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False, allow_nan=False)


def short_hash(value: Any, *, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def hash_bytes(chunks: Iterable[bytes], *, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of the concatenated chunks."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()[:length]


def derive_seed(*purpose: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on every part of its purpose, e.g. `derive_seed('lgm', 'noise', 3)`.

    Random streams of different purposes are independent, and adding one never changes another.
    """
    return int(short_hash([str(part) for part in purpose]), 16) >> 1


def numpy_generator(*purpose: str | int) -> np.random.Generator:
    """Return a numpy generator for this purpose."""
    return np.random.default_rng(derive_seed(*purpose))


def differences(theirs: dict[str, Any], ours: dict[str, Any], *, absent: Any = None) -> dict[str, tuple[Any, Any]]:
    """Return the differences of two nested dictionaries: dotted name -> (theirs, ours).

    `absent` stands for a missing value.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(theirs.keys() | ours.keys()):
        a, b = theirs.get(key, absent), ours.get(key, absent)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= {f'{key}.{name}': pair for name, pair in differences(a, b, absent=absent).items()}
        elif a != b:
            found[key] = (a, b)
    return found
