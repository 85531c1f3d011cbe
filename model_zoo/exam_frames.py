"""Photographs of a data set as questions, with what is needed to tell places in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.exam_parts import batched, wanted_folder
from model_zoo.framing import Frame
from model_zoo.spec import FeedSource, Question
from runtime.errors import UsageError
from runtime.tensors import Array, Feed


class FramedFeed(dict[str, Array]):
    """A feed that knows where in its images' pixels the network sees them."""

    def __init__(self, feeds: Sequence[Feed], frames: Sequence[Frame]) -> None:
        super().__init__({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
        self.frames = frames


def frames_of(feed: Feed) -> Sequence[Frame]:
    """Of a question's feed; raises UsageError for another one."""
    if not isinstance(feed, FramedFeed):
        raise UsageError("places are told in pixels of the images asked; give the question's own feed")
    return feed.frames


def in_photograph(points: Array, frame: Frame) -> NDArray[np.float64]:
    """Points [..., 2], x and y in pixels of the input, as pixels of the photograph."""
    left, top, right, bottom = frame.box
    pixel = (right - left) / frame.width, (bottom - top) / frame.height
    places: NDArray[np.float64] = (points - (frame.left, frame.top)) * pixel + (left, top)
    return places


def framed_questions(
    data_set: str, feeds: Callable[[], FeedSource], batch: int, folder: Path | None
) -> Iterator[Question]:
    """The set's images as `feeds` takes them; raises UnavailableError without a folder, UsageError."""
    from model_zoo.datasets import get_data_set, samples
    from model_zoo.image_feeds import ImageFeeds

    folder, source = wanted_folder(folder, get_data_set(data_set).title), feeds()
    if not isinstance(source, ImageFeeds):
        raise UsageError(f"{type(source).__name__} does not feed images, which {data_set} consists of")
    for part in batched(samples(data_set, folder), batch):
        images = [sample.raw.open() for sample in part]
        fed = [source.of_image(image) for image in images]
        yield Question(
            FramedFeed([feed for feed, _ in fed], [frame for _, frame in fed]),
            [sample.truth for sample in part],
            [sample.name for sample in part],
            [np.asarray(image) for image in images],
        )
