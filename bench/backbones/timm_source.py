"""Any timm model, with its pretrained weights from the hub or from a local checkpoint."""

import copy
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.backbones.base import Backbone, frozen_backbone
from bench.backbones.readout import Readout, ReadoutKind
from bench.backbones.remembered import weights_in
from bench.backbones.state_dicts import Conversion, load_checkpoint
from bench.backbones.weights import Origin, Weights, is_offline, open_weights, without_revisions
from bench.core.errors import InputError, near
from bench.core.online import give_up_soon
from bench.core.ranges import PositiveInt
from bench.core.types import Places, Precision

if TYPE_CHECKING:
    from timm.models import PretrainedCfg


def _weights(argument: str, places: Places, *, checkpoint: str, **settings: Any) -> list[Path] | None:
    model, weights = open_weights('timm', argument, checkpoint=checkpoint, root=places.weights_root)
    return [weights.file] if weights.file else origin_of(_config(model), weights.revision).files_here()


@weights_in(_weights)
def timm(
    argument: str,
    places: Places,
    device: torch.device,
    *,
    checkpoint: str = '',
    model_kwargs: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    input_side: PositiveInt | None = None,
    precision: Precision = 'float32',
    readout: ReadoutKind = 'none',
) -> Backbone:
    """Return a timm model as a frozen feature extractor: the input of its classifier, pooled as timm's default does.

    Args:
      argument: timm model name, with an optional `.tag` of pretrained weights and an optional `@revision` of their
        repository.
      places: `weights_root` holds local checkpoints.
      device: where the model runs.
      checkpoint: file with the weights (safetensors or torch), relative to `weights_root`, in the layout of timm or of the
        original release; '' takes the weights of `argument` from the hub's cache or the network.
      model_kwargs: passed to `timm.create_model`, such as `{'num_classes': 1001, 'pad_type': 'same'}`.
      pretrained_cfg: overrides the model's own metadata (mean, std, interpolation, ...), for a checkpoint that was trained
        with other preprocessing.
      input_side: in pixels; None takes the model's own.
      precision: of the network's arithmetic; features are float64 with `float64`, else float32.
      readout: what is done to the features (`bench.backbones.readout`); the label of the backbone has to name it.

    Raises:
      InputError: if the model is unknown, the checkpoint is missing or does not match, or the weights cannot be downloaded.
    """
    if argument.startswith('hf-hub:'):
        raise InputError(f'timm:{argument}: expected a timm model; for a repository on the hub use the name {argument}')
    # the revision is part of the name, not a setting, because settings enter the keys of records
    model, weights = open_weights('timm', argument, checkpoint=checkpoint, root=places.weights_root)
    backbone = load(
        model, weights, device, model_kwargs=model_kwargs, pretrained_cfg=pretrained_cfg, input_side=input_side,
        precision=precision,
    )
    return replace(backbone, readout=Readout(readout))


def load(
    argument: str,
    weights: Weights,
    device: torch.device,
    *,
    model_kwargs: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    input_side: int | None = None,
    precision: Precision = 'float32',
    conversions: tuple[Conversion, ...] = (),
) -> Backbone:
    """Return a timm model with these weights; see `timm`.

    Args:
      conversions: functions that map the keys of the weights' file to timm's, in addition to timm's own.
    """
    from timm.data import resolve_model_data_config

    give_up_soon()
    kwargs, overlay = dict(model_kwargs or {}), dict(pretrained_cfg or {})
    config = _config(argument)
    config = replace(config, **{key: value for key, value in overlay.items() if hasattr(config, key)})
    if input_side is not None and config.fixed_input_size:
        kwargs.setdefault('img_size', input_side)  # vision transformers fix their input when they are created
    origin = origin_of(config, weights.revision)
    if weights.revision:
        if not origin.repository:
            raise without_revisions(weights.label, origin)
        overlay['hf_hub_id'] = f'{origin.repository}@{weights.revision}'
    network = _create(argument, weights, origin, overlay=overlay, kwargs=kwargs)
    if weights.file:
        load_checkpoint(
            network, weights.file, name=weights.label, conversions=(*conversions, *_published_layouts(network)),
            unused=_unused(network), hint='check timm.model_kwargs against the checkpoint',
        )  # fmt: skip
    data = resolve_model_data_config(network)
    network.reset_classifier(0)
    return frozen_backbone(
        network,
        name=weights.label,
        source=f'timm:{argument} from {weights.shown or origin.pinned() or "timm"}',
        device=device,
        input_side=input_side or data['input_size'][-1],
        mean=data['mean'],
        std=data['std'],
        interpolation=data['interpolation'],
        feature=f'classifier input, pooled by {_pooling(network)}',
        precision=precision,
    )


