"""Draws one picture (64 px, RGB): a bird of one species on clutter, or on a ground from `scenes`.

A bird is a list of flat polygons in its own frame (x forward, y up, body about 1 long). It is rotated, flipped, scaled and
placed as a whole, drawn at 4x and averaged down. Pictures are reproducible across machines: exactly rounded arithmetic,
integer PIL operations, coordinates snapped to 1/16 of a drawn pixel; no BLAS, no vectorised sine.

Shape suffixes: K points, H height, W width, C colour channels.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from bench.datasets.plumage.pen import CANVAS, CIRCLE, SCALE, SIDE, Colour, Point, ellipse, ink, jitter, mix, shade, snap
from bench.datasets.plumage.scenes import paint
from bench.datasets.plumage.species import MARKS, Bird, Family

Shape = tuple[list[Point], Colour]
Sizes = dict[str, float]  # mark -> its factor
Marked = Callable[[str, Colour, Colour], Colour]  # mark, plain colour, own colour -> colour

RENDER_VERSION = 3
# These constants set the difficulty. A mark's colour is a blend of the plain colour and its own, by a share drawn from
# MARK_SHARE.
MARK_SHARE = (0.9, 1.0)
MARK_SIZE = (1.1, 1.35)
BIRD_EXTENT = (0.72, 0.85)  # longer side of the bird's bounding box as a share of the picture
MARGIN = 0.07  # the test transform cuts about 6% off every side
TURN = 0.25  # radians
LIGHT = (0.75, 1.15)
NOISE = (2.0, 6.0)  # standard deviation in grey levels of 255
LEAVES = (1, 6)
TWIG_IN_FRONT = 0.12

_GROUNDS: tuple[Colour, ...] = (
    (150, 178, 205), (104, 136, 84), (142, 122, 92), (120, 150, 158), (178, 172, 150), (84, 104, 92)
)
_LEAVES: tuple[Colour, ...] = (
    (74, 112, 58), (116, 148, 72), (150, 120, 70), (96, 80, 62), (186, 176, 140), (196, 92, 60), (120, 132, 150),
    (222, 214, 196), (60, 66, 60),
)


def render(
    bird: Bird, rng: np.random.Generator, *, ground: str | None = None, extent: tuple[float, float] = BIRD_EXTENT
) -> np.ndarray:
    """Return one picture as uint8 pixels_HWC; every random choice comes from `rng`.

    Args:
      bird: what to draw.
      rng: with the same state, both grounds get the same bird, pose, leaves, twigs, light and noise.
      ground: 'water' or 'land'; None is the soft ground of the official plumage set.
      extent: range of the longer side of the bird's bounding box, as a share of the picture.
    """
    # A separate generator, so that the random choices about the ground do not shift those about the bird.
    canvas = _soft_ground(rng) if ground is None else paint(ground, np.random.default_rng(int(rng.integers(2**63))))
    pen = ImageDraw.Draw(canvas)
    _litter(pen, rng)
    shapes = _place(_shapes(bird, rng), rng, extent=extent)
    if rng.random() < 0.7:  # a perch at the feet, which are the first shape
        x, y = shapes[0][0][2]
        slope = rng.uniform(-0.25, 0.25)
        line = [(-10, y - slope * (x + 10)), (CANVAS + 10, y + slope * (CANVAS + 10 - x))]
        colour, width = ink(jitter((96, 78, 60), 18, rng)), int(rng.integers(5, 12))
        pen.line([(snap(a), snap(b)) for a, b in line], fill=colour, width=width)
    for points_K2, coat in shapes:
        pen.polygon(points_K2, fill=ink(coat))
    if rng.random() < TWIG_IN_FRONT:
        _twig(pen, rng)
    return _light(canvas.reduce(SCALE), rng)


# --- the bird -----------------------------------------------------------------------------------------------------


def _shapes(bird: Bird, rng: np.random.Generator) -> list[Shape]:
    """Return the bird's polygons in its own frame, back to front."""
    family = bird.build
    coat, wing_coat = jitter(family.coat, 10, rng), jitter(family.wing_coat, 9, rng)
    size = {mark: rng.uniform(*MARK_SIZE) for mark in MARKS}
    share = rng.uniform(*MARK_SHARE)

    def marked(mark: str, plain: Colour, own: Colour) -> Colour:
        return mix(plain, own, share) if mark in bird.marks else plain

    a, b, tilt = family.body
    tilt += rng.uniform(-0.12, 0.12)
    ahead, up = (math.cos(tilt), math.sin(tilt)), (-math.sin(tilt), math.cos(tilt))

    def on_body(along: float, across: float) -> tuple[float, float]:
        return along * ahead[0] + across * up[0], along * ahead[1] + across * up[1]

    shapes = []
    # Legs first, because the perch goes through the foot.
    hip = on_body(-0.05, -0.7 * b)
    foot = (hip[0] + rng.uniform(-0.06, 0.06), hip[1] - 0.3 * b - family.leg)
    shapes.append(([hip, (hip[0] + 0.05, hip[1]), (foot[0] + 0.045, foot[1]), foot], jitter((92, 80, 66), 10, rng)))
    # Tail.
    length, half, angle, fork = family.tail
    angle += tilt + rng.uniform(-0.15, 0.15)
    back, side = (-math.cos(angle), -math.sin(angle)), (-math.sin(angle), math.cos(angle))
    root = on_body(-0.75 * a, 0.0)
    outline = ((0, 0.6), (1, 1.4), (1 - fork / max(length, 0.1), 0), (1, -1.4), (0, -0.6))
    shapes.append((
        [(root[0] + s * length * back[0] + t * half * side[0], root[1] + s * length * back[1] + t * half * side[1])
         for s, t in outline], shade(wing_coat, 0.9)))
    # Body, belly, neck, head.
    shapes.append((ellipse((0, 0), a, b, tilt), coat))
    belly = marked('belly', shade(coat, 1.06), family.belly_colour)
    shapes.append((ellipse(on_body(0.1 * a, -0.33 * b), 0.72 * a * size['belly'], 0.62 * b, tilt), belly))
    head_coat = jitter(family.head_coat, 10, rng) if family.head_coat else coat
    neck_x, neck_y, neck_half = family.neck
    base = on_body(0.72 * a, 0.12 * b)
    head = (base[0] + neck_x + rng.uniform(-0.04, 0.04), base[1] + neck_y + rng.uniform(-0.04, 0.03))
    shapes.append((
        [(base[0] - neck_half * 1.2, base[1]), (head[0] - neck_half, head[1]), (head[0] + neck_half, head[1]),
         (base[0] + neck_half * 0.9, base[1] - 0.1)], head_coat))
    shapes += _head(bird, head, coat, head_coat, size, marked, rng)
    shapes += _wing(family, on_body(-0.16 * a, 0.12 * b), tilt, wing_coat, size, marked, rng)
    return shapes


