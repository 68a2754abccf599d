"""Compare backbones' features of one fixed image with the references in bench/backbones/fingerprints.json.

    python -m bench.fingerprint [--backbones=tiny_dino,clip_vitb16] [--weights_root=WEIGHTS] [--device=cuda] [--write]

Checks every named backbone whose weights are on this machine; nothing is downloaded. Exit status 1 if a backbone's features
differ from its reference. `--write` stores the new references.
"""

from pathlib import Path

from absl import flags

from bench.backbones import ROWS
from bench.backbones.fingerprints import DIFFERS, REFERENCES, checked, keep
from bench.core import cli
from bench.core.errors import InputError, near
from bench.core.tables import aligned
from bench.core.types import Places
from bench.machine.device import choose_device


def main() -> int:
    """Backbones -> features of the fixed image -> status lines; returns 1 if a backbone differs."""
    values = flags.FLAGS
    named = [row.name for row in ROWS if not row.argument]
    if unknown := [name for name in values.backbones if name not in named]:
        raise InputError(f'--backbones={unknown[0]}: expected a named backbone{near(unknown[0], named)}')
    places = Places(None, cli.given_root('weights_root'), Path('.'))
    found = checked(values.backbones or named, places, device=choose_device(values.device))
    print(aligned((name, f'{status}{f": {remark}" if remark else ""}') for name, (status, remark, _) in found.items()))
    if values.write:
        keep({name: now for name, (_, _, now) in found.items() if now is not None})
        return 0
    return int(any(status == DIFFERS for status, _, _ in found.values()))


if __name__ == '__main__':
    flags.DEFINE_list('backbones', [], 'names of backbones; default: all named backbones')
    cli.define('weights_root', device='cpu')
    flags.DEFINE_bool('write', False, f'store the results in {REFERENCES.name}')
    cli.start(main)
