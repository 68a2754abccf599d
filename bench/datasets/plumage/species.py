"""The birds of plumage: twenty species in five families, each known by one small mark. `kinds` has the birds of aviary."""

from dataclasses import dataclass

from bench.datasets.plumage.pen import Colour


@dataclass(frozen=True)
class Family:
    """Build and plain colours of a family. Lengths are in body lengths, angles in radians."""

    name: str
    body: tuple[float, float, float]  # half length, half height, tilt
    neck: tuple[float, float, float]  # forward, up, half width; from the body's front
    head: float  # radius
    bill: tuple[float, float, float]  # length, half height, droop of the tip
    tail: tuple[float, float, float, float]  # length, half width, angle below the body's axis, fork depth
    wing: tuple[float, float, float]  # half length, half height, angle
    leg: float
    coat: Colour
    wing_coat: Colour
    bill_colour: Colour
    bar_colour: Colour
    cap_colour: Colour
    marked_bill: Colour
    belly_colour: Colour
    head_coat: Colour | None = None  # of head and neck; None is the coat
    crest_colour: Colour | None = None  # None is a dark shade of the coat


@dataclass(frozen=True)
class Bird:
    """What `render` draws: a build with its colours, and the marks of MARKS that it has."""

    build: Family
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Species:
    name: str
    family: int
    mark: str


FAMILIES = (
    Family('finch', (0.50, 0.34, 0.30), (0.02, 0.14, 0.2), 0.235, (0.17, 0.10, 0.02), (0.42, 0.09, 0.05, 0.05),
           (0.36, 0.17, -0.15), 0.20, (168, 112, 74), (120, 78, 52), (96, 84, 76), (236, 222, 196), (62, 44, 40),
           (250, 214, 70), (236, 204, 156)),
    Family('heron', (0.50, 0.22, 0.35), (0.14, 0.36, 0.10), 0.22, (0.38, 0.10, -0.02), (0.24, 0.10, 0.15, 0.0),
           (0.42, 0.14, -0.1), 0.38, (146, 158, 174), (104, 118, 140), (112, 108, 92), (232, 236, 240), (34, 36, 50),
           (240, 150, 30), (240, 240, 238)),
    Family('parrot', (0.48, 0.24, 0.95), (0.02, 0.10, 0.19), 0.25, (0.19, 0.14, -0.15), (0.60, 0.085, 0.05, 0.0),
           (0.44, 0.15, 0.0), 0.08, (84, 150, 70), (52, 112, 62), (86, 82, 78), (244, 226, 80), (44, 66, 120),
           (230, 70, 50), (238, 226, 96)),
    Family('duck', (0.58, 0.27, 0.06), (0.05, 0.28, 0.13), 0.22, (0.25, 0.055, -0.03), (0.20, 0.12, -0.35, 0.0),
           (0.38, 0.15, -0.05), 0.05, (150, 134, 104), (110, 96, 78), (92, 92, 84), (240, 238, 226), (48, 84, 64),
           (236, 170, 40), (222, 212, 190)),
    Family('swallow', (0.50, 0.175, 0.20), (0.02, 0.04, 0.13), 0.23, (0.22, 0.10, 0.0), (0.44, 0.12, 0.02, 0.26),
           (0.54, 0.12, -0.2), 0.10, (78, 96, 156), (48, 60, 112), (60, 60, 66), (214, 222, 240), (120, 52, 46),
           (244, 140, 50), (236, 222, 204)),
)
MARKS = ('crest', 'bar', 'cap', 'bill', 'belly')
_ADJECTIVES = {
    'crest': 'crested', 'bar': 'bar-winged', 'cap': 'capped', 'bill': 'bright-billed', 'belly': 'pale-bellied'
}
# Family k lacks mark k: 5 x 4 species, and every mark occurs in four families.
SPECIES = tuple(
    Species(f'{_ADJECTIVES[mark]} {family.name}', f, mark)
    for f, family in enumerate(FAMILIES)
    for m, mark in enumerate(MARKS)
    if m != f
)
BIRDS = tuple(Bird(FAMILIES[species.family], (species.mark,)) for species in SPECIES)

CLASS_NAMES = tuple(species.name for species in SPECIES)
FAMILY_NAMES = tuple(family.name for family in FAMILIES)
# FAMILY_OF_CLASS[c] indexes FAMILY_NAMES.
FAMILY_OF_CLASS = tuple(species.family for species in SPECIES)
