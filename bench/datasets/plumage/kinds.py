"""The birds of aviary: thirty kinds, each with a build, a silhouette and colours of its own, and individuals of a kind."""

from dataclasses import replace
from typing import Any

import numpy as np

from bench.datasets.plumage.pen import Colour, jitter, mix
from bench.datasets.plumage.species import Bird, Family

Three = tuple[float, float, float]


def _kind(
    name: str, *, body: Three, neck: Three, head: float, bill: Three, tail: tuple[float, float, float, float], wing: Three,
    leg: float, coat: Colour, wings: Colour, beak: Colour, face: Colour | None = None, belly: Colour | None = None,
    cap: Colour | None = None, bar: Colour | None = None, crest: Colour | None = None,
) -> Bird:
    """Return a kind; lengths are those of `Family`. A colour that is not given is a mark that the kind does not have."""
    marks = {'belly': belly, 'cap': cap, 'bar': bar, 'crest': crest}
    build = Family(
        name, body, neck, head, bill, tail, wing, leg, coat=coat, wing_coat=wings, bill_colour=beak, marked_bill=beak,
        belly_colour=belly or coat, cap_colour=cap or coat, bar_colour=bar or wings, head_coat=face, crest_colour=crest,
    )  # fmt: skip
    return Bird(build, tuple(mark for mark, colour in marks.items() if colour))


