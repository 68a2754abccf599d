"""python -m bench.analyze --gin_file=gin/analysis/transfer.gin: run an analysis and write its tables, text and figure."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from absl import flags

from bench.config.registry import Row
from bench.core import cli
from bench.core.errors import InputError


def settings(*, analysis: str = '', name: str = '', made_by: str = '') -> dict[str, str]:
    """The parameters that gin binds as `analyze`.

    Args:
      analysis: name of an analysis, see `bench.analysis`.
      name: name of the output files; '' uses the name of the analysis.
      made_by: the gin file of the run that makes the records.
    """
    return {'analysis': analysis, 'name': name, 'made_by': made_by}


# Settings of analyses and suites that name data sets and backbones.
_NAMING = {
    'dataset': 'dataset', 'coarse': 'dataset', 'spurious': 'dataset', 'backbones': 'backbone', 'distiller': 'backbone',
}  # fmt: skip
ANALYZE = Row('analyze', settings, 'which analysis, and what made its records')


def main() -> int:
    """Flags -> config -> analysis -> files; returns the exit status."""
    from bench.analysis import report
    from bench.analysis.evidence import Evidence
    from bench.config import plugins
    from bench.config.gin_files import loaded

    values = flags.FLAGS
    if not values.gin_file:
        raise InputError('expected --gin_file=FILE, such as gin/analysis/transfer.gin; got none')
    plugins.load(values.plugin)
    results_dir = Path(values.results_dir)
    if not results_dir.is_dir():
        raise InputError(f'--results_dir={results_dir}: expected an existing folder')
    with loaded(values.gin_file, values.gin_bindings, command=ANALYZE) as config:
        chosen = config.command_settings()
        if not chosen['analysis']:
            raise InputError(f'{values.gin_file[0]}: expected analyze.analysis = NAME, see python -m bench.list --analyses')
        analysis = config.choose('analysis', chosen['analysis'])
        by_label, names = labelled(analysis.settings, config)
        evidence = Evidence(results_dir, made_by=chosen['made_by'] or 'FILE', load=loaders(config, names))
        found = replace(analysis, settings=by_label).call(evidence)
        config.check_all_used(chosen_in='analyze.analysis', narrowed_by=analysis.row.identifier)
    for problem in evidence.problems:
        print(f'ignored: {problem}', file=sys.stderr)
    name = chosen['name'] or analysis.name
    paths = report.write(found, results_dir / 'analysis', name, command=cli.gin_command('bench.analyze'))
    print(f'{found.title}: {", ".join(str(path) for path in paths)}')
    return 0


def labelled(settings: Mapping[str, Any], config: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Replace names of the form `label=name` by their labels, which records have.

    Args:
      settings: of an analysis or a suite.
      config: a `bench.config.gin_files.Config`; the names' own bindings count as used.

    Returns:
      The settings with labels, and the full names by label, for `loaders`.
    """
    names: dict[str, str] = {}

    def label(kind: str, name: Any) -> Any:
        if not isinstance(name, str) or '=' not in name:
            return name
        names[config.choose(kind, name).label] = name
        return name.partition('=')[0]

    found = dict(settings)
    for key in found.keys() & _NAMING.keys():
        value = found[key]
        found[key] = [label(_NAMING[key], each) for each in value] if isinstance(value, list) else label(_NAMING[key], value)
    return found, names


def loaders(config: Any, names: Mapping[str, str] | None = None) -> Any:
    """Return loaders of data sets, backbones and protocols with the settings of a config. Torch is imported on first use.

    Args:
      config: a `bench.config.gin_files.Config` that stays valid while the loaders are used.
      names: full names by label, see `labelled`.
    """
    from bench.analysis.evidence import Loaders

    session, full = cache(_session), names or {}
    return Loaders(
        dataset=lambda name: session().dataset(config.choose('dataset', full.get(name, name))),
        backbone=lambda name, data: session().backbone(config.choose('backbone', full.get(name, name)), data),
        store=lambda: session().store,
        protocol=lambda name: config.choose('protocol', name).call,
    )


def _session() -> Any:
    """Return a session, which loads data sets and backbones. Imports torch."""
    from bench.machine.device import choose_device
    from bench.pipeline.session import Session

    return Session(cli.places(), Path(flags.FLAGS.results_dir), choose_device(flags.FLAGS.device))


if __name__ == '__main__':
    cli.define('gin_file', 'gin_bindings', 'plugin', 'results_dir', 'cache_dir', 'data_root', 'weights_root', 'device')
    cli.start(main)