def _head(
    bird: Bird, centre: Point, coat: Colour, head_coat: Colour, size: Sizes, marked: Marked, rng: np.random.Generator
) -> list[Shape]:
    """Return crest, bill, head, cap and eye around the head's centre."""
    family = bird.build
    r = family.head
    nod = rng.uniform(-0.3, 0.25)
    cos, sin = math.cos(nod), math.sin(nod)

    def at(x: float, y: float) -> tuple[float, float]:
        return centre[0] + r * (x * cos - y * sin), centre[1] + r * (x * sin + y * cos)

    shapes = []
    if 'crest' in bird.marks:
        tall = 1.6 * size['crest']
        outline = (
            (0.55, 0.75), (0.0, 1.0 + 0.55 * tall), (-0.2, 1.0), (-0.75, 0.8 + tall), (-0.6, 0.7),
            (-1.3, 0.5 + 0.7 * tall), (-0.9, 0.2),
        )
        shapes.append(([at(x, y) for x, y in outline], family.crest_colour or shade(coat, 0.42)))
    length, half, droop = (value / r for value in family.bill)
    bill = marked('bill', family.bill_colour, family.marked_bill)
    tip = [at(0.9 + 0.6 * length, 0.5 * half), at(0.9 + length, droop)]
    shapes.append(([at(0.75, half), *tip, at(0.75, -half)], bill))
    head_coat = shade(head_coat, 1.03)
    shapes.append(([at(x, y) for x, y in CIRCLE], head_coat))
    cap = marked('cap', head_coat, family.cap_colour)
    low = 0.2 - 0.3 * (size['cap'] - 1)
    top = [at(x, y) for x, y in CIRCLE if y > low]
    shapes.append((top, cap))
    eye = [at(0.42 + 0.2 * x, 0.12 + 0.2 * y) for x, y in CIRCLE[::3]]
    shapes.append((eye, (24, 22, 22)))
    return shapes


