"""Weights files: what goes into TensorFlow's or Caffe's network comes out of a file again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo.resnet_blobs import blob_shapes, blobs_of, weights_from
from model_zoo.resnet_caffe import caffemodel
from model_zoo.resnet_weights import weights_of
from runtime.errors import UsageError
from runtime.tensors import Array
from tests.model_zoo.resnet_relative import RELATIVE

FLOAT32 = 3e-7  # a few roundings


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Array]:
    return weights_of(RELATIVE, None)


def test_blobs_have_caffes_layout(weights: Mapping[str, Array]) -> None:
    blobs = blobs_of(RELATIVE, weights)
    assert {name: tuple(blob.shape for blob in layer) for name, layer in blobs.items()} == blob_shapes(
        RELATIVE
    )
    first, last = blobs["conv1"][0], blobs["fc1000"][0]
    # output 3, blue (TensorFlow's channel 2), row 5, column 1
    assert first[3, 0, 5, 1] == pytest.approx(weights["conv1/kernel"][5, 1, 2, 3] / 127.5)
    assert last[4, 7] == weights["fc1000/kernel"][7, 4]


def test_statistics_are_those_of_caffes_formula(weights: Mapping[str, Array]) -> None:
    """y = (x - mean / factor) / sqrt(variance / factor + 1e-5): CAFFE.md 7."""
    mean, variance, factor = (blob.astype(np.float64) for blob in blobs_of(RELATIVE, weights)["bn_conv1"])
    x = 0.7
    caffe = (x + weights["conv1/bias"] - mean / factor) / np.sqrt(variance / factor + 1e-5)
    tensorflow = (x - weights["bn_conv1/moving_mean"]) / np.sqrt(
        weights["bn_conv1/moving_variance"].astype(np.float64) + 1e-4
    )
    np.testing.assert_allclose(caffe, tensorflow, rtol=1e-6, atol=1e-6)


def test_blobs_lead_back_to_the_weights(weights: Mapping[str, Array]) -> None:
    again = weights_from(RELATIVE, blobs_of(RELATIVE, weights))
    assert set(again) == set(weights)
    for name, array in again.items():
        np.testing.assert_allclose(array, weights[name], rtol=FLOAT32, atol=FLOAT32, err_msg=name)


def test_a_factor_of_zero_makes_statistics_zero_as_in_caffe(weights: Mapping[str, Array]) -> None:
    blobs = blobs_of(RELATIVE, weights)
    mean, variance, factor = blobs["bn2a_branch1"]
    blobs["bn2a_branch1"] = (mean, variance, np.zeros_like(factor))
    again = weights_from(RELATIVE, blobs)
    assert not again["bn2a_branch1/moving_mean"].any()
    np.testing.assert_allclose(again["bn2a_branch1/moving_variance"], -9e-5, rtol=1e-4)


def test_an_npz_under_tensorflows_names_is_read(weights: Mapping[str, Array], tmp_path: Path) -> None:
    _save(tmp_path / "weights.npz", weights)
    read = weights_of(RELATIVE, tmp_path / "weights.npz")
    assert set(read) == set(weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name])


def test_weights_without_the_bias_of_conv1_will_do(weights: Mapping[str, Array], tmp_path: Path) -> None:
    """TensorFlow's network has none."""
    unbiased = {name: array for name, array in weights.items() if name in RELATIVE.shapes()}
    _save(tmp_path / "weights.npz", unbiased)
    read = weights_of(RELATIVE, tmp_path / "weights.npz")
    assert set(read) == set(unbiased)
    assert not blobs_of(RELATIVE, read)["conv1"][1].any()


def test_a_caffemodel_is_read(weights: Mapping[str, Array], tmp_path: Path) -> None:
    (tmp_path / "relative.caffemodel").write_bytes(caffemodel(RELATIVE, weights))
    read = weights_of(RELATIVE, tmp_path / "relative.caffemodel")
    for name, array in read.items():
        np.testing.assert_allclose(array, weights[name], rtol=FLOAT32, atol=FLOAT32, err_msg=name)


def test_a_missing_tensor_is_named(weights: Mapping[str, Array], tmp_path: Path) -> None:
    partial = {name: array for name, array in weights.items() if name != "bn3b1_branch2c/gamma"}
    _save(tmp_path / "weights.npz", partial)
    with pytest.raises(UsageError, match="bn3b1_branch2c/gamma"):
        weights_of(RELATIVE, tmp_path / "weights.npz")


def test_weights_of_another_size_are_refused(weights: Mapping[str, Array], tmp_path: Path) -> None:
    _save(tmp_path / "weights.npz", weights)
    with pytest.raises(UsageError, match="fc1000/"):
        weights_of(replace(RELATIVE, classes=11), tmp_path / "weights.npz")


def test_a_caffemodel_of_another_network_is_refused(weights: Mapping[str, Array], tmp_path: Path) -> None:
    (tmp_path / "relative.caffemodel").write_bytes(caffemodel(RELATIVE, weights))
    deeper = replace(RELATIVE, depths=(2, 2, 1, 1))
    with pytest.raises(UsageError, match="res2b_branch2a"):
        weights_of(deeper, tmp_path / "relative.caffemodel")


def test_a_tensorflow_checkpoint_is_read(weights: Mapping[str, Array], tmp_path: Path) -> None:
    """As TensorFlow 1's savers and ours name variables."""
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=list(weights),
        shape_and_slices=[""] * len(weights),
        tensors=list(weights.values()),
    )
    read = weights_of(RELATIVE, tmp_path / "model.ckpt")
    assert set(read) == set(weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name])


def _save(path: Path, weights: Mapping[str, Array]) -> None:
    np.savez(path, allow_pickle=False, **dict(weights))
