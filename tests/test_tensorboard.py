"""TensorBoard runs, read back with TensorBoard's own reader."""

import io

import pytest
from PIL import Image

from bench.results import record as records

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
    return records.load(path)


def test_the_meta_loss_is_logged_as_it_was_found(results):
    points = [(event.step, event.value) for event in read(runs_of(results)['lgm']).Scalars('distill/meta_loss')]
    assert [step for step, _ in points] == [5, 10, 15, 20]
    last = record_of(results, 'lgm')['distilled']['facts']['final_meta_loss']
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
        assert final.value == pytest.approx(100 * record['mean'], rel=1e-5)
        seeds = [event.value for event in events.Scalars('final/top1_by_probe_seed')]
        assert seeds == pytest.approx([100 * value for value in record['top1']], rel=1e-5)


def test_distilled_images_are_shown_at_intervals_from_first_to_last(results):
    shown = read(runs_of(results)['lgm']).Images('distill/images')
    assert [image.step for image in shown] == [*range(0, 20, 2), 20]
    # six images of 9 px in a row, with a frame of 2 px
    assert {(image.width, image.height) for image in shown} == {(6 * 11 + 2, 9 + 4)}
    pictures = [Image.open(io.BytesIO(image.encoded_image_string)).tobytes() for image in shown]
    assert len(set(pictures)) == len(pictures)


def test_hyper_parameters_stand_with_the_final_accuracy(results):
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = {}
    for method, folder in runs_of(results).items():
        content = read(folder).summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        found[method] = {name: getattr(value, value.WhichOneof('kind')) for name, value in hparams.items()}
    assert found['lgm']['lgm.num_updates'] == 20 and found['lgm']['lgm.init'] == 'noise'
    for method, values in found.items():
        assert values['method'] == method and values['dataset'] == 'toy_data' and values['eval_backbone'] == 'toy_net'
        assert values['ipc'] == 1 and values['protocol'].startswith('paper-v1+')
    assert found['random']['source_backbone'] == 'any' and found['lgm']['source_backbone'] == 'toy_net'
    experiment = read(runs_of(results)['lgm']).summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    (metric,) = HParamsPluginData.FromString(experiment).experiment.metric_infos
    assert metric.name.tag == 'final/top1'


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
