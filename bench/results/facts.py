"""What a record says of its method: whether it chooses real images, and what it needs. Nobody lists methods by name."""

from collections.abc import Mapping
from typing import Any

FACTS = ('real', 'needs_backbone', 'needs_seed', 'needs_ipc')
# Records of schemas 1 and 2 do not say it. No other method of the time made its images without a seed.
_SEEDLESS = frozenset({'centroid', 'herding', 'k_center', 'full'})


def method_facts(record: Mapping[str, Any]) -> dict[str, bool | None]:
    """Return the facts of a record's method, by the names in FACTS.

    `real`: the result is a choice of training images (None for a failed record of schema 1 or 2, which has no result).
    `needs_backbone`, `needs_seed`, `needs_ipc`: the result depends on a source backbone, a seed, the images per class.
    """
    if said := record.get('method_facts'):
        return {name: said[name] for name in FACTS}
    cell, distilled = record['cell'], record['distilled']
    return {
        'real': distilled['kind'] == 'real' if distilled else None,
        'needs_backbone': cell.get('source_backbone') != 'any',
        'needs_seed': cell.get('method_name', cell.get('method')) not in _SEEDLESS,
        'needs_ipc': cell.get('ipc') is not None,
    }