def _wing(
    family: Family, root: Point, tilt: float, wing_coat: Colour, size: Sizes, marked: Marked, rng: np.random.Generator
) -> list[Shape]:
    """Return the folded wing, pointed at the back, and the bar across it."""
    half_length, half_height, angle = family.wing
    angle += tilt + rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(angle), math.sin(angle)

    def at(x: float, y: float) -> tuple[float, float]:
        x, y = x * half_length, y * half_height
        return root[0] + x * cos - y * sin, root[1] + x * sin + y * cos

    outline = (
        (0.95, 0.25), (0.6, 0.8), (0.1, 1.0), (-0.5, 0.75), (-1.3, 0.0), (-0.4, -0.75), (0.2, -1.0), (0.75, -0.65),
        (0.98, -0.2),
    )
    shapes = [([at(x, y) for x, y in outline], wing_coat)]
    w = 0.2 * size['bar']
    bar = marked('bar', wing_coat, family.bar_colour)
    shapes.append(([at(0.28 - w, 0.9), at(0.28 + w, 0.86), at(-0.02 + w, -0.88), at(-0.02 - w, -0.84)], bar))
    return shapes


def _place(shapes: list[Shape], rng: np.random.Generator, *, extent: tuple[float, float]) -> list[Shape]:
    """Rotate, flip, scale and move the bird as a whole into drawn pixels (y down)."""
    turn = rng.uniform(-TURN, TURN)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(turn), math.sin(turn)
    turned = [[(mirror * (x * cos - y * sin), -(x * sin + y * cos)) for x, y in points] for points, _ in shapes]
    xs, ys = [x for points in turned for x, _ in points], [y for points in turned for _, y in points]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    scale = rng.uniform(*extent) * CANVAS / max(width, height)
    margin = MARGIN * CANVAS
    left = margin + rng.random() * (CANVAS - 2 * margin - scale * width) - scale * min(xs)
    top = margin + rng.random() * (CANVAS - 2 * margin - scale * height) - scale * min(ys)
    return [
        ([(snap(left + scale * x), snap(top + scale * y)) for x, y in points], colour)
        for points, (_, colour) in zip(turned, shapes, strict=True)
    ]


# --- the world around it ------------------------------------------------------------------------------------------


def _soft_ground(rng: np.random.Generator) -> Image.Image:
    """Paint the ground of the official plumage set: one colour, softly varied."""
    ground = np.array(_GROUNDS[rng.integers(len(_GROUNDS))]) + rng.integers(-20, 21, size=3)
    cells_HWC = np.clip(ground + rng.integers(-26, 27, size=(5, 5, 1)) + rng.integers(-8, 9, size=(5, 5, 3)), 0, 255)
    return Image.fromarray(cells_HWC.astype(np.uint8)).resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)


def _litter(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw leaves and twigs behind the bird."""
    for _ in range(int(rng.integers(*LEAVES))):
        x, y = rng.uniform(-10, CANVAS + 10, size=2)
        length = rng.uniform(6, 34)
        outline = ellipse((x, y), length, length * rng.uniform(0.2, 0.6), rng.uniform(0, math.pi))
        colour = jitter(_LEAVES[rng.integers(len(_LEAVES))], 24, rng)
        pen.polygon([(snap(x), snap(y)) for x, y in outline], fill=ink(colour))
    for _ in range(int(rng.integers(0, 3))):
        _twig(pen, rng)


def _twig(pen: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    ends = [(snap(x), snap(y)) for x, y in rng.uniform(-30, CANVAS + 30, size=(2, 2))]
    pen.line(ends, fill=ink(jitter((98, 84, 62), 30, rng)), width=int(rng.integers(3, 9)))


def _light(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Apply exposure, colour cast, a gradient of light across the picture, and sensor noise."""
    x_HWC = np.asarray(picture, dtype=np.float32)
    gain = np.float32(rng.uniform(*LIGHT)) * rng.uniform(0.92, 1.08, size=3).astype(np.float32)
    slope = rng.uniform(-0.22, 0.22, size=2).astype(np.float32)
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light_HW1 = (1 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :])[..., None]
    noise_HWC = rng.standard_normal((SIDE, SIDE, 3), dtype=np.float32) * np.float32(rng.uniform(*NOISE))
    return (np.clip(x_HWC * gain * light_HW1 + noise_HWC, 0, 255) + np.float32(0.5)).astype(np.uint8)
