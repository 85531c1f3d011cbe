"""What is stored of photographs. Oracles: the photographs themselves, and closed forms."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model_zoo.batch_norm_statistics import (
    SUBJECTS,
    Recorder,
    Subject,
    coordinates,
    measure,
    photographs,
    walk_layers,
)
from model_zoo.catalog import get_model
from model_zoo.image_statistics import Statistics, load, neutral, path_of, save
from model_zoo.layers_seeded import measured_channels
from runtime.errors import UnavailableError
from tests.model_zoo.layers_relatives import GOOGLENET_CAFFE, noise

LARGEST_STATISTICS = 450_000  # bytes in the repository

every_subject = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=lambda subject: subject.statistics)


@every_subject
def test_statistics_are_small_and_written_the_same_every_time(subject: Subject, tmp_path: Path) -> None:
    path = path_of(subject.statistics)
    assert path.stat().st_size <= LARGEST_STATISTICS
    stored = load(path)
    save(stored, tmp_path / "first.npz")
    save(stored, tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    again = load(tmp_path / "first.npz")
    for field in fields(again):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(stored, field.name), strict=True)


@pytest.mark.heavy
@every_subject
def test_photographs_give_the_stored_statistics(subject: Subject) -> None:
    """A kernel drawn otherwise than when they were measured would not fit them."""
    if subject.feeds.synthetic:
        pytest.skip(f"statistics are of photographs, and the feeds are {subject.feeds.origin}")
    stored = load(path_of(subject.statistics))
    measured = measure(subject.walk, photographs(subject.feeds, subject.images))
    deviation = np.sqrt(stored.moving_variance.astype(np.float64))
    shift = (measured.moving_mean.astype(np.float64) - stored.moving_mean) / deviation
    # float16 rounds differently where sums do; what is left grows with depth
    assert np.abs(shift).max() < 0.05
    np.testing.assert_allclose(measured.moving_variance, stored.moving_variance, rtol=0.05)


@every_subject
def test_no_stored_value_is_near_the_ends_of_float16(subject: Subject) -> None:
    """Kernels are divided by the root of a variance, which should have all of float16's digits."""
    stored, limits = load(path_of(subject.statistics)), np.finfo(np.float16)
    assert stored.moving_variance.min() > 4 * limits.smallest_normal
    assert stored.moving_variance.max() < limits.max / 64
    assert np.abs(stored.moving_mean).max() < limits.max / 64


def test_measuring_a_network_twice_gives_the_same_numbers_in_the_layers_order() -> None:
    images = noise(GOOGLENET_CAFFE, 4)
    first, second = (measure(partial(walk_layers, GOOGLENET_CAFFE), images) for _ in range(2))
    for field in fields(Statistics):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    measured = measured_channels(GOOGLENET_CAFFE)
    assert [name for name, _, _ in first.of_channels(measured)] == [name for name, _ in measured]
    assert len(first.moving_mean) == sum(channels for _, channels in measured)


def test_a_recorder_takes_means_over_all_pixels_at_the_stored_precision() -> None:
    values = np.array([[[0.1, 1], [0.3, 1]], [[0.2, 1], [0.4, 5]]], np.float32)
    mean, variance = Recorder().measure(values)
    np.testing.assert_array_equal(mean, np.array([0.25, 2], np.float16).astype(np.float32))
    np.testing.assert_array_equal(variance, np.array([0.0125, 3], np.float16).astype(np.float32))


def test_synthetic_images_are_no_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = get_model("resnet50").variants[""].feeds("tensorflow")
    monkeypatch.setattr(type(feeds), "synthetic", True)
    with pytest.raises(UnavailableError, match="statistics must come from photographs"):
        photographs(feeds)


def test_coordinates_have_mean_zero_and_variance_one() -> None:
    rng = np.random.default_rng(0)
    pooled = rng.normal(size=(40, 24)) @ rng.normal(size=(24, 64)) + 3
    directions, scale, origin = coordinates(pooled)
    values = scale * (pooled @ directions) - origin
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=0), 1, rtol=1e-5)


def test_neutral_statistics_are_unremarkable_and_have_every_channel() -> None:
    statistics = neutral("unknown", [("first", 300), ("second", 20)], features=64)
    (name, mean, variance), second = statistics.of_channels([("first", 300), ("second", 20)])
    assert (name, second[0]) == ("first", "second")
    assert mean.shape == variance.shape == (300,)
    assert 0.5 <= variance.min() < variance.max() <= 1.5
    assert np.abs(mean).max() < 0.4
    assert statistics.directions.shape == (64, 16)
