"""Pictures beside a distilled set, read back pixel by pixel: the time-lapse and the nearest photographs."""

import numpy as np
import pytest
import torch
from conftest import Pictures, files_below
from PIL import Image

from bench.config import registry
from bench.core.types import Split
from bench.distillation import gallery, pictures
from bench.distillation.distilled_set import DistilledSet
from bench.distillation.pictures import Timelapse, neighbor_rows
from bench.distillation.task import Task, method

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


@pytest.fixture(autouse=True)
def world(own_plugins):
    """Every test forgets its methods."""


def plain(colours, side=8):
    """Return x_NCHW of plain images."""
    return (torch.tensor(colours).float() / 255)[:, :, None, None].expand(-1, -1, side, side)


def frames_of(path):
    with Image.open(path) as film:
        shown = []
        for number in range(film.n_frames):
            film.seek(number)
            shown.append((film.convert('RGB'), film.info['duration']))
        return shown, film.info.get('loop')


def test_a_caption_may_be_any_text(tmp_path):
    image = Image.new('RGB', (8, 8))
    for name in ('two\nlines', '', '\x00\r', 'e\u0301 鸟 🐦', 'long ' * 100):
        pictures.contact_sheet([image], [name], tmp_path / 'sheet.png')
        neighbor_rows([([image, image], [name, '0.93'])], name, tmp_path / 'rows.png')
        for written in tmp_path.iterdir():
            with Image.open(written) as picture:
                picture.load()


def near(pixel, colour):
    return np.abs(np.array(pixel) - np.array(colour)).max() <= 12


# --- the time-lapse ---------------------------------------------------------------------------------------------------


def test_each_update_is_a_frame_the_last_is_held_and_it_runs_for_ever(tmp_path):
    film = Timelapse()
    for step, colours in [(0, [RED, RED]), (5, [RED, GREEN]), (9, [BLUE, GREEN])]:
        film.add(step, plain(colours))
    path = film.write(tmp_path / 'a' / 'film.gif', total=2)
    shown, loop = frames_of(path)
    assert loop == 0 and [duration for _, duration in shown] == [400, 400, 2500]
    # places of 64 px with 2 px between, small images enlarged to fill them
    first, second = ([frame.getpixel((x, y)) for frame, _ in shown] for x, y in ((3, 3), (127, 60)))
    assert [near(a, b) for a, b in zip(first, (RED, RED, BLUE), strict=True)] == [True] * 3
    assert [near(a, b) for a, b in zip(second, (RED, GREEN, GREEN), strict=True)] == [True] * 3


def test_what_is_kept_is_small_whatever_comes(tmp_path):
    film = Timelapse()
    film.add(3, torch.full((70, 3, 100, 200), 0.6))
    ((_, images),) = film.frames
    assert (images.shape, images.dtype.name) == ((64, 64, 128, 3), 'uint8')
    ((frame, _),), _ = frames_of(film.write(tmp_path / 'film.gif', total=70))
    assert frame.size == (8 * 66 + 2, 8 * 66 + 2 + 24) and near(frame.getpixel((30, 30)), [153] * 3)


def test_of_very_many_updates_some_at_equal_distances_and_the_last_are_kept(tmp_path):
    film = Timelapse()
    for step in range(300):
        film.add(step, torch.full((1, 3, 2, 2), step / 300))
    steps = [step for step, _ in film.frames]
    assert 30 < len(steps) <= 60 and steps[0] == 0 and len(set(np.diff(steps))) == 1 and steps[-1] < 299
    shown, _ = frames_of(film.write(tmp_path / 'film.gif', total=1))
    assert len(shown) == len(steps) + 1 and near(shown[-1][0].getpixel((30, 30)), [round(255 * 299 / 300)] * 3)


