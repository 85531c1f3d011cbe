"""Preprocessing of images, against closed forms and Pillow's own resize and crop."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from model_zoo import archives
from model_zoo.feeds import ImageFormat, LazyFeeds, image_feeds, image_folder_feeds
from model_zoo.framing import CentreCrop, Fit, Frame, Framing, Warp, centre_box, seeded_box, seeded_part
from model_zoo.image_feeds import preprocess
from model_zoo.photographs import synthetic_image
from model_zoo.samples import Samples
from model_zoo.spec import Split
from runtime.errors import FeedError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, TensorSpec, check_feed

TENSORFLOW = ImageFormat("images", (224, 224), "NHWC", "RGB")
CAFFE = ImageFormat("data", (224, 224), "NCHW", "BGR", mean=(103.94, 116.78, 123.68))
CROP = CentreCrop()
BOTH = pytest.mark.parametrize("split", list(Split))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images of noise; every one has its own mean."""
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 60, size=(40, 50, 3)) + 50 * number
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def first_samples(feeds: LazyFeeds, count: int, batch_size: int, split: Split) -> Array:
    """The first samples of the only input, over as many batches as it takes."""
    batches = islice(feeds.batches(batch_size, split), -(-count // batch_size))
    return np.concatenate([next(iter(feed.values())) for feed in batches])[:count]


def constant(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (60, 40), colour)


def test_tensorflow_gets_the_pixels_as_they_are() -> None:
    values = preprocess(constant((200, 100, 50)), CROP.whole(60, 40, TENSORFLOW.size), TENSORFLOW)
    assert values.shape == (224, 224, 3)
    assert values.dtype == np.float32
    assert np.array_equal(values, np.broadcast_to([200.0, 100.0, 50.0], values.shape))


def test_caffe_gets_blue_green_red_minus_the_mean_in_planes() -> None:
    values = preprocess(constant((200, 100, 50)), CROP.whole(60, 40, CAFFE.size), CAFFE)
    assert values.shape == (3, 224, 224)
    assert values.flags.c_contiguous
    for plane, expected in zip(values, [50 - 103.94, 100 - 116.78, 200 - 123.68], strict=True):
        np.testing.assert_allclose(plane, expected, rtol=1e-6)  # two roundings of float32


def test_scale_comes_after_the_mean() -> None:
    image_format = ImageFormat("x", (8, 8), "NHWC", "RGB", mean=(127.0, 127.0, 127.0), scale=1 / 128)
    values = preprocess(constant((255, 127, 63)), CROP.whole(60, 40, (8, 8)), image_format)
    assert values[0, 0].tolist() == [1.0, 0.0, -0.5]


def test_rows_stay_rows_and_columns_stay_columns() -> None:
    down, across = np.mgrid[0:224, 0:224]
    image = Image.fromarray(np.stack([down, across, np.zeros_like(down)], axis=-1).astype(np.uint8))
    whole = Frame((0, 0, 224, 224), 224, 224)
    assert np.array_equal(preprocess(image, whole, TENSORFLOW)[..., 0], down)
    assert np.array_equal(preprocess(image, whole, TENSORFLOW)[..., 1], across)
    assert np.array_equal(preprocess(image, whole, ImageFormat("x", (224, 224), "NCHW", "RGB"))[0], down)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (256, 256, (16, 16, 240, 240)),
        (512, 512, (32, 32, 480, 480)),
        (640, 256, (208, 16, 432, 240)),
        (256, 1000, (16, 388, 240, 612)),
    ],
)
def test_the_centre_is_seven_eighths_of_the_shorter_side(
    width: int, height: int, box: tuple[float, ...]
) -> None:
    assert centre_box(width, height) == box


def test_one_step_equals_resizing_and_then_cropping() -> None:
    image = synthetic_image(Split.EVALUATION, 3)
    two_steps = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240)))
    ours = preprocess(image, CROP.whole(512, 512, TENSORFLOW.size), TENSORFLOW)
    inside = (slice(2, -2), slice(2, -2))  # at the border a crop still sees the pixels around it
    assert np.abs(ours - two_steps)[inside].max() == 0


def test_seeded_boxes_lie_inside_the_image_and_differ() -> None:
    boxes = [seeded_box(300, 200, "split", k) for k in range(200)]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 200
        assert right - left == pytest.approx(bottom - top)
        assert 0.6 * 200 <= right - left <= 200
    assert len(set(boxes)) == 200
    assert seeded_box(300, 200, "split", 7) == boxes[7]


