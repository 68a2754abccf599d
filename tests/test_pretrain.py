"""The command that trains the embedded encoders: two steps of every recipe, views, settings. Losses: test_recipes.py."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT

from bench import pretrain as package
from bench.backbones.tiny.encoders import encoder_from_file
from bench.backbones.tiny.facts import FEATURE_SCALE, MEAN, NETWORK_OF, STD
from bench.config import registry
from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.core.types import Places
from bench.datasets.plumage.plumage import plumage, unlabelled_stream
from bench.datasets.plumage.wild import wild_stream
from bench.pretrain import __main__ as command
from bench.pretrain import card as card_module
from bench.pretrain import train
from bench.pretrain.augment import Augmentation, normalised
from bench.pretrain.moco import moco
from bench.pretrain.streams import another_sighting

CPU = torch.device('cpu')
RECIPES = [row.name for row in package.ROWS]
GIN_FILES = sorted(set((ROOT / 'gin' / 'pretrain').glob('*.gin')) - {ROOT / 'gin' / 'pretrain' / 'wild.gin'})  # is included
TINY = ['pretrain.num_images = 8', 'pretrain.batch_size = 4', 'pretrain.epochs = 1']
MOCO = 'gin/pretrain/tiny_moco.gin'


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    """Steps this small take several times longer on two threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """A cache folder for all tests here: the pictures are drawn once."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def train_into(cache, monkeypatch):
    """Train two small steps and write into a folder; returns the card's path. The probe on 6,000 pictures is left out."""
    monkeypatch.setattr(command, 'full_probe', lambda places, encoder: 12.34)
    monkeypatch.setattr(command, 'spectrum', lambda places, encoder: 'spread out')

    def run(folder, recipe, *bindings):
        return command.run(
            [f'gin/pretrain/tiny_{recipe}.gin'], [*TINY, *bindings], cache_dir=cache, device=CPU,
            output=folder / 'w.safetensors', command='the command',
        )  # fmt: skip

    return run


@pytest.fixture
def train_wild(train_into, cache, tmp_path):
    """Train wild_moco for a few small steps; returns the card's path."""

    def run(*bindings):
        few = ['pretrain.num_images = 64', 'pretrain.batch_size = 16', 'pretrain.epochs = 1', *bindings]
        return command.run(
            ['gin/pretrain/wild_moco.gin'], few, cache_dir=cache, device=CPU, output=tmp_path / 'w.safetensors',
        )  # fmt: skip

    return run


@pytest.fixture
def trained(train_into, tmp_path_factory):
    """Return the card's path of a recipe's two steps, made once for all tests here."""

    def once(recipe):
        if recipe not in _cards:
            _cards[recipe] = train_into(tmp_path_factory.mktemp(recipe), recipe)
        return _cards[recipe]

    return once


_cards = {}


def load(recipe, card):
    return encoder_from_file(card.with_suffix('.safetensors'), name=f'tiny_{recipe}', device=CPU)


def stream_of(cache, count):
    """Return the first training pictures x_NCHW in [0, 1]."""
    pixels_NHWC = unlabelled_stream(Places(None, None, cache), count=count, seed=0).pixels_NHWC
    return torch.from_numpy(pixels_NHWC.copy()).permute(0, 3, 1, 2) / 255


# --- the training -------------------------------------------------------------------------------------------------------


@pytest.mark.numerical
@pytest.mark.parametrize('recipe', RECIPES)
def test_two_steps_write_weights_and_card(trained, recipe, cache):
    path = trained(recipe)
    encoder, text = load(recipe, path), path.read_text(encoding='utf-8')
    expected = (
        f'# tiny_{recipe}', 'the command', encoder.fingerprint, '12.34%', 'spread out', '| `pretrain.num_images` | 8 |',
        f'| `pretrain.recipe` | {recipe} |', f'| `{recipe}.', registry.find('recipe', recipe)[0].summary,
    )  # fmt: skip
    assert [words for words in expected if words not in text] == []
    assert ('captions' in text) == (recipe == 'clip') and ('no labels' in text) == (recipe != 'clip')
    assert sorted(p.name for p in path.parent.iterdir()) == ['w.md', 'w.safetensors']

    f_ND = encoder.encode(stream_of(cache, 8))
    assert torch.isfinite(f_ND).all() and (f_ND.std(dim=0) > 0).float().mean() > 0.9
    if encoder.name not in FEATURE_SCALE:  # float16 in the file: not exactly
        assert f_ND.mean(dim=0).abs().max() < 0.1 and (f_ND.std(dim=0, correction=0) - 1).abs().median() < 0.01


