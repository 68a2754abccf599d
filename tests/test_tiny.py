"""The embedded encoders as shipped: weights, features and model cards. How they are trained is in test_pretrain.py."""

import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer

from bench.backbones.tiny.encoders import encoder_from_file, tiny
from bench.backbones.tiny.facts import ARCHITECTURES, NETWORK_OF, WEIGHTS_DIR, stream_of
from bench.backbones.tiny.networks import tiny_network
from bench.config import registry
from bench.core.errors import InputError
from bench.core.types import Places
from bench.pretrain.__main__ import configured

pytestmark = pytest.mark.numerical

CPU = torch.device('cpu')
SHIPPED = [name for name in NETWORK_OF if (WEIGHTS_DIR / f'{name}.safetensors').is_file()]
# Fingerprint of the weights; the first and the last three features of the first image of `fixed_images`, in float32.
PINNED = {
    'tiny_simclr': ('2eb790f885fa565e', (1.76372, 0.17388, 0.35524, 2.45196, 1.1702, 0.15784)),
    'tiny_moco': ('0741db642bc70ca7', (-0.33152, 0.40665, 0.66381, 1.3019, 1.18547, -0.56229)),
    'tiny_dino': ('66ed5a29f2d29553', (3.85094, -0.41525, 0.82635, -0.68224, 1.13524, 0.35249)),
    'tiny_mim': ('d13e59e153e6b8ad', (1.79779, 3.26737, 0.27464, 0.17503, 0.1925, 1.40506)),
    'tiny_clip': ('25ac97198a1064ca', (1.87541, -0.79689, 0.34049, 0.88649, -1.83402, 0.12963)),
    'wild_moco': ('fd0b58413fac5ed4', (0.88607, 0.11276, -1.68416, 10.02941, 2.90701, -1.93888)),
    'wild_dino': ('0bb03da3cd8bf88d', (1.97896, -1.5185, -0.20623, 0.03701, 0.74811, 1.02954)),
    'wild_clip': ('7106fae6f2d6e0f1', (1.74732, -0.18016, 2.22291, -0.23494, -0.06439, -0.24869)),
}  # fmt: skip

for_each_encoder = pytest.mark.parametrize('name', SHIPPED)


@cache
def shipped(name, precision='float32'):
    return tiny(name, Places(None, None, Path('unused')), CPU, precision=precision)


@cache
def card_of(name):
    """Return the rows of a model card's tables: first column -> second."""
    text = (WEIGHTS_DIR / f'{name}.md').read_text(encoding='utf-8')
    return dict(re.findall(r'^\| `?([^|`]+)`? \| (.*) \|$', text, flags=re.MULTILINE))


def probe_of(name):
    tried = {'plumage': 'plumage', 'wild': 'aviary'}[stream_of(name)]
    return float(re.match(r'(\d+\.\d+)% top-1', card_of(name)[f'full-data linear probe on {tried}'])[1])


def fixed_images():
    """Two smooth colour ramps: a known input that needs no drawing."""
    ramp = torch.linspace(0, 1, 64)
    x_CHW = torch.stack([ramp[None, :].expand(64, 64), ramp[:, None].expand(64, 64), torch.full((64, 64), 0.5)])
    return torch.stack([x_CHW, x_CHW.flip(0)])


# --- all of them --------------------------------------------------------------------------------------------------------


def test_every_encoder_ships_with_weights_and_a_model_card():
    files = {path.name for path in WEIGHTS_DIR.iterdir()}
    assert files == {f'{name}{suffix}' for name in NETWORK_OF for suffix in ('.safetensors', '.md')}


def test_an_encoder_is_a_backbone_and_has_a_recipe():
    backbones = {name: row.fixed for name, row in registry.rows('backbone').items() if name.startswith(('tiny_', 'wild_'))}
    assert backbones == {name: name for name in NETWORK_OF}
    tiny_ones = {name for name in NETWORK_OF if stream_of(name) == 'plumage'}
    assert tiny_ones == {f'tiny_{name}' for name in registry.rows('recipe')}
    assert {name.removeprefix('wild_') for name in set(NETWORK_OF) - tiny_ones} <= set(registry.rows('recipe'))


def test_there_are_vision_transformers_and_a_cnn():
    networks = [tiny_network(kind) for kind in NETWORK_OF.values()]
    assert sum(isinstance(network, VisionTransformer) for network in networks) >= 2
    assert sum(isinstance(network, ResNet) for network in networks) >= 1


def test_the_probe_does_well_on_most_families():
    families = [name for name in NETWORK_OF if stream_of(name) == 'plumage' and name != 'tiny_simclr']
    assert sum(probe_of(name) >= 80 for name in families) >= 3, {name: probe_of(name) for name in families}


