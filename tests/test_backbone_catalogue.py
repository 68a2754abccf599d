"""Published backbones without their weights: rows agree with the libraries, published layouts load, every family runs.

Weights here are random, or of shape alone, in files with the keys and shapes of the original releases: a network at its real
size is built on the meta device, a shrunk one goes through features, LGM and probe.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip as open_clip_library
import pytest
import timm as timm_library
import torch
from conftest import ROOT, all_records
from published_layouts import (
    add_small_clip,
    below,
    clip,
    dinov2,
    dinov3,
    eva02,
    mocov3,
    published,
    random_state,
    resnet,
    siglip2,
    vit,
    wrapped,
)
from safetensors.torch import save_file
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from bench.backbones import ROWS, base, fingerprints, named, open_clip_source, state_dicts, timm_source
from bench.backbones.catalogue import CATALOGUE, catalogue_table, whereabouts
from bench.backbones.mocov3 import base_encoder
from bench.backbones.weights import ENDINGS, Origin, torch_cache
from bench.config import registry
from bench.core.errors import InputError
from bench.core.tables import replace_block
from bench.core.types import Places
from bench.features import views as views_module
from tests import commands

CPU = torch.device('cpu')
# what the suites and the published tables name; a new backbone is in CATALOGUE alone
PUBLISHED = {
    'clip_vitb16', 'clip_vitb32', 'clip_vitl14', 'dinov2_vits14', 'dinov2_vitb14', 'dinov2_vitl14', 'dinov3_vitb16',
    'eva02_vitt14', 'eva02_vits14', 'eva02_vitb14', 'eva02_vitl14', 'mocov3_vitb16', 'dino_vitb16', 'mae_vitb16',
    'siglip2_vitb16', 'ijepa_vith14', 'resnet50_supervised',
}  # fmt: skip
NAMES = tuple(CATALOGUE)
TINY = ('tiny_simclr', 'tiny_moco', 'tiny_dino', 'tiny_mim', 'tiny_clip', 'wild_moco', 'wild_dino', 'wild_clip')
HUB = 'https://huggingface.co/timm'
for_each_entry = pytest.mark.parametrize('name', NAMES)


@pytest.fixture
def places(tmp_path, caches):
    (tmp_path / 'weights').mkdir()
    return Places(None, tmp_path / 'weights', tmp_path / 'cache')


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches of the hub and of torch; returns the hub's."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    return tmp_path / 'hub'


def load(name, places, device=CPU, **settings):
    """Load a named backbone as a run does."""
    row, argument = registry.find('backbone', name)
    return row.load()(argument, places, device, **{**row.defaults(), **settings})


def in_hub_cache(folder, repository, commit, *, state=None, file='model.safetensors', **texts):
    """Put weights and JSON files of a repository into a cache of the hub, as its main branch."""
    top = folder / f'models--{repository.replace("/", "--")}'
    (top / 'refs').mkdir(parents=True, exist_ok=True)
    (top / 'refs' / 'main').write_text(commit)
    snapshot = top / 'snapshots' / commit
    snapshot.mkdir(parents=True)
    if state is not None:
        save_file(state, snapshot / file)
    for name, text in texts.items():
        (snapshot / f'{name}.json').write_text(json.dumps(text))


def at_its_size(name):
    """Return what the published file of a row holds."""
    return published(name, torch.empty, side=CATALOGUE[name].input_side)


# --- real architectures, on the meta device ---------------------------------------------------------------------------


@pytest.fixture
def weightless(monkeypatch, places):
    """Load rows at their real size from files with published keys and shapes, without memory for any weight."""
    monkeypatch.setattr(base, 'freeze', lambda network, **_: network)
    monkeypatch.setattr(base, 'weights_fingerprint', lambda network: 'none')
    create = open_clip_library.create_model
    monkeypatch.setattr(open_clip_library, 'create_model', partial(create, device='meta'))
    monkeypatch.setattr(state_dicts, 'read', lambda path, *, name: at_its_size(path.stem))

    def loaded(name):
        (places.weights_root / f'{name}.pth').touch()
        with torch.device('meta'):
            return load(name, places, torch.device('meta'))

    return loaded


@for_each_entry
def test_a_row_at_its_real_size_takes_the_published_file_and_is_what_its_entry_says(name, weightless):
    entry, found = CATALOGUE[name], weightless(name)
    # the width is measured by a pass through the network; what differs would have ended in an AssertionError
    assert (found.feature_dim, found.input_side) == (entry.width, entry.input_side)
    assert (found.mean, found.std, found.interpolation) == (entry.mean, entry.std, entry.interpolation)
    assert found.name == name and found.feature == entry.feature and f'{name}.pth' in found.source
    network = found.network
    assert all(value.is_meta for value in network.state_dict().values())
    kinds = {type(module).__name__ for module in network.modules()}
    if entry.loader == 'open_clip':
        assert 'QuickGELU' in kinds and 'GELU' not in kinds and 'projected' in entry.feature
        return
    pool = getattr(network.global_pool, 'pool_type', network.global_pool)
    words = {'token': 'CLS token', 'avg': 'mean', 'map': 'attention'}
    assert pool == entry.settings['model_kwargs']['global_pool'] and words[pool] in entry.feature
    assert network.num_classes == 0


def test_a_wrong_entry_is_caught_when_it_is_loaded(weightless, monkeypatch):
    for wrong in ({'width': 769}, {'mean': (0.5, 0.5, 0.5)}, {'interpolation': 'bilinear'}):
        with monkeypatch.context() as patched:
            patched.setitem(CATALOGUE, 'mae_vitb16', dataclasses.replace(CATALOGUE['mae_vitb16'], **wrong))
            with pytest.raises(AssertionError, match='mae_vitb16: the catalogue says'):
                weightless('mae_vitb16')


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_names_what_the_suites_and_published_tables_name():
    assert set(NAMES) >= PUBLISHED and len(NAMES) == len(set(NAMES))
    rows = {row.name: row for row in ROWS}
    assert set(rows) == {*NAMES, *TINY, 'timm', 'open_clip', 'hf-hub'}
    assert rows['hf-hub'].identifier == 'hf_hub'
    for name, entry in CATALOGUE.items():
        assert rows[name].fixed == name and rows[name].summary == entry.summary and entry.loader in named.LOADERS
        assert rows[name].defaults() == {
            'checkpoint': '', 'revision': '', 'input_side': entry.input_side, 'precision': 'float32',
            'interpolation': None, 'readout': 'none',
        }  # fmt: skip
        assert entry.licence and 'arXiv' in entry.citation and entry.origin.address.startswith('https://')


@for_each_entry
def test_an_entry_agrees_with_the_librarys_own_configuration(name):
    entry = CATALOGUE[name]
    if entry.loader == 'mocov3':  # no library has it: these are from its repository's linear evaluation and CONFIG.md
        assert entry.origin == Origin(url='https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar')
        assert (entry.mean, entry.interpolation) == ((0.485, 0.456, 0.406), 'bilinear')
    elif entry.loader == 'open_clip':
        architecture, tag = entry.argument.split('/')
        facts = open_clip_library.get_pretrained_cfg(architecture, tag)
        config = open_clip_library.get_model_config(architecture)
        assert (entry.mean, entry.std, entry.interpolation) == (facts['mean'], facts['std'], facts['interpolation'])
        assert (entry.input_side, entry.width) == (config['vision_cfg']['image_size'], config['embed_dim'])
        assert entry.origin == open_clip_source.origin_of(facts) and facts['quick_gelu']
    else:
        config = timm_library.get_pretrained_cfg(entry.argument)
        assert (entry.mean, entry.std, entry.interpolation) == (config.mean, config.std, config.interpolation)
        assert entry.input_side == (224 if name.startswith('dinov2') else config.input_size[-1])
        assert entry.origin == timm_source.origin_of(config) and entry.licence.casefold() == config.license.casefold()


@for_each_entry
def test_the_size_of_the_download_is_that_of_the_parameters(name):
    entry = CATALOGUE[name]

    def count(state):
        return sum(value.numel() for value in state.values())

    with torch.device('meta'):
        if entry.loader == 'open_clip':
            numbers = count(at_its_size(name))
        elif name == 'mocov3_vitb16':
            state = at_its_size(name)['state_dict']
            # Adam keeps two moments of what is trained; patch and position embeddings are not
            fixed = ('module.momentum', 'module.base_encoder.patch', 'module.base_encoder.pos')
            numbers = count(state) + 2 * count({k: v for k, v in state.items() if not k.startswith(fixed)})
        else:
            numbers = count(timm_library.create_model(entry.argument, pretrained=False).state_dict())
            # target encoder and two moments of Adam; the predictor is small
            numbers *= 4 if name == 'ijepa_vith14' else 1
    assert entry.megabytes == pytest.approx(4e-6 * numbers, rel=0.04 if name == 'ijepa_vith14' else 0.01)


def test_the_documents_table_is_made_from_the_catalogue(tmp_path):
    document = ROOT / 'docs' / 'backbones.md'
    copy = tmp_path / 'backbones.md'
    copy.write_text(document.read_text(encoding='utf-8'), encoding='utf-8')
    replace_block(copy, 'backbones', catalogue_table())
    made = copy.read_text(encoding='utf-8')
    assert made == document.read_text(encoding='utf-8'), 'python -m bench.list --backbones --into=docs/backbones.md'
    assert all(f'| `{name}` |' in made for name in NAMES)


# --- every family, shrunk, from image to record -----------------------------------------------------------------------

# Row -> its settings as a small network, the width of its features, its side, and the published layout at that size.
_VIT = {'embed_dim': 48, 'num_heads': 3, 'depth': 1, 'num_classes': 0}
SHRUNK = {
    'clip_vitb16': ({}, 6, 32, clip(64, 1, 16, 32, embedding=6, text_width=8, text_depth=1, vocabulary=20, context=8)),
    'dinov2_vitb14': (_VIT, 48, 28, dinov2(48, 1, 14, 28)),
    'dinov3_vitb16': (_VIT, 48, 32, dinov3(48, 1, 16, 32)),
    'eva02_vits14': (_VIT, 48, 28, eva02(48, 1, 14, 28)),
    'mocov3_vitb16': (_VIT, 48, 32, mocov3(48, 1, 16, 32)),
    'dino_vitb16': (_VIT, 48, 32, vit(48, 1, 16, 32)),
    'mae_vitb16': (_VIT, 48, 32, vit(48, 1, 16, 32)),
    'siglip2_vitb16': (_VIT, 48, 32, siglip2(48, 1, 16, 32)),
    'ijepa_vith14': (_VIT, 48, 28, vit(48, 1, 14, 28, prefix_tokens=0)),
    'resnet50_supervised': (
        {'layers': [1, 1, 1, 1], 'channels': [8, 8, 8, 8]}, 32, 32, resnet(widths=(8, 8, 8, 8), layers=(1, 1, 1, 1)),
    ),
}  # fmt: skip


def shrink(name, monkeypatch, tmp_path):
    """Make the row of a family build a small network."""
    entry, (kwargs, width, side, _) = CATALOGUE[name], SHRUNK[name]
    small = {'width': width, 'input_side': side}
    if entry.loader == 'open_clip':
        small |= {'argument': f'{tiny_clip(monkeypatch, tmp_path)}/openai'}
    else:
        small |= {'settings': {'model_kwargs': {**entry.settings['model_kwargs'], **kwargs}}}
    monkeypatch.setitem(CATALOGUE, name, dataclasses.replace(entry, **small))


def tiny_clip(monkeypatch, tmp_path):
    """Register a small architecture with open_clip, whose weights are OpenAI's."""
    from open_clip import pretrained

    add_small_clip(tmp_path / 'ViT-tiny.json', monkeypatch)
    facts = {**open_clip_library.get_pretrained_cfg('ViT-B-16', 'openai'), 'hf_hub': 'someone/tiny/'}
    monkeypatch.setitem(pretrained._PRETRAINED, 'ViT-tiny', {'openai': facts})
    return 'ViT-tiny'