@pytest.mark.numerical
def test_standardised_features_have_mean_0_and_spread_1_over_the_stream(cache):
    found = train.pretrain(Places(None, None, cache), CPU, moco, recipe='moco', num_images=8, batch_size=4, epochs=1)
    with torch.inference_mode():
        f_ND = found.network(normalised(stream_of(cache, 8)))
    spread_D = f_ND.std(dim=0, correction=0)
    assert f_ND.shape == (8, 448) and f_ND.mean(dim=0).abs().max() < 1e-3
    assert ((spread_D - 1).abs() < 1e-3).float().mean() > 0.9 and spread_D.max() < 1.001  # the rest never fired
    assert len(found.loss_per_epoch) == 1


@pytest.mark.numerical
def test_whitening_known_answers():
    """Two correlated features: without shrinkage unit covariance, with all of it one factor, symmetric always."""
    z_ND = torch.tensor([[3.0, 1.0], [-3.0, -1.0], [1.0, 3.0], [-1.0, -3.0]]).double()
    for shrinkage, variances in ((1e-9, [1.0, 1.0]), (1.0, [2 / 5, 8 / 5]), (0.5, [2 / 3.5, 8 / 6.5])):
        w_DD = train.whitening_of(z_ND, shrinkage=shrinkage)
        f_ND = z_ND @ w_DD
        found_D = torch.linalg.eigvalsh(f_ND.T @ f_ND / 4)
        assert torch.allclose(found_D, torch.tensor(variances).double(), atol=1e-6) and torch.equal(w_DD, w_DD.T)


@pytest.mark.numerical
def test_a_wild_encoder_is_whitened_and_its_file_says_the_same(train_wild, cache):
    """With little shrinkage the differences between sightings have variance 1, of which the mean of four takes a quarter."""
    card = train_wild('pretrain.whitening = 0.01')
    encoder = encoder_from_file(card.with_suffix('.safetensors'), name='wild_moco', device=CPU)
    assert encoder.feature.endswith('whitened') and encoder.network.whitening_DD.dtype == torch.float32
    pixels_NHWC = wild_stream(Places(None, None, cache), count=64, seed=0).pixels_NHWC
    f_ND = encoder.encode(torch.from_numpy(pixels_NHWC.copy()).permute(0, 3, 1, 2) / 255).double()
    nuisance_BSD = f_ND.view(16, 4, -1) - f_ND.view(16, 4, -1).mean(dim=1, keepdim=True)
    largest_D = torch.linalg.eigvalsh(torch.einsum('bsd,bse->de', nuisance_BSD, nuisance_BSD) / 64).flip(0)[:20]
    assert f_ND.mean(dim=0).abs().max() < 0.1 and largest_D.max() < 0.85 and largest_D.min() > 0.4
    text = card.read_text(encoding='utf-8')
    assert '64 pictures of the wild stream, 4 in a row of one bird' in text and 'full-data linear probe on aviary' in text


def test_views_of_the_wild_stream_show_other_sightings_of_the_same_birds(cache, monkeypatch):
    """Within a batch, every view asks for pictures of the same birds, and over many views all four sightings are seen."""
    numbers_N = np.array([0, 5, 10, 15])
    asked = np.stack([another_sighting(numbers_N, 4, np.random.default_rng(i).random(4)) for i in range(50)])
    assert (asked // 4 == numbers_N // 4).all() and all(len(set(column)) == 4 for column in asked.T)
    seen = []
    monkeypatch.setattr(train, 'another_sighting', lambda *given: seen.append(given[0]) or given[0])
    settings = {'recipe': 'moco', 'stream': 'wild', 'num_images': 8, 'batch_size': 4, 'epochs': 1}
    train.pretrain(Places(None, None, cache), CPU, moco, **settings)
    assert len(seen) == 2 * 2 and np.array_equal(seen[0], seen[1]), 'two steps of two views'


@pytest.mark.numerical
@pytest.mark.parametrize('recipe', ['simclr', 'dino'])
def test_a_training_repeats_bit_for_bit(trained, train_into, recipe, tmp_path):
    assert load(recipe, train_into(tmp_path, recipe)).fingerprint == load(recipe, trained(recipe)).fingerprint


def test_another_seed_gives_other_weights(trained, train_into, tmp_path):
    card = train_into(tmp_path, 'mim', 'pretrain.seed = 1')
    assert load('mim', card).fingerprint != load('mim', trained('mim')).fingerprint


def test_a_loss_that_is_not_finite_ends_the_training(train_into, tmp_path):
    with pytest.raises(FloatingPointError, match='loss is .* at step 1'):
        train_into(tmp_path, 'simclr', 'pretrain.learning_rate = 1e30')
    assert not list(tmp_path.iterdir())


def test_rate_warms_up_to_its_peak_and_ends_near_zero():
    model = torch.nn.Linear(2, 2)
    optimizer, schedule = train._optimizer(model, 0.5, 0.1, total=10, warmup_share=0.2)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:3] == [0.25, 0.5, 0.5] and rates[6] == pytest.approx(0.25) and 0 < rates[-1] < 0.03
    assert [(len(group['params']), group['weight_decay']) for group in optimizer.param_groups] == [(1, 0.1), (1, 0.0)]


