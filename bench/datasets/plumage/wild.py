"""Wild birds: an endless stream of random birds, without classes, to pre-train encoders on.

Build, colours and marks of a bird are drawn at random, within wide ranges and from a palette of named colours. A bird is
seen `SIGHTINGS` times, each time in another pose, place and light. The stream shares with aviary the renderer, the
backgrounds and these ranges; no kind of aviary is in it, but some birds come near one.

Shape suffixes: N images, H height, W width, C colour channels, L words.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from bench.core.hashing import numpy_generator, short_hash
from bench.core.ranges import Count, PositiveInt
from bench.core.types import Places
from bench.datasets.plumage.drawn import Drawing, RenderedImages
from bench.datasets.plumage.pen import Colour, jitter, shade
from bench.datasets.plumage.render import RENDER_VERSION, render
from bench.datasets.plumage.scenes import GROUNDS, SCENE_VERSION
from bench.datasets.plumage.species import Bird, Family

WILD_VERSION = 1  # part of the cache key: raise it when a picture changes
SIGHTINGS = 4  # pictures of one bird, in sequence
EXTENT = (0.58, 0.86)  # longer side of the bird's bounding box as a share of the picture
_BACKGROUNDS = (None, None, *GROUNDS)
PALETTE: dict[str, Colour] = {
    'black': (44, 46, 54), 'white': (236, 236, 232), 'grey': (146, 152, 164), 'brown': (122, 94, 66), 'tan': (206, 180, 142),
    'red': (208, 54, 48), 'orange': (234, 140, 60), 'yellow': (242, 206, 70), 'green': (88, 150, 72), 'teal': (40, 130, 140),
    'blue': (76, 112, 190), 'purple': (112, 84, 136), 'pink': (238, 150, 160),
}  # fmt: skip
_COLOURS = tuple(PALETTE)
# chances of a crest, a wing bar, a cap and a belly, and of a head and wings in a colour of their own
_CHANCE = {'crest': 0.25, 'bar': 0.3, 'cap': 0.25, 'belly': 0.45, 'head': 0.4, 'wings': 0.5}
_SIZES = {  # part -> (below this, its word), (above this, its word)
    'neck': ((0.12, 'short-necked'), (0.32, 'long-necked')),
    'bill': ((0.18, 'short-billed'), (0.34, 'long-billed')),
    'tail': ((0.22, 'short-tailed'), (0.55, 'long-tailed')),
    'leg': ((0.1, 'short-legged'), (0.38, 'long-legged')),
    'tilt': ((0.2, 'level'), (0.75, 'upright')),
    'body': ((0.48, 'slim'), (0.6, 'plump')),
}
_FRAMES = ('a photo of {}', 'a picture of {} outdoors', '{}', 'one of those birds : {}')
MAX_WORDS = 24
# the share of a bird's traits that one caption mentions
MENTIONED = 0.6


@cache
def bird_of(seed: int, number: int) -> tuple[Bird, tuple[str, ...]]:
    """Return bird `number` of the stream, and its traits in words (colours of parts first, then sizes)."""
    rng = numpy_generator('wild', 'bird', WILD_VERSION, seed, number)

    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    length, plump = between(0.42, 0.62), between(0.38, 0.78)
    # squares and cubes: most birds have short necks, bills, tails and legs
    neck, bill = round(0.04 + 0.62 * rng.random() ** 2, 3), round(0.06 + 0.58 * rng.random() ** 1.5, 3)
    tail, leg = round(0.1 + 1.0 * rng.random() ** 2, 3), round(0.02 + 0.78 * rng.random() ** 2, 3)
    tilt = round(0.05 + 1.3 * rng.random() ** 1.5, 3)
    size = {'neck': neck, 'bill': bill, 'tail': tail, 'leg': leg, 'tilt': tilt, 'body': plump}
    has = {part: bool(rng.random() < chance) for part, chance in _CHANCE.items()}
    name = {part: _COLOURS[rng.integers(len(_COLOURS))] for part in ('coat', 'beak', *_CHANCE)}
    colour = {part: jitter(PALETTE[said], 14, rng) for part, said in name.items()}
    head = between(0.13, 0.16) if neck > 0.32 else between(0.15, 0.32)
    wings = colour['wings'] if has['wings'] else shade(colour['coat'], 0.78)
    build = Family(
        'wild', (length, round(length * plump, 3), tilt),
        (between(-0.06, 0.22), neck, round(0.8 * head * between(0.5, 1.0), 3)), head,
        (bill, between(0.05, 0.18), between(-0.25, 0.03)),
        (tail, between(0.05, 0.15), between(-0.35, 0.2), between(0.0, 0.3) if rng.random() < 0.2 else 0.0),
        (between(0.34, 0.62), between(0.09, 0.2), between(-0.2, 0.1)), leg,
        coat=colour['coat'], wing_coat=wings, bill_colour=colour['beak'], marked_bill=colour['beak'],
        belly_colour=colour['belly'], bar_colour=colour['bar'], cap_colour=colour['cap'],
        head_coat=colour['head'] if has['head'] else None, crest_colour=colour['crest'],
    )  # fmt: skip
    traits = [f'{name["coat"]} bird', f'{name["beak"]} bill']
    traits += [f'{name[part]} {part}' for part in _CHANCE if has[part]]
    for part, ((low, small), (high, large)) in _SIZES.items():
        traits += [small] * (size[part] < low) + [large] * (size[part] > high)
    return Bird(build, tuple(mark for mark in ('crest', 'bar', 'cap', 'belly') if has[mark])), tuple(traits)


def draw(seed: int, split: str, index: int, number: int) -> np.ndarray:
    """Return picture `index` of the stream, of bird `number`, as uint8 pixels_HWC."""
    rng = numpy_generator('wild', WILD_VERSION, RENDER_VERSION, SCENE_VERSION, seed, split, index)
    bird, _ = bird_of(seed, number)
    return render(bird, rng, ground=_BACKGROUNDS[rng.integers(len(_BACKGROUNDS))], extent=EXTENT)


def birds_of(seed: int, split: str, count: int) -> np.ndarray:
    """Return the number of the bird on each picture, in int64."""
    return np.arange(count, dtype=np.int64) // SIGHTINGS


WILD = Drawing('wild', birds_of, draw)


def wild_stream(places: Places, *, count: PositiveInt, seed: Count = 0) -> RenderedImages:
    """Return `count` pictures of wild birds; pictures 4 k to 4 k + 3 show one bird."""
    key = short_hash(['wild', WILD_VERSION, RENDER_VERSION, SCENE_VERSION, seed])
    return RenderedImages(Path(places.cache_dir) / 'wild' / key / f'stream_{count}.npy', seed, 'stream', count, WILD)


def caption(seed: int, number: int, rng: np.random.Generator) -> str:
    """Return one caption of a bird: some of its traits, in any order; `rng` picks the words. Never the name of a kind."""
    traits = bird_of(seed, number)[1]
    said = [traits[i] for i in rng.permutation(len(traits)) if rng.random() < MENTIONED] or [traits[0]]
    return _FRAMES[rng.integers(len(_FRAMES))].format(' , '.join(said))


_PARTS = ('coat', 'bird', 'bill', *_CHANCE)
VOCABULARY = tuple(sorted({
    *_COLOURS, *_PARTS, ',', *(word for low, high in _SIZES.values() for _, word in (low, high)),
    *(word for frame in _FRAMES for word in frame.split() if word != '{}'),
}))  # fmt: skip
_NUMBER = {word: number for number, word in enumerate(VOCABULARY, start=1)}


def encode_words(captions: Sequence[str]) -> np.ndarray:
    """Return words_NL, int64: the number of each word of a caption, 0 after the last; what is longer is cut."""
    words_NL = np.zeros((len(captions), MAX_WORDS), np.int64)
    for row, text in zip(words_NL, captions, strict=True):
        numbers = [_NUMBER[word] for word in text.split()][:MAX_WORDS]
        row[: len(numbers)] = numbers
    return words_NL