def put(name, places, file=None):
    """Put random weights into the weights root, in the layout of the row's release; return them."""
    state = random_state(SHRUNK[name][-1], seed=list(SHRUNK).index(name))
    torch.save(wrapped(name, state), places.weights_root / (file or f'{name}.pth'))
    return state


@pytest.fixture
def small(places, tmp_path, monkeypatch):
    """Shrink a row, put its weights into the weights root, and load it: name -> (backbone, the weights of the file)."""

    def loaded(name, **settings):
        shrink(name, monkeypatch, tmp_path)
        state = put(name, places, settings.get('checkpoint'))
        return load(name, places, **{'input_side': SHRUNK[name][2], **settings}), state

    return loaded


@pytest.mark.numerical
def test_every_family_goes_from_features_through_lgm_to_a_probe(places, run_bench, tmp_path, monkeypatch):
    for name in SHRUNK:
        shrink(name, monkeypatch, tmp_path)
        put(name, places)
    outcome = run_bench(f'--weights_root={places.weights_root}', bind=[
        f'run.backbones = {list(SHRUNK)}', "run.methods = ['lgm']", 'lgm.num_updates = 2', 'lgm.num_augmentations = 1',
        'lgm.num_views = 1', "lgm.parameterization = 'pixels'",
        *[f'{name}.input_side = {side}' for name, (_, _, side, _) in SHRUNK.items()],
    ])  # fmt: skip
    assert outcome.status == 0, outcome
    made = {record.cell.settings['eval_name']: record for record in all_records(tmp_path / 'results')}
    assert set(made) == set(SHRUNK)
    for name, record in made.items():
        assert record.status == 'ok' and 0 <= record.mean <= 1 and record.cell.settings['source_name'] == name
        assert record.cell.settings['eval_settings']['input_side'] == SHRUNK[name][2]
    assert len({record.fingerprints.eval_weights for record in made.values()}) == len(SHRUNK)
    assert len({record.distilled.hash for record in made.values()}) == len(SHRUNK), 'each encoder has its own images'