@pytest.mark.numerical
def test_the_probe_of_the_card_knows_birds(cache, monkeypatch):
    small = {'train_per_class': 3, 'test_per_class': 3}
    monkeypatch.setattr(card_module, 'plumage', lambda places: plumage(places, **small))
    encoder = registry.find('backbone', 'tiny_simclr')[0].load()('tiny_simclr', Places(None, None, cache), CPU)
    assert 40 < card_module.full_probe(Places(None, None, cache), encoder) <= 100  # chance is 5


# --- views --------------------------------------------------------------------------------------------------------------


def plainly(**changed):
    """An augmentation that only crops and flips."""
    none = dict.fromkeys(('brightness', 'contrast', 'colour_cast', 'gray_prob', 'blur_prob', 'noise_std'), 0.0)
    return Augmentation(torch.Generator().manual_seed(0), **{'min_crop_area': 1.0, **none, **changed})


def undone(view_NCHW):
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
    return view_NCHW * std + mean


@pytest.mark.numerical
def test_view_without_augmentation_is_the_image_or_its_mirror():
    x_NCHW = torch.rand(16, 3, 64, 64)
    back = undone(plainly().draw(x_NCHW))
    straight = (back - x_NCHW).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (back - x_NCHW.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (straight ^ mirrored).all() and straight.any() and mirrored.any()


@pytest.mark.numerical
@pytest.mark.parametrize('side', [None, 32])
def test_area_is_the_share_of_the_image_that_a_crop_shows(side):
    # Red rises along x, green along y, so that what a crop shows can be read from its first and last pixels.
    ramp = (torch.arange(64) + 0.5) / 64
    x_CHW = torch.stack([ramp[None, :].expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)])
    view_NCHW = undone(plainly().draw(x_CHW.expand(32, 3, 64, 64), area=(0.25, 0.25), side=side))
    got = side or 64
    assert view_NCHW.shape == (32, 3, got, got)
    width_N = (view_NCHW[:, 0, 5, -1] - view_NCHW[:, 0, 5, 0]).abs() * got / (got - 1)
    height_N = (view_NCHW[:, 1, -1, 5] - view_NCHW[:, 1, 0, 5]) * got / (got - 1)
    assert (width_N - 0.5).abs().max() < 0.02 and (height_N - 0.5).abs().max() < 0.02
    assert view_NCHW[:, 0].mean((1, 2)).std() > 0.05  # the places differ


@pytest.mark.numerical
def test_every_augmentation_changes_the_view_and_draws_are_new():
    x_NCHW = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    plain = plainly().draw(x_NCHW)
    for key in ('brightness', 'contrast', 'colour_cast', 'gray_prob', 'blur_prob', 'noise_std'):
        assert not torch.allclose(plainly(**{key: 0.9}).draw(x_NCHW), plain), key
    augmentation = plainly(brightness=0.5)
    assert not torch.equal(augmentation.draw(x_NCHW), augmentation.draw(x_NCHW))
    grey = undone(plainly(gray_prob=1.0).draw(x_NCHW))
    assert (grey - grey.mean(dim=1, keepdim=True)).abs().max() < 1e-5


# --- settings -----------------------------------------------------------------------------------------------------------


def test_every_encoder_has_a_gin_file():
    assert {path.stem for path in GIN_FILES} == set(NETWORK_OF)


@pytest.mark.parametrize('path', GIN_FILES, ids=lambda path: path.stem)
def test_a_gin_file_says_what_it_does_and_fits_its_encoder(path):
    settings, recipe = command.configured([str(path)], [])
    assert path.stem == command.name_of(settings['stream'], recipe.name) and settings['network'] == NETWORK_OF[path.stem]
    head = path.read_text(encoding='utf-8').partition('\npretrain.')[0]
    assert all(line.startswith(('#', 'include ')) for line in head.splitlines() if line)
    assert f'--gin_file=gin/pretrain/{path.name}' in head and 'minutes' in head


def test_bindings_do_not_reach_python_callers():
    settings, recipe = command.configured([MOCO], ['pretrain.epochs = 77', 'moco.projection_dim = 3'])
    assert (settings['epochs'], recipe.settings['projection_dim']) == (77, 3)
    again, recipe = command.configured([MOCO], [])
    assert again['epochs'] != 77 and recipe.settings['projection_dim'] == 128
    with loaded([MOCO], ['moco.projection_dim = 3'], command=command.PRETRAIN):
        network = torch.nn.Module()
        network.num_features = 4
        assert moco(network).modules[1][-1].out_features == 128