def test_the_caption_names_the_update_and_how_many_images_are_left_out(tmp_path, monkeypatch):
    captions = []
    real = pictures._film_frame
    monkeypatch.setattr(pictures, '_film_frame', lambda *given: captions.append(given[1:]) or real(*given))
    film = Timelapse()
    film.add(40, plain([RED] * 65))
    film.add(50, plain([BLUE] * 65))
    film.write(tmp_path / 'film.gif', total=65)
    assert captions == [('update 40 of 50', 'first 64 of 65 images'), ('update 50 of 50', 'first 64 of 65 images')]


def test_one_frame_is_enough_and_none_gives_no_file(tmp_path):
    assert Timelapse().write(tmp_path / 'none.gif', total=1) is None and not list(tmp_path.iterdir())
    film = Timelapse()
    film.add(12, plain([GREEN]))
    shown, _ = frames_of(film.write(tmp_path / 'one.gif', total=1))
    assert len(shown) == 1 and near(shown[0][0].getpixel((30, 30)), GREEN)


# --- the nearest photographs ------------------------------------------------------------------------------------------


def test_rows_show_the_framed_image_and_then_its_neighbours(tmp_path):
    def picture(colour):
        return Image.new('RGB', (20, 10), colour)

    rows = [([picture(RED), picture(GREEN)], ['cat', '0.9']), ([picture(BLUE)], ['dog'])]
    sheet = Image.open(neighbor_rows(rows, 'title', tmp_path / 'rows.png', side=40))
    top, row = 36, 40 + 24
    assert sheet.getpixel((12 + 20, top + 20)) == RED and sheet.getpixel((12 + 46 + 20, top + 20)) == GREEN
    assert sheet.getpixel((12 + 20, top + row + 20)) == BLUE
    assert sheet.getpixel((12 + 46 + 20, top + row + 20)) == (255, 255, 255), 'a missing neighbour leaves its place empty'
    frame = sheet.getpixel((12 - 2, top + 20))
    assert frame not in (RED, (255, 255, 255)) and sheet.getpixel((12 + 46 - 2, top + 20)) == (255, 255, 255)


class ColourTask(Task):
    """A task whose features are the mean colours."""

    def features_of(self, split):
        return np.array([np.asarray(split.images[i]).mean(axis=(0, 1)) for i in range(len(split))])


def colour_task(colours, labels):
    images = Pictures(np.array(colours, dtype=np.uint8)[:, None, None, :].repeat(4, 1).repeat(4, 2))
    backbone = type('Net', (), {'name': 'net'})()
    return ColourTask(Split('train', images, np.array(labels), ('a', 'b'), 'p'), ipc=1, seed=0, backbone=backbone)


def drawn_rows(monkeypatch):
    seen = {}
    monkeypatch.setattr(gallery, 'neighbor_rows', lambda rows, title, path: seen.update(rows=rows, title=title))
    return seen


def test_neighbours_are_of_the_same_class_by_cosine_and_at_most_three(tmp_path, monkeypatch):
    seen = drawn_rows(monkeypatch)
    train = [RED, (100, 90, 90), (90, 100, 90), (80, 80, 80), GREEN, BLUE]
    task = colour_task(train, [0, 0, 0, 0, 0, 1])
    distilled = DistilledSet.synthetic(plain([(100, 15, 15), RED]), np.array([0, 1]))
    gallery.draw(distilled, tmp_path, task=task)
    first, second = seen['rows']
    assert [image.getpixel((0, 0)) for image in first[0]] == [(100, 15, 15), RED, (100, 90, 90), (80, 80, 80)]
    # by hand: 12700 / (102.2 * 161.9) and 130 / (102.2 * 3 ** 0.5)
    assert first[1] == ['a', '1.00', '0.77', '0.73'] and len(second[0]) == 2 and second[1][0] == 'b'
    assert 'net' in seen['title'] and 'first' not in seen['title']


