"""Readouts: what they do to features, whose statistics they use, and that no table can confuse two of them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench.backbones.readout import Readout
from bench.backbones.tiny.encoders import tiny
from bench.config.gin_files import loaded
from bench.core.errors import InputError
from bench.core.types import Places
from bench.features.views import CenterView
from bench.pipeline.session import Session

pytestmark = pytest.mark.numerical


def encoder(name):
    return tiny(name, Places(None, None, None), torch.device('cpu'))
def _features(count=300, dim=6):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=generator)
    return torch.randn(count, dim, generator=generator) @ mixing + 5


def test_layernorm_bounds_every_feature_and_needs_no_data():
    f_ND = Readout('layernorm')(1000 * _features())
    torch.testing.assert_close(f_ND.norm(dim=1), torch.full((300,), 6**0.5), rtol=1e-3, atol=0)
    assert not Readout('layernorm').waits and Readout()(f_ND) is f_ND


@pytest.mark.parametrize('kind', ['standardize', 'whiten'])
def test_statistics_are_those_of_the_images_that_are_given(kind):
    f_ND, other_ND = _features(), _features() * 2
    readout = Readout(kind).fitted(f_ND.numpy(), of='train', device=torch.device('cpu'), dtype=torch.float32)
    covariance_DD = torch.cov(readout(f_ND).T, correction=0)
    torch.testing.assert_close(readout(f_ND).mean(dim=0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(covariance_DD.diagonal(), torch.ones(6), rtol=0, atol=0.35 if kind == 'whiten' else 1e-4)
    off_diagonal = (covariance_DD - torch.diag(covariance_DD.diagonal())).abs().max()
    assert (off_diagonal < 0.3) == (kind == 'whiten')
    assert readout(other_ND).std() > 1.5 * readout(f_ND).std(), 'the statistics are fixed'
    assert str(readout) == f', {kind} by train'
    with pytest.raises(InputError, match=f"readout '{kind}': expected statistics of training images"):
        Readout(kind)(f_ND)


def test_a_backbone_with_a_readout_differentiates_and_describes_its_output():
    plain = encoder('tiny_moco')
    bounded = replace(plain, readout=Readout('layernorm'))
    x_NCHW = torch.rand(2, 3, 64, 64, requires_grad=True)
    f_ND = bounded.encode(x_NCHW)
    torch.testing.assert_close(f_ND, F.layer_norm(plain.encode(x_NCHW), (plain.feature_dim,)))
    f_ND[:, 0].sum().backward()
    assert x_NCHW.grad.abs().sum() > 0
    assert bounded.output == f'{plain.feature}, layernorm' == bounded.facts()['feature'] and plain.output == plain.feature


def test_a_readout_stands_in_the_name_and_in_the_key_and_old_keys_stay():
    def choice(name, *bound):
        with loaded([], list(bound)) as config:
            return config.choose('backbone', name)

    assert 'readout' not in choice('tiny_moco').lasting
    named = choice('tiny_moco_whiten=tiny_moco', "tiny_moco_whiten/tiny_moco.readout = 'whiten'")
    assert named.lasting['readout'] == 'whiten'
    for name in ('tiny_moco', 'other=tiny_moco'):
        with pytest.raises(InputError, match="has the readout 'whiten': expected a label that ends in it, .*_whiten="):
            choice(name, "tiny_moco.readout = 'whiten'")
    with pytest.raises(InputError, match="readout: expected one of 'none', .*, 'whiten', got 'pca'"):
        choice('tiny_moco', "tiny_moco.readout = 'pca'")


def test_a_session_takes_the_statistics_of_the_training_images_alone(tmp_path):
    bound = ["tiny_moco_whiten/tiny_moco.readout = 'whiten'", 'plumage.train_per_class = 2', 'plumage.test_per_class = 1']
    with loaded([], bound) as config:
        backbone, dataset = config.choose('backbone', 'tiny_moco_whiten=tiny_moco'), config.choose('dataset', 'plumage')
        session = Session(Places(None, None, tmp_path), tmp_path, torch.device('cpu'))
        data = session.dataset(dataset)
        waiting, fitted = session.backbone(backbone), session.backbone(backbone, data)
        assert waiting.readout.waits and fitted.readout.of == data.train.fingerprint and session.store.images_encoded == 40
        assert session.backbone(backbone, data) is fitted and fitted.fingerprint == waiting.fingerprint
        view = CenterView(64, 'bilinear')
        f_ND = torch.from_numpy(session.store.features(data.train, fitted, view)[0].copy())
        raw_ND = torch.from_numpy(session.store.features(data.train, replace(fitted, readout=Readout()), view)[0].copy())
        torch.testing.assert_close(f_ND, fitted.readout(raw_ND), rtol=1e-3, atol=1e-3)
