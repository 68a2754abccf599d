"""Loads a backbone of the catalogue and checks it against the catalogue's facts."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch

from bench.backbones import mocov3, open_clip_source, timm_source
from bench.backbones.base import Backbone
from bench.backbones.catalogue import CATALOGUE, PublishedBackbone
from bench.backbones.readout import Readout, ReadoutKind
from bench.backbones.remembered import weights_in
from bench.backbones.weights import Weights, fetch, local_file, of_checkpoint, without_revisions
from bench.core.ranges import PositiveInt, Since
from bench.core.types import Interpolation, Places, Precision

LOADERS = {'timm': timm_source.load, 'open_clip': open_clip_source.load, 'mocov3': mocov3.load}


def _files(name: str, places: Places, *, checkpoint: str, revision: str, **settings: Any) -> list[Path] | None:
    published, root = CATALOGUE[name], places.weights_root
    bound = of_checkpoint(name, checkpoint, root=root, revision=revision).get('file')
    file = bound or (None if revision else local_file(name, root))
    return [file] if file else replace(published.origin, revision=revision).files_here()


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
    interpolation: Annotated[Interpolation | None, Since('2026-11', neutral=None)] = None,
    readout: ReadoutKind = 'none',
) -> Backbone:
    """Return a published backbone with the feature, pooling and preprocessing of the catalogue (docs/backbones.md).

    Args:
      name: a key of the catalogue.
      places: `weights_root` holds local checkpoints. A file `<weights_root>/<name>.safetensors` (or .pth, .pth.tar, .pt,
        .bin) is used unless `checkpoint` or `revision` is set.
      device: where it runs.
      checkpoint: another file with its weights, relative to `weights_root`, in the layout of the library or of the original
        release.
      revision: commit, branch or tag of the repository on the hub; '' takes the main branch, and `Backbone.source` records
        its commit.
      input_side: in pixels; None takes the catalogue's.
      precision: of the network's arithmetic; features are float64 with `float64`, else float32.
      interpolation: filter that resizes images, for selection, distillation and probes alike; None takes the catalogue's.
      readout: what is done to the features (`bench.backbones.readout`); the label of the backbone has to name it.

    Raises:
      InputError: if the checkpoint is missing, keys or shapes do not match, or the weights cannot be downloaded.
    """
    published, side = CATALOGUE[name], input_side or CATALOGUE[name].input_side
    weights = _weights(published, checkpoint, revision, places)
    load = LOADERS[published.loader]
    backbone = load(published.argument, weights, device, input_side=side, precision=precision, **published.settings)
    _check_facts(published, backbone, side)
    return replace(
        backbone, feature=published.feature, interpolation=interpolation or published.interpolation, readout=Readout(readout)
    )


def _weights(published: PublishedBackbone, checkpoint: str, revision: str, places: Places) -> Weights:
    """Return the weights to load: the bound checkpoint, else a file in `weights_root`, else the published weights."""
    root = places.weights_root
    weights = Weights(
        published.name, root, stem=published.name, revision=revision, megabytes=published.megabytes,
        **of_checkpoint(published.name, checkpoint, root=root, revision=revision),
    )  # fmt: skip
    if revision and not published.origin.repository:
        raise without_revisions(published.name, published.origin)
    if weights.file or revision:
        return weights
    if (file := local_file(published.name, root)) is not None:
        return replace(weights, file=file, shown=file.name)
    if published.origin.url:
        try:
            return replace(weights, file=fetch(published.origin), shown=published.origin.url)
        except OSError as error:
            raise weights.unavailable(published.origin, error) from error
    return weights


def _check_facts(published: PublishedBackbone, backbone: Backbone, side: int) -> None:
    """Check that the library's facts agree with the catalogue's; a difference is a mistake in the catalogue."""
    declared = (published.width, side, published.mean, published.std, published.interpolation)
    found = (backbone.feature_dim, backbone.input_side, backbone.mean, backbone.std, backbone.interpolation)
    assert found == declared, f'{published.name}: the catalogue says {declared}, the library {found}'
