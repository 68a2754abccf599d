"""Any repository on the Hugging Face hub that timm or open_clip can read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.backbones import open_clip_source, timm_source
from bench.backbones.base import Backbone
from bench.backbones.readout import Readout, ReadoutKind
from bench.backbones.remembered import weights_in
from bench.backbones.weights import Origin, Weights, commit_of
from bench.core.errors import InputError
from bench.core.online import give_up_soon
from bench.core.ranges import PositiveInt
from bench.core.types import Places, Precision

_TIMM, _OPEN_CLIP = 'config.json', 'open_clip_config.json'


def _weights(argument: str, places: Places, **settings: Any) -> list[Path] | None:
    repository, _, revision = argument.partition('@')
    for config, files in ((_TIMM, ('model.safetensors', 'pytorch_model.bin')), (_OPEN_CLIP, open_clip_source.FILES)):
        facts, weights = (Origin(repository, each, revision=revision).cached() for each in ((config,), files))
        if facts and weights:
            return [facts, weights]
    return None


@weights_in(_weights)
def hf_hub(
    argument: str,
    places: Places,
    device: torch.device,
    *,
    input_side: PositiveInt | None = None,
    precision: Precision = 'float32',
    readout: ReadoutKind = 'none',
) -> Backbone:
    """Return the model of a repository as a frozen feature extractor, with the preprocessing that the repository states.

    The feature of a timm repository (`config.json` with an `architecture`) is the input of the classifier. The feature of an
    open_clip repository (`open_clip_config.json`) is the projected image embedding. A repository with both files counts as
    timm's.

    Args:
      argument: `<organisation>/<name>`, with an optional `@revision` (commit, branch or tag).
      places: not used; weights come from the hub's cache or the network.
      device: where it runs.
      input_side: in pixels; None takes the model's own.
      precision: of the network's arithmetic; features are float64 with `float64`, else float32.
      readout: what is done to the features (`bench.backbones.readout`); the label of the backbone has to name it.

    Raises:
      InputError: if the repository is of neither kind, or cannot be downloaded.
    """
    give_up_soon()
    repository, _, revision = argument.partition('@')
    weights = Weights(f'hf-hub:{argument}', revision=revision)
    if repository.count('/') != 1 or not _is_name(repository):
        raise InputError(f'{weights.label}: expected hf-hub:<organisation>/<name>, with an optional @<revision>')
    try:
        config = _config(repository, _TIMM, revision)
        if 'architecture' in config:
            fixed = config.get('pretrained_cfg', config).get('fixed_input_size')
            kwargs = {'img_size': input_side} if input_side and fixed else {}
            backbone = timm_source.load(
                f'hf-hub:{argument}', weights, device, model_kwargs=kwargs, input_side=input_side, precision=precision
            )
            return replace(backbone, readout=Readout(readout))
        if 'model_cfg' in _config(repository, _OPEN_CLIP, revision):
            return replace(_open_clip(repository, weights, device, input_side, precision), readout=Readout(readout))
    except InputError:
        raise
    except Exception as error:
        raise weights.unavailable(Origin(repository, open_clip_source.FILES, revision=revision), error) from error
    raise InputError(
        f'{weights.label}: expected a timm repository ({_TIMM} with an architecture) or an open_clip repository '
        f'({_OPEN_CLIP}); got neither'
    )


def _is_name(repository: str) -> bool:
    """Return whether this is a valid name of a repository on the hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError:
        return False
    return True


def _config(repository: str, file: str, revision: str) -> dict[str, Any]:
    """Return the contents of a JSON file in a repository, {} if there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return json.loads(Path(hf_hub_download(repository, file, revision=revision or None)).read_text(encoding='utf-8'))
    except EntryNotFoundError:
        # also raised offline for a file that is not in the cache; the file of the other kind may still be there
        if file == _OPEN_CLIP:
            raise
        return {}


def _open_clip(repository: str, weights: Weights, device: torch.device, side: int | None, precision: Precision) -> Backbone:
    import open_clip as library
    from open_clip.pretrained import download_pretrained_from_hf

    path = Path(download_pretrained_from_hf(repository, revision=weights.revision or None))
    with open_clip_source.silence():
        # the folder of one commit holds both the configuration and the weights
        model = library.create_model(f'local-dir:{path.parent}', pretrained_text=False, force_image_size=side)
    source = f'open_clip:hf-hub:{repository}@{commit_of(path)}'
    return open_clip_source.tower(model, device, name=weights.label, source=source, precision=precision)
