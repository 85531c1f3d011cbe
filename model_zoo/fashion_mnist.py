"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey pictures of garments, 28x28, of ten kinds.

Networks see them with two black pixels on every side, each grey value as red, green and blue.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from model_zoo.framing import Frame
from model_zoo.photographs import ImageSet, synthetic_set
from model_zoo.samples import digest_of
from model_zoo.spec import Split
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

SIDE = 28
BORDER = 2
FRAMED_SIDE = SIDE + 2 * BORDER

MEAN = 72.94
"""Of the 47,040,000 grey values that are learned from."""

_FOLDER = "usr/share/datasets/fashion-mnist"
_TRAINING, _TEST = "train", "t10k"
_UNSIGNED_BYTES = 8
"""What idx files call uint8 in the third byte of their magic number (LeCun's MNIST page)."""

_CALIBRATED = 2048
"""Pictures of each split; what is learned from is more than ranges are found on."""

_HINT = "give the folder with the four files of Fashion-MNIST (train-* and t10k-*-ubyte.gz)"


@dataclass(frozen=True)
class Pictures:
    """Grey pictures uint8 [n, 28, 28], and the class of each [n], 0 to 9."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, number: int) -> Pictures:
        return Pictures(self.images[:number], self.labels[:number])


@dataclass(frozen=True)
class FashionMnist:
    """What is learned from, and the 10,000 pictures that are held out."""

    training: Pictures
    test: Pictures


@dataclass(frozen=True)
class Inset:
    """The whole of a picture that is smaller than the input, at its own size, in the middle."""

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return self._centred(width, height, size)

    def part(self, width: int, height: int, size: tuple[int, int], *_: object) -> Frame:
        """The same: half a garment is none."""
        return self._centred(width, height, size)

    def _centred(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        rows, columns = min(height, size[0]), min(width, size[1])
        top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
        return Frame((0, 0, width, height), rows, columns, top, left)


def fashion_mnist(progress: Progress = silent) -> FashionMnist:
    """All of it; raises UnavailableError where it cannot be fetched."""
    return read_folder(archives.fetch("fashion-mnist", progress) / _FOLDER)


@cache
def read_folder(folder: Path) -> FashionMnist:
    """The four files in their official names; raises UsageError where one is missing or broken."""
    return FashionMnist(_pictures(folder, _TRAINING), _pictures(folder, _TEST))


def _pictures(folder: Path, part: str) -> Pictures:
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    if images.shape != (len(labels), SIDE, SIDE) or labels.max(initial=0) >= len(CLASSES):
        raise UsageError(
            f"{folder}: the {part} files hold pictures {list(images.shape)} and labels {list(labels.shape)}"
            f" up to {labels.max(initial=0)}, expected [n, {SIDE}, {SIDE}], [n] and up to {len(CLASSES) - 1};"
            f" {_HINT}"
        )
    return Pictures(images, labels)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of a gzipped idx file of unsigned bytes; raises UsageError for any other."""
    try:
        with gzip.open(path) as stream:
            packed = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} is not a gzipped file that can be read: {error}; {_HINT}") from error
    if len(packed) < 4 or packed[:3] != bytes((0, 0, _UNSIGNED_BYTES)):
        raise UsageError(f"{path} begins with {packed[:4].hex()}, expected 000008 of an idx file; {_HINT}")
    start = 4 + 4 * packed[3]
    shape = np.frombuffer(packed[4:start], ">u4").tolist()
    if len(shape) != packed[3] or len(packed) - start != math.prod(shape):
        raise UsageError(f"{path} holds {len(packed) - start} values, its header says {shape}; {_HINT}")
    return np.frombuffer(packed, np.uint8, offset=start).reshape(shape)


def framed(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[n, 32, 32] of [n, 28, 28]: black around each."""
    return np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))


def coloured(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[..., 3] of grey values."""
    return np.repeat(image[..., np.newaxis], 3, axis=-1)


def fed(images: NDArray[np.uint8], mean: float, scale: float) -> NDArray[np.float32]:
    """[n, 32, 32, 3] of [n, 28, 28], as the feeds have them."""
    return (coloured(framed(images)) - np.float32(mean)) * np.float32(scale)


def fashion_set(progress: Progress = silent) -> ImageSet:
    """Pictures that are learned from, to find ranges on, and held-out ones; seeded images without them."""
    try:
        found = fashion_mnist(progress)
    except UnavailableError as error:
        return synthetic_set(str(error))
    members = archives.contents(archives.fetch("fashion-mnist"))
    return ImageSet(
        f"{_CALIBRATED} pictures of Fashion-MNIST in each split, calibration of those learned from",
        False,
        digest_of(members, _CALIBRATED),
        {
            Split.CALIBRATION: _openers(found.training.first(_CALIBRATED)),
            Split.EVALUATION: _openers(found.test.first(_CALIBRATED)),
        },
    )


def _openers(pictures: Pictures) -> tuple[Callable[[], Image], ...]:
    return tuple(partial(_as_image, image) for image in pictures.images)


def _as_image(image: NDArray[np.uint8]) -> Image:
    import PIL.Image

    return PIL.Image.fromarray(coloured(image))
