"""Networks taught on made-up garments: normalisation by hand, what is learned, and lessons broken off."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo import densenet_layers, googlenet_layers
from model_zoo.catalog import get_model, get_variant
from model_zoo.fashion_lesson import Course, FashionLesson, Pupil, varied
from model_zoo.fashion_mnist import FashionMnist, Pictures
from model_zoo.fashion_pupils import pupil_of, residual_pupil_of
from model_zoo.learner import first_weights, rate_at
from model_zoo.network import Network
from model_zoo.resnet import ResNet
from model_zoo.spec import Split, Variant
from model_zoo.training import teach, weights_of, write_arrays
from runtime.errors import UnavailableError
from runtime.progress import silent

tf = pytest.importorskip("tensorflow")

GOOGLENET = googlenet_layers.tensorflow_network(
    googlenet_layers.Sizes("g", narrower=8, classes=10, input_size=32)
)
DENSENET = densenet_layers.tensorflow_network(
    densenet_layers.Sizes("d", depths=(2, 2), growth=8, stem=16, classes=10, input_size=32)
)
RESNET = ResNet("r", (1, 1, 1, 1), width=8, classes=10, input_size=32)

PUPILS = {
    "googlenet": pupil_of(GOOGLENET),
    "densenet": pupil_of(DENSENET, 73.0, 0.017),
    "resnet": residual_pupil_of(RESNET),
}
each_pupil = pytest.mark.parametrize("pupil", PUPILS.values(), ids=PUPILS)


def blocks(number: int, seed: int) -> Pictures:
    """Noise with a bright block in it, whose height is the kind."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(number) % 10).astype(np.uint8)
    images = generator.integers(0, 60, (number, 28, 28), np.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[4 : 6 + 2 * label, 6:22] += 180
    return Pictures(images, labels)


@pytest.fixture(scope="module")
def data() -> FashionMnist:
    return FashionMnist(blocks(320, 0), blocks(100, 1))


def lesson_of(pupil: Pupil, data: FashionMnist, epochs: int = 3, seed: int = 0) -> FashionLesson:
    return FashionLesson.of(pupil, Course(epochs, batch=32, rate=0.002), data, seed)


def test_a_batch_is_normalised_by_its_own_statistics_and_the_stored_ones_follow() -> None:
    """Ioffe and Szegedy 2015, algorithm 1; the stored variance is the unbiased one (their section 3.1)."""
    from model_zoo.batch_statistics import normalised

    generator = np.random.default_rng(0)
    x = generator.normal(3, 2, (4, 3, 3, 2)).astype(np.float32)
    start: Mapping[str, list[float]] = {
        "gamma": [2, 3], "beta": [1, -1], "moving_mean": [0, 1], "moving_variance": [1, 2],
    }  # fmt: skip
    weights = {f"bn/{part}": tf.Variable(np.array(values, np.float32)) for part, values in start.items()}
    found = normalised("bn", tf.constant(x), weights, 1e-3).numpy()
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    by_hand = np.array([2, 3]) * (x - mean) / np.sqrt(variance + 1e-3) + np.array([1, -1])
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-4)
    unbiased = variance * 36 / 35
    for part, batch in (("moving_mean", mean), ("moving_variance", unbiased)):
        kept = 0.95 * np.array(start[part]) + 0.05 * batch
        np.testing.assert_allclose(weights[f"bn/{part}"].numpy(), kept, rtol=1e-5)


