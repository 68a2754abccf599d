"""TensorBoard runs, read back with TensorBoard's own reader."""

import io

import pytest
from PIL import Image

from bench.config import registry
from bench.results.store import load

LGM = [
    'lgm.num_updates = 20', 'lgm.level_every = 2', 'lgm.log_every = 5', 'lgm.num_views = 1', 'lgm.num_augmentations = 1',
    'lgm.learning_rate = 0.05',
]  # fmt: skip


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={'images': 0, 'scalars': 0})
    events.Reload()
    return events


def runs_of(results):
    """Return method -> its run's folder, for runs of one cell a method."""
    folders = {path.parent for path in (results / 'tensorboard').rglob('events.*')}
    return {folder.parent.name: folder for folder in folders}


@pytest.fixture(scope='module')
def results(command, tmp_path_factory):
    from conftest import TOY_LINES

    folder = tmp_path_factory.mktemp('tensorboard')
    lines = [*TOY_LINES, *LGM, "run.methods = ['random', 'centroid', 'lgm']", 'paper_v1.full_views = 2']
    places = [f'--results_dir={folder / "results"}', f'--cache_dir={folder / "cache"}']
    outcome = command(*places, *[f'--gin_bindings={line}' for line in lines])
    assert outcome.status == 0, outcome
    return folder / 'results'


def record_of(results, method):
    (path,) = (results / 'records').rglob(f'{method}/*.json')
    return load(path)


def test_the_meta_loss_is_logged_as_it_was_found(results):
    points = [(event.step, event.value) for event in read(runs_of(results)['lgm']).Scalars('distill/meta_loss')]
    assert [step for step, _ in points] == [5, 10, 15, 20]
    last = record_of(results, 'lgm').distilled.facts['final_meta_loss']
    assert points[-1][1] == pytest.approx(last, rel=1e-5) and all(0 <= value <= 2 for _, value in points)


def test_probe_curves_and_final_accuracy_have_the_same_tags_for_every_method(results):
    tags = {method: set(read(folder).Tags()['scalars']) for method, folder in runs_of(results).items()}
    common = {'probe/train_loss', 'final/top1', 'final/top1_by_probe_seed'}
    assert tags['random'] == tags['centroid'] and tags['lgm'] - tags['random'] == {'distill/meta_loss'}
    assert common <= tags['random']
    for method, folder in runs_of(results).items():
        record, events = record_of(results, method), read(folder)
        assert [event.step for event in events.Scalars('probe/train_loss')] == [1, 2, 3]
        (final,) = events.Scalars('final/top1')
        assert final.value == pytest.approx(100 * record.mean, rel=1e-5)
        seeds = [event.value for event in events.Scalars('final/top1_by_probe_seed')]
        assert seeds == pytest.approx([100 * value for value in record.top1], rel=1e-5)


def test_distilled_images_are_shown_at_intervals_from_first_to_last(results):
    shown = read(runs_of(results)['lgm']).Images('distill/images')
    assert [image.step for image in shown] == [*range(0, 20, 2), 20]
    # six images of 9 px in a row, with a frame of 2 px
    assert {(image.width, image.height) for image in shown} == {(6 * 11 + 2, 9 + 4)}
    pictures = [Image.open(io.BytesIO(image.encoded_image_string)).tobytes() for image in shown]
    assert len(set(pictures)) == len(pictures)


# Settings of every type: one that is now a number and now a word, one that nothing is said about, one without a value.
MIXED = '''"""Photographs, whatever the settings."""
from bench.core.ranges import PositiveInt
from bench.config.registry import register_method
from bench.distillation.task import method
from methods.random import random

@register_method
@method(backbone=False, real=True)
def mixed(
    task, *, size: int | str = 1, loud: bool = True, rate: float | None = None, few: PositiveInt | None = None,
    words: list | None = None, unsaid=3,
):
    """Draw."""
    return random(task)
'''