@pytest.mark.parametrize('kind', ARCHITECTURES)
def test_size_of_the_network(kind):
    assert 0.5e6 < sum(p.numel() for p in tiny_network(kind).parameters()) < 1.4e6


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="expected one of cnn, vit, plain_vit, got 'mlp'"):
        tiny_network('mlp')


# --- each of them -------------------------------------------------------------------------------------------------------


@for_each_encoder
def test_shipped_weights_are_the_ones_described(name):
    assert (WEIGHTS_DIR / f'{name}.safetensors').stat().st_size < 3_500_000
    assert f'`{shipped(name).fingerprint}`' in card_of(name)['weights fingerprint']
    assert name in PINNED, 'pin its fingerprint and features above: records belong to these weights'
    assert shipped(name).fingerprint == PINNED[name][0]


@for_each_encoder
def test_features_of_a_fixed_input(name):
    with torch.inference_mode():
        f_ND = shipped(name).encode(fixed_images())
    assert f_ND.shape == (2, shipped(name).feature_dim) and f_ND.dtype == torch.float32
    np.testing.assert_allclose(f_ND[0, [0, 1, 2, -3, -2, -1]], PINNED[name][1], rtol=1e-3, atol=1e-3)


@for_each_encoder
def test_gradient_reaches_the_image(name):
    x_NCHW = fixed_images().requires_grad_()
    shipped(name).encode(x_NCHW).square().sum().backward()
    assert torch.isfinite(x_NCHW.grad).all() and (x_NCHW.grad != 0).float().mean() > 0.5
    assert not any(p.requires_grad for p in shipped(name).network.parameters())


@for_each_encoder
def test_bfloat16_is_near_float32(name):
    with torch.inference_mode():
        a_ND, b_ND = (shipped(name, precision).encode(fixed_images()) for precision in ('float32', 'bfloat16'))
    assert b_ND.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(a_ND, b_ND).min() > 0.99


@for_each_encoder
def test_float64_is_beyond_the_rounding_of_float32(name):
    with torch.inference_mode():
        a_ND, b_ND = (shipped(name, precision).encode(fixed_images()) for precision in ('float32', 'float64'))
    assert b_ND.dtype == torch.float64
    assert 1e-9 < (a_ND - b_ND).norm() / b_ND.norm() < 1e-5


@for_each_encoder
def test_the_card_says_how_it_was_made(name):
    card = card_of(name)
    assert 'arXiv' in card['recipe'] and card['seed'].isdecimal()
    assert card['command'] == f'`python -m bench.pretrain --gin_file=gin/pretrain/{name}.gin`'
    losses = [float(number) for number in re.findall(r'\d+\.\d+', card.get('mean loss of each epoch') or card['loss'])]
    assert len(losses) > 1 and all(map(math.isfinite, losses)) and losses[-1] < losses[0]
    assert 0 < probe_of(name) <= 100
    (spread,) = (said for row, said in card.items() if row.startswith('spectrum on '))
    ratio, five = map(float, re.fullmatch(r'participation ratio (.*); .* hold (\d+) % of the variance', spread).groups())
    assert 1 <= ratio <= shipped(name).feature_dim and 0 < five < 100


@for_each_encoder
def test_the_gin_file_still_says_what_the_card_says(name):
    settings, recipe = configured([f'gin/pretrain/{name}.gin'], [])
    shown = {key.rpartition('.')[2]: value for key, value in card_of(name).items()}
    asked = {key: str(value) for key, value in {**settings, **recipe.settings}.items()}
    compared = {key: value for key, value in asked.items() if key in shown and key != 'recipe'}
    assert {key: shown[key] for key in compared} == compared
    later = {key for key, value in recipe.settings.items() if key not in shown and value == recipe.row.defaults()[key]}
    assert later <= {'captions'}, 'a setting that is younger than a card is at its default'
    wanted = {*recipe.settings, 'num_images', 'epochs', 'batch_size', 'learning_rate', 'seed', 'data_seed'} - later
    assert wanted <= set(compared)


# --- files that are no good ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('content', [None, b'not a weights file'])
@pytest.mark.parametrize('name', NETWORK_OF)
def test_bad_weights_file_is_named(tmp_path, name, content):
    path = tmp_path / 'weights.safetensors'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match='weights.safetensors: expected safetensors weights .*; run bench') as caught:
        encoder_from_file(path, name=name, device=CPU)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['tiny_moco', 'tiny_dino'])
def test_weights_of_another_encoder_are_refused(name):
    with pytest.raises(InputError, match=f'tiny_simclr.safetensors: does not match {name}') as caught:
        encoder_from_file(WEIGHTS_DIR / 'tiny_simclr.safetensors', name=name, device=CPU)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 400
