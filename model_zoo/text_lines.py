"""Images of one line of text, grey, as EasyOCR feeds them to what reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_zoo.framing import CONSTANTS, Box, Frame, seeded_part
from model_zoo.photographs import ImageSet, folder_set
from model_zoo.samples import LazyFeeds, Samples, digest_of
from model_zoo.spec import Split
from model_zoo.word_images import word_set
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from PIL.Image import Image

_PIXEL_CENTRE = 127.5


@dataclass(frozen=True)
class LineFormat:
    """What the input looks like: [height, width, 1] of pixel / 127.5 - 1, pixels being 0..255.

    A line is made as high as the input and as wide as that makes it, or squeezed where that is too wide. What
    is free to the right of it repeats its last column.
    """

    input_name: str
    size: tuple[int, int]

    def frame(self, box: Box) -> Frame:
        """Where the input shows a part of an image."""
        left, top, right, bottom = box
        height, width = self.size
        return Frame(box, height, min(width, math.ceil(height * (right - left) / (bottom - top))))

    def feed(self, image: Image, frame: Frame) -> Feed:
        """The part of an image in `frame`, without the batch axis."""
        import PIL.Image

        grey = image.convert("L")
        resized = grey.resize((frame.width, frame.height), PIL.Image.Resampling.BICUBIC, box=frame.box)
        values = np.asarray(resized, np.float32) / np.float32(_PIXEL_CENTRE) - 1
        filled = np.pad(values, ((0, 0), (0, self.size[1] - frame.width)), "edge")
        return {self.input_name: filled[..., np.newaxis]}


class LineFeeds(LazyFeeds):
    """LazyFeeds over lines of text, which also tell how they feed any other image."""

    def __init__(self, line_format: LineFormat, images: Callable[[Progress], ImageSet] = word_set) -> None:
        super().__init__(
            find=lambda progress: _samples(images(progress), line_format),
            over=lambda folder: line_folder_feeds(folder, line_format),
        )
        self.line_format = line_format

    def of_image(self, image: Image) -> tuple[Feed, Frame]:
        """A batch of one image, the whole of it, and where it lies in the input."""
        frame = self.line_format.frame((0, 0, *image.size))
        return {name: array[np.newaxis] for name, array in self.line_format.feed(image, frame).items()}, frame


def line_folder_feeds(folder: Path, line_format: LineFormat) -> LineFeeds:
    """LineFeeds over the images of a user's folder; half of them for each split.

    Raises UsageError at once where the folder has no images; a broken image raises FeedError when it is met.
    """
    found = folder_set(folder)
    return LineFeeds(line_format, lambda _: found)


def _samples(images: ImageSet, line_format: LineFormat) -> Samples:
    import PIL

    return Samples(
        origin=images.origin,
        synthetic=images.synthetic,
        digest=digest_of(images.digest, line_format, PIL.__version__, CONSTANTS),
        sample=partial(_sample, images, line_format),
    )


def _sample(images: ImageSet, line_format: LineFormat, split: Split, k: int) -> Feed:
    """Once every image of a split was seen, seeded parts of them: text does not bear mirroring."""
    openers = images.images[split]
    image = openers[k % len(openers)]()
    box = (0, 0, *image.size) if k < len(openers) else seeded_part(*image.size, split.value, k)
    return line_format.feed(image, line_format.frame(box))
