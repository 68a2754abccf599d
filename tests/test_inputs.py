"""Bad input: each mistake ends in one line that says what to do, exit status 2, and nothing written."""

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.results.store import load

RANDOM = "run.methods = ['random']"
FOLDER = [RANDOM, "run.datasets = ['folder']", "folder.path = 'mine'"]
MOBILE = "run.backbones = ['timm:mobilenetv2_035']"


@pytest.fixture
def mine(tmp_path):
    """A data root with a folder of three pictures for each of two classes."""
    for split in ('train', 'test'):
        for name, colour in (('ant', (200, 0, 0)), ('bee', (0, 200, 0))):
            (tmp_path / 'data' / 'mine' / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new('RGB', (12, 10), colour).save(tmp_path / 'data' / 'mine' / split / name / f'{i}.png')
    return tmp_path / 'data'


@pytest.fixture
def refused(run_bench, tmp_path):
    """Run the command; it must refuse. Returns its one line."""

    def run(*arguments, bind=None):
        outcome = run_bench(*arguments, bind=bind)
        assert outcome.status == 2, outcome
        assert outcome.err.startswith('bench.run: ') and outcome.err.count('\n') == 1, outcome.err
        assert outcome.out == '' and 'Traceback' not in outcome.err
        assert not (tmp_path / 'results').exists() and not (tmp_path / 'cache' / 'features').exists()
        return outcome.err

    return run


@pytest.mark.parametrize(
    'lines, message',
    [
        (["run.methods = ['lgn']"], "unknown method 'lgn'; did you mean lgm"),
        ([RANDOM, "run.datasets = ['toy_date']"], "unknown dataset 'toy_date'; did you mean toy_data"),
        ([RANDOM, "run.backbones = ['toi_net']"], "unknown backbone 'toi_net'; did you mean toy_net"),
        ([RANDOM, "run.protocol = 'paper-v2'"], "unknown protocol 'paper-v2'; did you mean paper-v1"),
        ([RANDOM, "run.backbones = ['timm:no_such_net']"], "timm knows no model 'no_such_net'"),
        ([RANDOM, "run.backbones = ['open_clip:ViT-B-17/openai']"], "open_clip knows no architecture 'ViT-B-17'"),
        (["run.methods = ['lgm']", 'lgm.num_update = 3'], "lgm has no parameter 'num_update'"),
        ([RANDOM, 'lgm.num_updates = 3'], 'nothing in this run uses the binding lgm.num_updates'),
        ([RANDOM, 'run.ipc = 0'], 'run.ipc: expected integers >= 1, got 0'),
        ([RANDOM, 'run.ipc = 7'], "ipc = 7: class 'red' has 6 training images; choose ipc <= 6"),
        (["run.methods = ['lgm_real_init']", 'run.ipc = 7'], 'ipc = 7: class'),
        (["run.methods = ['lgm']", 'lgm.learning_rate = -1'], 'lgm.learning_rate: expected a number > 0, got -1'),
        (["run.methods = ['lgm']", "lgm.noise_std = 'nan'"], "lgm.noise_std: expected a number >= 0, got 'nan'"),
        (["run.methods = ['lgm']", 'lgm.chunk_size = 0'], 'lgm.chunk_size: expected an integer >= 1 or None, got 0'),
        (
            ["run.methods = ['lgm']", 'lgm.num_updates = 50', 'lgm.level_every = 13'],
            'bench.run: lgm.num_updates = 50 with lgm.level_every = 13 ends before the pyramid reaches 9 px (level 5): set '
            'lgm.level_every <= 12 or lgm.num_updates > 53',
        ),
        (
            ["run.methods = ['short=lgm_plus']", 'short/lgm_fast.num_updates = 4', 'lgm_fast.level_every = 1'],
            'bench.run: short/lgm_plus.num_updates = 4 with short/lgm_plus.level_every = 1 ends before',
        ),
        (
            ["run.methods = ['neighbors']", 'lgm.num_updates = 50', 'lgm.level_every = 13'],
            'bench.run: lgm.num_updates = 50 with lgm.level_every = 13 ends before',
        ),
        (
            ["run.methods = ['short=lgm']", 'short/lgm.learning_rate = -1'],
            'short/lgm.learning_rate: expected a number > 0, got -1',
        ),
        (["run.methods = ['neighbors']", "neighbors.of = 'centroid'"], "neighbors starts from the images of another"),
        ([RANDOM, 'paper_v1.epochs = 0'], 'paper_v1.epochs: expected an integer >= 1, got 0'),
        ([RANDOM, 'toy_net.broken = True'], 'toy_net: its weights are missing; put them there'),
    ],
)
def test_a_mistake_in_the_bindings(refused, lines, message):
    assert message in refused(bind=lines)


SCHEDULE = ["run.methods = ['short=lgm']", 'short/lgm.num_updates = 50', 'short/lgm.level_every = 13']


@pytest.mark.parametrize(
    'lines, size',
    [
        (["run.backbones = ['tiny_dino']"], '73 px (level 8)'),
        (["run.backbones = ['dinov2_vitb14']"], '256 px (level 9)'),  # not on this machine: what is pinned is enough
        (['lgm.image_size = 16'], '16 px (level 5)'),
    ],
)
def test_the_dry_run_finds_a_schedule_that_ends_too_early(refused, lines, size):
    said = refused('--dry_run', bind=[*SCHEDULE, *lines])
    assert f'short/lgm.num_updates = 50 with short/lgm.level_every = 13 ends before the pyramid reaches {size}' in said


def test_the_dry_run_leaves_to_the_run_what_only_the_network_tells(run_bench):
    assert run_bench('--dry_run', bind=SCHEDULE).status == 0


@pytest.mark.parametrize(
    'flag, message',
    [
        ('--gin_file=gin/no_such.gin', 'no gin file gin/no_such.gin'),
        ('--data_root=/no/such/folder', '--data_root=/no/such/folder: expected an existing folder'),
        ('--weights_root=/no/such/folder', '--weights_root=/no/such/folder: expected an existing folder'),
        ('--plugin=/no/such/method.py', "plug-in '/no/such/method.py': no such file"),
        ('--device=cuda', '--device=cuda: torch finds no such device here'),
        ('run.ipc', "expected flags only, got 'run.ipc'"),
    ],
)
def test_a_mistake_in_the_flags(refused, flag, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert message in refused(flag, bind=[RANDOM])


def test_nothing_to_run_is_a_mistake_too(refused):
    assert 'expected --gin_file=FILE' in refused()


def test_a_file_in_the_place_of_the_results_folder(run_bench, tmp_path):
    (tmp_path / 'results').write_text('mine')
    outcome = run_bench(bind=[RANDOM])
    assert outcome.status == 2 and 'expected a folder, found a file' in outcome.err
    assert (tmp_path / 'results').read_text() == 'mine'


def test_a_folder_without_data_root_split_or_images(refused, mine):
    assert 'data_root' in refused(bind=FOLDER)
    root = f'--data_root={mine}'
    assert 'no_split' in refused(root, bind=[*FOLDER, "folder.train_splits = ['no_split']"])
    for path in (mine / 'mine' / 'train' / 'bee').iterdir():
        path.unlink()
    assert 'bee' in refused(root, bind=FOLDER)


def test_an_unreadable_image_stops_the_run_before_any_work_or_is_counted(refused, run_bench, mine, tmp_path):
    (mine / 'mine' / 'train' / 'bee' / '1.png').write_bytes(b'no picture')
    assert '1.png' in refused(f'--data_root={mine}', bind=FOLDER)
    outcome = run_bench(f'--data_root={mine}', bind=[*FOLDER, "folder.on_error = 'skip'"])
    assert outcome.status == 0, outcome.err
    (path,) = (tmp_path / 'results' / 'records').rglob('*.json')
    skipped = load(path).skipped['train']
    assert skipped.n == 1 and '1.png' in skipped.names[0]


def test_fewer_images_in_a_class_than_asked_for(refused, mine):
    assert "ipc = 4: class 'ant' has 3 training images" in refused(f'--data_root={mine}', bind=[*FOLDER, 'run.ipc = 4'])


def test_a_checkpoint_that_is_missing_or_does_not_fit(refused, tmp_path):
    lines = [RANDOM, MOBILE, "timm.checkpoint = 'net.safetensors'"]
    root = f'--weights_root={tmp_path}'
    assert f'no checkpoint at {tmp_path}/net.safetensors' in refused(root, bind=lines)
    save_file({'other': torch.zeros(1)}, tmp_path / 'net.safetensors')
    assert '1 not in the model (first: other [1])' in refused(root, bind=lines)
    (tmp_path / 'net.safetensors').write_bytes(b'nothing of the kind')
    assert 'is not a readable safetensors file' in refused(root, bind=lines)
