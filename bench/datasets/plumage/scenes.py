"""Water and land, the two grounds of plumage_spurious. Texture and objects tell them apart more than any one colour.

A picture may have a sky, whose colours do not depend on the ground. Below it, water has ripples, reeds and lily pads; land
has tufts, stones, hills and trunks. Like the birds (see `render`), they are polygons on a canvas of 4x the size.

Shape suffixes: H height, W width, C colour channels.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

from bench.datasets.plumage.pen import CANVAS, Colour, Point, ellipse, ink, jitter, mix, shade, snap

SCENE_VERSION = 1  # part of every fingerprint: raise it when any pixel changes
GROUNDS = ('water', 'land')
SKY = 0.55  # share of pictures with a sky
HORIZON = (0.08, 0.3)  # of the picture's height

_SKIES: tuple[Colour, ...] = ((176, 200, 220), (206, 208, 204), (222, 202, 178), (150, 170, 190))
_WATERS: tuple[Colour, ...] = (
    (78, 132, 140), (86, 124, 160), (92, 132, 116), (126, 148, 158), (104, 116, 142), (124, 136, 116)
)
# Distinct from the ducks' own brown, so that a bird is as easy to see on land as on water.
_LANDS: tuple[Colour, ...] = (
    (114, 138, 74), (146, 156, 84), (118, 94, 70), (186, 172, 104), (98, 122, 88), (104, 108, 84)
)
_FOAM: Colour = (236, 240, 240)


def paint(ground: str, rng: np.random.Generator) -> Image.Image:
    """Return a scene of `CANVAS` x `CANVAS` drawn pixels, without a bird.

    Args:
      ground: one of GROUNDS.
      rng: every random choice comes from it.
    """
    assert ground in GROUNDS, ground
    palette = _WATERS if ground == 'water' else _LANDS
    plain = jitter(palette[rng.integers(len(palette))], 20, rng)
    cells_HWC = np.array(plain) + rng.integers(-16, 17, size=(5, 5, 1)) + rng.integers(-6, 7, size=(5, 5, 3))
    canvas = Image.fromarray(np.clip(cells_HWC, 0, 255).astype(np.uint8))
    canvas = canvas.resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    horizon = 0.0
    if rng.random() < SKY:
        horizon = rng.uniform(*HORIZON) * CANVAS
        sky = jitter(_SKIES[rng.integers(len(_SKIES))], 18, rng)
        _fill(pen, [(0, 0), (CANVAS, 0), (CANVAS, horizon), (0, horizon)], sky)
    (_water if ground == 'water' else _land)(pen, plain, horizon, rng)
    return canvas


def _water(pen: ImageDraw.ImageDraw, plain: Colour, horizon: float, rng: np.random.Generator) -> None:
    if horizon:  # the far bank
        height = rng.uniform(4, 14)
        bank = jitter((92, 104, 80), 20, rng)
        _fill(pen, [(0, horizon - height), (CANVAS, horizon - rng.uniform(4, 14)), (CANVAS, horizon), (0, horizon)], bank)
    for x, y, near in _scattered(int(rng.integers(20, 34)), horizon, rng):
        half, thick = rng.uniform(12, 26) + 36 * near, rng.uniform(1.5, 2.5) + 3 * near
        light = rng.random() < 0.6
        colour = mix(plain, _FOAM, rng.uniform(0.25, 0.6)) if light else shade(plain, rng.uniform(0.66, 0.82))
        sag = rng.uniform(-1, 1) * thick
        _fill(pen, [(x - half, y + sag), (x - 0.4 * half, y - thick), (x + 0.4 * half, y - 0.8 * thick), (x + half, y + sag),
                    (x + 0.3 * half, y + thick), (x - 0.5 * half, y + 0.9 * thick)], colour)
    if rng.random() < 0.4:
        for x, y, near in _scattered(int(rng.integers(1, 5)), horizon, rng):
            half = 10 + 18 * near
            _fill(pen, ellipse((x, y), half, half * rng.uniform(0.3, 0.42), 0.0), jitter((96, 138, 78), 22, rng))
    if rng.random() < 0.6:
        _reeds(pen, rng)


def _reeds(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw a clump of stalks in the water at one side; some have a brown head."""
    middle = rng.uniform(10, 60) if rng.random() < 0.5 else CANVAS - rng.uniform(10, 60)
    foot = rng.uniform(0.7, 1.02) * CANVAS
    for _ in range(int(rng.integers(4, 9))):
        x, tall, lean = middle + rng.uniform(-32, 32), rng.uniform(70, 170), rng.uniform(-22, 22)
        stalk = jitter((104, 128, 72), 24, rng)
        tip = (x + lean, foot - tall)
        _fill(pen, [(x - 3.2, foot), (x + 3.2, foot), (tip[0] + 1, tip[1]), (tip[0] - 1, tip[1])], stalk)
        if rng.random() < 0.4:
            _fill(pen, ellipse(tip, 4.5, 15, math.atan2(lean, tall)), jitter((104, 74, 48), 14, rng))