def test_hyper_parameters_of_all_methods_stand_with_the_accuracy(run_bench, tmp_path):
    """As TensorBoard shows them: two methods with other settings, made by two commands; the second fills what was None."""
    (tmp_path / 'mixed.py').write_text(MIXED)
    plugin = f'--plugin={tmp_path / "mixed.py"}'
    lines = ["run.methods = ['mixed', 'full', 'lgm']", *LGM]
    assert run_bench(plugin, bind=lines).status == 0
    again = ["run.methods = ['loose=mixed']", "loose/mixed.size = 'big'", 'loose/mixed.loud = False', 'loose/mixed.rate = 1',
             'loose/mixed.few = 2', "loose/mixed.words = ['a', 'b']", "loose/mixed.unsaid = 'much'"]  # fmt: skip
    assert run_bench(plugin, bind=again).status == 0
    from tensorboard.plugins.hparams import api_pb2

    experiment, trials = hparams_page(tmp_path / 'results' / 'tensorboard')

    types = {info.name: api_pb2.DataType.Name(info.type).removeprefix('DATA_TYPE_') for info in experiment.hparam_infos}
    place = dict.fromkeys(('dataset', 'method', 'source_backbone', 'eval_backbone', 'protocol'), 'STRING')
    assert types.items() >= {**place, 'ipc': 'FLOAT64', 'seed': 'FLOAT64', 'lgm.num_updates': 'FLOAT64'}.items()
    assert {name: kind for name, kind in types.items() if name.startswith('mixed.')} == {
        'mixed.size': 'STRING', 'mixed.loud': 'BOOL', 'mixed.rate': 'FLOAT64', 'mixed.few': 'FLOAT64',
        'mixed.words': 'STRING', 'mixed.unsaid': 'STRING',
    }  # fmt: skip
    assert 'final/top1' in {info.name.tag for info in experiment.metric_infos}

    assert trials.keys() == {'mixed', 'full', 'lgm', 'loose'}
    of = {method: {k: v for k, v in values.items() if k.startswith('mixed.')} for method, (values, _) in trials.items()}
    assert of['mixed'] == {'mixed.size': '1', 'mixed.loud': True, 'mixed.unsaid': '3'}
    assert of['loose'] == {'mixed.size': 'big', 'mixed.loud': False, 'mixed.rate': 1, 'mixed.few': 2,
                           'mixed.words': "['a', 'b']", 'mixed.unsaid': 'much'}  # fmt: skip
    assert of['full'] == of['lgm'] == {}
    bound = {name.removeprefix('lgm.'): float(value) for name, value in (line.split(' = ') for line in LGM)}
    settings = {**registry.rows('method')['lgm'].defaults(), **bound}
    assert settings['chunk_size'] is None and settings['decorrelate'] is True and settings['init'] == 'noise'
    shown = {name.removeprefix('lgm.'): value for name, value in trials['lgm'][0].items() if name.startswith('lgm.')}
    assert shown == {name: value for name, value in settings.items() if value is not None}
    for method, (values, top1) in trials.items():
        assert values['method'] == method and values['dataset'] == 'toy_data' and values['eval_backbone'] == 'toy_net'
        assert values['protocol'].startswith('paper-v1+') and values['seed'] == 0
        assert values.get('ipc') == (None if method == 'full' else 1)
        assert values['source_backbone'] == ('toy_net' if method == 'lgm' else 'any')
        assert top1 == pytest.approx(100 * record_of(tmp_path / 'results', method).mean, rel=1e-5)


def hparams_page(logdir):
    """Return a folder's experiment and, by method, (hyper-parameters, final accuracy) as TensorBoard's HPARAMS answers."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    context = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(logdir))))
    experiment = get_experiment.Handler(RequestContext(), context, '', api_pb2.GetExperimentRequest()).run()
    columns = [api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos]
    request = api_pb2.ListSessionGroupsRequest(
        col_params=columns, allowed_statuses=api_pb2.Status.values(), slice_size=100, start_index=0
    )
    groups = list_session_groups.Handler(RequestContext(), context, '', request).run().session_groups
    found = {}
    for group in groups:
        values = {name: getattr(value, value.WhichOneof('kind')) for name, value in group.hparams.items()}
        (top1,) = (metric.value for metric in group.metric_values if metric.name.tag == 'final/top1')
        assert group.name not in found and values['method'] in group.name  # a trial goes by its run's path
        found[values['method']] = (values, top1)
    return experiment, found


def test_a_run_made_again_leaves_no_second_event_file(run_bench, tmp_path):
    lines = ["run.methods = ['random']"]
    for flags in ([], ['--force']):
        assert run_bench(*flags, bind=lines).status == 0
        (file,) = (tmp_path / 'results' / 'tensorboard').rglob('events.*')
        assert len(read(file.parent).Scalars('final/top1')) == 1


def test_a_new_protocol_on_a_kept_distilled_set_shows_its_meta_loss_again(run_bench, tmp_path):
    assert run_bench(bind=["run.methods = ['lgm']", *LGM]).status == 0
    assert run_bench(bind=["run.methods = ['lgm']", "run.protocol = ['paper-v1', 'ridge-v1']", *LGM]).status == 0
    folders = {path.parent for path in (tmp_path / 'results' / 'tensorboard').rglob('events.*')}
    curves = [[(e.step, e.value) for e in read(folder).Scalars('distill/meta_loss')] for folder in folders]
    assert len(curves) == 2 and curves[0] == curves[1] and len(curves[0]) == 4
