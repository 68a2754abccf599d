"""Backbones: rewriting changes nothing, weights fit or are refused, facts come from the model's own metadata.

The named rows are in test_backbone_catalogue.py.
"""

import copy
import time

import numpy as np
import pytest
import timm as timm_library
import torch
from published_layouts import add_small_clip
from safetensors.torch import save_file
from torch import nn

from bench.backbones import open_clip_source, timm_source
from bench.backbones.base import frozen_backbone, weights_fingerprint
from bench.backbones.freeze import _ClassTokenBlock, _PatchMatmul, _StridedDepthwise, freeze
from bench.core.errors import InputError
from bench.core.types import Places

pytestmark = pytest.mark.numerical

CPU = torch.device('cpu')


@pytest.fixture
def places(tmp_path):
    return Places(None, tmp_path, tmp_path / 'cache')


def shaken(network, seed=0):
    """Return the network with weights and statistics as after training, so that a wrong rewrite would show."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like, low, high):
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(uniform(module.running_mean, -0.3, 0.3))
                module.running_var.copy_(uniform(module.running_var, 0.5, 2))
                module.weight.copy_(uniform(module.weight, 0.5, 1.5))
                module.bias.copy_(uniform(module.bias, -0.3, 0.3))
    return network


def made(name, **kwargs):
    return shaken(timm_library.create_model(name, pretrained=False, num_classes=0, **kwargs))


def features_and_gradient(network, side):
    """Return both in float64: in float32, rounding may put a unit on the other side of its kink."""
    x_NCHW = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    network = copy.deepcopy(network).double()
    f_ND = network(x_NCHW)
    (f_ND * torch.linspace(-1, 1, f_ND.numel()).view_as(f_ND)).sum().backward()
    return f_ND.detach(), x_NCHW.grad


def count(network, kind):
    return sum(isinstance(module, kind) for module in network.modules())


# --- freezing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name, side, kwargs, norms_left, strided_depthwise',
    [
        ('mobilenetv2_035', 64, {}, 0, 4),
        ('mobilenetv2_035', 45, {'pad_type': 'same'}, 0, 4),
        ('mobilenetv2_035', 64, {'pad_type': 'same'}, 0, 4),
        ('test_resnet', 64, {}, 1, 0),  # the norm after its stem, whose convolutions are a block of their own
        ('test_efficientnet', 64, {}, 0, 2),
        ('test_vit', 64, {'img_size': 64}, 0, 0),
    ],
)
def test_a_frozen_network_computes_what_it_did(name, side, kwargs, norms_left, strided_depthwise):
    network = made(name, **kwargs)
    before = copy.deepcopy(network).eval()
    frozen = freeze(network, device=CPU, input_side=side)
    assert (count(frozen, nn.BatchNorm2d), count(frozen, _StridedDepthwise)) == (norms_left, strided_depthwise)
    assert name == 'test_vit' or count(before, nn.BatchNorm2d) > 5
    assert not any(parameter.requires_grad for parameter in frozen.parameters()) and not frozen.training
    f_ND, gradient = features_and_gradient(frozen, side)
    expected_ND, expected = features_and_gradient(before, side)
    torch.testing.assert_close(f_ND, expected_ND, rtol=1e-3, atol=1e-4 * expected_ND.abs().max().item())
    # the folded weights are rounded to float32
    assert expected.norm() > 0 and (gradient - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize(
    'name, kwargs, cut_blocks',
    [
        ('test_vit', {'img_size': 64}, 1),
        ('test_vit', {'img_size': 64, 'global_pool': 'avg'}, 0),  # every token is needed
        ('vit_tiny_patch16_224', {'img_size': 64, 'depth': 2, 'qk_norm': True, 'init_values': 0.1}, 1),
        ('vit_small_patch14_reg4_dinov2', {'img_size': 56, 'depth': 2}, 1),
        ('deit_tiny_distilled_patch16_224', {'img_size': 64, 'depth': 2}, 0),  # two tokens are
        ('eva02_tiny_patch14_224', {'img_size': 56, 'depth': 2}, 0),
    ],
)
def test_a_frozen_vision_transformer_computes_what_it_did(name, kwargs, cut_blocks):
    network, side = made(name, **kwargs), kwargs['img_size']
    before = copy.deepcopy(network).eval()
    frozen = freeze(network, device=CPU, input_side=side)
    assert (count(frozen, _PatchMatmul), count(frozen, _ClassTokenBlock)) == (1, cut_blocks)
    assert not any(getattr(module, 'fused_attn', False) for module in frozen.modules())
    for ours, expected in zip(features_and_gradient(frozen, side), features_and_gradient(before, side), strict=True):
        assert expected.norm() > 0 and (ours - expected).norm() < 1e-4 * expected.norm()


class Listed(nn.Module):
    """A convolution, listed before a batch norm of the same width, in some order of use."""

    def __init__(self, order):
        super().__init__()
        self.order = order
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x_NCHW):
        if self.order == 'conv, norm':
            x_NCHW = self.norm(self.conv(x_NCHW))
        elif self.order == 'norm, conv':
            x_NCHW = self.conv(torch.relu(self.norm(x_NCHW)))
        elif self.order == 'conv, relu, norm':
            x_NCHW = self.norm(torch.relu(self.conv(x_NCHW)))
        else:
            x_NCHW = self.conv(self.norm(self.conv(x_NCHW)))
        return x_NCHW.mean(dim=(2, 3))


@pytest.mark.parametrize('order', ['norm, conv', 'conv, relu, norm', 'conv, norm, conv'])
def test_a_network_whose_modules_run_in_another_order_is_left_as_it_is(order):
    network = shaken(Listed(order))
    expected, _ = features_and_gradient(copy.deepcopy(network).eval(), 8)
    frozen = freeze(network, device=CPU, input_side=8)
    assert frozen is network and count(frozen, nn.BatchNorm2d) == 1
    torch.testing.assert_close(features_and_gradient(frozen, 8)[0], expected)
    assert count(freeze(shaken(Listed('conv, norm')), device=CPU, input_side=8), nn.BatchNorm2d) == 0


def test_gradients_flow_to_the_images_and_to_no_weight():
    backbone = frozen(made('test_vit', img_size=64))
    x_NCHW = torch.rand(2, 3, 64, 64, requires_grad=True)
    backbone.encode(x_NCHW).square().sum().backward()
    assert (x_NCHW.grad.flatten(1).abs().sum(dim=1) > 0).all()
    assert all(p.grad is None and not p.requires_grad for p in backbone.network.parameters())


def frozen(network, **changes):
    facts = {
        'name': 'n', 'source': 's', 'device': CPU, 'input_side': 64, 'mean': (0.5,) * 3, 'std': (0.5,) * 3,
        'interpolation': 'bicubic', 'feature': 'pooled', 'precision': 'float32',
    }  # fmt: skip
    return frozen_backbone(network, **{**facts, **changes})


def test_images_are_normalised_by_the_backbones_own_mean_and_std():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = frozen(network, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))
    expected = [[(0.6 - 0.1) / 0.5, (0.6 - 0.2) / 0.25, (0.6 - 0.3) / 1.0]]
    torch.testing.assert_close(backbone.encode(torch.full((1, 3, 64, 64), 0.6)), torch.tensor(expected))
    assert backbone.feature_dim == 3


def test_bfloat16_gives_float32_features_near_the_exact_ones():
    network = made('test_resnet')
    x_NCHW = torch.rand(2, 3, 64, 64)
    exact = frozen(copy.deepcopy(network)).encode(x_NCHW)
    rounded = frozen(copy.deepcopy(network), precision='bfloat16').encode(x_NCHW)
    assert rounded.dtype is torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize('name', ['test_resnet', 'test_vit', 'mobilenetv2_035', 'eva02_tiny_patch14_224'])
def test_float64_normalises_rewrites_and_computes_in_double(name):
    side = 56 if 'eva' in name else 64
    network = made(name, **({} if name in ('test_resnet', 'mobilenetv2_035') else {'img_size': side}))
    before, weights = copy.deepcopy(network).eval().double(), weights_fingerprint(network)
    backbone = frozen(network, precision='float64', input_side=side, mean=(0.1, 0.2, 0.3), std=(0.3, 0.7, 0.9))
    x_NCHW = torch.rand(2, 3, side, side)
    f_ND = backbone.encode(x_NCHW)
    mean, std = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in (backbone.mean, backbone.std))
    expected_ND = before((x_NCHW.double() - mean) / std)
    assert f_ND.dtype is torch.float64 and f_ND.shape == expected_ND.shape
    assert (f_ND - expected_ND).abs().max() < 1e-12 * expected_ND.abs().max()
    assert backbone.fingerprint == weights


def test_float64_on_a_device_without_it_ends_in_one_line():
    with pytest.raises(InputError, match='float64, got mps; use --device=cpu'):
        frozen(nn.Flatten(), precision='float64', device=torch.device('mps'))


def test_the_fingerprint_changes_with_any_weight_or_statistic_and_with_nothing_else():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    first = weights_fingerprint(network)
    assert weights_fingerprint(copy.deepcopy(network).to(memory_format=torch.channels_last)) == first
    seen = {first}
    for key in network.state_dict():
        changed = copy.deepcopy(network)
        changed.state_dict()[key].view(-1)[-1] += 1
        seen.add(weights_fingerprint(changed))
    seen.add(weights_fingerprint(copy.deepcopy(network).bfloat16()))
    assert len(seen) == 2 + len(network.state_dict())
    # of the weights as they were loaded, whatever freezing makes of them
    net = made('test_resnet')
    assert frozen(copy.deepcopy(net)).fingerprint == weights_fingerprint(net)


# --- timm -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(places):
    """A timm network whose weights lie in the weights root as net.safetensors."""
    network = shaken(timm_library.create_model('mobilenetv2_035', pretrained=False, num_classes=5, pad_type='same'))
    save_file(network.state_dict(), places.weights_root / 'net.safetensors')
    return network.eval()


FITTING = {'checkpoint': 'net.safetensors', 'model_kwargs': {'num_classes': 5, 'pad_type': 'same'}}


def test_a_local_checkpoint_gives_the_features_of_the_network_it_was_saved_from(places, checkpoint):
    overrides = {'mean': (0.5, 0.5, 0.5), 'std': (0.25, 0.25, 0.25), 'interpolation': 'bilinear'}
    backbone = timm_source.timm('mobilenetv2_035', places, CPU, input_side=48, pretrained_cfg=overrides, **FITTING)
    x_NCHW = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        expected = checkpoint.forward_head(checkpoint.forward_features((x_NCHW - 0.5) / 0.25), pre_logits=True)
    torch.testing.assert_close(backbone.encode(x_NCHW), expected, rtol=1e-3, atol=1e-4)
    assert (backbone.input_side, backbone.interpolation, backbone.feature_dim) == (48, 'bilinear', 1280)
    assert (backbone.mean, backbone.std) == ((0.5,) * 3, (0.25,) * 3)
    # part of the feature store's key, which committed runs have
    assert backbone.source == 'timm:mobilenetv2_035 from net.safetensors'
    assert backbone.feature == 'classifier input, pooled by avg'


def test_a_classifier_of_another_shape_is_left_out_with_a_remark(places, checkpoint, capsys):
    expected = timm_source.timm('mobilenetv2_035', places, CPU, **FITTING)
    assert capsys.readouterr().out == ''
    file = places.weights_root / 'net.safetensors'
    for num_classes in (6, 1000, 0):
        kwargs = {'num_classes': num_classes, 'pad_type': 'same'}
        found = timm_source.timm('mobilenetv2_035', places, CPU, checkpoint='net.safetensors', model_kwargs=kwargs)
        assert found.fingerprint == expected.fingerprint
        remark = (
            f'timm:mobilenetv2_035: ignored keys of {file} that do not match; features do not use them: '
            f'classifier.bias, expected [{num_classes}], got [5]; '
            f'classifier.weight, expected [{num_classes}, 1280], got [5, 1280]\n'
        )
        assert capsys.readouterr().out == (remark if num_classes else '')


@pytest.mark.parametrize('name', ['test_vit', 'test_convnext', 'levit_128s', 'deit_tiny_distilled_patch16_224'])
def test_features_do_not_use_what_timm_takes_away_with_the_classifier(name):
    network = timm_library.create_model(name, pretrained=False, num_classes=3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    unused = timm_source._unused(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    network.reset_classifier(0)
    used = {key for key in before if not key.startswith(unused)}
    assert used == network.state_dict().keys() < before.keys()


@pytest.mark.parametrize(
    'argument, settings, message',
    [
        ('mobilenetv2_050', FITTING, r'do not match: .*of another shape.*, expected \[16\], got \[8\]\); check timm'),
        ('test_resnet', {**FITTING, 'model_kwargs': {}}, r'\d+ missing \(first: .* \[\d.*\d+ not in the model .* \[\d'),
        ('mobilenetv2_035', {'checkpoint': 'other.safetensors'}, 'no checkpoint at .*other.safetensors.*--weights_root'),
        ('mobilenetv2_035', {'model_kwargs': {'no_such': 1}, 'checkpoint': 'x'}, 'timm does not accept these settings'),
        ('mobilenetv3_035', {}, "timm knows no model 'mobilenetv3_035'; did you mean"),
        ('resnet18.no_such_tag', {}, r"timm has no weights 'no_such_tag' for resnet18; it has: .*resnet18\.a1_in1k"),
        ('test_resnet', {'model_kwargs': {'global_pool': ''}, 'checkpoint': 'tiny.safetensors'}, 'one row per image'),
    ],
)
def test_what_timm_cannot_give_is_named_in_one_line(places, checkpoint, argument, settings, message):
    if settings.get('checkpoint') == 'tiny.safetensors':
        tiny = timm_library.create_model('test_resnet', pretrained=False)
        save_file(tiny.state_dict(), places.weights_root / 'tiny.safetensors')
    with pytest.raises(InputError, match=message) as caught:
        timm_source.timm(argument, places, CPU, **settings)
    assert '\n' not in str(caught.value)


def test_weights_that_cannot_be_fetched_end_soon_in_one_line(places):
    start = time.monotonic()
    with pytest.raises(InputError, match='not in the local cache and could not be fetched') as caught:
        timm_source.timm('test_vit.r160_in1k', places, CPU)
    assert '\n' not in str(caught.value) and time.monotonic() - start < 20


# --- open_clip --------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch):
    """A tiny architecture with a tag whose facts are unusual, and weights of it in the weights root."""
    import open_clip
    from open_clip import pretrained

    (tmp_path / 'configs').mkdir()
    add_small_clip(tmp_path / 'configs' / 'ViT-tiny.json', monkeypatch)
    facts = {'mean': (0.1, 0.2, 0.3), 'std': (0.4, 0.5, 0.6), 'interpolation': 'bilinear'}
    tags = {'plain': {'url': 'none'}, 'quick': {'url': 'none', 'quick_gelu': True, **facts}}
    monkeypatch.setitem(pretrained._PRETRAINED, 'ViT-tiny', tags)
    torch.manual_seed(0)
    model = open_clip.create_model('ViT-tiny')
    save_file(model.state_dict(), tmp_path / 'clip.safetensors')
    return model.eval()


def test_an_open_clip_checkpoint_gives_the_projected_image_embedding(places, tiny_clip):
    backbone = open_clip_source.open_clip('ViT-tiny', places, CPU, checkpoint='clip.safetensors')
    x_NCHW = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (tiny_clip.visual.image_mean, tiny_clip.visual.image_std))
    with torch.no_grad():
        expected = tiny_clip.encode_image((x_NCHW - mean) / std)
    torch.testing.assert_close(backbone.encode(x_NCHW), expected, rtol=1e-3, atol=1e-4)
    assert (backbone.input_side, backbone.feature_dim, backbone.interpolation) == (32, 6, 'bicubic')
    assert backbone.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_activation_and_preprocessing_are_those_of_the_tag_even_from_a_local_file(places, tiny_clip):
    def made(tag):
        backbone = open_clip_source.open_clip(f'ViT-tiny/{tag}', places, CPU, checkpoint='clip.safetensors')
        return backbone, {type(module).__name__ for module in backbone.network.modules()}

    quick, modules = made('quick')
    assert 'QuickGELU' in modules
    assert (quick.mean, quick.std, quick.interpolation) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 'bilinear')
    plain, modules = made('plain')
    assert 'QuickGELU' not in modules and plain.mean != quick.mean
    assert plain.fingerprint == quick.fingerprint and plain.source != quick.source
    x_NCHW = torch.rand(1, 3, 32, 32)
    assert not np.allclose(plain.network(x_NCHW).numpy(), quick.network(x_NCHW).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    'argument, settings, message',
    [
        ('ViT-tinny', {}, "open_clip knows no architecture 'ViT-tinny'; did you mean .*ViT-tiny"),
        ('ViT-tiny/nowhere', {}, "open_clip has no weights 'nowhere' for ViT-tiny; it has: plain, quick"),
        ('ViT-tiny', {}, 'expected open_clip:<architecture>/<tag>, with a tag among: plain, quick'),
        ('ViT-tiny/plain', {'checkpoint': 'none.safetensors'}, 'no checkpoint at .*none.safetensors'),
        ('ViT-tiny/plain', {'checkpoint': 'wrong.safetensors'}, r'the keys of .* do not match: \d+ missing'),
        ('ViT-B-16/laion2b_s34b_b88k', {}, 'not in the local cache and could not be fetched'),
    ],
)
def test_what_open_clip_cannot_give_is_named_in_one_line(places, tiny_clip, argument, settings, message):
    save_file({'other': torch.zeros(1)}, places.weights_root / 'wrong.safetensors')
    with pytest.raises(InputError, match=message) as caught:
        open_clip_source.open_clip(argument, places, CPU, **settings)
    assert '\n' not in str(caught.value)
