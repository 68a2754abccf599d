"""Accuracy over wall time of presets of a method: the same cells with different gin files on top, and fewer updates.

    python -m benchmarks.lgm_accuracy --gin_file=gin/quickstart.gin --gin_bindings="run.seeds = [0]" \
        --preset=released=lgm@1600 --preset=fast=lgm_fast@80,160,320

Takes the flags of bench.run. The base files give data, backbone and protocol. A preset is `name=METHOD`, with what the base
binds for it; `name=FILE.gin`, for --method with a file on top of the base; or `name=`, for --method with the base alone.
Every number after the @ is a separate run with that many updates and its own schedule. Without any, the numbers of --updates
are used, or else the preset's own. Fewer updates than the last level needs are refused.

Records are those of bench.run, under --results_dir, and existing ones are not run again. Unless --cache_dir is given, every
run encodes the real images itself, so that its time is complete. The speed-up is relative to the longest run of the first
preset.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from absl import flags

from bench.core import cli
from bench.core.errors import InputError
from bench.results.store import load_table
from bench.results.summary import summarise

FLAGS = flags.FLAGS


@dataclass(frozen=True)
class Preset:
    """A name for the table, the gin file on top of the base ('' for none), numbers of updates (optional), and the method."""

    name: str
    gin_file: str
    updates: tuple[int, ...] = ()
    method: str = ''

    @classmethod
    def parse(cls, text: str) -> 'Preset':
        name, equals, rest = text.partition('=')
        path, at, counts = rest.partition('@')
        if not equals or not name.isidentifier():
            raise InputError(
                f'--preset={text}: expected name=METHOD or name=FILE.gin, with a name of letters, digits and underscores'
            )
        file, method = (path, '') if path.endswith('.gin') else ('', path)
        return cls(name, file, _positive(counts.split(','), f'--preset={text}') if at else (), method)


def _positive(texts: Sequence[str], flag: str) -> tuple[int, ...]:
    if not all(text.isdigit() and int(text) > 0 for text in texts):
        raise InputError(f'{flag}: expected positive numbers of updates such as 50,100')
    return tuple(int(text) for text in texts)


def measure(
    session: Any, presets: Sequence[Preset], *, method: str, updates: Sequence[int], gin_files: Sequence[str],
    bindings: Sequence[str], cold: bool, force: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run all cells without a record; return one row per preset, number of updates and setting (data, backbone, ipc).

    Args:
      session: a `bench.pipeline.session.Session`; its results folder is read and written.
      presets: the first is the reference.
      method: the method of presets without their own.
      updates: values of `num_updates` for presets without their own; empty takes the presets' bindings.
      gin_files: the base.
      bindings: on top of everything.
      cold: run every cell with an empty feature store.
      force: run also what has a record.

    Raises:
      InputError: as bench.run, before any work.
    """
    from bench.pipeline.execute import execute
    from bench.pipeline.prepare import prepare

    jobs = []
    for preset in presets:
        counts: Sequence[int | None] = preset.updates or updates or [None]
        for count in counts:
            cells, asked = _cells(preset, count, method=method, gin_files=gin_files, bindings=bindings)
            jobs.append((preset, cells, asked))
    todo = {cell.key for _, cells, _ in jobs for cell in prepare(session, cells, force=force)}
    if todo:
        _warm_up(session, jobs[0][1][0])
    for _, cells, asked in jobs:
        for cell in cells:
            if cell.key in todo:
                with _empty_store(session) if cold else nullcontext():
                    execute(session, [cell], force=force, asked=asked)
    table, _ = load_table(session.results_dir)
    rows = []
    for preset, cells, _ in jobs:
        count = cells[0].method.settings['num_updates']
        for row in summarise(table[table.key.isin([cell.key for cell in cells])])[0]:
            rows.append({'preset': preset.name, 'updates': count, **row})
    return _compared(rows, first=presets[0].name)


