"""What a model can find in a photograph: data, its lines of text, and what a pen draws of it.

All places are pixels of the photograph, x and y, from its upper left. Knows no model and no drawing library.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]

_ORANGE, _SKY, _GREEN, _YELLOW, _BLUE, _RED, _PURPLE = PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito 2008, "Color universal design": told apart with any kind of colour vision."""


class Pen(Protocol):
    """Draws on a photograph; how wide lines are and how large letters is its own matter."""

    def outline(self, corners: Sequence[Point], colour: Colour) -> None:
        """A closed line through the corners."""

    def line(self, start: Point, end: Point, colour: Colour) -> None: ...

    def dot(self, centre: Point, colour: Colour, *, filled: bool) -> None: ...

    def tint(self, pixels: NDArray[np.bool_], colour: Colour) -> None:
        """Colour laid over pixels [height, width] of the photograph, which shines through."""

    def label(self, place: Point, text: str, colour: Colour) -> None:
        """Text just above `place`, on a ground of this colour."""

    def note(self, text: str, share: float = 0.0) -> None:
        """A line beside the photograph, behind it a bar of this share (0..1) of the width."""


class Finding(Protocol):
    """One thing that was found."""

    def lines(self) -> Iterator[str]:
        """What was found, as text."""

    def draw(self, pen: Pen) -> None: ...


@dataclass(frozen=True)
class ClassProbability:
    """A class that the whole photograph may be of, and its probability (0..1)."""

    class_index: int
    probability: float

    def lines(self) -> Iterator[str]:
        yield f"class {self.class_index}: {self.probability:.1%}"

    def draw(self, pen: Pen) -> None:
        for line in self.lines():
            pen.note(line, self.probability)


@dataclass(frozen=True)
class ObjectBox:
    """An object of a class; `box` is its left, top, right and bottom."""

    class_index: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]

    @property
    def colour(self) -> Colour:
        return PALETTE[self.class_index % len(PALETTE)]

    def lines(self) -> Iterator[str]:
        left, top, right, bottom = self.box
        yield f"{self.class_name} {self.score:.2f}: {_place(left, top)} to {_place(right, bottom)}"

    def draw(self, pen: Pen) -> None:
        left, top, right, bottom = self.box
        pen.outline(((left, top), (right, top), (right, bottom), (left, bottom)), self.colour)
        pen.label((left, top), f"{self.class_name} {self.score:.2f}", self.colour)


@dataclass(frozen=True)
class RunLengths:
    """Pixels of the photograph as COCO writes masks: runs of 0 and 1 in turn, down the columns.

    size: height and width.
    """

    size: tuple[int, int]
    counts: tuple[int, ...]

    @staticmethod
    def of(pixels: NDArray[np.bool_]) -> RunLengths:
        """The runs of pixels [height, width]."""
        column_wise = pixels.ravel(order="F")
        changes = np.flatnonzero(np.diff(column_wise, prepend=False))
        counts = np.diff(changes, prepend=0, append=pixels.size)
        return RunLengths((pixels.shape[0], pixels.shape[1]), tuple(counts.tolist()))

    def pixels(self) -> NDArray[np.bool_]:
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.size, order="F")


@dataclass(frozen=True)
class ObjectMask:
    """An object, and which pixels are its own."""

    object: ObjectBox
    mask: RunLengths

    def lines(self) -> Iterator[str]:
        for line in self.object.lines():
            yield f"{line}, {sum(self.mask.counts[1::2])} pixels"

    def draw(self, pen: Pen) -> None:
        pen.tint(self.mask.pixels(), self.object.colour)
        self.object.draw(pen)


@dataclass(frozen=True)
class KeyPoint:
    """A key point of a person; `sure`: whether the network is sure enough for limbs to end there."""

    name: str
    score: float
    place: Point
    sure: bool

    @property
    def colour(self) -> Colour:
        """One for the person's left, one for the right, one for what is in the middle."""
        return {"left": _SKY, "right": _ORANGE}.get(self.name.partition(" ")[0], _YELLOW)


@dataclass(frozen=True)
class Person:
    """The key points of a person, and the limbs as pairs of their numbers."""

    points: tuple[KeyPoint, ...]
    limbs: tuple[tuple[int, int], ...]

    def lines(self) -> Iterator[str]:
        for point in self.points:
            unsure = "" if point.sure else " (unsure)"
            yield f"{point.name} {point.score:.2f}: {_place(*point.place)}{unsure}"

    def draw(self, pen: Pen) -> None:
        for start, end in (self._ends(limb) for limb in self.limbs):
            if start.sure and end.sure:
                pen.line(start.place, end.place, start.colour if start.colour == end.colour else _YELLOW)
        for point in self.points:
            pen.dot(point.place, point.colour, filled=point.sure)

    def _ends(self, limb: tuple[int, int]) -> tuple[KeyPoint, KeyPoint]:
        return self.points[limb[0]], self.points[limb[1]]


@dataclass(frozen=True)
class TextOutline:
    """A line of text somewhere in the photograph: its corners, clockwise from the upper left of the text."""

    corners: tuple[Point, Point, Point, Point]

    def lines(self) -> Iterator[str]:
        yield f"text: {', '.join(_place(*corner) for corner in self.corners)}"

    def draw(self, pen: Pen) -> None:
        pen.outline(self.corners, _YELLOW)


@dataclass(frozen=True)
class Word:
    """What a photograph of one word says, and the numbers of its characters as the network gives them."""

    text: str
    characters: tuple[int, ...]

    def lines(self) -> Iterator[str]:
        yield f'word: "{self.text}"'

    def draw(self, pen: Pen) -> None:
        for line in self.lines():
            pen.note(line)


def _place(x: float, y: float) -> str:
    return f"({x:.1f}, {y:.1f})"
