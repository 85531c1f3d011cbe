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
Told = Literal["size_and_scale", "window"]
"""What a network wants to know of a Frame."""


@dataclass(frozen=True)
class ImageFormat:
    """What a network's image input looks like: (pixel - mean) * scale, pixels being 0..255.

    size:    height and width.
    mean:    per channel, in the order the channels are fed in.
    framing: what part of an image comes to that size.
    black:   beyond it are black pixels; else the input is 0 there.
    info:    name of an input that tells where the image is ("": there is none), and what it tells.
    """

    input_name: str
    size: tuple[int, int]
    layout: Layout
    channel_order: ChannelOrder
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    framing: Framing = CENTRE_CROP
    black: bool = False
    info: str = ""
    told: Told = "size_and_scale"


class ImageFeeds(LazyFeeds):
    """LazyFeeds over images, which also tell how they feed any other image."""

    def __init__(self, image_format: ImageFormat, images: Callable[[Progress], ImageSet]) -> None:
        super().__init__(
            find=lambda progress: _samples(images(progress), image_format),
            over=lambda folder: image_folder_feeds(folder, image_format),
        )
        self.image_format = image_format

    def of_image(self, image: Image) -> tuple[Feed, Frame]:
        """A batch of one RGB image, in the view that results are judged on, and that view."""
        frame = self.image_format.framing.whole(*image.size, self.image_format.size)
        feed = _framed(image, frame, self.image_format)
        return {name: array[np.newaxis] for name, array in feed.items()}, frame


def image_feeds(
    image_format: ImageFormat, images: Callable[[Progress], ImageSet] = photograph_set
) -> ImageFeeds:
    """Photographs as float32 [batch, height, width, 3] or [batch, 3, ...] (seeded images without them).

    (ai-matrix's TensorRT demo for Caffe resizes to 256x256 without keeping the aspect, MODELS.md §3; the
    frameworks would then see different pixels, so it is not followed.) Once every photograph of a split was
    seen, the stream goes on with seeded parts and mirror images of them.
    """
    return ImageFeeds(image_format, images)


def image_folder_feeds(folder: Path, image_format: ImageFormat) -> ImageFeeds:
    """As image_feeds, over the images of a user's folder; half of them for each split.

    Raises UsageError at once where the folder has no images; a broken image raises FeedError when it is met.
    """
    found = folder_set(folder)
    return ImageFeeds(image_format, lambda _: found)


def preprocess(image: Image, frame: Frame, image_format: ImageFormat) -> NDArray[np.float32]:
    """The part of an RGB image in `frame` as the network takes it, without the batch axis."""
    import PIL.Image

    # One step in place of resize and then crop: the same bilinear, antialiased kernel, half the work.
    resized = image.resize((frame.width, frame.height), PIL.Image.Resampling.BILINEAR, box=frame.box)
    pixels = np.asarray(resized, dtype=np.float32)
    if image_format.channel_order == "BGR":
        pixels = pixels[..., ::-1]
    if image_format.black:
        pixels = _bordered(pixels, frame, image_format.size)
    values = (pixels - np.asarray(image_format.mean, np.float32)) * np.float32(image_format.scale)
    values = _bordered(values, frame, image_format.size)
    if image_format.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values)


def _bordered(pixels: NDArray[np.float32], frame: Frame, size: tuple[int, int]) -> NDArray[np.float32]:
    """Zeros around, as far as `size` is not reached."""
    before = (frame.top, frame.left)
    if pixels.shape[:2] == size:
        return pixels
    pads = [(start, end - start - side) for start, end, side in zip(before, size, pixels.shape, strict=False)]
    return np.pad(pixels, (*pads, (0, 0)))


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
    return _framed(image, frame, image_format)


def _framed(image: Image, frame: Frame, image_format: ImageFormat) -> Feed:
    """The part of an RGB image in `frame` as the network's inputs, without the batch axis."""
    feed = {image_format.input_name: preprocess(image, frame, image_format)}
    if not image_format.info:
        return feed
    return feed | {image_format.info: np.array(getattr(frame, image_format.told), np.float32)}


def _mirrored(image: Image) -> Image:
    import PIL.Image

    return image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