@BOTH
def test_the_kth_sample_does_not_depend_on_the_batch_size(folder: Path, split: Split) -> None:
    feeds = image_folder_feeds(folder, ImageFormat("x", (16, 16), "NHWC", "RGB"))
    one_by_one = first_samples(feeds, 9, 1, split)
    for batch_size in (2, 3, 9):
        assert np.array_equal(first_samples(feeds, 9, batch_size, split), one_by_one)


def test_the_stream_is_the_same_at_every_call(folder: Path) -> None:
    image_format = ImageFormat("x", (16, 16), "NHWC", "RGB")
    first = first_samples(image_folder_feeds(folder, image_format), 8, 2, Split.CALIBRATION)
    again = first_samples(image_folder_feeds(folder, image_format), 8, 2, Split.CALIBRATION)
    assert np.array_equal(first, again)


def test_the_first_pass_is_the_plain_centre_and_later_ones_are_not(folder: Path) -> None:
    feeds = image_folder_feeds(folder, ImageFormat("x", (35, 35), "NHWC", "RGB"))  # 40 * 7/8: no resizing
    samples = first_samples(feeds, 6, 1, Split.CALIBRATION)
    for sample, name in zip(samples, ["0.png", "2.png"], strict=False):
        pixels = np.asarray(Image.open(folder / name))
        # Left edge 7.5: every column is the mean of two, every row (top edge 2.5) likewise.
        quarters = [pixels[row : row + 35, left : left + 35] / 4 for row in (2, 3) for left in (7, 8)]
        assert np.abs(sample - np.sum(quarters, axis=0))[1:-1, 1:-1].max() <= 1
    assert len({sample.tobytes() for sample in samples}) == 6


def test_later_passes_mirror_about_half_of_the_images(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3))
    for number in range(2):
        Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / f"{number}.png")
    feeds = image_folder_feeds(tmp_path, ImageFormat("x", (16, 16), "NHWC", "RGB"))
    samples = first_samples(feeds, 101, 1, Split.EVALUATION)[:, 8, :, 0]
    mirrored = samples[:, 0] > samples[:, -1]
    assert not mirrored[0]
    assert 30 < mirrored[1:].sum() < 70  # four standard deviations of a fair coin


def test_feeds_fit_the_inputs_they_are_made_for() -> None:
    feeds = image_feeds(CAFFE)
    feed = next(feeds.batches(3, Split.EVALUATION))
    check_feed(feed, [TensorSpec("data", "float32", ("batch", 3, 224, 224))])


def test_nothing_is_fetched_before_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(name: str, progress: object = None) -> Path:
        asked.append(name)
        raise FileNotFoundError(name)

    monkeypatch.setattr(archives, "fetch", fetch)
    feeds = image_feeds(TENSORFLOW)
    assert asked == []
    with pytest.raises(FileNotFoundError):
        _ = feeds.origin
    assert asked == ["imagenet-photographs"]


def test_samples_are_found_once_and_the_download_is_shown() -> None:
    shown: list[Progress] = []

    def find(progress: Progress) -> Samples:
        shown.append(progress)
        return Samples("nowhere", False, "0" * 64, lambda split, k: {"x": np.array([k])})

    feeds = LazyFeeds(find, over=lambda path: feeds)
    feeds.prepare(bar := cast("Progress", object()))
    assert (feeds.origin, feeds.synthetic, feeds.digest) == ("nowhere", False, "0" * 64)
    assert [feed["x"].tolist() for feed in islice(feeds.batches(2, Split.EVALUATION), 2)] == [
        [[0], [1]],
        [[2], [3]],
    ]
    assert shown == [bar]


@pytest.mark.usefixtures("offline")
def test_without_the_archives_the_feeds_are_synthetic_and_say_why() -> None:
    feeds = image_feeds(TENSORFLOW)
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive foolbox==3.3.4: AIMATRIX_OFFLINE forbids")
    samples = first_samples(feeds, 3, 3, Split.CALIBRATION)
    assert 40 < samples.std() < 70  # photographs: about 60
    assert 90 < samples.mean() < 140


@pytest.mark.usefixtures("offline")
def test_the_splits_of_synthetic_images_share_no_sample() -> None:
    feeds = image_feeds(replace(TENSORFLOW, size=(32, 32)))
    samples = [first_samples(feeds, 5, 5, split) for split in Split]
    assert len({sample.tobytes() for split in samples for sample in split}) == 10


