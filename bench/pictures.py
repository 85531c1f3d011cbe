"""Photographs with findings drawn on them, a strip of text below them; lines and letters fit the size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.findings import Colour, Finding, Point
from model_zoo.framing import Box

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
PAPER, BAR, CAPTION = (24, 24, 24), (60, 90, 130), (180, 180, 180)

_SMALLEST_SIDE = 480
_LONGEST_SIDE = 1920
"""Photographs of a smaller mean side are enlarged, so that they have room for letters; to this at most."""

_SIDE_PER_LINE = 220
_SIDE_PER_LETTER = 34
_SMALLEST_LETTER = 14
_LETTERS_PER_LINE = 24
"""What the strip has room for, however narrow the photograph is."""

_LINE_HEIGHT = 1.35  # of a letter's height
_TINT = 0.45  # of a pixel's colour


def picture_of(
    photograph: Image, findings: Sequence[Finding], captions: Sequence[str], part: Box | None = None
) -> Image:
    """An RGB photograph with the findings, the best first, on it and the captions in the strip below.

    A small photograph is enlarged a whole number of times. `part` is outlined where there is one.
    """
    zoom = zoom_of(*photograph.size)
    pen = PhotographPen(photograph.resize((photograph.width * zoom, photograph.height * zoom)), zoom)
    if part is not None:
        pen.mark(part)
    for finding in findings:
        finding.draw(pen)
    return pen.finished(captions)


def zoom_of(width: int, height: int) -> int:
    """How many times a photograph is enlarged."""
    wanted = math.ceil(_SMALLEST_SIDE / math.sqrt(width * height))
    return max(1, min(wanted, _LONGEST_SIDE // max(width, height)))


@dataclass(frozen=True)
class _Label:
    place: Point
    text: str
    colour: Colour


@dataclass(frozen=True)
class _Note:
    text: str
    share: float = 0.0
    ink: Colour = WHITE


class PhotographPen:
    """A bench.findings.Pen on an image `zoom` times as large as the photograph that places refer to."""

    def __init__(self, image: Image, zoom: int) -> None:
        import PIL.ImageDraw
        import PIL.ImageFont

        side = math.sqrt(image.width * image.height)
        self._image = image
        self._draw = PIL.ImageDraw.Draw(image)
        self._zoom = zoom
        self._width = max(1, round(side / _SIDE_PER_LINE))
        self._letter = max(_SMALLEST_LETTER, round(side / _SIDE_PER_LETTER))
        self._font = PIL.ImageFont.load_default(self._letter)
        self._labels: list[_Label] = []
        self._notes: list[_Note] = []

    def outline(self, corners: Sequence[Point], colour: Colour) -> None:
        # The first side again at the end: PIL joins a line's sides, but not its ends.
        self._stroke([*corners, *corners[:2]], colour)

    def line(self, start: Point, end: Point, colour: Colour) -> None:
        self._stroke([start, end], colour)

    def dot(self, centre: Point, colour: Colour, *, filled: bool) -> None:
        radius = 2 * self._width
        for size, ink in ((radius + self._casing, BLACK), (radius, colour)):
            self._draw.circle(self._scaled(centre), size, ink if filled else None, ink, self._width)

    def tint(self, pixels: NDArray[np.bool_], colour: Colour) -> None:
        import PIL.Image

        shares = PIL.Image.fromarray(np.where(pixels, round(255 * _TINT), 0).astype(np.uint8))
        enlarged = shares.resize(self._image.size, PIL.Image.Resampling.NEAREST)
        self._image.paste(colour, (0, 0, *self._image.size), enlarged)

    def label(self, place: Point, text: str, colour: Colour) -> None:
        self._labels.append(_Label(self._scaled(place), text, colour))

    def note(self, text: str, share: float = 0.0) -> None:
        self._notes.append(_Note(text, share))

    def mark(self, part: Box) -> None:
        """A thin outline around a part of the photograph."""
        left, top, right, bottom = (side * self._zoom for side in part)
        width = max(1, self._width // 2)
        for inset, ink in ((0, BLACK), (width, WHITE)):
            first = left + inset, top + inset
            last = max(first[0], right - 1 - inset), max(first[1], bottom - 1 - inset)
            self._draw.rectangle((first, last), outline=ink, width=width)

    def finished(self, captions: Sequence[str]) -> Image:
        """The image with its labels, the best on top, and all notes and captions in a strip below."""
        for label in reversed(self._labels):
            self._write(label)
        return self._with_strip([*self._notes, *(_Note(text, ink=CAPTION) for text in captions)])

    @property
    def _casing(self) -> int:
        """Black at either side of a line, so that it is seen on any photograph."""
        return (self._width + 1) // 2

    def _scaled(self, place: Point) -> Point:
        return place[0] * self._zoom, place[1] * self._zoom

    def _stroke(self, points: Sequence[Point], colour: Colour) -> None:
        places = [self._scaled(point) for point in points]
        self._draw.line(places, BLACK, self._width + 2 * self._casing, joint="curve")
        self._draw.line(places, colour, self._width, joint="curve")

    def _write(self, label: _Label) -> None:
        """Above the place if there is room, else below it; never over the image's edge."""
        width, height = self._font.getlength(label.text) + self._letter / 2, self._line_height
        left = max(0, min(label.place[0], self._image.width - width))
        top = label.place[1] - height if label.place[1] >= height else label.place[1]
        top = max(0, min(top, self._image.height - height))
        # PIL's rectangles hold their last row and column.
        self._draw.rectangle((left, top, left + width - 1, top + height - 1), label.colour)
        self._line(self._draw, (left, top), label.text, _contrasting(label.colour))

    def _line(self, draw: ImageDraw, place: Point, text: str, colour: Colour) -> None:
        left, top = place[0] + self._letter / 4, place[1] + self._line_height / 2
        draw.text((left, top), text, colour, self._font, anchor="lm")

    @property
    def _line_height(self) -> int:
        return math.ceil(_LINE_HEIGHT * self._letter)

    def _with_strip(self, notes: Sequence[_Note]) -> Image:
        import PIL.Image
        import PIL.ImageDraw

        width = max(self._image.width, _LETTERS_PER_LINE * self._letter)
        lines = [replace(note, text=text) for note in notes for text in self._wrapped(note.text, width)]
        top = self._image.height
        canvas = PIL.Image.new("RGB", (width, top + self._line_height * len(lines)), PAPER)
        canvas.paste(self._image)
        draw = PIL.ImageDraw.Draw(canvas)
        for line in lines:
            if (bar := round(line.share * width)) > 0:
                draw.rectangle((0, top, bar - 1, top + self._line_height - 1), BAR)
            self._line(draw, (0, top), line.text, line.ink)
            top += self._line_height
        return canvas

    def _wrapped(self, text: str, width: int) -> Iterator[str]:
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and self._font.getlength(longer) > width - self._letter / 2:
                yield line
                longer = word
            line = longer
        yield line


def _contrasting(colour: Colour) -> Colour:
    """Black or white; weights of red, green and blue in luminance are ITU-R BT.601's."""
    red, green, blue = colour
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 127 else WHITE