def test_a_long_set_shows_its_first_images_and_says_so_and_a_huge_real_one_has_no_pictures(tmp_path, monkeypatch):
    seen = drawn_rows(monkeypatch)
    task = colour_task([RED, BLUE], [0, 1])
    gallery.draw(DistilledSet.synthetic(plain([RED] * 101), np.zeros(101)), tmp_path, task=task)
    assert len(seen['rows']) == 100 and seen['title'].endswith('; first 100 of 101 images')
    drawn = []
    monkeypatch.setattr(gallery, 'contact_sheet', lambda images, names, path: drawn.append(len(images)) or path)
    gallery.draw(DistilledSet.synthetic(plain([RED] * 501), np.zeros(501)), tmp_path / 'a', task=task)
    assert drawn == [500]
    huge = DistilledSet(np.zeros(501), indices_N=np.zeros(501, int))
    assert gallery.draw(huge, tmp_path / 'b', task=task) == {}
    assert not (tmp_path / 'b').exists()


# --- in a run ---------------------------------------------------------------------------------------------------------


@method(seed=False)
def fader(task, *, frames: int = 3):
    """Make grey images that grow lighter, and show them on their way."""
    for step in range(frames):
        task.show(step, torch.full((task.train.num_classes, 3, 9, 9), (step + 1) / 4))
    return DistilledSet.synthetic(np.full((task.train.num_classes, 3, 9, 9), 0.5), np.arange(task.train.num_classes))


def test_a_run_leaves_them_beside_synthetic_sets_and_draws_them_once(run_bench, tmp_path, monkeypatch):
    registry.register('method', registry.Row('fader', fader, 'fades'))
    outcome = run_bench(bind=["run.methods = ['fader', 'still=fader', 'herding']", 'still/fader.frames = 0'])
    assert outcome.status == 0, outcome
    results = tmp_path / 'results'
    beside = {path.parent.parent.name: path.parent for path in (results / 'distilled').rglob('set.json')}
    found = {name: {path.name for path in folder.glob('*.[pg][ni][gf]')} for name, folder in beside.items()}
    assert found == {
        'fader': {'contact_sheet.png', 'timelapse.gif', 'neighbors.png'}, 'still': {'contact_sheet.png', 'neighbors.png'},
        'herding': {'contact_sheet.png'},
    }  # fmt: skip
    film, near_sheet = beside['fader'] / 'timelapse.gif', beside['fader'] / 'neighbors.png'
    assert len(frames_of(film)[0]) == 3
    for line in (f'time-lapse of fader: {film}', f'nearest photographs of fader: {near_sheet}'):
        assert line in outcome.out
    before = files_below(results / 'distilled')
    with monkeypatch.context() as patched:
        for name in ('contact_sheet', 'neighbor_rows'):
            patched.setattr(gallery, name, None)  # whoever draws again falls over it
        again = run_bench(bind=["run.methods = ['fader']", 'paper_v1.init_sigma = 0.02'])
    assert again.status == 0 and '1 cells, 0 of them done' in again.out and f'time-lapse of fader: {film}' in again.out
    assert files_below(results / 'distilled') == before
    # a run that was killed before it drew leaves a set without pictures; they are drawn when it is loaded
    near_sheet.unlink()
    sheet = beside['fader'] / 'contact_sheet.png'
    sheet.unlink()
    assert run_bench(bind=["run.methods = ['fader']", 'paper_v1.init_sigma = 0.03']).status == 0
    assert files_below(results / 'distilled') == before
    # a set that is made anew is drawn anew
    sheet.write_bytes(b'old')
    assert run_bench('--force', bind=["run.methods = ['fader']"]).status == 0
    assert sheet.read_bytes() == before[str(sheet.relative_to(results / 'distilled'))]


def test_tensorboard_shows_them_beside_the_contact_sheet(run_bench, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    registry.register('method', registry.Row('fader', fader, 'fades'))
    assert run_bench(bind=["run.methods = ['fader']"]).status == 0
    (file,) = (tmp_path / 'results' / 'tensorboard').rglob('events.*')
    events = EventAccumulator(str(file.parent))
    events.Reload()
    assert {'distilled/contact_sheet', 'distilled/neighbors', 'distill/images'} <= set(events.Tags()['images'])