def test_a_users_folder_goes_through_the_same_preprocessing(folder: Path) -> None:
    feeds = image_feeds(replace(CAFFE, size=(16, 16))).with_data(folder)
    direct = image_folder_feeds(folder, ImageFormat("data", (16, 16), "NCHW", "BGR", mean=CAFFE.mean))
    assert not feeds.synthetic
    assert feeds.digest == direct.digest
    assert np.array_equal(
        next(feeds.batches(2, Split.CALIBRATION))["data"], next(direct.batches(2, Split.CALIBRATION))["data"]
    )


def test_the_digest_covers_images_and_preprocessing(folder: Path) -> None:
    formats = [
        TENSORFLOW,
        CAFFE,
        replace(TENSORFLOW, size=(225, 224)),
        replace(TENSORFLOW, channel_order="BGR"),
        replace(TENSORFLOW, scale=0.5),
    ]
    digests = {image_folder_feeds(folder, image_format).digest for image_format in formats}
    (folder / "0.png").unlink()
    digests.add(image_folder_feeds(folder, TENSORFLOW).digest)
    assert len(digests) == 6


def test_a_broken_image_is_named_when_it_is_met(folder: Path) -> None:
    (folder / "2.png").write_bytes(b"no image")
    batches = image_folder_feeds(folder, TENSORFLOW).batches(1, Split.CALIBRATION)
    next(batches)
    with pytest.raises(FeedError, match=r"2\.png is not an image"):
        next(batches)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_one_sample_or_more(folder: Path, batch_size: int) -> None:
    with pytest.raises(UsageError, match=f"batch size {batch_size} is not a whole number above 0"):
        image_folder_feeds(folder, TENSORFLOW).batches(batch_size, Split.CALIBRATION)


def test_warped_images_are_seen_whole() -> None:
    assert Warp().whole(640, 480, (300, 400)) == Frame((0, 0, 640, 480), 300, 400)


@pytest.mark.parametrize(
    ("width", "height", "frame"),
    [
        (500, 375, (600, 800)),  # MODELS.md 10's example
        (512, 512, (600, 600)),
        (400, 800, (600, 300)),
        (1600, 400, (200, 800)),
    ],
)
def test_fitted_images_keep_their_proportions(width: int, height: int, frame: tuple[int, int]) -> None:
    assert Fit().whole(width, height, (600, 800)) == Frame((0, 0, width, height), *frame)


def test_what_lies_beyond_a_fitted_image_is_nothing_and_is_told() -> None:
    image_format = replace(CAFFE, size=(60, 80), framing=Fit(), info="im_info")
    values = preprocess(constant((200, 100, 50)), Fit().whole(30, 40, (60, 80)), image_format)
    assert values.shape == (3, 60, 80)
    assert not values[:, :, 45:].any()
    np.testing.assert_allclose(values[0, :, :45], 50 - 103.94, rtol=1e-6)


def test_the_information_is_height_width_and_scale_inside_the_input(folder: Path) -> None:
    """The folder's images are 50 wide and 40 high; 75 by 60 is one and a half times as large."""
    feeds = image_folder_feeds(folder, replace(CAFFE, size=(60, 80), framing=Fit(), info="im_info"))
    feed = next(feeds.batches(2, Split.EVALUATION))
    assert feed["im_info"].tolist() == [[60, 75, 1.5]] * 2
    assert feed["im_info"].dtype == np.float32
    check_feed(
        feed,
        (TensorSpec("data", "float32", ("batch", 3, 60, 80)), TensorSpec("im_info", "float32", ("batch", 3))),
    )


def test_seeded_parts_lie_inside_the_image_and_differ() -> None:
    parts = [seeded_part(300, 200, "split", k) for k in range(100)]
    for left, top, right, bottom in parts:
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 200
        assert 180 <= right - left <= 300
        assert 120 <= bottom - top <= 200
    assert len(set(parts)) == 100


@pytest.mark.parametrize("framing", [CentreCrop(), Warp(), Fit()], ids=lambda framing: type(framing).__name__)
def test_every_framing_has_other_parts_of_an_image_for_more_samples(framing: Framing) -> None:
    frames = [framing.part(300, 200, (64, 64), "split", k) for k in range(20)]
    assert len({frame.box for frame in frames}) == 20
    assert framing.part(300, 200, (64, 64), "split", 3) == frames[3]
    assert all(1 <= frame.height <= 64 and 1 <= frame.width <= 64 for frame in frames)
