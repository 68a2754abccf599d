"""Pictures of distilled sets: contact sheet, time-lapse of the distillation, nearest photographs.

Shape suffixes: N images, C colour channels, H height, W width.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.core.disk import write_atomic

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
_MARGIN = 6
_FONT_SIZE = 12
_INK, _GREY, _FRAME = '#1a1a1a', '#6a6a6a', '#c8452c'
MAX_IMAGES = 500

# time-lapse: frames are stored as small copies, because the images themselves keep changing
_FILM_SIDE, _FILM_IMAGES, _FILM_FRAMES = 64, 64, 60
_FILM_WIDTH = 140  # at least, for the caption
_FRAME_MS, _LAST_FRAME_MS = 400, 2500


def contact_sheet(images: Sequence[Image.Image], captions: Sequence[str], path: Path, *, side: int = 128) -> Path:
    """Write a PNG of images in a grid, each above its caption.

    Args:
      images: RGB pictures; each is centre-cropped to a square and shown at `side` pixels.
      captions: one per image, truncated to the width of the picture.
      path: path of the PNG; its folder is created.
      side: side of a picture in pixels.
    """
    columns = min(len(images), max(1, round(math.sqrt(len(images) * 1.5))))
    rows = math.ceil(len(images) / columns)
    cell_width, cell_height = side + _MARGIN, side + _FONT_SIZE + 2 * _MARGIN
    sheet = Image.new('RGB', (columns * cell_width + _MARGIN, rows * cell_height + _MARGIN), 'white')
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = _MARGIN + i % columns * cell_width, _MARGIN + i // columns * cell_height
        sheet.paste(_square(image, side), (left, top))
        draw.text((left, top + side + 2), _fit(caption, side, draw, font), fill='black', font=font)
    _save(sheet, path)
    return path


class Timelapse:
    """Records small 8-bit copies of the images during a distillation, for an animated GIF.

    Every frame holds the first images only. When there are too many frames, every second one is dropped.
    """

    def __init__(self) -> None:
        self.frames: list[tuple[int, np.ndarray]] = []
        self._every, self._calls = 1, 0
        self._last: tuple[int, np.ndarray] | None = None

    def add(self, step: int, x_NCHW: Any) -> None:
        """Record the images (a tensor in [0, 1]) after update `step`."""
        self._last = (step, _shrunk(x_NCHW[:_FILM_IMAGES]))
        if self._calls % self._every == 0:
            self.frames.append(self._last)
        if len(self.frames) > _FILM_FRAMES:
            self.frames, self._every = self.frames[::2], 2 * self._every
        self._calls += 1

    def write(self, path: Path, *, total: int) -> Path | None:
        """Write the GIF. It loops and holds its last frame longer. Updates before a resume are missing.

        Args:
          path: path of the GIF; its folder is created.
          total: number of images in the set, for the caption.

        Returns:
          The path, or None if nothing was recorded.
        """
        if self._last is None:
            return None
        frames = self.frames if self.frames[-1] is self._last else [*self.frames, self._last]
        last_step, last_NHWC = frames[-1]
        part = f'first {len(last_NHWC)} of {total} images' if len(last_NHWC) < total else f'{total} images'
        drawn = [_film_frame(images_NHWC, f'update {step} of {last_step}', part) for step, images_NHWC in frames]
        durations = [_FRAME_MS] * (len(drawn) - 1) + [_LAST_FRAME_MS]
        _save(drawn[0], path, save_all=True, append_images=drawn[1:], duration=durations, loop=0, optimize=False)
        return path


def neighbor_rows(
    rows: Sequence[tuple[Sequence[Image.Image], Sequence[str]]], title: str, path: Path, *, side: int = 96
) -> Path:
    """Write a PNG of rows, arranged in columns. A row shows a distilled image (framed) and the real images nearest to it.

    Args:
      rows: (pictures, captions) of each row, the distilled image first; the captions of the others are short.
      title: heading of the picture.
      path: path of the PNG; its folder is created.
      side: side of one picture in pixels.
    """
    step, gap = side + _MARGIN, 26
    width, height = max(len(images) for images, _ in rows) * step + gap, side + _FONT_SIZE + 2 * _MARGIN
    per_column = math.ceil(len(rows) / max(1, round(math.sqrt(len(rows) * 1.5 * height / width))))
    columns, head = math.ceil(len(rows) / per_column), 2 * _MARGIN + 2 * _FONT_SIZE
    sheet = Image.new('RGB', (columns * width - gap + 3 * _MARGIN, head + per_column * height + _MARGIN), 'white')
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    draw.text((2 * _MARGIN, _MARGIN), _fit(title, sheet.width - 4 * _MARGIN, draw, font), fill=_INK, font=font)
    for i, (images, captions) in enumerate(rows):
        left, top = 2 * _MARGIN + i // per_column * width, head + i % per_column * height
        bottom = top + side + 3
        draw.rectangle((left - 3, top - 3, left + side + 2, top + side + 2), outline=_FRAME, width=2)
        for k, image in enumerate(images):
            sheet.paste(_square(image, side), (left + k * step, top))
        # the first caption may extend below the second picture, whose own caption is short and right-aligned
        room = 2 * side - draw.textlength(captions[1], font=font) if len(captions) > 1 else side
        draw.text((left, bottom), _fit(captions[0], room, draw, font), fill=_INK, font=font)
        for k, caption in enumerate(captions[1:], start=1):
            draw.text((left + k * step + side, bottom), caption, fill=_GREY, font=font, anchor='ra')
    _save(sheet, path)
    return path


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Write a picture atomically, because some pictures are never drawn again."""
    buffer = io.BytesIO()
    image.save(buffer, format=path.suffix[1:], **options)
    write_atomic(path, buffer.getvalue())


