"""The losses of pre-training: known answers, momentum copies, no leak from hidden patches, captions.

Shape suffixes: N images, C colour channels, H height, W width, T patches, D embedding width, L words.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.backbones.tiny.networks import tiny_network
from bench.datasets.plumage.captions import MARK_NAMED, MAX_WORDS, VOCABULARY, caption, encode_words
from bench.datasets.plumage.species import CLASS_NAMES, FAMILY_OF_CLASS
from bench.pretrain import clip as clip_module
from bench.pretrain import dino as dino_module
from bench.pretrain.augment import Augmentation
from bench.pretrain.clip import clip
from bench.pretrain.dino import dino
from bench.pretrain.mim import _patches, mim
from bench.pretrain.moco import _contrast, moco
from bench.pretrain.simclr import nt_xent
from bench.pretrain.streams import STREAMS
from bench.pretrain.train import Batch, follow

pytestmark = pytest.mark.numerical


class Net(nn.Module):
    """The smallest network a recipe takes: colours -> 6 features, for pictures of any size. Notes what it saw."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(3, 6), []

    def embed(self, x_NCHW):
        self.seen.append((len(x_NCHW), x_NCHW.shape[-1]))
        return self.linear(x_NCHW.mean((2, 3)))


def batch_of(count=8, side=64):
    rng = torch.Generator().manual_seed(0)
    augmentation = Augmentation(
        rng, min_crop_area=0.5, brightness=0.3, contrast=0.3, colour_cast=0.2, gray_prob=0.1, blur_prob=0.1, noise_std=0.02
    )
    return Batch(torch.rand(count, 3, side, side, generator=rng), np.arange(count) % 20, augmentation)


# --- contrast -----------------------------------------------------------------------------------------------------------


def test_nt_xent_known_answers():
    # Four unit vectors at right angles, each the partner of itself: cosine 1 to the partner, 0 to the other six.
    z_ND = torch.eye(4).repeat(2, 1)
    expected = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 6))
    assert nt_xent(z_ND, temperature=0.5).item() == pytest.approx(expected, abs=1e-5)
    assert nt_xent(torch.ones(8, 4), temperature=0.5).item() == pytest.approx(math.log(7), abs=1e-5)


def test_contrast_of_moco_known_answers():
    # Cosine 1 to one key of four, 0 to the others; MoCo v3 multiplies by twice the temperature. Lengths do not count.
    z_ND, high = torch.eye(4), math.exp(1 / 0.25)
    assert _contrast(3 * z_ND, z_ND, 0.25).item() == pytest.approx(0.5 * math.log((high + 3) / high), abs=1e-5)
    assert _contrast(z_ND, z_ND.roll(1, dims=0), 0.25).item() == pytest.approx(0.5 * math.log(high + 3), abs=1e-5)
    assert _contrast(torch.ones(4, 4), z_ND, 0.25).item() == pytest.approx(0.5 * math.log(4), abs=1e-5)


# --- teachers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('done', 'expected'), [(0.0, 1.4), (0.5, 1.2), (1.0, 1.0)])
def test_follow_keeps_momentum_at_first_and_everything_at_the_end(done, expected):
    # From 1 towards 5 with momentum 0.9: a tenth of the way, half of that in the middle, none at the end.
    copy, original = nn.Linear(1, 1), nn.Linear(1, 1)
    for module, value in ((copy, 1.0), (original, 5.0)):
        nn.init.constant_(module.weight, value)
    follow(copy, original, 0.9, done)
    assert copy.weight.item() == pytest.approx(expected) and original.weight.item() == 5.0


@pytest.mark.parametrize('recipe', [moco, dino])
def test_a_teacher_gets_no_gradient_and_follows(recipe):
    objective = recipe(Net(), momentum=0.5)
    objective.loss(batch_of()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in objective.modules.parameters())
    assert all(p.grad is None and not p.requires_grad for p in objective.frozen.parameters())
    with torch.no_grad():
        for p in objective.modules.parameters():
            p.add_(1.0)
    for done, moved in ((0.0, 0.5), (1.0, 0.0)):
        before = [p.clone() for p in objective.frozen.parameters()]
        objective.after_step(done)
        for new, old in zip(objective.frozen.parameters(), before, strict=True):
            assert torch.allclose(new, old + moved, atol=1e-5)


def test_the_teacher_of_dino_sees_large_crops_only():
    network = Net()
    objective = dino(network, local_crops=3, local_side=32)
    objective.loss(batch_of(8))
    assert network.seen == [(16, 64), (24, 32)] and objective.frozen[0].seen == [(16, 64)]


