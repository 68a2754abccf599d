"""The streams of unlabelled pictures that encoders are trained on: plumage's twenty species, or wild birds without species.

Shape suffixes: N pictures, H height, W width, C colour channels, L words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.datasets.plumage import captions, plumage, wild
from bench.datasets.plumage.drawn import RenderedImages


@dataclass(frozen=True)
class Stream:
    """Where pictures and captions come from.

    `images(places, count=, seed=)` gives the pictures, `birds(seed, split, count)` the number of the bird on each,
    `caption(seed, bird, rng)` one caption. `sightings` consecutive pictures show the same bird: with more than one, the two
    views of a picture in a loss are of two random sightings. Words are numbered by `encode_words`, up to `num_words`, 0 is
    none; a caption has at most `max_words`.
    """

    images: Callable[..., RenderedImages]
    birds: Callable[[int, str, int], np.ndarray]
    caption: Callable[[int, int, np.random.Generator], str]
    encode_words: Callable[[Sequence[str]], np.ndarray]
    num_words: int
    max_words: int
    sightings: int
    captioned_with: str


STREAMS = {
    'plumage': Stream(
        plumage.unlabelled_stream, plumage.labels_of, lambda seed, bird, rng: captions.caption(bird, rng),
        captions.encode_words, len(captions.VOCABULARY), captions.MAX_WORDS, 1, 'captions of family and mark',
    ),
    'wild': Stream(
        wild.wild_stream, wild.birds_of, wild.caption,
        wild.encode_words, len(wild.VOCABULARY), wild.MAX_WORDS, wild.SIGHTINGS, 'captions of colours and sizes',
    ),
}  # fmt: skip


def another_sighting(numbers_N: np.ndarray, sightings: int, draws_N: np.ndarray) -> np.ndarray:
    """Return for each picture the number of a picture of the same bird; `draws_N` in [0, 1) choose it."""
    return numbers_N // sightings * sightings + (sightings * draws_N).astype(np.int64)