def _land(pen: ImageDraw.ImageDraw, plain: Colour, horizon: float, rng: np.random.Generator) -> None:
    if horizon:  # hills
        for _ in range(int(rng.integers(1, 4))):
            half, tall = rng.uniform(50, 130), rng.uniform(8, 30)
            hill = ellipse((rng.uniform(0, CANVAS), horizon), half, tall, 0.0)
            _fill(pen, [(x, min(y, horizon)) for x, y in hill], shade(jitter(plain, 12, rng), rng.uniform(0.72, 0.9)))
    if rng.random() < 0.4:
        _trunk(pen, horizon, rng)
    for x, y, near in _scattered(int(rng.integers(0, 6)), horizon, rng):
        half, flat, stone = rng.uniform(6, 12) + 14 * near, rng.uniform(0.5, 0.75), jitter((140, 134, 124), 26, rng)
        _fill(pen, ellipse((x, y), half, half * flat, 0.0), shade(stone, 0.7))
        _fill(pen, ellipse((x - 0.1 * half, y - 0.2 * half), 0.8 * half, 0.7 * half * flat, 0.0), stone)
    for x, y, near in _scattered(int(rng.integers(16, 30)), horizon, rng):
        tall, straw = rng.uniform(12, 20) + 22 * near, rng.random() < 0.35
        colour = mix(plain, (214, 204, 140), rng.uniform(0.3, 0.6)) if straw else shade(plain, rng.uniform(0.58, 0.8))
        for lean in (-0.6, -0.2, 0.25, 0.65):
            top = (x + (lean + rng.uniform(-0.15, 0.15)) * tall, y - tall * rng.uniform(0.7, 1.1))
            root = x + 0.2 * lean * tall
            _fill(pen, [(root - 2.6, y), (root + 2.6, y), top], colour)


def _trunk(pen: ImageDraw.ImageDraw, horizon: float, rng: np.random.Generator) -> None:
    """Draw a tree at one side that extends beyond the top of the picture, with furrows in its bark."""
    x = rng.uniform(0, 50) if rng.random() < 0.5 else CANVAS - rng.uniform(0, 50)
    foot, half, lean = horizon + rng.uniform(0.3, 0.8) * (CANVAS - horizon), rng.uniform(11, 24), rng.uniform(-14, 14)
    bark = jitter((100, 80, 62), 18, rng)
    _fill(pen, [(x - 1.35 * half, foot), (x + 1.35 * half, foot), (x + half, foot - 30), (x + half + lean, -2),
                (x - half + lean, -2), (x - half, foot - 30)], bark)
    for along in (-0.5, 0.05, 0.55):
        start = x + along * half
        _fill(pen, [(start - 1.6, foot - 8), (start + 1.6, foot - 8), (start + lean + 1.6, -2), (start + lean - 1.6, -2)],
              shade(bark, 0.7))


def _scattered(count: int, horizon: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return (x, y, near) of things on the ground, far to near; `near` is 0 at the horizon and 1 at the lower edge."""
    near_N = np.sort(rng.random(count))
    x_N = rng.uniform(-10, CANVAS + 10, size=count)
    return [(float(x), horizon + 4 + float(near) * (CANVAS - horizon), float(near))
            for x, near in zip(x_N, near_N, strict=True)]


def _fill(pen: ImageDraw.ImageDraw, points: list[Point], colour: Colour) -> None:
    pen.polygon([(snap(x), snap(y)) for x, y in points], fill=ink(colour))
