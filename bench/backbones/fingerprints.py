"""Reference features: every backbone's features of one fixed image, compared with the features computed on this machine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.backbones.base import Backbone
from bench.backbones.catalogue import whereabouts
from bench.config import registry
from bench.core.disk import write_atomic
from bench.core.hashing import numpy_generator
from bench.core.types import Places

REFERENCES = Path(__file__).with_name('fingerprints.json')
# Relative to the root mean square feature. The order of summation matters by 1e-5, other weights or preprocessing by 1e-1.
TOLERANCE = 1e-3
MATCH, DIFFERS, UNKNOWN, ABSENT = 'match', 'differs', 'no reference', 'weights absent'
_COUNT = 8
_COMMAND = 'python -m bench.fingerprint --write'


def fixed_image(side: int) -> np.ndarray:
    """Return a smooth colour picture (3, side, side), float32 in [0, 1]. It is the same picture at every resolution."""
    generator = numpy_generator('fingerprint', 'image')
    amplitude_CUV, phase_CUV = generator.normal(size=(3, 4, 4)), generator.uniform(0, 2 * np.pi, (3, 4, 4))
    at = (np.arange(side) + 0.5) / side
    x_CHW = np.zeros((3, side, side))
    for u, v in np.ndindex(4, 4):  # half cycles down and across
        wave_CHW = np.cos(np.pi * (u * at[:, None] + v * at) + phase_CUV[:, u, v, None, None])
        x_CHW += amplitude_CUV[:, u, v, None, None] * wave_CHW
    return (0.5 + x_CHW / (2 * np.abs(x_CHW).max())).astype(np.float32)


def reference_of(backbone: Backbone) -> dict[str, Any]:
    """Return a backbone's reference: its first features of the fixed image, their norm, and the weights' fingerprint."""
    x_NCHW = torch.from_numpy(fixed_image(backbone.input_side))[None].to(backbone.device)
    with torch.inference_mode():
        f_D = backbone.encode(x_NCHW)[0].double().cpu().numpy()
    return {
        'input_side': backbone.input_side, 'feature_dim': len(f_D), 'norm': float(f'{np.linalg.norm(f_D):.6g}'),
        'first': [float(f'{value:.6g}') for value in f_D[:_COUNT]], 'weights': backbone.fingerprint,
    }  # fmt: skip


def compare(found: dict[str, Any], kept: dict[str, Any] | None) -> tuple[str, str]:
    """Return MATCH, DIFFERS or UNKNOWN, and a description of the difference."""
    if kept is None:
        return UNKNOWN, ''
    shapes = [(each['input_side'], each['feature_dim']) for each in (found, kept)]
    if shapes[0] != shapes[1]:
        return DIFFERS, f'{shapes[0][1]} features at {shapes[0][0]} px, reference has {shapes[1][1]} at {shapes[1][0]} px'
    typical = kept['norm'] / kept['feature_dim'] ** 0.5
    off = [abs(found['norm'] - kept['norm']) / kept['norm']]
    off += [abs(ours - theirs) / typical for ours, theirs in zip(found['first'], kept['first'], strict=True)]
    if max(off) <= TOLERANCE:
        return MATCH, ''
    same = found['weights'] == kept['weights']
    weights = 'the same weights' if same else f'other weights, {found["weights"]} instead of {kept["weights"]}'
    return DIFFERS, f'by up to {100 * max(off):.2g} % of a typical feature; {weights}'


def references() -> dict[str, Any]:
    """Return a mapping from backbone to its committed reference."""
    return json.loads(REFERENCES.read_text(encoding='utf-8'))['backbones'] if REFERENCES.is_file() else {}


def keep(new: dict[str, Any]) -> None:
    """Add references to the committed file, replacing those of the same name; one backbone per line."""
    lines = [f'  {json.dumps(name)}: {json.dumps(facts)}' for name, facts in sorted({**references(), **new}.items())]
    entries = ',\n'.join(lines)
    write_atomic(REFERENCES, f'{{\n "made by": {json.dumps(_COMMAND)},\n "backbones": {{\n{entries}\n }}\n}}\n')


def checked(names: list[str], places: Places, *, device: torch.device) -> dict[str, tuple[str, str, dict[str, Any] | None]]:
    """Compare backbones with their references, in float32; return name -> (status, remark, own reference or None)."""
    kept = references()
    found: dict[str, tuple[str, str, dict[str, Any] | None]] = {}
    for name in names:
        if whereabouts(name, places.weights_root).startswith('absent'):
            found[name] = (ABSENT, '', None)
            continue
        row, argument = registry.find('backbone', name)
        arguments = (argument,) if argument else ()
        now = reference_of(row.load()(*arguments, places, device, **row.defaults()))
        found[name] = (*compare(now, kept.get(name)), now)
    return found
