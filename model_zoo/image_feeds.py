"""Images as the feeds of a network: crop, resize, channel order, mean, scale, layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from model_zoo.photographs import ImageSet, folder_set, photograph_set
from model_zoo.samples import LazyFeeds, Samples, digest_of, uniforms
from model_zoo.spec import Split
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from PIL.Image import Image

Layout = Literal["NHWC", "NCHW"]
ChannelOrder = Literal["RGB", "BGR"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the source image."""

_CENTRE = 224 / 256
_SMALLEST_CROP = 0.6


@dataclass(frozen=True)
class ImageFormat:
    """What a network's image input looks like: (pixel - mean) * scale, pixels being 0..255.

    mean: per channel, in the order the channels are fed in.
    """

    input_name: str
    size: int
    layout: Layout
    channel_order: ChannelOrder
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0


def image_feeds(
    input_name: str,
    size: int,
    layout: Layout,
    channel_order: ChannelOrder,
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: float = 1.0,
) -> LazyFeeds:
    """Photographs as float32 [batch, size, size, 3] or [batch, 3, size, size] (seeded images without them).

    The shorter side becomes size * 256 / 224 and the centre is cut out: the usual evaluation of ImageNet
    networks. (ai-matrix's TensorRT demo for Caffe resizes to 256x256 without keeping the aspect,
    MODELS.md §3; the frameworks would then see different pixels, so it is not followed.) Once every
    photograph of a split was seen, the stream goes on with seeded crops and mirror images of them.
    """
    image_format = ImageFormat(input_name, size, layout, channel_order, mean, scale)
    return LazyFeeds(
        find=lambda progress: _samples(photograph_set(progress), image_format),
        over=lambda folder: image_folder_feeds(folder, image_format),
    )


def image_folder_feeds(folder: Path, image_format: ImageFormat) -> LazyFeeds:
    """As image_feeds, over the images of a user's folder; half of them for each split.

    Raises UsageError at once where the folder has no images; a broken image raises FeedError when it is met.
    """
    samples = _samples(folder_set(folder), image_format)

    def find(_: Progress) -> Samples:
        return samples

    return LazyFeeds(find, over=lambda other: image_folder_feeds(other, image_format))


def preprocess(image: Image, box: Box, image_format: ImageFormat) -> NDArray[np.float32]:
    """The part of an RGB image inside `box` as the network takes it, without the batch axis."""
    import PIL.Image

    side = (image_format.size, image_format.size)
    # One step in place of resize and then crop: the same bilinear, antialiased kernel, half the work.
    resized = image.resize(side, PIL.Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(resized, dtype=np.float32)
    if image_format.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    values = (pixels - np.asarray(image_format.mean, np.float32)) * np.float32(image_format.scale)
    if image_format.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values)


def centre_box(width: int, height: int) -> Box:
    """The centred square that resizing the shorter side to 256 and cutting out 224 leaves."""
    side = min(width, height) * _CENTRE
    return _square((width - side) / 2, (height - side) / 2, side)


def seeded_box(width: int, height: int, *key: object) -> Box:
    """A square somewhere in the image with 0.6 to 1 of its shorter side, the same for the same key."""
    scale, across, down = uniforms(3, "crop", *key)
    side = float(min(width, height) * (_SMALLEST_CROP + (1 - _SMALLEST_CROP) * scale))
    return _square(float(across) * (width - side), float(down) * (height - side), side)


def _square(left: float, top: float, side: float) -> Box:
    return left, top, left + side, top + side


def _samples(images: ImageSet, image_format: ImageFormat) -> Samples:
    import PIL

    return Samples(
        origin=images.origin,
        synthetic=images.synthetic,
        # Pillow brings its own decoders, whose pixels may change in the last bit from version to version.
        digest=digest_of(images.digest, image_format, PIL.__version__, _CENTRE, _SMALLEST_CROP),
        sample=partial(_sample, images, image_format),
    )


def _sample(images: ImageSet, image_format: ImageFormat, split: Split, k: int) -> Feed:
    openers = images.images[split]
    image = openers[k % len(openers)]()
    box = centre_box(*image.size)
    if k >= len(openers):
        box = seeded_box(*image.size, split.value, k)
        if uniforms(1, "mirror", split.value, k)[0] < 0.5:
            image = _mirrored(image)
    return {image_format.input_name: preprocess(image, box, image_format)}


def _mirrored(image: Image) -> Image:
    import PIL.Image

    return image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
