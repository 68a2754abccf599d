"""python -m bench.replay --record=KEY.json: run a record's cell again from the record alone, and compare the results."""

import sys
from pathlib import Path

from absl import flags

from bench.core import cli
from bench.core.errors import InputError


def main() -> int:
    """Paths -> replays; returns 1 if a replay fails or differs by more than the tolerance."""
    from bench.config import plugins
    from bench.machine.device import choose_device
    from bench.pipeline.replay import TOLERANCE, replay
    from bench.pipeline.session import Session
    from bench.results.store import load, path_of

    values = flags.FLAGS
    if not values.record:
        raise InputError('expected --record=FILE, such as results/records/plumage/tiny_moco/lgm_fast/KEY.json; got none')
    plugins.load(values.plugin)
    places, device = cli.places(), choose_device(values.device)
    differ = 0
    for path in values.record:
        record = load(path)
        if path_of(values.results_dir, record.cell.config, record.key).resolve() == Path(path).resolve():
            raise InputError(f'--results_dir={values.results_dir}: the replay would overwrite {path}; use another folder')
        try:
            found = replay(record, Session(places, Path(values.results_dir), device), force=True)
        except RuntimeError as error:
            print(f'{path}: failed: {error}', file=sys.stderr)
            differ += 1
            continue
        differ += abs(found.difference) > TOLERANCE
        print(f'{path}: {found}')
    return 1 if differ else 0


if __name__ == '__main__':
    flags.DEFINE_multi_string('record', [], 'file of the record to run again; repeatable')
    cli.define('plugin', 'cache_dir', 'data_root', 'weights_root', 'device', results_dir='out/replay')
    cli.start(main)
