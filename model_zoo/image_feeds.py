"""Images as the feeds of a network: crop, resize, channel order, mean, scale, layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from model_zoo.framing import CENTRE_CROP, CONSTANTS, Frame, Framing
from model_zoo.photographs import ImageSet, folder_set, photograph_set
from model_zoo.samples import LazyFeeds, Samples, digest_of, uniforms
from model_zoo.spec import Split
from runtime.progress import Progress
from runtime.tensors import Feed

if TYPE_CHECKING:
    from PIL.Image import Image

Layout = Literal["NHWC", "NCHW"]
ChannelOrder = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class ImageFormat:
    """What a network's image input looks like: (pixel - mean) * scale, pixels being 0..255.

    size:    height and width.
    mean:    per channel, in the order the channels are fed in.
    framing: what part of an image comes to that size. Beyond it the input is 0.
    info:    name of an input with the image's height, width and scale inside it ("": there is none).
    """

    input_name: str
    size: tuple[int, int]
    layout: Layout
    channel_order: ChannelOrder
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    framing: Framing = CENTRE_CROP
    info: str = ""


def image_feeds(
    image_format: ImageFormat, images: Callable[[Progress], ImageSet] = photograph_set
) -> LazyFeeds:
    """Photographs as float32 [batch, height, width, 3] or [batch, 3, ...] (seeded images without them).

    (ai-matrix's TensorRT demo for Caffe resizes to 256x256 without keeping the aspect, MODELS.md §3; the
    frameworks would then see different pixels, so it is not followed.) Once every photograph of a split was
    seen, the stream goes on with seeded parts and mirror images of them.
    """
    return LazyFeeds(
        find=lambda progress: _samples(images(progress), image_format),
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


def preprocess(image: Image, frame: Frame, image_format: ImageFormat) -> NDArray[np.float32]:
    """The part of an RGB image in `frame` as the network takes it, without the batch axis."""
    import PIL.Image

    # One step in place of resize and then crop: the same bilinear, antialiased kernel, half the work.
    resized = image.resize((frame.width, frame.height), PIL.Image.Resampling.BILINEAR, box=frame.box)
    pixels = np.asarray(resized, dtype=np.float32)
    if image_format.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    values = (pixels - np.asarray(image_format.mean, np.float32)) * np.float32(image_format.scale)
    if values.shape[:2] != image_format.size:
        below, right = (size - side for size, side in zip(image_format.size, values.shape, strict=False))
        values = np.pad(values, ((0, below), (0, right), (0, 0)))
    if image_format.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values)


def _samples(images: ImageSet, image_format: ImageFormat) -> Samples:
    import PIL

    return Samples(
        origin=images.origin,
        synthetic=images.synthetic,
        # Pillow brings its own decoders, whose pixels may change in the last bit from version to version.
        digest=digest_of(images.digest, image_format, PIL.__version__, CONSTANTS),
        sample=partial(_sample, images, image_format),
    )


def _sample(images: ImageSet, image_format: ImageFormat, split: Split, k: int) -> Feed:
    openers = images.images[split]
    image = openers[k % len(openers)]()
    framing, size = image_format.framing, image_format.size
    frame = framing.whole(*image.size, size)
    if k >= len(openers):
        frame = framing.part(*image.size, size, split.value, k)
        if uniforms(1, "mirror", split.value, k)[0] < 0.5:
            image = _mirrored(image)
    feed = {image_format.input_name: preprocess(image, frame, image_format)}
    if not image_format.info:
        return feed
    scale = frame.height / (frame.box[3] - frame.box[1])
    return feed | {image_format.info: np.array([frame.height, frame.width, scale], np.float32)}


def _mirrored(image: Image) -> Image:
    import PIL.Image

    return image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
