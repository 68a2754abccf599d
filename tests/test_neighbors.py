"""The real neighbours of another method's images: the selection, the order of the methods, and refused settings."""

from dataclasses import replace

import numpy as np
import pytest

from bench.config import registry
from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.core.types import Split
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.task import Task, method
from bench.features.similarity import nearest_in_class, unit
from bench.pipeline.grid import RUN, grid
from bench.results.store import load
from methods.neighbors import neighbors

TOY = ["run.datasets = ['toy_data']", "run.backbones = ['toy_net']"]
CALLS = []


@method(seed=False)
def painter(task, *, place: int = 2, broken: bool = False):
    """Copy the training image at a place of each class, pixel by pixel, as if it were synthetic."""
    CALLS.append(place)
    if broken:
        raise RuntimeError('out of paint')
    chosen = np.concatenate([np.tile(members[place : place + 1], task.ipc) for members in task.members()])
    x_NCHW = np.stack([np.asarray(task.train.images[i]) for i in chosen]).transpose(0, 3, 1, 2) / 255
    return DistilledSet.synthetic(x_NCHW, task.train.labels_N[chosen])


@method(seed=False)
def picker(task):
    """Choose real images without having said so."""
    chosen = np.array([members[0] for members in task.members()])
    return DistilledSet(task.train.labels_N[chosen], indices_N=chosen)


@pytest.fixture(autouse=True)
def methods(own_plugins):
    """Every test has these two."""
    registry.register('method', registry.Row('painter', painter, 'paints'))
    registry.register('method', registry.Row('picker', picker, 'picks'))
    CALLS.clear()


class PlaneTask(Task):
    """A task whose training features are POINTS, and a synthetic image's feature its first two pixels."""

    def features(self):
        return np.array(POINTS, dtype=np.float32)

    def features_of(self, split):
        return split.images.images_NHWC[:, 0, :2, 0].astype(np.float32)


# Directions of 0, 45 and 90 degrees in class a (of several lengths), 0 and 80 in class b.
POINTS = [[3, 0], [2, 2], [0, 9], [1, 0], [17, 98]]
LABELS = [0, 0, 0, 1, 1]


def plane_task(pixels, labels, *, indices=None):
    labels_N = np.array(labels)
    images_NHWC = np.zeros((len(labels), 1, 2, 3), dtype=np.uint8)
    images_NHWC[:, 0, :, 0] = pixels
    given = DistilledSet(labels_N, images_NHWC) if indices is None else DistilledSet(labels_N, indices_N=np.array(indices))
    train = Split('train', range(5), np.array(LABELS), ('a', 'b'), 'p')
    return PlaneTask(train, ipc=1, seed=0, source_set=given)


def grid_of(*lines):
    with loaded([], [*TOY, *lines], command=RUN) as config:
        return grid(config)


def records_of(results):
    return {path.parent.name: load(path) for path in (results / 'records').rglob('*.json')}


def chosen_by(results, name='neighbors'):
    (path,) = (results / 'distilled').rglob(f'{name}/*/set.json')
    return DistilledSet.load(path.parent)


# --- the choice -------------------------------------------------------------------------------------------------------


def test_unit_rows_and_a_row_of_zeros():
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])
    for given, kept in ((np.float64, np.float64), (np.float32, np.float32), (np.int64, np.float32)):
        assert unit(np.ones((1, 2), given)).dtype == kept