def _create(argument: str, weights: Weights, origin: Origin, *, overlay: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    """Return the model that timm creates: with the weights of `origin`, or with random ones if the weights are in a file."""
    import timm as timm_library

    try:
        if not weights.file and origin.url and not origin.cached() and is_offline():
            raise OSError('HF_HUB_OFFLINE is set')  # timm would try the network all the same
        return timm_library.create_model(
            argument, pretrained=not weights.file, pretrained_cfg_overlay=overlay or None, **kwargs
        )
    except (TypeError, AssertionError) as error:
        raise InputError(f'{weights.label}: timm does not accept these settings ({error}); see timm.model_kwargs') from error
    except Exception as error:
        if weights.file:
            raise
        raise weights.unavailable(origin, error) from error


def origin_of(config: 'PretrainedCfg', revision: str = '') -> Origin:
    """Return the origin of the weights of a pretrained configuration."""
    if config.hf_hub_id:
        repository = config.hf_hub_id.partition('@')[0]
        files = (config.hf_hub_filename,) if config.hf_hub_filename else ('model.safetensors', 'pytorch_model.bin')
        return Origin(repository, files, revision=revision)
    return Origin(url=config.url if isinstance(config.url, str) else '')


def _config(argument: str) -> 'PretrainedCfg':
    """Return timm's metadata of a model, or of a repository on the hub for an argument `hf-hub:<repository>`.

    Raises:
      InputError: if timm does not know the model or the tag.
    """
    from timm.models import PretrainedCfg, get_pretrained_cfg, load_model_config_from_hf

    if argument.startswith('hf-hub:'):
        known = PretrainedCfg.__dataclass_fields__
        facts = load_model_config_from_hf(argument.removeprefix('hf-hub:'))[0]
        return PretrainedCfg(**{key: value for key, value in facts.items() if key in known})
    _check_name(argument)
    return get_pretrained_cfg(argument) or PretrainedCfg()


def _check_name(argument: str) -> None:
    import timm as timm_library


    stem, _, tag = argument.partition('.')
    if not timm_library.is_model(stem):
        raise InputError(f'timm knows no model {stem!r}{near(stem, timm_library.list_models())[:300]}')
    if tag and argument not in timm_library.list_pretrained(f'{stem}*'):
        tags = [name for name in timm_library.list_pretrained(f'{stem}*') if name.partition('.')[0] == stem]
        raise InputError(f'timm has no weights {tag!r} for {stem}; it has: {", ".join(tags) or "none"}')


def _published_layouts(network: nn.Module) -> tuple[Conversion, ...]:
    """Return timm's own conversion of original checkpoints, which also resizes position embeddings."""
    convert = getattr(sys.modules[type(network).__module__], 'checkpoint_filter_fn', None)
    return (partial(convert, model=network),) if convert else ()


def _unused(network: Any) -> tuple[str, ...]:
    """Return prefixes of keys that features do not use: timm's classifier, and all that `reset_classifier` removes."""
    tensors = (*network.parameters(), *network.buffers())
    bare = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})  # shares all weights
    bare.reset_classifier(0)
    heads = network.pretrained_cfg.get('classifier') or ()
    named = (f'{head}.' for head in ([heads] if isinstance(heads, str) else heads))
    return (*named, *sorted(network.state_dict().keys() - bare.state_dict().keys()))


def _pooling(network: nn.Module) -> str:
    pool = getattr(network, 'global_pool', '')
    return pool if isinstance(pool, str) and pool else getattr(pool, 'pool_type', "the model's own rule")