def test_dino_known_answers():
    # Prototypes that are all the same tell nothing: student and teacher are uniform, and the loss is log K.
    objective = dino(Net(), prototypes=16)
    for pair in (objective.modules, objective.frozen):
        nn.init.ones_(pair[1].prototypes_KD)
    assert objective.loss(batch_of()).item() == pytest.approx(math.log(16), abs=1e-5)
    head = dino(Net(), prototypes=5).modules[1]
    out_NK = head(torch.randn(7, 6))
    with torch.no_grad():
        head.prototypes_KD[2] = 9 * head.mlp(torch.ones(1, 6))[0]
    assert out_NK.shape == (7, 5) and out_NK.abs().max() <= 1 + 1e-5  # cosines
    assert head(torch.ones(1, 6))[0, 2].item() == pytest.approx(1, abs=1e-5)


def test_dino_compares_every_crop_with_the_other_large_one_and_takes_the_centre_out(monkeypatch):
    # Scripted outputs, two large crops and a small one. The teacher is sure of one prototype for each.
    told, said = torch.tensor([[100.0, 0], [0, 100]]), torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]]).log()
    network, answers = Net(), iter([told, said[:2], said[2:], 0 * told + told[0], said[:2], said[2:]] * 2)
    network.embed = lambda x_NCHW: next(answers)
    monkeypatch.setattr(dino_module, '_Head', lambda *sizes: nn.Identity())
    objective = dino(network, prototypes=2, student_temperature=1.0, centre_momentum=0.0, local_crops=1)
    expected = -(math.log(0.6) + math.log(0.7) + math.log(0.2) + math.log(0.3)) / 4
    assert objective.loss(batch_of(1)).item() == pytest.approx(expected, abs=1e-5)
    # The centre is (50, 50) now and changes nothing: the teacher is sure of 0 for both crops.
    expected = -(math.log(0.6) + 2 * math.log(0.7) + math.log(0.8)) / 4
    assert objective.loss(batch_of(1)).item() == pytest.approx(expected, abs=1e-5)
    # Less (100, 0), the first crop tells nothing and the second is sure of 1.
    expected = -((math.log(0.6 * 0.4) + math.log(0.7 * 0.3)) / 2 + math.log(0.2) + math.log(0.3)) / 4
    assert objective.loss(batch_of(1)).item() == pytest.approx(expected, abs=1e-5)


# --- masked image modelling ---------------------------------------------------------------------------------------------


