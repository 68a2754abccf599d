"""Measure pairs of a data set and a backbone, and say which behave like the published ones and which are stress tests.

    python -m bench.gate --gin_file=gin/quickstart.gin                  every data set x every backbone of a run
    python -m bench.gate --dataset=plumage --backbone=tiny_clip,tiny_moco

Uses training images only; takes seconds once their features are cached. The lines go into RESULTS_DIR/gate.csv, from where
the leaderboard and the claims read them. `bench.results.gate` has the rule. The status is 0 whatever the verdicts are.
"""

from pathlib import Path

from absl import flags

from bench.core import cli
from bench.core.errors import InputError

FLAGS = flags.FLAGS


def main() -> int:
    """Flags -> pairs -> measured lines -> the table; returns the exit status."""
    from bench.analysis.gate import measure
    from bench.config import plugins
    from bench.config.gin_files import loaded
    from bench.features.views import CenterView
    from bench.machine.device import choose_device
    from bench.pipeline.grid import RUN
    from bench.pipeline.session import Session
    from bench.results import gate

    plugins.load(FLAGS.plugin)
    with loaded(FLAGS.gin_file, FLAGS.gin_bindings, command=RUN) as config:
        bound = config.command_settings()
        named = {
            'dataset': FLAGS.dataset or _names(bound['datasets']),
            'backbone': FLAGS.backbone or [*_names(bound['backbones']), *_names(bound['eval_backbones'] or [])],
        }
        if missing := [kind for kind, names in named.items() if not names]:
            raise InputError(f'expected --{missing[0]}=NAME, or --gin_file=FILE with run.{missing[0]}s; got neither')
        datasets, backbones = (
            list({choice.label: choice for name in names for choice in [config.choose(kind, name)]}.values())
            for kind, names in named.items()
        )
    session = Session(cli.places(), Path(FLAGS.results_dir), choose_device(FLAGS.device))
    gate.load(session.results_dir)  # a damaged table ends the command before the work, not after it
    pairs = []
    for dataset in datasets:
        data = session.dataset(dataset)
        train = data.train
        for choice in backbones:
            backbone = session.backbone(choice, data)
            f_ND = session.store.features(train, backbone, CenterView(backbone.input_side, backbone.interpolation))[0]
            named_so = {'dataset': dataset.label, 'backbone': backbone.name, 'weights': backbone.fingerprint}
            pairs.append(measure(f_ND, train, **named_so))
            path = gate.write(session.results_dir, pairs[-1:])
    print(gate.text(pairs))
    print(f'wrote {path}')
    return 0


def _names(bound: object) -> list[str]:
    return [bound] if isinstance(bound, str) else list(bound)  # type: ignore[call-overload]  # gin bound a list


if __name__ == '__main__':
    flags.DEFINE_list('dataset', [], 'names of data sets; default: those of the gin files')
    flags.DEFINE_list('backbone', [], 'names of backbones; default: those of the gin files, source and eval')
    cli.define(
        'gin_file', 'gin_bindings', 'plugin', 'results_dir', 'cache_dir', 'data_root', 'weights_root', 'device'
    )
    cli.start(main)
