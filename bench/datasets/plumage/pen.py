"""Points and colours, shared by the files that draw plumage. Exactly rounded arithmetic only; see `render`."""

import math

import numpy as np

SIDE = 64  # pixels of the finished picture
SCALE = 4  # drawn pixels for each finished pixel, along each axis
CANVAS = SIDE * SCALE

Colour = tuple[float, float, float]
Point = tuple[float, float]

# Points of the unit circle, counter-clockwise.
CIRCLE = tuple((math.cos(2 * math.pi * k / 28), math.sin(2 * math.pi * k / 28)) for k in range(28))


def ellipse(centre: Point, a: float, b: float, angle: float) -> list[Point]:
    """Return the outline of an ellipse with half axes `a` and `b`, the first at `angle` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(centre[0] + a * x * cos - b * y * sin, centre[1] + a * x * sin + b * y * cos) for x, y in CIRCLE]


def snap(value: float) -> float:
    """Round to 1/16 of a drawn pixel, so that the last bit of a machine's sine does not move an edge."""
    return round(float(value) * 16) / 16


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from `a` to `b`."""
    red, green, blue = ((1 - share) * p + share * q for p, q in zip(a, b, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour with its brightness times `factor`."""
    red, green, blue = (factor * value for value in colour)
    return red, green, blue


def jitter(colour: Colour, amount: int, rng: np.random.Generator) -> Colour:
    """Shift brightness by up to `amount` grey levels and each channel by a third of it."""
    shift = rng.integers(-amount, amount + 1)
    red, green, blue = (value + shift + rng.integers(-amount // 3, amount // 3 + 1) for value in colour)
    return red, green, blue


def ink(colour: Colour) -> tuple[int, int, int]:
    """Return a colour in the form that PIL fills with: integer levels in [0, 255]."""
    red, green, blue = (min(255, max(0, round(float(value)))) for value in colour)
    return red, green, blue