def _shrunk(x_NCHW: Any) -> np.ndarray:
    """Return images as uint8 NHWC, at most `_FILM_SIDE` pixels high."""
    import torch.nn.functional as F

    x_NCHW = x_NCHW.detach().float().clamp(0, 1)
    if (height := x_NCHW.shape[-2]) > _FILM_SIDE:
        size = (_FILM_SIDE, max(1, round(x_NCHW.shape[-1] * _FILM_SIDE / height)))
        x_NCHW = F.interpolate(x_NCHW, size, mode='bilinear', antialias=True)
    return (x_NCHW * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _film_frame(images_NHWC: np.ndarray, caption: str, part: str) -> Image.Image:
    """Return one frame of the time-lapse, with its own palette of 256 colours."""
    count, step = len(images_NHWC), _FILM_SIDE + 2
    # about square, with the fewest empty cells
    wide = range(math.ceil(math.sqrt(count)), math.ceil(math.sqrt(1.6 * count)) + 1)
    columns = min(wide, key=lambda columns: -count % columns)
    rows, strip = math.ceil(count / columns), _FONT_SIZE + 2 * _MARGIN
    frame = Image.new('RGB', (max(columns * step + 2, _FILM_WIDTH), rows * step + 2 + strip), 'white')
    for i, pixels_HWC in enumerate(images_NHWC):
        frame.paste(_square(Image.fromarray(pixels_HWC), _FILM_SIDE), (2 + i % columns * step, 2 + i // columns * step))
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(_FONT_SIZE)
    top = rows * step + _MARGIN
    draw.text((4, top), caption, fill=_INK, font=font)
    if draw.textlength(caption + part, font=font) + 24 <= frame.width:
        draw.text((frame.width - 4, top), part, fill=_GREY, font=font, anchor='ra')
    return frame.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)


def _square(image: Image.Image, side: int) -> Image.Image:
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    # small synthetic images are shown with visible pixels
    smooth = Image.Resampling.NEAREST if edge < side else Image.Resampling.LANCZOS
    return image.crop((left, top, left + edge, top + edge)).resize((side, side), smooth)


def _fit(caption: str, width: float, draw: ImageDraw.ImageDraw, font: _Font) -> str:
    caption = ' '.join(caption.split())  # a class name may hold any character; PIL does not measure several lines
    if draw.textlength(caption, font=font) <= width:
        return caption
    while caption and draw.textlength(caption + '…', font=font) > width:
        caption = caption[:-1]
    return caption + '…'