def test_a_normalisation_passes_gradients_through_its_statistics() -> None:
    """An input plus a constant, or times one, gives the same: no gradient is along either."""
    from model_zoo.batch_statistics import normalised

    x = tf.Variable(np.random.default_rng(0).normal(size=(8, 2, 2, 3)).astype(np.float32))
    parts = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    weights = {f"bn/{part}": tf.Variable(np.full(3, value, np.float32)) for part, value in parts.items()}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(normalised("bn", x, weights, 0.0) ** 3)
    gradient = np.asarray(tape.gradient(loss, x))
    np.testing.assert_allclose(gradient.sum(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose((gradient * x.numpy()).sum(axis=(0, 1, 2)), 0, atol=1e-3)


def test_first_kernels_keep_the_variance_of_what_a_rectifier_leaves() -> None:
    found = first_weights(
        {"a/kernel": (3, 3, 64, 256), "b/gamma": (2,), "c/gamma": (2,), "b/bias": (2,)}, 0, ["c/gamma"]
    )
    assert found["a/kernel"].var() == pytest.approx(2 / (9 * 64), rel=0.01)
    assert [found[name].tolist() for name in ("b/gamma", "c/gamma", "b/bias")] == [[1, 1], [0, 0], [0, 0]]
    assert first_weights({"s/moving_variance": (1,), "s/moving_mean": (1,)}, 0) == {
        "s/moving_variance": [1], "s/moving_mean": [0],
    }  # fmt: skip


def test_the_rate_rises_evenly_and_falls_as_half_a_cosine() -> None:
    assert [rate_at(share) for share in (0, 0.075, 0.15)] == pytest.approx([0.05, 0.525, 1])
    middle, end = rate_at(0.575), rate_at(1.0)
    assert middle == pytest.approx((1 + end) / 2)
    assert end == pytest.approx(0.005)


def test_pictures_are_moved_and_mirrored_as_wholes() -> None:
    """One bright pixel in 9x9, in row 4 and column 5: how often it comes to be in each row and column."""
    images = np.zeros((5000, 9, 9), np.uint8)
    images[:, 4, 5] = 1
    found = varied(images, np.random.default_rng(0))
    assert (found.sum(axis=(1, 2)) == 1).all()
    shares = found.mean(axis=0)
    columns = np.array([0, 1, 1, 2, 2, 2, 1, 1, 0]) / 10  # moved from 5, or mirrored and moved from 3
    np.testing.assert_allclose(shares.sum(axis=0), columns, atol=0.03)
    np.testing.assert_allclose(shares.sum(axis=1), np.array([0, 0, 1, 1, 1, 1, 1, 0, 0]) / 5, atol=0.03)


def test_a_picture_keeps_its_gradients() -> None:
    image = np.arange(81, dtype=np.uint8).reshape(1, 9, 9)
    for seed in range(6):
        inner = varied(image, np.random.default_rng(seed))[0, 2:7, 2:7].astype(int)
        assert set(np.diff(inner, axis=0).reshape(-1).tolist()) == {9}
        assert len(set(np.diff(inner, axis=1).reshape(-1).tolist())) == 1


@each_pupil
def test_a_few_steps_lower_the_loss(pupil: Pupil, data: FashionMnist) -> None:
    lesson = FashionLesson.of(pupil, Course(6, batch=32, rate=0.006), data, 0)
    losses = [np.array(list(lesson.epoch(number))) for number in range(6)]
    assert all(len(each) == lesson.steps == 10 for each in losses)
    assert losses[0][0] == pytest.approx(np.log(10), rel=0.5)  # it knows nothing yet
    assert losses[-1].mean() < 0.8 * losses[0].mean()
    assert 0 <= lesson.scores()["top-1"] <= 1


def test_stored_statistics_become_those_of_the_data(data: FashionMnist) -> None:
    """Of conv1 at rate 0; they are means over some twenty batches of 32, and began at 1."""
    lesson = FashionLesson.of(PUPILS["resnet"], Course(8, batch=32, rate=0.0), data, 0)
    for number in range(8):
        list(lesson.epoch(number))
    from model_zoo.fashion_mnist import fed

    images = fed(data.training.images, 0.0, 1.0) / np.float32(127.5) - 1
    kernel = lesson.weights["conv1/kernel"].numpy()
    values = tf.nn.conv2d(images, kernel, 2, [[0, 0], [3, 3], [3, 3], [0, 0]]).numpy()
    found = lesson.weights["bn_conv1/moving_variance"].numpy()
    np.testing.assert_allclose(found, values.var(axis=(0, 1, 2)), rtol=0.3)


@each_pupil
def test_a_lesson_broken_off_ends_at_identical_weights(
    pupil: Pupil, data: FashionMnist, tmp_path: Path
) -> None:
    whole, resumed = (lesson_of(pupil, data, 2) for _ in range(2))
    reports = teach(whole, "key", 2, tmp_path / "whole.npz")
    next(reports)
    shutil.copy(tmp_path / "whole.npz", tmp_path / "resume.npz")
    assert [report.epoch for report in reports] == [2]
    assert [report.epoch for report in teach(resumed, "key", 2, tmp_path / "resume.npz")] == [2]
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(array, weights_of(resumed)[name], err_msg=name)


def test_another_seed_is_another_lesson(data: FashionMnist) -> None:
    first, other = (lesson_of(PUPILS["resnet"], data, seed=seed) for seed in (0, 1))
    name = "conv1/kernel"
    assert not np.array_equal(weights_of(first)[name], weights_of(other)[name])


@pytest.mark.parametrize(
    ("network", "taught"), [(GOOGLENET, "googlenet"), (DENSENET, "densenet")], ids=["googlenet", "densenet"]
)
def test_weights_are_those_that_the_network_reads(
    network: Network, taught: str, data: FashionMnist, tmp_path: Path
) -> None:
    """The exported function answers as the lesson does: nothing is left in training mode."""
    from model_zoo.layers_tensorflow import tensorflow_source
    from model_zoo.layers_weights import weights_of as read

    pupil = PUPILS[taught]
    lesson = lesson_of(pupil, data)
    for index, (name, variable) in enumerate(lesson.weights.items()):  # as if it had learned
        variable.assign(variable * (1 + 0.1 * (index % 3)) + 0.05 * ("moving_" in name))
    write_arrays(tmp_path / "w.npz", weights_of(lesson))
    source = tensorflow_source(network, read(network, tmp_path / "w.npz"))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    answers = pupil.logits(tf.constant(images), lesson.weights, False).numpy()
    np.testing.assert_allclose(source.run({"images": images})["logits"], answers, rtol=1e-4, atol=1e-4)


def shortened(variant: Variant, steps: int, batch: int) -> Any:
    """A lesson of a real variant, cut short."""
    if variant.training is None:
        pytest.fail("there is no training")
    try:
        lesson = variant.training.lesson(0, silent)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(lesson, FashionLesson)
    short = FashionMnist(lesson.data.training.first(steps * batch), lesson.data.test.first(200))
    return replace(lesson, data=short, course=replace(lesson.course, batch=batch))


@pytest.mark.heavy
@pytest.mark.parametrize("model", ["googlenet", "densenet121", "resnet50"])
def test_a_variant_exports_with_weights_that_it_was_taught(model: str, tmp_path: Path) -> None:
    """The FP32 graph gives the lesson's own share of right answers."""
    ort = pytest.importorskip("onnxruntime")
    from exporters.export import export

    variant = get_variant(get_model(model), "fashion-mnist")
    lesson = shortened(variant, steps=20, batch=64)
    list(lesson.epoch(0))
    write_arrays(tmp_path / "w.npz", weights_of(lesson))
    source = variant.build["tensorflow"](tmp_path / "w.npz")
    feed = next(variant.feeds("tensorflow").batches(200, Split.EVALUATION))
    export(source, tmp_path / "m.onnx", [feed])
    (scores,) = ort.InferenceSession(str(tmp_path / "m.onnx")).run(None, dict(feed))
    right = float((scores.argmax(axis=1) == lesson.data.test.labels).mean())
    assert right == pytest.approx(lesson.scores()["top-1"], abs=0.01)
    assert source.parameters == variant.counts["tensorflow"].parameters