def changed_patch(x_NCHW, row, column):
    x_NCHW = x_NCHW.clone()
    x_NCHW[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1.0
    return x_NCHW


@pytest.fixture(scope='module')
def plain():
    torch.manual_seed(0)
    return tiny_network('plain_vit').eval()


def test_patches_have_the_order_of_tokens(plain):
    x_NCHW = torch.rand(1, 3, 64, 64)
    for tokens in (lambda x: _patches(x, 8), lambda x: plain.patch_embed(x).flatten(1, 2)):
        moved_T = (tokens(changed_patch(x_NCHW, 2, 5)) - tokens(x_NCHW)).abs().amax((0, 2)) > 1e-3
        assert moved_T.nonzero().flatten().tolist() == [2 * 8 + 5]


def test_visible_patches_know_nothing_of_the_hidden_ones(plain):
    # Patch (2, 5) is hidden: its pixels must not show in what the encoder makes of the others.
    x_NCHW = torch.rand(2, 3, 64, 64)
    visible_NV = torch.tensor([t for t in range(64) if t != 2 * 8 + 5]).expand(2, -1)
    with torch.inference_mode():
        a_NVD, b_NVD = (plain.encode_visible(x, visible_NV) for x in (x_NCHW, changed_patch(x_NCHW, 2, 5)))
        torch.testing.assert_close(a_NVD, b_NVD)
        overlapping = tiny_network('vit').eval()
        a_NVD, b_NVD = (overlapping.encode_visible(x, visible_NV) for x in (x_NCHW, changed_patch(x_NCHW, 2, 5)))
    assert not torch.allclose(a_NVD, b_NVD)  # which is why masked modelling takes the plain one


def test_with_nothing_hidden_the_encoder_is_the_whole_one(plain):
    x_NCHW = torch.rand(2, 3, 64, 64)
    order_NT = torch.stack([torch.randperm(64), torch.arange(64)])
    with torch.inference_mode():
        f_NTD = plain.encode_visible(x_NCHW, order_NT)
        assert torch.allclose(f_NTD.mean(dim=1), plain.embed(x_NCHW), atol=1e-5)


def test_only_hidden_patches_enter_the_loss():
    objective, caught = mim(tiny_network('plain_vit'), hidden_share=0.75), {}

    def keep(module, inputs, painted_NTP):
        painted_NTP.retain_grad()
        caught.update(visible_NV=inputs[1], painted_NTP=painted_NTP)

    objective.modules[1].register_forward_hook(keep)
    objective.loss(batch_of(2)).backward()
    hidden_NT = torch.ones(2, 64).scatter(1, caught['visible_NV'], 0.0).bool()
    in_loss_NT = caught['painted_NTP'].grad.abs().amax(dim=2) > 0
    assert hidden_NT.sum(dim=1).tolist() == [48, 48] and torch.equal(in_loss_NT, hidden_NT)


def test_a_decoder_that_paints_nothing_has_an_error_of_one():
    # Each patch is standardised by itself, so the mean of its squares is 1, and the loss of zeros too.
    objective = mim(tiny_network('plain_vit'))
    for parameter in objective.modules[1].leave[-1].parameters():
        nn.init.zeros_(parameter)
    assert objective.loss(batch_of(2)).item() == pytest.approx(1, abs=1e-3)


# --- captions -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def captions():
    """Four hundred captions of each species."""
    rng = np.random.default_rng(0)
    return [[caption(species, rng) for _ in range(400)] for species in range(len(CLASS_NAMES))]


def test_captions_have_known_words_and_vary(captions):
    for said in captions:
        assert len(set(said)) > 10
        assert {word for text in said for word in text.split()} <= set(VOCABULARY)
        assert max(len(text.split()) for text in said) <= MAX_WORDS
        assert not any('  ' in text or '{' in text or text != text.strip() for text in said)


def test_captions_tell_the_family_and_at_times_the_mark(captions):
    for a, said in enumerate(captions):
        for b, others in enumerate(captions[:a]):
            shared = set(said) & set(others)
            assert not shared if FAMILY_OF_CLASS[a] != FAMILY_OF_CLASS[b] else not [t for t in shared if ' with ' in t]
    named = np.mean([' with ' in text for said in captions for text in said])
    assert named == pytest.approx(MARK_NAMED, abs=0.03)


def test_encode_words_known_answer():
    words_NL = encode_words(['one finch', 'a finch with a dark cap'])
    assert words_NL.shape == (2, MAX_WORDS) and words_NL.dtype == np.int64
    spelt = [[VOCABULARY[number - 1] for number in row if number] for row in words_NL]
    assert spelt == [['one', 'finch'], ['a', 'finch', 'with', 'a', 'dark', 'cap']]
    assert not words_NL[0, 2:].any() and not words_NL[1, 6:].any()
    assert 0 not in words_NL[1, :6] and len(set(VOCABULARY)) == len(VOCABULARY)


def test_padding_says_nothing():
    text = clip_module._Text(8, 1, 4, STREAMS['plumage']).eval()
    words_NL = torch.from_numpy(encode_words(['one finch', 'one grey heron']))
    with torch.inference_mode():
        before_ND = text(words_NL)
        text.position_LD[3:] += torch.randn(MAX_WORDS - 3, 8)
        assert torch.allclose(text(words_NL), before_ND, atol=1e-5)


def test_pictures_with_the_same_caption_are_no_negatives(monkeypatch):
    # Two pictures each of two captions, every picture embedded exactly where its caption is: cosine 1 within a pair, else 0.
    # The best there is: each finds either of its two captions, log 2, plus what is left for the other two.
    class Text(nn.Module):
        def __init__(self, width, depth, out, stream):
            super().__init__()

        def forward(self, words_NL):
            return F.one_hot((words_NL != 0).sum(dim=1) - 1, 6).float()

    network, batch, said = Net(), batch_of(4), ['one finch', 'finch', 'one finch', 'finch']
    network.embed = lambda x_NCHW: Text(0, 0, 0, None)(torch.from_numpy(encode_words(said)))
    monkeypatch.setattr(clip_module, '_Text', Text)
    monkeypatch.setattr(Batch, 'captions', lambda self: said)
    objective = clip(network, embed_dim=6, start_temperature=0.1)
    head = objective.modules[1]
    nn.init.eye_(head.weight), nn.init.zeros_(head.bias)
    loss = objective.loss(batch)
    assert loss.item() == pytest.approx(math.log(2 + 2 * math.exp(-10)), abs=1e-5)
    loss.backward()
    assert head.weight.grad.abs().max() < 1e-3  # nothing pushes them apart


def test_captions_of_a_batch_are_of_its_species_and_new_each_time():
    batch = batch_of(20)
    first, second = batch.captions(), batch.captions()
    assert first != second and len(first) == 20
    rng = np.random.default_rng(1)
    for species, text in enumerate(first):
        assert text in {caption(species, rng) for _ in range(600)}
