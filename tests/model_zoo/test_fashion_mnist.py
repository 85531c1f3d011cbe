"""Fashion-MNIST: idx files written by hand, what is published of the real ones, and feeds made of them."""

from __future__ import annotations

import gzip
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.catalog import get_model, get_variant
from model_zoo.fashion_exam import exam_of
from model_zoo.fashion_mnist import (
    CLASSES,
    FashionMnist,
    Inset,
    coloured,
    fashion_mnist,
    fashion_set,
    fed,
    framed,
    read_folder,
    read_idx,
)
from model_zoo.metrics import get_measure
from model_zoo.spec import Split
from runtime.errors import GraphError, UnavailableError, UsageError
from runtime.progress import silent

TAUGHT = ("googlenet", "resnet50", "densenet121")
each_taught = pytest.mark.parametrize("model", TAUGHT)


def written(path: Path, *header: int, values: bytes) -> Path:
    """An idx file as LeCun's MNIST page has it: whole numbers of four bytes, the highest first."""
    path.write_bytes(gzip.compress(struct.pack(f">{len(header)}I", *header) + values))
    return path


def folder_of(root: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Path:
    for part in ("train", "t10k"):
        values = images.tobytes()
        written(root / f"{part}-images-idx3-ubyte.gz", 0x803, *images.shape, values=values)
        written(root / f"{part}-labels-idx1-ubyte.gz", 0x801, len(labels), values=labels.tobytes())
    return root


@pytest.fixture(scope="module")
def real() -> FashionMnist:
    try:
        return fashion_mnist()
    except UnavailableError as error:
        pytest.skip(str(error))


def test_an_idx_file_is_read_row_by_row(tmp_path: Path) -> None:
    found = read_idx(written(tmp_path / "a.gz", 0x803, 2, 1, 3, values=bytes([1, 2, 3, 4, 5, 255])))
    assert found.tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ((0x0D03, 1, 1, 6), "begins with 00000d03, expected 000008"),
        ((0x801, 7), r"holds 6 values, its header says \[7\]"),
        ((0x802, 2, 2), r"holds 6 values, its header says \[2, 2\]"),
    ],
    ids=["of floats", "too few", "too many"],
)
def test_a_broken_idx_file_is_refused(tmp_path: Path, header: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read_idx(written(tmp_path / "a.gz", *header, values=bytes(6)))


def test_what_is_no_gzip_or_only_half_of_one_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.gz", 0x801, 1000, values=bytes(range(250)) * 4).read_bytes()
    for packed in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "b.gz").write_bytes(packed)
        with pytest.raises(UsageError, match=r"b\.gz (is not a gzipped file|begins with)"):
            read_idx(tmp_path / "b.gz")
    with pytest.raises(UsageError, match=r"c\.gz is not a gzipped file that can be read"):
        read_idx(tmp_path / "c.gz")


def test_a_folder_is_read_in_its_official_layout(tmp_path: Path) -> None:
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    found = read_folder(folder_of(tmp_path, images, np.array([9, 0, 5], np.uint8)))
    np.testing.assert_array_equal(found.test.images, images)
    assert found.training.labels.tolist() == [9, 0, 5]


@pytest.mark.parametrize(
    ("shape", "labels"), [((2, 28, 28), [1]), ((1, 27, 28), [1]), ((1, 28, 28), [10])], ids=str
)
def test_pictures_and_labels_that_do_not_fit_are_refused(
    tmp_path: Path, shape: tuple[int, ...], labels: list[int]
) -> None:
    folder = folder_of(tmp_path, np.zeros(shape, np.uint8), np.array(labels, np.uint8))
    with pytest.raises(UsageError, match=r"the train files hold pictures \[.*\] and labels \[1\] up to"):
        read_folder(folder)


def test_the_real_files_are_as_published(real: FashionMnist) -> None:
    """Xiao et al. 2017, table 1 and section 2; mean and deviation as usually subtracted: .2860 and .3530."""
    assert (len(real.training), len(real.test)) == (60_000, 10_000)
    assert np.bincount(real.test.labels).tolist() == [1000] * 10
    assert np.bincount(real.training.labels).tolist() == [6000] * 10
    assert real.training.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert real.training.images.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert CLASSES[real.test.labels[0]] == "ankle boot"


def test_no_image_is_both_learned_from_and_judged(real: FashionMnist) -> None:
    learned = {image.tobytes() for image in real.training.images}
    assert learned.isdisjoint(image.tobytes() for image in real.test.images)


def test_images_lie_in_a_black_border() -> None:
    images = np.full((1, 28, 28), 200, np.uint8)
    found = coloured(framed(images))
    assert found.shape == (1, 32, 32, 3)
    assert found[0, 2:30, 2:30].min() == 200
    assert found.sum() == 200 * 28 * 28 * 3


