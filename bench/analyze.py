"""python -m bench.analyze --gin_file=gin/analysis/transfer.gin: run an analysis and write its tables, text and figure."""

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
        evidence = Evidence(results_dir, made_by=chosen['made_by'] or 'FILE', load=loaders(config))
        found = analysis.call(evidence)
        config.check_all_used(chosen_in='analyze.analysis', narrowed_by=analysis.row.identifier)
    name = chosen['name'] or analysis.name
    paths = report.write(found, results_dir / 'analysis', name, command=cli.gin_command('bench.analyze'))
    print(f'{found.title}: {", ".join(str(path) for path in paths)}')
    return 0


def loaders(config: Any) -> Any:
    """Return loaders of data sets, backbones and protocols with the settings of a config. Torch is imported on first use.

    Args:
      config: a `bench.config.gin_files.Config` that stays valid while the loaders are used.
    """
    from bench.analysis.evidence import Loaders

    session = cache(_session)
    return Loaders(
        dataset=lambda name: session().dataset(config.choose('dataset', name)),
        backbone=lambda name, data: session().backbone(config.choose('backbone', name), data),
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