@pytest.mark.numerical
@pytest.mark.parametrize('name', ['clip_vitb16', 'eva02_vits14', 'siglip2_vitb16', 'dinov3_vitb16'])
def test_bfloat16_gives_float32_features_near_the_exact_ones(small, places, name):
    exact, _ = small(name)
    rounded = load(name, places, input_side=SHRUNK[name][2], precision='bfloat16')
    f_ND, g_ND = (backbone.encode(image(backbone.input_side)) for backbone in (exact, rounded))
    assert g_ND.dtype is torch.float32 and not torch.equal(f_ND, g_ND)
    assert torch.nn.functional.cosine_similarity(f_ND, g_ND).item() > 0.99


@pytest.mark.numerical
@pytest.mark.parametrize('name', ['clip_vitb16', 'eva02_vits14', 'siglip2_vitb16', 'dinov3_vitb16', 'mocov3_vitb16'])
def test_float64_gives_float64_features_beyond_the_rounding_of_float32(small, places, name):
    single, _ = small(name)
    double = load(name, places, input_side=SHRUNK[name][2], precision='float64')
    f_ND, g_ND = (backbone.encode(image(backbone.input_side)) for backbone in (single, double))
    assert g_ND.dtype is torch.float64 and double.fingerprint == single.fingerprint
    assert 1e-9 < (f_ND - g_ND).norm() / g_ND.norm() < 1e-4


