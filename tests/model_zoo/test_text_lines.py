"""Lines of text: their size and place in the input in closed form, their grey as the standard has it."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo import crnn
from model_zoo.framing import Frame
from model_zoo.photographs import ImageSet
from model_zoo.spec import Split
from model_zoo.text_lines import LineFeeds, LineFormat
from runtime.errors import FeedError, UsageError
from runtime.tensors import TensorSpec, check_feed

FORMAT = LineFormat("images", (64, 320))


def feeds_of(*images: Image.Image, line_format: LineFormat = FORMAT) -> LineFeeds:
    """Of these images alone, in both splits."""
    openers = tuple(partial(Image.Image.copy, image) for image in images)
    found = ImageSet("a test", False, "0" * 64, dict.fromkeys(Split, openers))
    return LineFeeds(line_format, lambda _: found)


def ramp(width: int, height: int) -> Image.Image:
    """Black on the left, white on the right."""
    row = np.linspace(0, 255, width).round().astype(np.uint8)
    return Image.fromarray(np.tile(row, (height, 1))).convert("RGB")


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(320, 64, 320), (160, 32, 320), (100, 64, 100), (100, 63, 102), (1000, 64, 320), (1, 1000, 1)],
)
def test_a_line_is_as_wide_as_its_height_makes_it_or_squeezed(width: int, height: int, expected: int) -> None:
    """64 * width / height, the rest of a pixel being one more."""
    frame = FORMAT.frame((0, 0, width, height))
    assert frame == Frame((0, 0, width, height), 64, expected)


def test_a_lines_own_pixels_stay_as_they_are_and_the_last_column_goes_on() -> None:
    image = ramp(128, 64)
    feed, frame = feeds_of().of_image(image)
    check_feed(feed, (TensorSpec("images", "float32", ("batch", 64, 320, 1)),))
    expected = np.asarray(image.convert("L"), np.float64) / 127.5 - 1
    np.testing.assert_allclose(feed["images"][0, :, :128, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(feed["images"][0, :, 128:], 1)
    assert frame.width == 128


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 200, 90)])
def test_grey_is_the_luma_of_bt_601(colour: tuple[int, int, int]) -> None:
    feed, _ = feeds_of().of_image(Image.new("RGB", (50, 64), colour))
    luma = np.dot(colour, (0.299, 0.587, 0.114))
    np.testing.assert_allclose((feed["images"] + 1) * 127.5, luma, atol=1)


def test_a_wide_line_is_squeezed_and_not_cut() -> None:
    feed, _ = feeds_of().of_image(ramp(2000, 64))
    row = feed["images"][0, 32, :, 0]
    np.testing.assert_allclose(row, np.linspace(-1, 1, 320), atol=0.02)


def test_once_all_were_seen_parts_of_them_come_and_none_is_mirrored() -> None:
    feeds = feeds_of(ramp(200, 64))
    samples = [feed["images"][0, 32, :, 0] for feed in islice(feeds.batches(1, Split.CALIBRATION), 8)]
    assert len({sample.tobytes() for sample in samples}) == 8
    assert all((np.diff(sample) > -0.02).all() for sample in samples)


def test_a_users_own_images_are_fed_alike(tmp_path: Path) -> None:
    for name, width in (("a.png", 100), ("b.png", 200)):
        ramp(width, 64).save(tmp_path / name)
    feeds = crnn.SPEC.variants["english-g2"].feeds("tensorflow")
    own = feeds.with_data(tmp_path)  # type: ignore[attr-defined]
    expected, _ = feeds_of(line_format=LineFormat("images", crnn.ENGLISH.input_size)).of_image(ramp(200, 64))
    np.testing.assert_array_equal(next(own.batches(1, Split.EVALUATION))["images"], expected["images"])
    assert own.origin == f"2 images of {tmp_path.name}"


def test_a_folder_of_nothing_and_a_broken_image_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 0 images"):
        LineFeeds(FORMAT).with_data(tmp_path)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    own = LineFeeds(FORMAT).with_data(tmp_path)
    with pytest.raises(FeedError, match=r"a\.png is not an image that can be read"):
        next(own.batches(1, Split.CALIBRATION))


def test_the_digest_covers_the_format() -> None:
    formats = (FORMAT, LineFormat("images", (64, 640)), LineFormat("lines", FORMAT.size))
    assert len({feeds_of(line_format=line_format).digest for line_format in formats}) == 3