def test_a_picture_is_not_enlarged_and_one_too_large_is_made_to_fit() -> None:
    small, large = Inset().whole(28, 28, (32, 36)), Inset().part(64, 64, (32, 32), "key")
    assert (small.box, small.height, small.width, small.top, small.left) == ((0, 0, 28, 28), 28, 28, 2, 4)
    assert (large.box, large.height, large.width, large.top, large.left) == ((0, 0, 64, 64), 32, 32, 0, 0)


@each_taught
def test_feeds_are_the_pictures_as_the_exam_has_them(real: FashionMnist, model: str) -> None:
    variant = get_variant(get_model(model), "fashion-mnist")
    feeds = variant.feeds("tensorflow")
    assert not feeds.synthetic
    (exam,) = variant.exams
    question = next(iter(exam.questions(None, silent)))
    fed_images = next(feeds.batches(4, Split.EVALUATION))["images"]
    np.testing.assert_array_equal(fed_images, question.feed["images"][:4])
    np.testing.assert_array_equal(question.pictures[0], coloured(framed(real.test.images[:1]))[0, 2:30, 2:30])
    assert question.truths[:4] == real.test.labels[:4].tolist()


def test_ranges_are_found_on_pictures_that_are_learned_from(real: FashionMnist) -> None:
    found = fashion_set()
    for split, pictures in ((Split.CALIBRATION, real.training), (Split.EVALUATION, real.test)):
        opened = np.asarray(found.images[split][7]())
        np.testing.assert_array_equal(opened, coloured(pictures.images[7]))


def test_without_the_archive_the_feeds_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from model_zoo import archives

    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    monkeypatch.setattr(archives, "_sound_folders", set())
    feeds = get_variant(get_model("googlenet"), "fashion-mnist").feeds("tensorflow")
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive dataset-fashion-mnist=")
    assert next(feeds.batches(1, Split.CALIBRATION))["images"].shape == (1, 32, 32, 3)
    exam = exam_of("images", 0, 1)
    with pytest.raises(UnavailableError, match="AIMATRIX_OFFLINE forbids"):
        next(exam.questions(None, silent))


def test_an_exam_asks_every_test_image_of_a_users_folder(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (450, 28, 28), np.uint8)
    labels = (np.arange(450) % 10).astype(np.uint8)
    exam = exam_of("images", 2.0, 0.5)
    questions = list(exam.questions(folder_of(tmp_path, images, labels), silent))
    assert [len(question.truths) for question in questions] == [200, 200, 50]
    assert questions[1].asked[0] == "test image 200"
    pixels = np.concatenate([question.feed["images"] for question in questions])
    np.testing.assert_array_equal(pixels[:, 2:30, 2:30, 1], (images.astype(np.float32) - 2) / 2)
    assert (pixels[:, :2] == -1).all()


def test_right_answers_score_one_and_constant_ones_a_tenth(tmp_path: Path) -> None:
    labels = (np.arange(400) % 10).astype(np.uint8)
    exam = exam_of("images", 0.0, 1.0)
    scores = {"right": get_measure("top-1").make(), "constant": get_measure("top-1").make()}
    for question in exam.questions(folder_of(tmp_path, np.zeros((400, 28, 28), np.uint8), labels), silent):
        right = {"logits": np.eye(10, dtype=np.float32)[question.truths]}
        for name, outputs in (("right", right), ("constant", {"logits": np.ones((200, 10), np.float32)})):
            for truth, answer in zip(question.truths, exam.answers(question.feed, outputs), strict=True):
                scores[name].add(truth, answer)
    assert scores["right"].value() == 1
    assert scores["constant"].value() == pytest.approx(0.1)
    assert exam.say(8) == exam.say(np.eye(10)[8]) == "bag"


def test_answers_of_another_network_are_refused() -> None:
    with pytest.raises(
        GraphError, match=r"one output \[images, 10\]; the graph gives \{'prob': \[1, 1000\]\}"
    ):
        exam_of("images", 0.0, 1.0).answers({}, {"prob": np.zeros((1, 1000))})


@each_taught
def test_another_framework_is_refused(model: str) -> None:
    with pytest.raises(UsageError, match=r"unknown framework of .*'caffe'"):
        get_variant(get_model(model), "fashion-mnist").feeds("caffe")


def test_a_seeded_stream_goes_on_beyond_the_last_picture(real: FashionMnist) -> None:
    feeds = get_variant(get_model("googlenet"), "fashion-mnist").feeds("tensorflow")
    far = next(islice(feeds.batches(1024, Split.EVALUATION), 2, 3))["images"][0]
    whole = fed(real.test.images[:1], 0, 1)[0]
    assert np.array_equal(far, whole) or np.array_equal(far, whole[:, ::-1])