def _cells(
    preset: Preset, updates: int | None, *, method: str, gin_files: Sequence[str], bindings: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the cells of a preset under its own label, and their bindings."""
    from bench.config.gin_files import loaded
    from bench.pipeline.grid import RUN, grid

    method, label = preset.method or method, f'{preset.name}_{updates}' if updates else preset.name
    lines = [f"run.methods = ['{label}={method}']", 'run.seeds_for = None', *bindings]
    if updates:
        lines.append(f'{label}/{method}.num_updates = {updates}')
    with loaded([*gin_files, *filter(None, [preset.gin_file])], lines, command=RUN) as config:
        cells = grid(config)
        return cells, config.asked()


def _warm_up(session: Any, cell: Any) -> None:
    """Encode a few images and run one small update, so that the first run does not pay for imports and kernels."""
    from bench.features.views import RandomView
    from benchmarks.lgm_step import make_workload, timed_update

    train, backbone = session.dataset(cell.dataset).train, session.backbone(cell.eval)
    few = replace(train, images=[train.images[i] for i in range(4)], labels_N=train.labels_N[:4], fingerprint='few')
    with _empty_store(session):
        session.store.features(few, backbone, RandomView(backbone.input_side, backbone.interpolation, seed=0))
    work = make_workload(
        'tiny_simclr', classes=2, augmentations=2, input_side=None, precision='float32', device=session.device
    )
    timed_update(work, ours=True)


@contextmanager
def _empty_store(session: Any) -> Iterator[None]:
    """Give the session a feature store that holds nothing, while the block runs."""
    from bench.features.store import FeatureStore

    shared = session.store
    with tempfile.TemporaryDirectory() as folder:
        session.store = FeatureStore(Path(folder), world=session.world)
        try:
            yield
        finally:
            session.store = shared


def _compared(rows: list[dict[str, Any]], *, first: str) -> list[dict[str, Any]]:
    """Add to every row its setting (`place`) and its `reference`, the longest run of the first preset; sort the rows."""
    for row in rows:
        row['place'] = f'{row["dataset"]} x {row["eval_backbone"]}' + (f', ipc {row["ipc"]}' if row['ipc'] else '')
    longest = {
        row['place']: {name: row[name] for name in ('preset', 'updates', 'top1_mean', 'seconds_method')}
        for row in sorted(rows, key=lambda row: row['updates'])
        if row['preset'] == first and row['top1_mean'] is not None
    }
    for row in rows:
        row['reference'] = longest.get(row['place'])
        known = row['reference'] and row['seconds_method']
        row['speed_up'] = row['reference']['seconds_method'] / row['seconds_method'] if known else None
    return sorted(rows, key=lambda row: (row['place'], row['preset'] != first, row['preset'], row['updates']))


def report(rows: list[dict[str, Any]]) -> str:
    """Return the table, and for each other preset the fastest run that is as accurate as the reference."""
    lines = [f'{"preset":12}  updates    seconds  accuracy           n  speed-up']
    for i, row in enumerate(rows):
        if i == 0 or row['place'] != rows[i - 1]['place']:
            lines.append(row['place'])
        start = f'  {row["preset"]:12} {row["updates"]:6} '
        if row['top1_mean'] is None:
            lines.append(f'{start}  failed: {row["error"]}')
            continue
        spread = '' if row['top1_std'] is None else f'± {row["top1_std"]:.1f}'
        faster = '' if row['speed_up'] is None else f'{row["speed_up"]:8.1f}x'
        accuracy = f'{row["top1_mean"]:8.1f} {spread:7} {row["n_repeats"]:5}'
        lines.append(f'{start} {row["seconds_method"]:9.1f} {accuracy} {faster}'.rstrip())
    for row in _as_good(rows):
        longest = row['reference']
        lines.append(
            f'{row["place"]}: {row["preset"]} with {row["updates"]} updates is at the {longest["top1_mean"]:.1f} % of '
            f'{longest["preset"]} with {longest["updates"]}, {row["speed_up"]:.1f} times faster'
        )
    return '\n'.join(lines)


def _as_good(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, per setting and other preset, the fastest run that is at least as accurate as the reference."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted((row for row in rows if row['speed_up']), key=lambda row: row['seconds_method']):
        if row['preset'] != row['reference']['preset'] and row['top1_mean'] >= row['reference']['top1_mean']:
            found.setdefault((row['place'], row['preset']), row)
    return list(found.values())


def main() -> int:
    """Flags -> presets -> records -> table; returns the exit status."""
    from bench.config import plugins
    from bench.machine.device import choose_device
    from bench.machine.processes import join
    from bench.pipeline.session import Session

    plugins.load(FLAGS.plugin)
    presets = [Preset.parse(text) for text in FLAGS.preset]
    if not presets:
        raise InputError('expected at least one --preset=name=METHOD or name=FILE.gin, such as --preset=fast=lgm_fast')
    updates = _positive(FLAGS.updates, f'--updates={",".join(FLAGS.updates)}')
    device = choose_device(FLAGS.device)
    world = join(device)
    session = Session(cli.places(), Path(FLAGS.results_dir), device, world=world)
    rows = measure(
        session, presets, method=FLAGS.method, updates=updates, gin_files=FLAGS.gin_file,
        bindings=FLAGS.gin_bindings, cold=FLAGS.cache_dir is None, force=FLAGS.force,
    )  # fmt: skip
    print(report(rows))
    if FLAGS.json:
        Path(FLAGS.json).write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')
    return 1 if any(row['status'] != 'ok' for row in rows) else 0


if __name__ == '__main__':
    cli.define('gin_file', 'gin_bindings', 'plugin', 'cache_dir', 'data_root', 'weights_root', 'device', 'force')
    cli.define(results_dir='out/lgm_accuracy')
    flags.DEFINE_multi_string('preset', [], 'name=METHOD, name=FILE.gin or name=, maybe with @50,100; first: the reference')
    flags.DEFINE_string('method', 'lgm_fast', 'the method of presets that name none')
    flags.DEFINE_list('updates', [], "values of its num_updates, such as 50,100,200 (default: each preset's own)")
    flags.DEFINE_string('json', None, 'file for the rows')
    cli.start(main)
