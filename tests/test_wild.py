"""Wild birds: random birds in several sightings each, and captions that tell their traits but no kind of aviary."""

import hashlib
import re

import numpy as np
import pytest

from bench.core.types import Places
from bench.datasets.plumage.kinds import KIND_NAMES, KINDS
from bench.datasets.plumage.wild import (
    MAX_WORDS,
    PALETTE,
    SIGHTINGS,
    VOCABULARY,
    bird_of,
    birds_of,
    caption,
    draw,
    encode_words,
    wild_stream,
)  # fmt: skip

# SHA-256 over pictures 0, 7 and 19 at seed 0, for the Pillow pinned in requirements.txt (see test_plumage)
PIXELS = '3e9bb647cd3533b545a59a1273c550d31ecea450f7d0adb9734178689694f121'


def test_pixels_are_pinned():
    birds_N = birds_of(0, 'stream', 20)
    pixels = b''.join(draw(0, 'stream', i, int(birds_N[i])).tobytes() for i in (0, 7, 19))
    assert hashlib.sha256(pixels).hexdigest() == PIXELS


def test_a_bird_is_seen_several_times_and_no_picture_twice(tmp_path):
    images = wild_stream(Places(None, None, tmp_path), count=12)
    assert birds_of(0, 'stream', 12).tolist() == [0] * 4 + [1] * 4 + [2] * 4 and SIGHTINGS == 4
    assert len({np.asarray(image).tobytes() for image in images}) == 12
    assert np.array_equal(images[5], draw(0, 'stream', 5, 1))


def test_birds_do_not_repeat_and_none_is_of_a_kind_of_aviary():
    builds = [bird_of(0, number)[0].build for number in range(500)]
    assert len(set(builds)) == 500 and bird_of(1, 0)[0] != bird_of(0, 0)[0]
    lengths = {(kind.build.body, kind.build.neck, kind.build.bill) for kind in KINDS}
    assert not lengths & {(build.body, build.neck, build.bill) for build in builds}


def test_captions_tell_true_traits_in_known_words():
    rng = np.random.default_rng(0)
    for number in range(200):
        text = caption(0, number, rng)
        traits = bird_of(0, number)[1]
        traits_said = re.sub(r'^(a photo of|a picture of|one of those birds :)|outdoors$', '', text)
        said = [part.strip() for part in traits_said.split(',')]
        assert said and set(said) <= set(traits)
        assert set(text.split()) <= set(VOCABULARY) and not set(text.split()) & set(KIND_NAMES)


def test_traits_tell_the_size_of_parts():
    for number in range(200):
        bird, traits = bird_of(0, number)
        length = bird.build.bill[0]
        assert ('long-billed' in traits, 'short-billed' in traits) == (length > 0.34, length < 0.18)
        assert ('crest' in bird.marks) == any(trait.endswith(' crest') for trait in traits)
        assert traits[0].split()[0] in PALETTE


def test_words_are_numbered_and_long_captions_cut():
    words_NL = encode_words(['a photo of red bird', ' , '.join(['red bird'] * 20)])
    assert words_NL.shape == (2, MAX_WORDS) and (words_NL[0] > 0).sum() == 5 and (words_NL[1] > 0).all()
    assert words_NL.max() <= len(VOCABULARY) and words_NL[0, 3] == VOCABULARY.index('red') + 1


@pytest.mark.parametrize('number', [0, 7])
def test_captions_of_one_bird_vary(number):
    rng = np.random.default_rng(1)
    assert len({caption(0, number, rng) for _ in range(20)}) > 10