@pytest.mark.parametrize(
    ('recipe', 'bindings', 'said'),
    [
        ('nothing', [], 'no gin file gin/pretrain/tiny_nothing.gin'),
        ('moco', ['pretrain.epoch = 1'], "pretrain has no parameter 'epoch'"),
        ('moco', ['moco.heat = 1'], "moco has no parameter 'heat'"),
        ('moco', ['nobody.x = 1'], "nothing is called 'nobody'"),
        ('moco', ['simclr.temperature = 0.2'], 'uses the binding simclr.temperature (--gin_bindings number 1)'),
        ('moco', ['simclr.temperature = 0.2'], 'add what it configures to pretrain.recipe'),
        ('moco', ['pretrain.epochs = 0'], 'pretrain.epochs: expected an integer >= 1, got 0'),
        ('moco', ['pretrain.batch_size = 1'], 'pretrain.batch_size: expected an integer >= 2, got 1'),
        ('moco', ['pretrain.num_images = 5'], 'pretrain.num_images: expected at least batch_size = 128, got 5'),
        ('moco', ['moco.temperature = -1.0'], 'moco.temperature: expected a number > 0, got -1.0'),
        ('moco', ["pretrain.network = 'vit'"], "pretrain.network: expected 'cnn' for tiny_moco, got 'vit'"),
        ('moco', ["pretrain.network = 'mlp'"], "pretrain.network: expected one of 'cnn', 'vit', 'plain_vit', got 'mlp'"),
        ('moco', ['pretrain.standardise = False'], 'pretrain.standardise: expected True for tiny_moco, got False'),
        ('simclr', ['pretrain.standardise = True'], 'pretrain.standardise: expected False for tiny_simclr, got True'),
        ('moco', ['pretrain.whitening = 0.5'], 'pretrain.whitening: expected 0 for tiny_moco, got 0.5'),
        ('clip', ["clip.captions = 'wild'"], "clip.captions: expected those of pretrain.stream = 'plumage', got 'wild'"),
        ('moco', ["pretrain.recipe = 'dinno'"], "unknown recipe 'dinno'; did you mean dino?"),
        ('moco', ["pretrain.recipe = ''"], f'pretrain.recipe: expected one of {", ".join(RECIPES)}, got none'),
        ('moco', ['pretrain.recipe = 3'], 'pretrain.recipe: expected a str, got 3'),
        ('dino', ['dino.local_side = 30'], 'dino.local_side: expected a multiple of the patches of 8 px, got 30'),
        ('mim', ['mim.hidden_share = 0.001'], 'mim.hidden_share: expected some of 64 patches hidden and some not, got'),
        ('mim', ['mim.hidden_share = 1.0'], 'mim.hidden_share: expected some of 64 patches hidden and some not, got 1.0'),
        ('mim', ['mim.decoder_dim = 90'], 'mim.decoder_dim: expected a multiple of 4 heads, got 90'),
        ('clip', ['clip.text_dim = 90'], 'clip.text_dim: expected a multiple of 4 heads, got 90'),
    ],
)
def test_bad_input_is_one_clear_line_before_anything_is_drawn(tmp_path, recipe, bindings, said):
    files = [f'gin/pretrain/tiny_{recipe}.gin']
    with pytest.raises(InputError) as caught:
        command.run(files, bindings, cache_dir=tmp_path, output=tmp_path / 'w.safetensors', device=CPU)
    assert said in str(caught.value) and '\n' not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_a_recipe_the_known_ones_are_named(tmp_path):
    with pytest.raises(InputError, match='pretrain.recipe: expected one of simclr, .*, got none'):
        command.run([], ['pretrain.epochs = 1'], cache_dir=tmp_path, device=CPU)


def test_a_recipe_without_an_encoder_and_a_strange_output_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(registry._plugins['recipe'], 'own_recipe', registry.Row('own_recipe', moco, 'a recipe of a plug-in'))
    with pytest.raises(InputError, match='pretrain.recipe: own_recipe has no encoder; add tiny_own_recipe to'):
        command.run([], ["pretrain.recipe = 'own_recipe'"], cache_dir=tmp_path, device=CPU)
    with pytest.raises(InputError, match='w.pth: expected a file name ending in .safetensors'):
        command.run([MOCO], [], cache_dir=tmp_path, output=tmp_path / 'w.pth', device=CPU)


def test_command_ends_with_status_2():
    arguments = ['--gin_file=gin/none.gin']
    done = subprocess.run([sys.executable, '-m', 'bench.pretrain', *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith('bench.pretrain: no gin file gin/none.gin') and done.stderr.count('\n') == 1
