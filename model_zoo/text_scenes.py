"""Photographs with words on signs in them: for networks that find text in a scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_zoo.photographs import ImageSet, photograph_set
from model_zoo.samples import digest_of, uniforms
from model_zoo.spec import Split
from model_zoo.word_images import word_set
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_SIGNS = 8
_DEGREES = 20.0
_HEIGHTS = (0.05, 0.15)  # of a sign, as a share of the photograph's shorter side
_WIDEST = 0.6  # as a share of the photograph's width
CONSTANTS = (_MOST_SIGNS, _DEGREES, _HEIGHTS, _WIDEST)
"""What a change of would give other images; part of their digest."""


@dataclass(frozen=True)
class Sign:
    """A word in a scene: how it is placed, in pixels of the photograph and degrees."""

    word: int
    height: float
    degrees: float
    centre: tuple[float, float]


@dataclass(frozen=True)
class TextScene:
    """A photograph, and rendered words that are turned and pasted into it, the same ones every time."""

    photograph: Callable[[], Image]
    words: Sequence[Callable[[], Image]]
    key: tuple[object, ...]

    def __call__(self) -> Image:
        image = self.photograph().copy()
        for sign in self.signs(image.size):
            _paste(image, self.words[sign.word](), sign)
        return image

    def signs(self, size: tuple[int, int]) -> list[Sign]:
        """Where the words are in a photograph of this width and height; later ones lie on earlier ones."""
        number = 1 + int(uniforms(1, "signs", *self.key)[0] * _MOST_SIGNS)
        return [self._sign(index, size) for index in range(number)]

    def _sign(self, index: int, size: tuple[int, int]) -> Sign:
        word, height, turn, across, down = map(float, uniforms(5, "sign", *self.key, index))
        low, high = _HEIGHTS
        return Sign(
            int(word * len(self.words)),
            (low + (high - low) * height) * min(size),
            _DEGREES * (2 * turn - 1),
            (across * size[0], down * size[1]),
        )


def text_scene_set(progress: Progress = silent) -> ImageSet:
    """The photographs, with words of the same split in them; both may be synthetic and then say why."""
    photographs, words = photograph_set(progress), word_set(progress)
    scenes: dict[Split, tuple[Callable[[], Image], ...]] = {
        split: tuple(
            TextScene(opener, words.images[split], (split.value, index))
            for index, opener in enumerate(photographs.images[split])
        )
        for split in Split
    }
    return ImageSet(
        f"{photographs.origin}, with signs: {words.origin}",
        photographs.synthetic or words.synthetic,
        digest_of("text scenes", photographs.digest, words.digest, CONSTANTS),
        scenes,
    )


def _paste(image: Image, word: Image, sign: Sign) -> None:
    height = min(sign.height, _WIDEST * image.width * word.height / word.width)
    patch, mask = turned(word, height, sign.degrees)
    corner = tuple(round(at - side / 2) for at, side in zip(sign.centre, patch.size, strict=True))
    image.paste(patch, (corner[0], corner[1]), mask)


def turned(word: Image, height: float, degrees: float) -> tuple[Image, Image]:
    """A word so high, then turned against the clock; and a mask: 255 where that is, 0 around it."""
    import PIL.Image

    size = max(1, round(word.width * height / word.height)), max(1, round(height))
    parts = word.resize(size, PIL.Image.Resampling.BICUBIC), PIL.Image.new("L", size, 255)
    patch, mask = (part.rotate(degrees, PIL.Image.Resampling.BICUBIC, expand=True) for part in parts)
    return patch, mask