def test_another_interpolation_reaches_every_view_and_every_key(small, places, run_bench, tmp_path, monkeypatch):
    name = 'mae_vitb16'
    (own, _), (other, _) = small(name), small(name, interpolation='bilinear')
    assert (own.interpolation, other.interpolation) == ('bicubic', 'bilinear') and own.fingerprint == other.fingerprint
    seen = set()
    for kind in (views_module.CenterView, views_module.RandomView):
        def noting(self, image, *, call=kind.__call__, **named):
            seen.add((type(self).__name__, self.interpolation))
            return call(self, image, **named)

        monkeypatch.setattr(kind, '__call__', noting)
    for line, wanted in (('None', 'bicubic'), ("'bilinear'", 'bilinear')):
        seen.clear()
        outcome = run_bench(f'--weights_root={places.weights_root}', bind=[
            f"run.backbones = ['{name}']", "run.methods = ['centroid', 'lgm']", 'lgm.num_updates = 1', 'lgm.num_views = 1',
            "lgm.parameterization = 'pixels'", 'lgm.num_augmentations = 1', 'lgm.overhang = False',
            'lgm.interpolation = None', f'{name}.input_side = {SHRUNK[name][2]}', f'{name}.interpolation = {line}',
        ])  # fmt: skip
        assert outcome.status == 0, [record.error for record in all_records(tmp_path / 'results')]
        assert seen == {('CenterView', wanted), ('RandomView', wanted)}, 'selection, distillation, probe and test'
    records = all_records(tmp_path / 'results')
    assert len({record.key for record in records}) == 4
    for part in ('source_settings', 'eval_settings'):
        settings = [record.cell.settings[part].get('interpolation', 'none') for record in records]
        assert sorted(settings) == ['bilinear', 'bilinear', 'none', 'none'], part


# --- keys of published files ------------------------------------------------------------------------------------------


def image(side):
    return torch.from_numpy(fingerprints.fixed_image(side))[None]


def normalised(backbone, x_NCHW):
    return (x_NCHW - torch.tensor(backbone.mean).view(1, 3, 1, 1)) / torch.tensor(backbone.std).view(1, 3, 1, 1)


@pytest.mark.numerical
def test_mocov3_is_the_base_encoder_without_its_head(small):
    backbone, state = small('mocov3_vitb16')
    network = timm_library.create_model('vit_base_patch16_224', img_size=32, **_VIT).eval()
    prefix = 'module.base_encoder.'
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    network.load_state_dict({key: value for key, value in own.items() if not key.startswith('head.')})
    with torch.no_grad():
        expected = network.forward_features(normalised(backbone, image(32)))[:, 0]
    torch.testing.assert_close(backbone.encode(image(32)), expected, rtol=1e-3, atol=1e-4)
    assert not torch.equal(state['module.momentum_encoder.pos_embed'], own['pos_embed'])
    assert base_encoder(published('mocov3_vitb16', torch.Size, side=224)['state_dict']) == vit(768, 12, 16, 224)


def clip_features(x_NCHW, state):
    """The image tower of OpenAI's release, one head, from its weights."""
    w = {key.removeprefix('visual.'): value for key, value in state.items()}
    x_NTD = torch.nn.functional.conv2d(x_NCHW, w['conv1.weight'], stride=16).flatten(2).transpose(1, 2)

    def normed(x, key):
        return layer_norm(x, x.shape[-1:], w[f'{key}.weight'], w[f'{key}.bias'])

    x_NTD = torch.cat([w['class_embedding'].expand(len(x_NTD), 1, -1), x_NTD], dim=1) + w['positional_embedding']
    x_NTD, at = normed(x_NTD, 'ln_pre'), 'transformer.resblocks.0'
    qkv = linear(normed(x_NTD, f'{at}.ln_1'), w[f'{at}.attn.in_proj_weight'], w[f'{at}.attn.in_proj_bias'])
    y_NTD = scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
    x_NTD = x_NTD + linear(y_NTD, w[f'{at}.attn.out_proj.weight'], w[f'{at}.attn.out_proj.bias'])
    y_NTD = linear(normed(x_NTD, f'{at}.ln_2'), w[f'{at}.mlp.c_fc.weight'], w[f'{at}.mlp.c_fc.bias'])
    y_NTD = y_NTD * torch.sigmoid(1.702 * y_NTD)
    x_NTD = x_NTD + linear(y_NTD, w[f'{at}.mlp.c_proj.weight'], w[f'{at}.mlp.c_proj.bias'])
    return normed(x_NTD[:, 0], 'ln_post') @ w['proj']


@pytest.mark.numerical
def test_clip_computes_what_openais_release_computes(small, places):
    backbone, state = small('clip_vitb16')
    assert backbone.feature_dim == 6
    torch.testing.assert_close(
        backbone.encode(image(32)), clip_features(normalised(backbone, image(32)), state), rtol=1e-3, atol=1e-4
    )
    # half precision, and the image tower alone, as some releases have it
    tower = {key.removeprefix('visual.'): value.half() for key, value in state.items() if key.startswith('visual.')}
    save_file({key: value.contiguous() for key, value in tower.items()}, places.weights_root / 'tower.safetensors')
    halved = load('clip_vitb16', places, input_side=32, checkpoint='tower.safetensors')
    torch.testing.assert_close(halved.encode(image(32)), backbone.encode(image(32)), rtol=0.02, atol=0.005)