KINDS = (
    _kind('robin', body=(0.46, 0.36, 0.40), neck=(0.02, 0.14, 0.21), head=0.24, bill=(0.14, 0.05, 0.0),
          tail=(0.36, 0.08, 0.1, 0.0), wing=(0.36, 0.16, -0.15), leg=0.24,
          coat=(124, 104, 78), wings=(98, 82, 62), beak=(72, 62, 52), face=(208, 100, 48), belly=(216, 106, 50)),
    _kind('crow', body=(0.54, 0.27, 0.28), neck=(0.06, 0.14, 0.16), head=0.2, bill=(0.27, 0.1, -0.04),
          tail=(0.40, 0.12, 0.05, 0.0), wing=(0.50, 0.16, -0.1), leg=0.24,
          coat=(48, 48, 58), wings=(34, 34, 44), beak=(30, 30, 34)),
    _kind('magpie', body=(0.46, 0.25, 0.25), neck=(0.05, 0.14, 0.16), head=0.2, bill=(0.2, 0.08, -0.02),
          tail=(0.86, 0.08, 0.0, 0.0), wing=(0.42, 0.15, -0.1), leg=0.24,
          coat=(44, 46, 56), wings=(36, 62, 92), beak=(34, 34, 36), belly=(238, 238, 232), bar=(236, 238, 236)),
    _kind('heron', body=(0.50, 0.22, 0.35), neck=(0.16, 0.42, 0.09), head=0.17, bill=(0.40, 0.08, -0.02),
          tail=(0.20, 0.10, 0.15, 0.0), wing=(0.44, 0.15, -0.1), leg=0.48,
          coat=(148, 160, 176), wings=(106, 120, 142), beak=(222, 160, 60), cap=(38, 40, 54), belly=(216, 220, 222)),
    _kind('egret', body=(0.46, 0.18, 0.45), neck=(0.24, 0.52, 0.065), head=0.125, bill=(0.34, 0.05, 0.0),
          tail=(0.22, 0.08, 0.1, 0.0), wing=(0.42, 0.12, -0.1), leg=0.60,
          coat=(236, 238, 236), wings=(218, 222, 226), beak=(48, 46, 44)),
    _kind('flamingo', body=(0.42, 0.22, 0.30), neck=(0.10, 0.66, 0.055), head=0.13, bill=(0.20, 0.09, -0.22),
          tail=(0.14, 0.10, 0.2, 0.0), wing=(0.38, 0.16, -0.1), leg=0.80,
          coat=(240, 156, 164), wings=(228, 112, 126), beak=(52, 44, 48)),
    _kind('toucan', body=(0.46, 0.27, 0.55), neck=(0.06, 0.12, 0.18), head=0.22, bill=(0.64, 0.16, -0.1),
          tail=(0.42, 0.10, 0.05, 0.0), wing=(0.42, 0.16, -0.05), leg=0.10,
          coat=(44, 44, 52), wings=(34, 34, 42), beak=(240, 150, 40), face=(240, 226, 150), cap=(42, 42, 50)),
    _kind('parrot', body=(0.46, 0.27, 0.90), neck=(0.02, 0.10, 0.20), head=0.26, bill=(0.18, 0.15, -0.16),
          tail=(0.40, 0.10, 0.05, 0.0), wing=(0.44, 0.16, 0.0), leg=0.08,
          coat=(96, 168, 74), wings=(56, 122, 62), beak=(214, 74, 54), face=(122, 186, 84), bar=(216, 64, 52)),
    _kind('macaw', body=(0.44, 0.22, 1.00), neck=(0.02, 0.10, 0.17), head=0.23, bill=(0.18, 0.15, -0.18),
          tail=(0.96, 0.07, 0.0, 0.0), wing=(0.46, 0.15, 0.0), leg=0.06,
          coat=(208, 52, 44), wings=(46, 92, 180), beak=(60, 54, 52), bar=(244, 208, 66), face=(214, 62, 52)),
    _kind('cockatoo', body=(0.46, 0.26, 0.85), neck=(0.02, 0.10, 0.20), head=0.24, bill=(0.15, 0.14, -0.15),
          tail=(0.40, 0.11, 0.05, 0.0), wing=(0.46, 0.15, 0.0), leg=0.08,
          coat=(238, 236, 228), wings=(222, 220, 212), beak=(74, 72, 74), crest=(248, 214, 74)),
    _kind('mallard', body=(0.58, 0.27, 0.06), neck=(0.05, 0.26, 0.13), head=0.20, bill=(0.25, 0.06, -0.03),
          tail=(0.18, 0.12, -0.35, 0.0), wing=(0.38, 0.15, -0.05), leg=0.05,
          coat=(152, 144, 134), wings=(124, 112, 98), beak=(228, 186, 62), face=(40, 98, 72), belly=(132, 84, 58),
          bar=(70, 90, 170)),
    _kind('swan', body=(0.62, 0.29, 0.08), neck=(0.10, 0.66, 0.085), head=0.16, bill=(0.22, 0.07, -0.06),
          tail=(0.20, 0.12, -0.35, 0.0), wing=(0.46, 0.20, 0.1), leg=0.03,
          coat=(240, 240, 238), wings=(226, 228, 230), beak=(236, 128, 44)),
    _kind('goose', body=(0.58, 0.28, 0.14), neck=(0.08, 0.44, 0.10), head=0.16, bill=(0.20, 0.08, -0.03),
          tail=(0.20, 0.12, -0.1, 0.0), wing=(0.46, 0.16, -0.05), leg=0.18,
          coat=(148, 126, 100), wings=(116, 98, 80), beak=(36, 36, 38), face=(40, 40, 44), belly=(220, 212, 196)),
    _kind('pelican', body=(0.54, 0.30, 0.30), neck=(0.10, 0.34, 0.10), head=0.18, bill=(0.66, 0.12, -0.16),
          tail=(0.16, 0.12, 0.0, 0.0), wing=(0.46, 0.17, -0.1), leg=0.12,
          coat=(232, 228, 218), wings=(96, 92, 94), beak=(240, 186, 80)),
    _kind('gull', body=(0.54, 0.23, 0.14), neck=(0.05, 0.14, 0.15), head=0.19, bill=(0.20, 0.07, -0.03),
          tail=(0.24, 0.09, 0.0, 0.0), wing=(0.62, 0.12, -0.08), leg=0.20,
          coat=(238, 240, 240), wings=(146, 158, 172), beak=(240, 200, 60)),
    _kind('swallow', body=(0.50, 0.175, 0.20), neck=(0.02, 0.04, 0.13), head=0.2, bill=(0.14, 0.07, 0.0),
          tail=(0.54, 0.12, 0.02, 0.36), wing=(0.60, 0.12, -0.2), leg=0.08,
          coat=(66, 86, 156), wings=(42, 56, 112), beak=(50, 50, 56), face=(150, 74, 56), belly=(238, 222, 202)),
    _kind('kingfisher', body=(0.42, 0.29, 0.55), neck=(0.04, 0.10, 0.22), head=0.28, bill=(0.48, 0.08, 0.0),
          tail=(0.20, 0.08, 0.1, 0.0), wing=(0.38, 0.15, -0.05), leg=0.08,
          coat=(40, 146, 176), wings=(30, 110, 150), beak=(46, 44, 48), belly=(232, 140, 64)),
    _kind('woodpecker', body=(0.50, 0.22, 1.10), neck=(0.04, 0.10, 0.15), head=0.21, bill=(0.32, 0.07, 0.0),
          tail=(0.44, 0.09, -0.1, 0.0), wing=(0.44, 0.14, 0.0), leg=0.08,
          coat=(64, 62, 64), wings=(44, 44, 50), beak=(96, 92, 88), cap=(214, 46, 42), crest=(214, 46, 42),
          bar=(234, 234, 228)),
    _kind('owl', body=(0.48, 0.34, 1.25), neck=(-0.08, 0.10, 0.30), head=0.34, bill=(0.05, 0.07, -0.06),
          tail=(0.22, 0.12, 0.0, 0.0), wing=(0.42, 0.16, 0.05), leg=0.06,
          coat=(150, 114, 76), wings=(112, 84, 58), beak=(70, 62, 50), face=(206, 182, 142), belly=(214, 192, 154)),
    _kind('eagle', body=(0.56, 0.28, 0.70), neck=(0.05, 0.14, 0.17), head=0.2, bill=(0.23, 0.14, -0.16),
          tail=(0.32, 0.15, 0.0, 0.0), wing=(0.54, 0.18, 0.0), leg=0.14,
          coat=(92, 70, 52), wings=(72, 54, 42), beak=(244, 196, 60), face=(238, 236, 228)),
    _kind('pigeon', body=(0.52, 0.31, 0.22), neck=(0.05, 0.16, 0.14), head=0.15, bill=(0.12, 0.05, -0.03),
          tail=(0.34, 0.12, 0.0, 0.0), wing=(0.46, 0.18, -0.1), leg=0.16,
          coat=(142, 146, 164), wings=(168, 172, 184), beak=(80, 76, 80), face=(98, 84, 128), bar=(56, 58, 72)),
    _kind('goldfinch', body=(0.48, 0.32, 0.35), neck=(0.02, 0.12, 0.2), head=0.235, bill=(0.16, 0.10, 0.02),
          tail=(0.34, 0.09, 0.05, 0.08), wing=(0.40, 0.15, -0.15), leg=0.18,
          coat=(240, 206, 60), wings=(50, 48, 48), beak=(236, 150, 110), cap=(46, 44, 46), bar=(240, 238, 230)),
    _kind('cardinal', body=(0.46, 0.29, 0.50), neck=(0.03, 0.12, 0.2), head=0.23, bill=(0.17, 0.13, -0.03),
          tail=(0.62, 0.09, 0.1, 0.0), wing=(0.38, 0.15, -0.05), leg=0.16,
          coat=(212, 54, 48), wings=(164, 44, 44), beak=(242, 140, 62), crest=(206, 44, 42), face=(206, 48, 44)),
    _kind('jay', body=(0.48, 0.27, 0.35), neck=(0.04, 0.14, 0.18), head=0.22, bill=(0.20, 0.08, 0.0),
          tail=(0.58, 0.11, 0.0, 0.0), wing=(0.42, 0.16, -0.1), leg=0.20,
          coat=(96, 136, 206), wings=(62, 100, 184), beak=(42, 42, 48), belly=(226, 228, 230), bar=(238, 240, 242),
          crest=(72, 110, 194)),
    _kind('penguin', body=(0.56, 0.27, 1.40), neck=(-0.02, 0.10, 0.20), head=0.21, bill=(0.18, 0.07, -0.03),
          tail=(0.10, 0.10, 0.3, 0.0), wing=(0.40, 0.08, 0.12), leg=0.02,
          coat=(54, 60, 72), wings=(40, 44, 56), beak=(240, 142, 52), belly=(240, 240, 234)),
    _kind('pheasant', body=(0.50, 0.27, 0.22), neck=(0.08, 0.26, 0.12), head=0.16, bill=(0.13, 0.08, -0.04),
          tail=(1.10, 0.055, -0.12, 0.0), wing=(0.38, 0.17, -0.1), leg=0.22,
          coat=(176, 104, 54), wings=(146, 110, 76), beak=(220, 208, 170), face=(44, 92, 78), cap=(198, 56, 48)),
    _kind('hoopoe', body=(0.46, 0.23, 0.35), neck=(0.06, 0.16, 0.14), head=0.18, bill=(0.44, 0.05, -0.12),
          tail=(0.40, 0.09, 0.0, 0.0), wing=(0.44, 0.17, -0.1), leg=0.12,
          coat=(222, 164, 116), wings=(58, 54, 54), beak=(62, 56, 54), bar=(240, 236, 224), crest=(226, 140, 74)),
    _kind('stork', body=(0.50, 0.24, 0.28), neck=(0.14, 0.42, 0.085), head=0.15, bill=(0.50, 0.07, -0.02),
          tail=(0.18, 0.10, 0.1, 0.0), wing=(0.50, 0.17, -0.1), leg=0.62,
          coat=(238, 238, 232), wings=(48, 48, 54), beak=(216, 66, 46)),
    _kind('ibis', body=(0.48, 0.21, 0.28), neck=(0.12, 0.30, 0.09), head=0.15, bill=(0.50, 0.06, -0.26),
          tail=(0.18, 0.10, 0.1, 0.0), wing=(0.44, 0.15, -0.1), leg=0.42,
          coat=(222, 84, 60), wings=(200, 64, 48), beak=(84, 66, 60)),
    _kind('puffin', body=(0.48, 0.30, 0.80), neck=(0.02, 0.12, 0.22), head=0.25, bill=(0.24, 0.19, -0.06),
          tail=(0.14, 0.08, 0.0, 0.0), wing=(0.38, 0.12, 0.0), leg=0.12,
          coat=(48, 50, 58), wings=(38, 40, 48), beak=(238, 112, 44), face=(232, 232, 228), cap=(44, 46, 54),
          belly=(240, 240, 236)),
)  # fmt: skip
KIND_NAMES = tuple(kind.build.name for kind in KINDS)
# Two or three kinds each; every kind is in one group.
GROUPS = {
    'songbird': ('robin', 'goldfinch', 'cardinal'),
    'crow': ('crow', 'magpie', 'jay'),
    'heron': ('heron', 'egret', 'stork'),
    'red wader': ('flamingo', 'ibis'),
    'parrot': ('parrot', 'macaw', 'cockatoo'),
    'duck': ('mallard', 'goose'),
    'white swimmer': ('swan', 'pelican'),
    'diver': ('penguin', 'puffin'),
    'glider': ('gull', 'swallow'),
    'tree bird': ('woodpecker', 'toucan', 'kingfisher'),
    'hunter': ('owl', 'eagle'),
    'ground bird': ('pigeon', 'pheasant', 'hoopoe'),
}

