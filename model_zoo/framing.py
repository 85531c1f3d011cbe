"""Which part of an image a network sees, and at which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from model_zoo.samples import uniforms

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the source image."""

_CENTRE = 224 / 256
_SMALLEST_PART = 0.6
CONSTANTS = (_CENTRE, _SMALLEST_PART)
"""What a change of would give other samples; part of their digest."""


@dataclass(frozen=True)
class Frame:
    """A part of an image, the height and width it is resized to, and where in the input that begins."""

    box: Box
    height: int
    width: int
    top: int = 0
    left: int = 0

    @property
    def size_and_scale(self) -> tuple[float, float, float]:
        """Height, width, and by how much the image was enlarged (py-faster-rcnn's im_info)."""
        return self.height, self.width, self.height / (self.box[3] - self.box[1])

    @property
    def window(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the image in the input (Matterport's window)."""
        return self.top, self.left, self.top + self.height, self.left + self.width


class Framing(Protocol):
    """How images of any size come to the network's own; `size` is its height and width."""

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        """The view of an image that results are judged on."""

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        """Another view, the same for the same key."""


@dataclass(frozen=True)
class CentreCrop:
    """The usual evaluation of ImageNet networks: the shorter side to size * 256 / 224, the centre cut out."""

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return Frame(centre_box(width, height), *size)

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        return Frame(seeded_box(width, height, *key), *size)


CENTRE_CROP = CentreCrop()


@dataclass(frozen=True)
class Warp:
    """The whole image, whatever becomes of its proportions, as SSD sees it (MODELS.md 6.2)."""

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return Frame((0, 0, width, height), *size)

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        return Frame(seeded_part(width, height, *key), *size)


@dataclass(frozen=True)
class Fit:
    """The whole image, as large as fits, with nothing to its right or below it.

    Faster R-CNN scales the shorter side to 600 pixels; a graph of a fixed size sees most images so, and
    `im_info` tells where they end (MODELS.md 10).
    """

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return _fitted((0, 0, width, height), size)

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        return _fitted(seeded_part(width, height, *key), size)


@dataclass(frozen=True)
class Square:
    """The whole image in the middle: its shorter side `shorter` pixels long, or less if the other needs it.

    An image is never made smaller than that asks for (Matterport's mode "square", MODELS.md 9).
    """

    shorter: int = 800

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return self._centred((0, 0, width, height), size)

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        return self._centred(seeded_part(width, height, *key), size)

    def _centred(self, box: Box, size: tuple[int, int]) -> Frame:
        left, top, right, bottom = box
        enlarged = max(1.0, self.shorter / min(bottom - top, right - left))
        scale = min(enlarged, size[0] / (bottom - top), size[1] / (right - left))
        height, width = (max(1, round(side * scale)) for side in (bottom - top, right - left))
        height, width = min(height, size[0]), min(width, size[1])
        return Frame(box, height, width, (size[0] - height) // 2, (size[1] - width) // 2)


def centre_box(width: int, height: int) -> Box:
    """The centred square that resizing the shorter side to 256 and cutting out 224 leaves."""
    side = min(width, height) * _CENTRE
    return _square((width - side) / 2, (height - side) / 2, side)


def seeded_box(width: int, height: int, *key: object) -> Box:
    """A square somewhere in the image with 0.6 to 1 of its shorter side, the same for the same key."""
    scale, across, down = uniforms(3, "crop", *key)
    side = float(min(width, height) * (_SMALLEST_PART + (1 - _SMALLEST_PART) * scale))
    return _square(float(across) * (width - side), float(down) * (height - side), side)


def seeded_part(width: int, height: int, *key: object) -> Box:
    """A rectangle somewhere in the image with 0.6 to 1 of each side, the same for the same key."""
    scales, places = uniforms(4, "part", *key).reshape(2, 2)
    sides = (_SMALLEST_PART + (1 - _SMALLEST_PART) * scales) * (width, height)
    left, top = places * ((width, height) - sides)
    return float(left), float(top), float(left + sides[0]), float(top + sides[1])


def _fitted(box: Box, size: tuple[int, int]) -> Frame:
    left, top, right, bottom = box
    scale = min(size[0] / (bottom - top), size[1] / (right - left))
    height, width = (max(1, round(side * scale)) for side in (bottom - top, right - left))
    return Frame(box, min(height, size[0]), min(width, size[1]))


def _square(left: float, top: float, side: float) -> Box:
    return left, top, left + side, top + side
