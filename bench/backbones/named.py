"""Loads a backbone of the catalogue, and holds it to what its entry says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.backbones import mocov3, open_clip_source, timm_source
from bench.backbones.base import Backbone
from bench.backbones.catalogue import CATALOGUE, Entry
from bench.backbones.remembered import weights_in
from bench.backbones.weights import Weights, fetch, local_file, of_checkpoint, without_revisions
from bench.core.ranges import PositiveInt
from bench.core.types import Places, Precision

SOURCES = {'timm': timm_source.load, 'open_clip': open_clip_source.load, 'mocov3': mocov3.load}


def _files(name: str, places: Places, *, checkpoint: str, revision: str, **settings: Any) -> list[Path] | None:
    entry, root = CATALOGUE[name], places.weights_root
    bound = of_checkpoint(name, checkpoint, root=root, revision=revision).get('file')
    file = bound or (None if revision else local_file(name, root))
    return [file] if file else replace(entry.origin, revision=revision).files_here()


@weights_in(_files)
def named(
    name: str,
    places: Places,
    device: torch.device,
    *,
    checkpoint: str = '',
    revision: str = '',
    input_side: PositiveInt | None = None,
    precision: Precision = 'float32',
) -> Backbone:
    """Return a published backbone with the feature, pooling and preprocessing that its entry pins (docs/backbones.md).

    Args:
      name: a key of the catalogue.
      places: `weights_root` holds local checkpoints; a file `<weights_root>/<name>.safetensors` (or .pth, .pth.tar, .pt,
        .bin) is used where nothing else is asked for.
      device: where it runs.
      checkpoint: another file of its weights, relative to `weights_root`, in the library's layout or the original release's.
      revision: commit, branch or tag of the repository of the hub; '' takes what its main branch gives, and `source` says
        which commit that was.
      input_side: pixels; None takes the entry's.
      precision: of the network's arithmetic; features are always returned as float32.

    Raises:
      InputError: missing checkpoint, keys or shapes that do not fit, weights that cannot be fetched.
    """
    entry, side = CATALOGUE[name], input_side or CATALOGUE[name].input_side
    weights = _weights(entry, checkpoint, revision, places)
    load = SOURCES[entry.source]
    backbone = load(entry.argument, weights, device, input_side=side, precision=precision, **entry.settings)
    _check_facts(entry, backbone, side)
    return replace(backbone, feature=entry.feature)


def _weights(entry: Entry, checkpoint: str, revision: str, places: Places) -> Weights:
    """Return what to load: the bound file, or the one that lies in `weights_root`, or what is published."""
    root = places.weights_root
    weights = Weights(
        entry.name, root, stem=entry.name, revision=revision, megabytes=entry.megabytes,
        **of_checkpoint(entry.name, checkpoint, root=root, revision=revision),
    )  # fmt: skip
    if revision and not entry.origin.repository:
        raise without_revisions(entry.name, entry.origin)
    if weights.file or revision:
        return weights
    if (file := local_file(entry.name, root)) is not None:
        return replace(weights, file=file, shown=file.name)
    if entry.origin.url:
        try:
            return replace(weights, file=fetch(entry.origin), shown=entry.origin.url)
        except OSError as error:
            raise weights.unavailable(entry.origin, error) from error
    return weights


def _check_facts(entry: Entry, backbone: Backbone, side: int) -> None:
    """Check that the library says of the weights what the catalogue says; a difference is a mistake of ours."""
    declared = (entry.width, side, entry.mean, entry.std, entry.interpolation)
    found = (backbone.feature_dim, backbone.input_side, backbone.mean, backbone.std, backbone.interpolation)
    assert found == declared, f'{entry.name}: the catalogue says {declared}, the library {found}'