@pytest.mark.numerical
def test_candidates_are_ranked_by_cosine_within_the_class():
    queries, labels_N = np.array([[0, 5], [1, 0], [2, 1]]), np.array([0, 1, 0])
    ranked = nearest_in_class(queries, labels_N, np.array(POINTS), np.array(LABELS), count=2)
    assert [rows.tolist() for rows, _ in ranked] == [[2, 1], [3, 4], [1, 0]]
    np.testing.assert_allclose(ranked[0][1], [1, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(ranked[2][1], [3 / 10**0.5, 2 / 5**0.5], rtol=1e-6)


@pytest.mark.numerical
def test_each_image_is_replaced_by_its_nearest_and_a_taken_one_by_the_next():
    # both of class a look along 90 degrees, the second a little less: the 45 degrees are next
    task = plane_task([[0, 7], [1, 9], [5, 0]], [0, 0, 1])
    distilled = neighbors(task, of='near=lgm')
    assert distilled.indices_N.tolist() == [2, 1, 3] and distilled.labels_N.tolist() == [0, 0, 1]
    assert distilled.facts['of'] == 'near' and distilled.facts['of_hash'] == task.source_set.hash
    cosines = [1, (1 + 9) / (2 * 82) ** 0.5, 1]
    assert distilled.facts['mean_cosine'] == pytest.approx(np.mean(cosines), rel=1e-5)


def test_a_class_with_too_few_photographs_is_named():
    with pytest.raises(InputError, match="class 'b' has only 2 training images"):
        neighbors(plane_task([[0, 7]] * 3, [1, 1, 1]))


def test_real_images_and_none_at_all_are_refused():
    real = plane_task([[0, 1]], [0], indices=[0])
    for task in (real, replace(real, source_set=None)):
        with pytest.raises(InputError, match="neighbors.of = 'lgm': expected a method that makes synthetic images"):
            neighbors(task)


# --- what is made first -----------------------------------------------------------------------------------------------


@pytest.mark.numerical
def test_the_other_set_is_made_once_and_its_photographs_are_found_again(run_bench, tmp_path):
    lines = ["run.methods = ['neighbors', 'painter']", "neighbors.of = 'painter'", 'painter.place = 3']
    outcome = run_bench(bind=lines)
    assert outcome.status == 0, outcome
    found = records_of(tmp_path / 'results')
    facts = found['neighbors'].distilled.facts
    assert facts['of'] == 'painter' and facts['of_hash'] == found['painter'].distilled.hash
    assert facts['mean_cosine'] == pytest.approx(1, abs=1e-5) and found['neighbors'].distilled.kind == 'real'
    # classes of 6 and 7 images by turns
    assert chosen_by(tmp_path / 'results').indices_N.tolist() == [3, 9, 16, 22, 29, 35]
    assert CALLS == [3] and found['neighbors'].gin.operative['painter.place'] == 3
    again = run_bench('--force', bind=lines)
    assert again.status == 0 and CALLS == [3, 3], 'made anew, once'


def test_the_other_method_need_not_be_in_the_run_and_is_found_by_a_later_one(run_bench, tmp_path):
    lines = ["neighbors.of = 'painter'", 'painter.place = 1', 'run.ipc = 2', 'run.seeds = [4, 5]']
    assert run_bench(bind=["run.methods = ['neighbors']", *lines]).status == 0
    assert set(records_of(tmp_path / 'results')) == {'neighbors'} and CALLS == [1]
    assert len(list((tmp_path / 'results' / 'tensorboard').rglob('events.*'))) == 1, 'no run for the other method'
    distilled = chosen_by(tmp_path / 'results')
    assert distilled.indices_N[::2].tolist() == [1, 7, 14, 20, 27, 33] and len(set(distilled.indices_N)) == 12
    assert run_bench(bind=["run.methods = ['painter']", *lines[1:]]).status == 0
    assert set(records_of(tmp_path / 'results')) == {'neighbors', 'painter'} and CALLS == [1]


def test_a_failure_of_the_other_method_says_whose_it_is(run_bench, tmp_path):
    outcome = run_bench(bind=["run.methods = ['neighbors']", "neighbors.of = 'painter'", 'painter.broken = True'])
    error = records_of(tmp_path / 'results')['neighbors'].error
    assert outcome.status == 1 and error.message == 'painter, whose images it starts from, failed: out of paint'


# --- cells ------------------------------------------------------------------------------------------------------------


def test_the_key_follows_the_settings_of_the_other_method_and_only_then():
    lines = ["run.methods = ['painter', 'centroid', 'neighbors']", "neighbors.of = 'painter'"]
    before, after = ({c.method.label: c for c in grid_of(*lines, f'painter.place = {place}')} for place in (0, 1))
    assert before['neighbors'].key != after['neighbors'].key and before['centroid'].key == after['centroid'].key
    assert before['neighbors'].distilled_key != after['neighbors'].distilled_key
    assert 'of' not in before['centroid'].config
    assert before['neighbors'].source_cell.distilled_key == before['painter'].distilled_key


def test_bindings_of_the_other_method_are_in_use_and_of_a_third_are_not():
    (cell,) = grid_of("run.methods = ['neighbors']", "neighbors.of = 'painter'", 'painter.place = 4')
    assert cell.config['of'] == {'label': 'painter', 'name': 'painter', 'settings': {'place': 4, 'broken': False}}
    with pytest.raises(InputError, match='nothing in this run uses the binding painter.place'):
        grid_of("run.methods = ['neighbors']", 'painter.place = 4')


def test_a_variant_and_a_labelled_method_are_resolved_with_their_own_settings():
    (cell,) = grid_of("run.methods = ['neighbors']", "neighbors.of = 'lgm_real_init'", 'lgm_fast.num_updates = 7')
    assert (cell.of.settings['init'], cell.of.settings['num_updates']) == ('real', 7)
    scoped = ["neighbors.of = 'x=painter'", 'x/painter.place = 5']
    (cell,) = grid_of("run.methods = ['neighbors']", *scoped)
    by_label = grid_of("run.methods = ['x=painter', 'neighbors']", "neighbors.of = 'x'", scoped[1])
    assert cell.of == by_label[1].of and cell.of.label == 'x' and cell.of.settings['place'] == 5


def test_seeds_are_those_of_the_other_method_which_comes_first():
    cells = grid_of("run.methods = ['neighbors', 'lgm']", 'run.seeds = [0, 1]', "run.seeds_for = {'lgm': [7]}")
    assert [(c.method.label, c.seed) for c in cells] == [('lgm', 7), ('neighbors', 7)]
    assert cells[1].source_cell.distilled_key == cells[0].distilled_key and 'seed 7' in str(cells[1])
    assert len(grid_of("run.methods = ['neighbors']", "neighbors.of = 'painter'", 'run.seeds = [0, 1]')) == 1


@pytest.mark.parametrize(
    'of, message',
    [
        ('lgn', "neighbors starts from the images of another method: unknown method 'lgn'; did you mean lgm"),
        ('neighbors', 'another method: expected one that makes its own images, got itself'),
        ('centroid', "expected one that makes its own images, got 'centroid', which chooses real images"),
        ('full', "expected one that makes its own images, got 'full', which chooses real images"),
    ],
)
def test_what_gives_no_images_is_refused_before_any_work(of, message, run_bench, tmp_path):
    outcome = run_bench(bind=["run.methods = ['neighbors']", f'neighbors.of = {of!r}'])
    assert outcome.status == 2 and message in outcome.err and outcome.err.count('\n') == 1
    assert not (tmp_path / 'results').exists()


def test_real_images_that_were_not_announced_fail_the_cell(run_bench, tmp_path):
    assert run_bench(bind=["run.methods = ['neighbors']", "neighbors.of = 'picker'"]).status == 1
    error = records_of(tmp_path / 'results')['neighbors'].error
    assert error.type == 'InputError' and "neighbors.of = 'picker'" in error.message
