"""Train an embedded encoder and write its weights and model card.

    python -m bench.pretrain --gin_file=gin/pretrain/tiny_dino.gin
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from absl import flags, logging
from safetensors.torch import save

from bench.backbones.tiny.encoders import encoder_from_file
from bench.backbones.tiny.facts import FEATURE_SCALE, NETWORK_OF, WEIGHTS_DIR, is_whitened
from bench.config import plugins, registry
from bench.config.gin_files import Choice, loaded
from bench.config.registry import Row
from bench.core import cli
from bench.core.disk import write_atomic
from bench.core.errors import InputError
from bench.core.types import Places
from bench.machine.device import choose_device
from bench.pretrain.card import card, full_probe, spectrum
from bench.pretrain.train import pretrain

PRETRAIN = Row('pretrain', pretrain, 'the training of an embedded encoder')


def run(
    gin_files: list[str], bindings: list[str], *, cache_dir: Path, device: torch.device, output: Path | None = None,
    command: str = '',
) -> Path:
    """Train as configured, then write the weights (float16 safetensors) and the model card.

    Args:
      gin_files: paths, relative to the working directory or else to the repository.
      bindings: single bindings; they override the files.
      cache_dir: cache for rendered pictures and features.
      device: where to train.
      output: the weights file, None for the one that ships with the project; the card has the same name with suffix `.md`.
      command: the command line that repeats this run, for the card.

    Returns:
      The path of the card.

    Raises:
      InputError: if a file is missing, a name or parameter is unknown, or a value is out of range.
    """
    settings, recipe = configured(gin_files, bindings)
    name = name_of(settings['stream'], recipe.name)
    output = Path(output or WEIGHTS_DIR / f'{name}.safetensors')
    if output.suffix != '.safetensors':
        raise InputError(f'--output={output}: expected a file name ending in .safetensors')
    places = Places(data_root=None, weights_root=None, cache_dir=Path(cache_dir))
    trained = pretrain(places, device, partial(recipe.row.load(), **recipe.settings), **settings)

    # float16 halves the file size; the accuracy below is measured on the saved weights. A whitening needs all its digits.
    state = {
        key: value.half() if value.is_floating_point() and not key.startswith('whitening') else value
        for key, value in trained.network.state_dict().items()
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, save({key: value.contiguous() for key, value in state.items()}))
    encoder = encoder_from_file(output, name=name, device=torch.device('cpu'))
    accuracy = full_probe(places, encoder)
    path = output.with_suffix('.md')
    write_atomic(path, card(
        trained, encoder, summary=recipe.row.summary, settings=settings, recipe_settings=recipe.settings, command=command,
        device=device, accuracy=accuracy, spread=spectrum(places, encoder),
    ))  # fmt: skip
    logging.info('full-data linear probe %.2f%%; wrote %s and %s', accuracy, output, path)
    return path


def configured(gin_files: list[str], bindings: list[str]) -> tuple[dict[str, Any], Choice]:
    """Return the settings of the training and the recipe; see `run`."""
    with loaded(gin_files, bindings, command=PRETRAIN) as config:
        settings = config.command_settings()
        if not settings['recipe']:
            raise InputError(f'pretrain.recipe: expected one of {", ".join(registry.rows("recipe"))}, got none')
        recipe = config.choose('recipe', settings['recipe'])
        config.check_all_used(chosen_in='pretrain.recipe')
    name = name_of(settings['stream'], recipe.name)
    if name not in NETWORK_OF:
        raise InputError(f'pretrain.recipe: {recipe.name} has no encoder; add {name} to NETWORK_OF in tiny/facts.py')
    whitened = is_whitened(name)
    for key, expected in (('network', NETWORK_OF[name]), ('standardise', not (name in FEATURE_SCALE or whitened))):
        if settings[key] != expected:
            raise InputError(f'pretrain.{key}: expected {expected!r} for {name}, got {settings[key]!r}')
    if bool(settings['whitening']) != whitened:
        expected = 'a shrinkage above 0' if whitened else '0'
        raise InputError(f'pretrain.whitening: expected {expected} for {name}, got {settings["whitening"]}')
    if (said := recipe.settings.get('captions', settings['stream'])) != settings['stream']:
        raise InputError(f'{recipe.name}.captions: expected those of pretrain.stream = {settings["stream"]!r}, got {said!r}')
    return settings, recipe


def name_of(stream: str, recipe: str) -> str:
    """Return the name of the encoder that a recipe makes on a stream."""
    return f'{"wild" if stream == "wild" else "tiny"}_{recipe}'


def main() -> int:
    """Flags -> pre-training -> weights and model card; returns the exit status."""
    options = flags.FLAGS
    logging.set_verbosity(logging.INFO)
    if not options.gin_file:
        raise InputError('expected --gin_file=FILE, such as gin/pretrain/tiny_dino.gin; got none')
    plugins.load(options.plugin)
    try:
        run(
            options.gin_file, options.gin_bindings, cache_dir=cli.cache_dir(),
            device=choose_device(options.device), output=options.output, command=cli.gin_command('bench.pretrain'),
        )
    except FloatingPointError as error:
        print(f'bench.pretrain: {error}; lower pretrain.learning_rate', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    cli.define('gin_file', 'gin_bindings', 'plugin', 'cache_dir', 'device')
    flags.DEFINE_string('output', None, 'weights file to write, default: the shipped one; the model card goes beside it')
    cli.start(main)
