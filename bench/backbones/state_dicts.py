"""Load a checkpoint into a network. Every key and shape must match; otherwise one line lists the mismatches."""

import contextlib
import io
import itertools
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.core.errors import InputError
from bench.core.progress import remark

# Keys under which training scripts store the weights beside optimizer state and counters. They evaluate the teacher.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'teacher', 'module')
Conversion = Callable[[dict[str, Any]], dict[str, Any]]


def load_checkpoint(
    network: nn.Module,
    path: Path,
    *,
    name: str,
    conversions: Iterable[Conversion] = (),
    unused: tuple[str, ...] = (),
    hint: str,
) -> None:
    """Load a checkpoint into a network, either as it is or after one of the conversions. Every key and shape must match.

    Args:
      network: receives the weights.
      path: a safetensors file, or a torch file that contains only weights and plain values.
      name: name of the backbone in messages.
      conversions: functions that map the keys of published checkpoints to those of the network.
      unused: prefixes of keys that the features do not use, such as `head.`. These keys may be missing, superfluous or of a
        different shape; they are then left out with a remark.
      hint: advice for the message if nothing matches.

    Raises:
      InputError: if the file is missing, cannot be read, or does not match.
    """
    states, misfits = unwrapped(read(path, name=name)), []
    for state, convert in itertools.product(states, (dict, *conversions)):
        try:
            # the libraries' conversions print their progress
            with contextlib.redirect_stdout(io.StringIO()):
                state = convert(dict(state))
        except Exception:  # the conversion expects another layout
            continue
        state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        misfit = _misfit(network, state, unused)
        if not misfit:
            own = network.state_dict()
            if left_out := _of_another_shape(own, state):
                remark(f'{name}: ignored keys of {path} that do not match; features do not use them: {"; ".join(left_out)}')
            fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
            network.load_state_dict(fitting, strict=False)
            return
        misfits.append(misfit)
    nearest = min(misfits, key=lambda misfit: sum(map(len, misfit.values())))
    problems = '; '.join(f'{len(keys)} {what} (first: {keys[0]})' for what, keys in nearest.items())
    raise InputError(f'{name}: the keys of {path} do not match: {problems}; {hint}')


def read(path: Path, *, name: str) -> dict[str, Any]:
    """Return the contents of a checkpoint.

    Raises:
      InputError: if the file is missing, or cannot be read without running code that it contains.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f'{name}: no checkpoint at {path}; put the file there or pass --weights_root=<its folder>')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f'{name}: {path} is not a readable safetensors file ({error})') from error
    try:
        with warnings.catch_warnings(action='ignore'):
            # a training checkpoint may be four times the size of its weights; only the tensors that are used are read
            state = torch.load(path, map_location='cpu', weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        reason = textwrap.shorten(_unreadable(error), 150, placeholder=' ...')
        raise InputError(
            f'{name}: {path} is not a file of weights only ({reason}); save its state dict as a safetensors file'
        ) from error
    if not isinstance(state, Mapping):
        raise InputError(f'{name}: expected a state dict in {path}, got {type(state).__name__}; save one as safetensors')
    return dict(state)


def _unreadable(error: Exception) -> str:
    """Return why torch refused the file, without torch's advice to let the file run code."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if 'unsupported' in line.casefold()), lines[0])


def unwrapped(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the state dict inside a training checkpoint, and the backbone inside that if there is one."""
    while inner := next((raw[key] for key in _WRAPPERS if isinstance(raw.get(key), Mapping)), None):
        raw = inner
    raw = {key: value for key, value in raw.items() if isinstance(key, str)}
    if raw and all(key.startswith('module.') for key in raw):
        raw = {key.removeprefix('module.'): value for key, value in raw.items()}
    # self-distillation trains a backbone and a projection head
    backbone = {key.removeprefix('backbone.'): value for key, value in raw.items() if key.startswith('backbone.')}
    return [raw, backbone] if backbone else [raw]


def _misfit(network: nn.Module, state: Mapping[str, torch.Tensor], unused: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the mismatches: kind of mismatch -> sorted keys with their shapes."""
    own = network.state_dict()

    def used(keys: Iterable[str]) -> list[str]:
        # a trained norm does not use its count of batches, and old files lack it
        return sorted(key for key in keys if not key.startswith(unused) and not key.endswith('.num_batches_tracked'))

    found = {
        'missing': [f'{key} {list(own[key].shape)}' for key in used(own.keys() - state.keys())],
        'not in the model': [f'{key} {list(state[key].shape)}' for key in used(state.keys() - own.keys())],
        'of another shape': _of_another_shape(own, state, used(own.keys() & state.keys())),
    }
    return {what: keys for what, keys in found.items() if keys}


def _of_another_shape(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], keys: Iterable[str] | None = None
) -> list[str]:
    """Return the keys whose shapes differ, with both shapes; None compares all keys that both have."""
    keys = sorted(own.keys() & state.keys()) if keys is None else keys
    return [
        f'{key}, expected {list(own[key].shape)}, got {list(state[key].shape)}'
        for key in keys
        if own[key].shape != state[key].shape
    ]