@pytest.mark.parametrize(
    'name, side', [('dinov2_vitb14', 42), ('eva02_vits14', 42), ('clip_vitb16', 64), ('dino_vitb16', 64)]
)
def test_position_embeddings_are_resampled_to_another_side(small, name, side):
    backbone, _ = small(name, input_side=side)
    assert backbone.input_side == side and backbone.encode(image(side)).shape == (1, SHRUNK[name][1])


@pytest.mark.parametrize(
    'wrap',
    [
        dict,
        lambda state: {'state_dict': below('module.', state), 'epoch': 3},
        lambda state: {'model': state, 'optimizer': {'lr': 0.1}},
        lambda state: {'student': {}, 'teacher': {**below('backbone.', state), 'head.mlp.0.weight': torch.ones(2)}},
        lambda state: {**state, 'head.weight': torch.ones(5, 48), 'head.bias': torch.ones(5)},
        lambda state: {'model': {**state, 'head.last_layer.weight': torch.ones(1)}},
    ],
    ids=['plain', 'parallel', 'model', 'teacher', 'with a head', 'with another head'],
)
def test_what_training_wraps_around_weights_is_taken_off(small, places, wrap):
    backbone, state = small('dino_vitb16')
    torch.save(wrap(state), places.weights_root / 'wrapped.pth.tar')
    assert load('dino_vitb16', places, input_side=32, checkpoint='wrapped.pth.tar').fingerprint == backbone.fingerprint


@pytest.mark.numerical
def test_all_but_the_head_must_be_there(small, places):
    backbone, state = small('resnet50_supervised')

    def loaded(state, name='resnet50_supervised'):
        save_file(state, places.weights_root / 'changed.safetensors')
        return load(name, places, input_side=32, checkpoint='changed.safetensors')

    headless = {key: value for key, value in state.items() if not key.startswith('fc.')}
    assert loaded(headless).fingerprint == backbone.fingerprint
    counts = {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}
    torch.testing.assert_close(loaded(counts).encode(image(32)), backbone.encode(image(32)))
    for changed, problem in (
        ({k: v for k, v in state.items() if k != 'bn1.bias'}, r'1 missing \(first: bn1.bias \[\d+\]\)'),
        ({**state, 'neck.weight': torch.ones(1)}, r'1 not in the model \(first: neck.weight \[1\]\)'),
        ({**state, 'bn1.bias': torch.ones(5)}, r'1 of another shape \(first: bn1.bias, expected \[\d+\], got \[5\]\)'),
    ):
        with pytest.raises(InputError, match=f'resnet50_supervised: the keys of .*changed.safetensors .*: {problem}'):
            loaded(changed)


def test_weights_of_another_family_are_refused_in_one_line(small, places):
    put('mocov3_vitb16', places, 'other.pth')
    for name in ('eva02_vits14', 'clip_vitb16', 'dino_vitb16', 'siglip2_vitb16'):
        small(name)
        with pytest.raises(InputError, match=rf'{name}: the keys of .*other.pth do not match: \d+ missing') as caught:
            load(name, places, input_side=SHRUNK[name][2], checkpoint='other.pth')
        assert '\n' not in str(caught.value) and len(str(caught.value)) < 500


class Custom:
    """What a checkpoint may hold besides weights, and only its own code can read."""


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')
def test_a_file_that_needs_more_than_weights_is_refused_in_one_line(small, places):
    small('mae_vitb16')
    torch.save({'model': {}, 'args': Custom()}, places.weights_root / 'custom.pth')
    torch.jit.script(torch.nn.Linear(2, 2)).save(places.weights_root / 'scripted.pt')
    torch.save([torch.ones(1)], places.weights_root / 'list.bin')
    torch.save({'model': {1: torch.ones(1)}}, places.weights_root / 'numbers.pth')
    (places.weights_root / 'page.pth').write_text('<html>not found</html>')
    (places.weights_root / 'cut.pth').write_bytes(b'PK\x03\x04')
    (places.weights_root / 'cut.safetensors').write_bytes(b'1234')
    for file, message in (
        ('custom.pth', r'is not a file of weights only \(.*Unsupported global.*Custom'),
        ('scripted.pt', 'is not a file of weights only'),
        ('cut.pth', 'is not a file of weights only'), ('list.bin', 'expected a state dict .* got list'),
        ('numbers.pth', r'the keys of .* do not match: \d+ missing'),
        ('page.pth', r'is not a file of weights only \(Unsupported operand'),
        ('cut.safetensors', 'is not a readable safetensors file'), ('absent.pth', 'no checkpoint at'),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f'mae_vitb16: .*{message}') as caught:
            load('mae_vitb16', places, input_side=32, checkpoint=file)
        assert '\n' not in str(caught.value) and file in str(caught.value)


# --- where weights are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('ending', ENDINGS)
def test_a_file_of_the_rows_name_in_the_weights_root_is_used(small, places, ending):
    backbone, state = small('dino_vitb16')
    file = places.weights_root / f'dino_vitb16{ending}'
    (places.weights_root / 'dino_vitb16.pth').unlink()
    save_file(state, file) if ending == '.safetensors' else torch.save(state, file)
    found = load('dino_vitb16', places, input_side=32)
    assert found.fingerprint == backbone.fingerprint
    assert found.source == f'timm:vit_base_patch16_224.dino from dino_vitb16{ending}'
    assert whereabouts('dino_vitb16', places.weights_root) == 'in weights_root'