# How the oddest bird of a kind may look; most birds are much less odd. Odd birds are drab: their colours are mixed with a
# common brown.
ODD = 2  # power of a uniform number: the higher, the more typical are most birds
DRAB: Colour = (136, 120, 100)
DRAB_SHARE = 0.6
TINT = 24.0  # grey levels by which each colour of a bird varies
STRETCH = 0.35  # neck, bill, tail, leg and height of the body vary within 1 +- this
MARK_MISSING = 0.35  # chance of each mark


def individual(kind: Bird, rng: np.random.Generator) -> Bird:
    """Return a bird of a kind: its colours, lengths and marks differ from the kind's by as much as it is odd."""
    build, odd = kind.build, rng.random() ** ODD
    drab = DRAB_SHARE * rng.random() * odd

    def coloured(colour: Colour | None) -> Colour | None:
        return colour and jitter(mix(colour, DRAB, drab), round(TINT * odd), rng)

    names = ('coat', 'wing_coat', 'bill_colour', 'bar_colour', 'cap_colour', 'belly_colour', 'head_coat', 'crest_colour')
    painted: dict[str, Any] = {name: coloured(getattr(build, name)) for name in names}
    tall, neck, bill, tail, leg = 1 + STRETCH * odd * rng.uniform(-1, 1, size=5)
    bird = replace(
        build, body=(build.body[0], build.body[1] * tall, build.body[2]),
        neck=(build.neck[0], build.neck[1] * neck, build.neck[2]), bill=(build.bill[0] * bill, *build.bill[1:]),
        tail=(build.tail[0] * tail, *build.tail[1:]), leg=build.leg * leg, **painted,
    )  # fmt: skip
    return Bird(bird, tuple(mark for mark in kind.marks if rng.random() >= MARK_MISSING * odd))
