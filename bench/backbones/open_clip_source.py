"""Any image tower of open_clip."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.backbones.base import Backbone, frozen_backbone
from bench.backbones.readout import Readout, ReadoutKind
from bench.backbones.remembered import weights_in
from bench.backbones.state_dicts import load_checkpoint
from bench.backbones.weights import Origin, Weights, is_offline, open_weights
from bench.core.errors import InputError, near
from bench.core.online import give_up_soon
from bench.core.types import Places, Precision

FILES = ('open_clip_model.safetensors', 'open_clip_pytorch_model.bin')


def _weights(argument: str, places: Places, *, checkpoint: str, **settings: Any) -> list[Path] | None:
    wanted, weights = open_weights('open_clip', argument, checkpoint=checkpoint, root=places.weights_root)
    if weights.file:
        return [weights.file]
    import open_clip as library

    architecture, _, tag = wanted.partition('/')
    facts = library.get_pretrained_cfg(architecture, tag) if tag else {}
    return origin_of(facts, weights.revision).files_here()


@weights_in(_weights)
def open_clip(
    argument: str,
    places: Places,
    device: torch.device,
    *,
    checkpoint: str = '',
    precision: Precision = 'float32',
    readout: ReadoutKind = 'none',
) -> Backbone:
    """Return the image tower of an open_clip model: the projected image embedding, not normalised.

    Args:
      argument: `<architecture>/<tag of the pretrained weights>`, such as `ViT-B-16/openai`, with an optional `@revision` of
        the weights' repository; `ViT-B-16` alone needs a `checkpoint`.
      places: `weights_root` holds local checkpoints.
      device: where the tower runs.
      checkpoint: file (safetensors or torch) with the weights of the whole model or of its image tower, relative to
        `weights_root`; '' takes the tag's weights from the hub's cache or the network.
      precision: of the network's arithmetic; features are float64 with `float64`, else float32.
      readout: what is done to the features (`bench.backbones.readout`); the label of the backbone has to name it.

    Raises:
      InputError: if the architecture or tag is unknown, the checkpoint is missing or does not match, or the weights cannot
        be downloaded.
    """
    wanted, weights = open_weights('open_clip', argument, checkpoint=checkpoint, root=places.weights_root)
    return replace(load(wanted, weights, device, precision=precision), readout=Readout(readout))


def load(
    argument: str, weights: Weights, device: torch.device, *, input_side: int | None = None, precision: Precision = 'float32'
) -> Backbone:
    """Return an image tower with these weights; see `open_clip`.

    Args:
      input_side: in pixels; position embeddings are resampled if it is not the tower's own. None takes the tower's own.
    """
    import open_clip as library

    give_up_soon()
    architecture, _, tag = argument.partition('/')
    _check_name(architecture, tag, weights)
    # OpenAI's weights were trained with QuickGELU; without it features are silently wrong
    facts_of_tag = library.get_pretrained_cfg(architecture, tag) if tag else {}
    origin = origin_of(facts_of_tag, weights.revision)
    try:
        with silence():
            # the tag's preprocessing applies even if its weights come from a local file
            model = library.create_model(
                architecture, pretrained=None if weights.file else _published(origin) or tag, pretrained_text=False,
                force_quick_gelu=bool(facts_of_tag.get('quick_gelu')), force_image_size=input_side,
                force_preprocess_cfg=facts_of_tag,
            )  # fmt: skip
    except Exception as error:
        if weights.file:
            raise
        raise weights.unavailable(origin, error) from error
    if weights.file:
        load_tower(model, weights.file, name=weights.label)
    shown = weights.shown or origin.pinned() or 'its pretrained tag'
    return tower(model, device, name=weights.label, source=f'open_clip:{argument} from {shown}', precision=precision)


def tower(model: Any, device: torch.device, *, name: str, source: str, precision: Precision) -> Backbone:
    """Return the image tower of an open_clip model, with the preprocessing that the model was created with."""
    import open_clip as library

    facts = library.get_model_preprocess_cfg(model)
    side = facts['size'][-1] if isinstance(facts['size'], (tuple, list)) else facts['size']
    return frozen_backbone(
        model.visual,
        name=name,
        source=source,
        device=device,
        input_side=side,
        mean=facts['mean'],
        std=facts['std'],
        interpolation=facts['interpolation'],
        feature='projected image embedding, not normalised',
        precision=precision,
    )


def origin_of(facts: dict[str, Any], revision: str = '') -> Origin:
    """Return the origin of a tag's weights; `facts['hf_hub']` is `<repository>/` or `<repository>/<file>`."""
    repository, _, file = facts.get('hf_hub', '').rpartition('/')
    if not repository:
        return Origin(url=facts.get('url', ''))
    safe = (f'{file[:-4]}.safetensors',) if file.endswith(('.bin', '.pth')) else ()
    return Origin(repository, (*safe, file) if file else FILES, revision=revision)


def load_tower(model: Any, path: Path, *, name: str) -> None:
    """Load the image tower of an open_clip model from a file of the tower or of the whole model."""

    def image_tower(state: dict[str, Any]) -> dict[str, Any]:
        from open_clip.convert import convert_state_dict
        from open_clip.model import resize_pos_embed

        state = convert_state_dict(model, state)
        resize_pos_embed(state, model)
        return {key.removeprefix('visual.'): value for key, value in state.items() if key.startswith('visual.')}

    hint = 'check the architecture against the checkpoint'
    load_checkpoint(model.visual, path, name=name, conversions=(image_tower,), hint=hint)


def _published(origin: Origin) -> str:
    """Return the path of published weights, downloaded if necessary; '' if open_clip does not take them from the hub."""
    from open_clip.pretrained import download_pretrained_from_hf

    if not origin.repository:
        if is_offline():
            raise OSError('HF_HUB_OFFLINE is set')
        return ''
    # open_clip tries the safetensors file of the same repository first
    return download_pretrained_from_hf(origin.repository, filename=origin.files[-1], revision=origin.revision or None)


def _check_name(architecture: str, tag: str, weights: Weights) -> None:
    import open_clip as library

    if architecture not in library.list_models():
        hint = near(architecture, library.list_models())[:300]
        raise InputError(f'open_clip knows no architecture {architecture!r}{hint}')
    tags = library.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise InputError(f'open_clip has no weights {tag!r} for {architecture}; it has: {", ".join(tags) or "none"}')
    if not tag and not weights.file:
        raise InputError(
            f'{weights.label}: expected open_clip:<architecture>/<tag>, with a tag among: {", ".join(tags) or "none"}'
        )


@contextmanager
def silence() -> Iterator[None]:
    """Silence open_clip's log: it warns of random weights, and repeats errors that our own message already explains."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