@pytest.mark.parametrize(
    'name, fetched, stored',
    [
        ('eva02_vitb14', f'{HUB}/eva02_base_patch14_224.mim_in22k/resolve/main/model.safetensors', '.safetensors'),
        ('clip_vitb16', f'{HUB}/vit_base_patch16_clip_224.openai/resolve/main/open_clip_model.safetensors', '.safetensors'),
        ('mocov3_vitb16', 'https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar', '.pth.tar'),
        ('ijepa_vith14', 'https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.14-300e.pth.tar', '.pth.tar'),
    ],
)  # fmt: skip
def test_missing_weights_end_in_one_line_with_the_file_and_its_place(places, monkeypatch, name, fetched, stored):
    monkeypatch.setattr(timm_library, 'create_model', fails_to_connect)
    for root in (places.weights_root, None):
        with pytest.raises(InputError) as caught:
            load(name, dataclasses.replace(places, weights_root=root))
        said = str(caught.value)
        assert said.startswith(f'{name}: its pretrained weights are not in the local cache and could not be fetched (')
        assert f'fetch {fetched} ({CATALOGUE[name].megabytes} MB)' in said and '\n' not in said
        place = f'{root}/{name}{stored}' if root else f'<weights_root>/{name}{stored} with --weights_root=<weights_root>'
        assert said.endswith(f', put it at {place}')


def fails_to_connect(*_, **__):
    raise OSError('no route to the hub')


@pytest.mark.parametrize(
    'name, fetched, stem',
    [
        ('timm:test_vit.r160_in1k', 'test_vit.r160_in1k/resolve/main/model.safetensors', 'test_vit.r160_in1k'),
        ('timm:test_vit.r160_in1k@v2', 'test_vit.r160_in1k/resolve/v2/model.safetensors', 'test_vit.r160_in1k'),
        ('open_clip:ViT-B-32/openai@abc', 'vit_base_patch32_clip_224.openai/resolve/abc/open_clip_model.safetensors',
         'ViT-B-32-openai'),
    ],
)  # fmt: skip
def test_missing_weights_of_an_open_name_too(places, name, fetched, stem):
    with pytest.raises(InputError) as caught:
        load(name, places)
    said, source, file = str(caught.value), name.partition(':')[0], f'{stem}.safetensors'
    assert said.startswith(f'{name}: its pretrained weights are not in the local cache') and '\n' not in said
    place = places.weights_root / file
    assert said.endswith(f"; fetch {HUB}/{fetched}, put it at {place}, and bind {source}.checkpoint = '{file}'")


def test_the_commit_of_cached_weights_is_kept_and_a_revision_takes_another(places, caches):
    network = timm_library.create_model('test_vit', pretrained=False)
    repository, commits = 'timm/test_vit.r160_in1k', ('a' * 40, 'b' * 40)
    for seed, commit in enumerate(commits):
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        in_hub_cache(caches, repository, commit, state=random_state(shapes, seed))
    main = load('timm:test_vit.r160_in1k', places)
    assert main.source == f'timm:test_vit.r160_in1k from {repository}@{commits[1]}'
    older = load(f'timm:test_vit.r160_in1k@{commits[0]}', places)
    assert older.source == f'timm:test_vit.r160_in1k from {repository}@{commits[0]}'
    assert older.fingerprint != main.fingerprint
    with pytest.raises(InputError, match='timm:test_vit.r160_in1k@a: expected a checkpoint or a revision .*, got both'):
        load('timm:test_vit.r160_in1k@a', places, checkpoint='x.pth')


def test_cached_weights_that_are_damaged_are_named(places, caches):
    in_hub_cache(caches, 'timm/test_vit.r160_in1k', 'a' * 40)
    path = caches / 'models--timm--test_vit.r160_in1k' / 'snapshots' / ('a' * 40) / 'model.safetensors'
    path.write_bytes(b'1234')
    with pytest.raises(InputError, match=f'test_vit.r160_in1k: its weights at {path} cannot be used .*; fetch them again'):
        load('timm:test_vit.r160_in1k', places)


@pytest.mark.parametrize('name', ['clip_vitb16', 'mae_vitb16'])
def test_a_named_row_takes_a_revision_from_the_hub_and_nothing_from_the_weights_root(small, places, caches, name):
    local, state = small(name)
    entry = CATALOGUE[name]
    repository, file = 'someone/tiny' if name == 'clip_vitb16' else entry.origin.repository, entry.origin.files[0]
    for seed, commit in enumerate(('c' * 40, 'd' * 40), start=100):
        # hubs' files lack the three numbers of OpenAI's
        keys = {key: shape for key, shape in SHRUNK[name][-1].items() if shape or key == 'logit_scale'}
        in_hub_cache(caches, repository, commit, state=random_state(keys, seed), file=file)
    pinned = load(name, places, input_side=32, revision='c' * 40)
    assert pinned.source == f'{entry.loader}:{CATALOGUE[name].argument} from {repository}@{"c" * 40}'
    assert load(name, places, input_side=32).fingerprint == local.fingerprint
    (places.weights_root / f'{name}.pth').unlink()
    main = load(name, places, input_side=32)
    assert main.source.endswith(f'@{"d" * 40}') and len({main.fingerprint, pinned.fingerprint, local.fingerprint}) == 3
    with pytest.raises(InputError, match=f'{name}: expected a checkpoint or a revision .* got both'):
        load(name, places, revision='x', checkpoint='y.pth')


def test_a_url_is_fetched_once_into_torchs_cache(small, places, monkeypatch):
    local, state = small('mocov3_vitb16')
    (places.weights_root / 'mocov3_vitb16.pth').unlink()
    assert torch_cache() == Path(torch.hub.get_dir()) / 'checkpoints'
    fetched = []

    def download(url, path, progress):
        fetched.append(url)
        torch.save(state, path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    with pytest.raises(InputError, match='could not be fetched .HF_HUB_OFFLINE is set.'):
        load('mocov3_vitb16', places, input_side=32)
    assert not fetched
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
    for _ in range(2):
        found = load('mocov3_vitb16', places, input_side=32)
        assert found.fingerprint == local.fingerprint and found.source.endswith(f' from {fetched[0]}')
    assert fetched == [CATALOGUE['mocov3_vitb16'].origin.url]
    assert whereabouts('mocov3_vitb16') == "in torch's cache"
    with pytest.raises(InputError, match='mocov3_vitb16: its weights come from https://.*, which has no revisions'):
        load('mocov3_vitb16', places, revision='abc')


def test_the_listing_says_where_weights_are_and_imports_nothing_heavy(tmp_path):
    in_hub_cache(tmp_path / 'home' / 'hub', 'timm/vit_base_patch16_224.mae', 'e' * 40, state={'a': torch.ones(1)})
    kept = {'hub': tmp_path / 'torch' / 'hub' / 'checkpoints' / 'vit-b-300ep.pth.tar', 'root': tmp_path / 'dino_vitb16.pth'}
    for path in kept.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    check = tmp_path / 'check.py'
    heavy = "{'torch', 'timm', 'open_clip', 'gin', 'pandas'}"
    found = f'sorted({heavy} & set(sys.modules))'
    check.write_text(f"import sys, atexit\natexit.register(lambda: print('heavy:', {found}))\n")
    environment = {**os.environ, 'HF_HOME': str(tmp_path / 'home'), 'TORCH_HOME': str(tmp_path / 'torch')}
    environment.pop('HF_HUB_CACHE', None)
    command = [sys.executable, '-m', 'bench.list', '--backbones', f'--weights_root={tmp_path}', f'--plugin={check}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:] if line.strip()}
    assert "mae_vitb16                    in the hub's cache  MAE ViT-B/16" in lines['mae_vitb16']
    assert "  in torch's cache  " in lines['mocov3_vitb16'] and '  in weights_root  ' in lines['dino_vitb16']
    assert '  absent, 598 MB  ' in lines['clip_vitb16'] and '  in the project  ' in lines['tiny_moco']
    assert set(NAMES) <= set(lines) and 'hf-hub:<owner/name>' in lines and lines['heavy:'] == 'heavy: []'


# --- repositories of the hub ------------------------------------------------------------------------------------------


@pytest.mark.numerical
def test_a_timm_repository_is_loaded_by_its_name(places, caches):
    network = timm_library.create_model('test_vit', pretrained=False, num_classes=5)
    state = random_state({key: value.shape for key, value in network.state_dict().items()})
    facts = {'mean': [0.1, 0.2, 0.3], 'std': [0.5, 0.5, 0.5], 'input_size': [3, 160, 160], 'interpolation': 'bilinear'}
    facts |= {'fixed_input_size': True, 'num_classes': 5, 'classifier': 'head', 'first_conv': 'patch_embed.proj'}
    config = {'architecture': 'test_vit', 'num_classes': 5, 'num_features': 64, 'pretrained_cfg': facts}
    in_hub_cache(caches, 'someone/mine', 'f' * 40, state=state, config=config)
    backbone = load('hf-hub:someone/mine', places)
    assert (backbone.mean, backbone.interpolation, backbone.input_side) == ((0.1, 0.2, 0.3), 'bilinear', 160)
    assert backbone.source == f'timm:hf-hub:someone/mine from someone/mine@{"f" * 40}'
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network.eval().forward_features(normalised(backbone, image(160)))[:, 0]
    torch.testing.assert_close(backbone.encode(image(160)), expected, rtol=1e-3, atol=1e-4)
    other = load(f'hf-hub:someone/mine@{"f" * 40}', places, input_side=96)
    assert other.input_side == 96 and other.encode(image(96)).shape == (1, 64)


@pytest.mark.numerical
def test_an_open_clip_repository_is_loaded_by_its_name(places, caches, monkeypatch, tmp_path):
    config = open_clip_library.get_model_config(tiny_clip(monkeypatch, tmp_path))
    state = {key: value for key, value in random_state(SHRUNK['clip_vitb16'][-1]).items() if value.ndim or 'logit' in key}
    facts = {'mean': [0.1, 0.2, 0.3], 'std': [0.5, 0.5, 0.5], 'interpolation': 'bilinear'}
    in_hub_cache(
        caches, 'someone/clip', 'a' * 40, state=state, file='open_clip_model.safetensors',
        config={'model_type': 'clip'},
        open_clip_config={'model_cfg': {**config, 'quick_gelu': True}, 'preprocess_cfg': facts},
    )  # fmt: skip
    backbone = load('hf-hub:someone/clip', places)
    assert (backbone.mean, backbone.interpolation, backbone.input_side) == ((0.1, 0.2, 0.3), 'bilinear', 32)
    assert backbone.source == f'open_clip:hf-hub:someone/clip@{"a" * 40}'
    expected = clip_features(normalised(backbone, image(32)), state)
    torch.testing.assert_close(backbone.encode(image(32)), expected, rtol=1e-3, atol=1e-4)


def test_a_repository_that_is_neither_or_is_not_there_ends_in_one_line(places, caches):
    in_hub_cache(caches, 'someone/text', 'a' * 40, config={'model_type': 'bert'}, open_clip_config={})
    in_hub_cache(caches, 'someone/half', 'a' * 40, config={'architecture': 'test_vit', 'pretrained_cfg': {}})
    half = {'model_cfg': open_clip_library.get_model_config('RN50'), 'preprocess_cfg': {}}
    in_hub_cache(caches, 'someone/clip', 'a' * 40, open_clip_config=half)
    for name, message in (
        ('hf-hub:someone/half', 'its .*not be fetched .HF_HUB_OFFLINE is set.; run hf download someone/half on'),
        ('hf-hub:someone/clip', 'its .*not be fetched .HF_HUB_OFFLINE is set.; run hf download someone/clip on'),
        ('hf-hub:someone/text', 'expected a timm repository .* or an open_clip repository .*; got neither'),
        ('hf-hub:someone/absent', 'its pretrained weights are not .*; run hf download someone/absent on'),
        ('hf-hub:someone/text@v2', 'its .*; run hf download someone/text --revision v2 on a machine with a network'),
        ('hf-hub:a b/c', 'expected hf-hub:<organisation>/<name>, with an optional @<revision>'),
        ('hf-hub:../text', 'expected hf-hub:<organisation>/<name>, with an optional @<revision>'),
        ('timm:hf-hub:someone/half', 'expected a timm model; for a repository on the hub use the name hf-hub:someone/half'),
        ('hf-hub:text', 'expected hf-hub:<organisation>/<name>, with an optional @<revision>'),
    ):
        with pytest.raises(InputError, match=f'{name}: {message}') as caught:
            load(name, places)
        assert '\n' not in str(caught.value)


# --- fingerprints -----------------------------------------------------------------------------------------------------


def present(name):
    return not whereabouts(name).startswith('absent')


@pytest.mark.numerical
def test_features_of_the_fixed_image_are_those_kept():
    kept = fingerprints.references()
    names = [name for name in kept if present(name)]
    assert set(TINY) <= set(names)
    found = fingerprints.checked(names, Places(None, None, Path('unused')), device=CPU)
    assert {name: (status, remark) for name, (status, remark, _) in found.items()} == dict.fromkeys(
        names, (fingerprints.MATCH, '')
    )


def test_every_named_row_has_a_fingerprint_that_can_be_checked_here():
    kept = fingerprints.references()
    rest = [row.name for row in ROWS if not row.argument and not (row.name in kept and present(row.name))]
    assert set(kept) <= {row.name for row in ROWS if not row.argument}
    if rest:
        pytest.skip(f'no weights on this machine, or no features kept in fingerprints.json: {", ".join(rest)}')


@pytest.mark.numerical
def test_the_fixed_image_is_one_picture_at_every_side():
    small_CHW, large_CHW = fingerprints.fixed_image(32), fingerprints.fixed_image(96)
    assert small_CHW.dtype == np.float32 and 0 <= small_CHW.min() < 0.2 and 0.8 < small_CHW.max() <= 1
    np.testing.assert_allclose(small_CHW, large_CHW[:, 1::3, 1::3], atol=0.01)


@pytest.mark.numerical
def test_other_features_differ_and_the_command_says_so(places, monkeypatch, tmp_path):
    kept = fingerprints.references()['tiny_clip']
    for change, said in (
        ({'first': [kept['first'][0] + 0.02, *kept['first'][1:]]}, 'the same weights'),
        ({'norm': 1.01 * kept['norm'], 'weights': 'retrained'}, 'other weights, .* instead of retrained'),
        ({'feature_dim': 7}, '448 features at 64 px, reference has 7'),
    ):
        status, remark = fingerprints.compare(kept, {**kept, **change})
        assert status == fingerprints.DIFFERS
        assert re.search(said, remark)
    monkeypatch.setattr(fingerprints, 'REFERENCES', tmp_path / 'kept.json')
    look = partial(commands.run, 'bench.fingerprint', f'--weights_root={places.weights_root}')
    both = '--backbones=tiny_clip,mae_vitb16'
    found = look(both)
    assert (found.status, found.out) == (0, 'tiny_clip   no reference\nmae_vitb16  weights absent\n')
    assert look(both, '--write').status == 0
    ((name, written),) = fingerprints.references().items()
    assert name == 'tiny_clip' and written.keys() == kept.keys() and written['weights'] == kept['weights']
    assert fingerprints.compare(written, kept) == (fingerprints.MATCH, '')
    found = look(both)
    assert found.status == 0 and 'tiny_clip   match' in found.out
    fingerprints.keep({'tiny_clip': {**kept, 'norm': 2 * kept['norm']}})
    found = look(both)
    assert found.status == 1 and 'tiny_clip   differs: by up to' in found.out
    found = look('--backbones=timm:x')
    assert found.status == 2 and '--backbones=timm:x: expected a named backbone' in found.err
