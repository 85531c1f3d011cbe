"""Weights files of networks made of layers: what goes into a network comes out of a file again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_zoo.caffe_files import caffemodel_of, layer, statistics_blobs, statistics_from
from model_zoo.layers_blobs import blob_shapes, blobs_of, weights_from
from model_zoo.layers_caffe import caffemodel
from model_zoo.layers_weights import weights_of
from model_zoo.network import Network
from runtime.errors import UsageError
from runtime.tensors import Array
from tests.model_zoo.layers_relatives import (
    DENSENET,
    GOOGLENET_CAFFE,
    GOOGLENET_TENSORFLOW,
    weights_of_relative,
)

FLOAT32 = 3e-7  # a few roundings

both = pytest.mark.parametrize("network", [GOOGLENET_CAFFE, DENSENET], ids=lambda network: network.name)


@both
def test_blobs_have_caffes_layout(network: Network) -> None:
    weights = weights_of_relative(network)
    blobs = blobs_of(network, weights)
    shapes = {name: tuple(blob.shape for blob in arrays) for name, arrays in blobs.items()}
    assert shapes == blob_shapes(network)
    first = network.layers[0].name
    # output 3, input 2, row 5, column 1
    assert blobs[first][0][3, 2, 5, 1] == weights[f"{first}/kernel"][5, 1, 2, 3]


def test_a_fully_connected_layer_is_transposed_for_caffe() -> None:
    weights = weights_of_relative(GOOGLENET_CAFFE)
    kernel, bias = blobs_of(GOOGLENET_CAFFE, weights)["loss3/classifier"]
    assert kernel[4, 7] == weights["loss3/classifier/kernel"][7, 4]
    np.testing.assert_array_equal(bias, weights["loss3/classifier/bias"])


def test_statistics_divided_by_their_factor_are_those_given() -> None:
    mean, variance = np.array([0.5, -2], np.float32), np.array([1, 3], np.float32)
    stored = statistics_blobs(mean, variance)
    assert stored[2].item() == pytest.approx(999.98)
    for array, expected in zip(statistics_from(*stored), (mean, variance), strict=True):
        np.testing.assert_allclose(array, expected, rtol=FLOAT32)
    for array in statistics_from(stored[0], stored[1], np.zeros(1, np.float32)):
        assert not array.any()  # as in Caffe: no division by zero (CAFFE.md 7)


@both
def test_a_caffemodel_is_read(network: Network, tmp_path: Path) -> None:
    weights = weights_of_relative(network)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(network, weights))
    _assert_same(weights_of(network, tmp_path / "net.caffemodel"), weights)


def test_a_caffemodel_with_four_dimensional_blobs_is_read(tmp_path: Path) -> None:
    """As BVLC's own is, from before 2014-12: a bias is [1, 1, 1, n], an inner product [1, 1, n, m]."""
    weights = weights_of_relative(GOOGLENET_CAFFE)
    blobs = {
        name: tuple(blob.reshape((1,) * (4 - blob.ndim) + blob.shape) for blob in arrays)
        for name, arrays in blobs_of(GOOGLENET_CAFFE, weights).items()
    }
    layers = [layer(name, "Convolution", ["data"]) for name in blobs]
    (tmp_path / "old.caffemodel").write_bytes(caffemodel_of("old", layers, blobs))
    _assert_same(weights_of(GOOGLENET_CAFFE, tmp_path / "old.caffemodel"), weights)


@both
def test_blobs_lead_back_to_the_weights(network: Network) -> None:
    weights = weights_of_relative(network)
    _assert_same(weights_from(network, blobs_of(network, weights)), weights)


def test_an_npz_under_the_layers_names_is_read(tmp_path: Path) -> None:
    weights = weights_of_relative(GOOGLENET_TENSORFLOW)
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **dict(weights))
    read = weights_of(GOOGLENET_TENSORFLOW, tmp_path / "weights.npz")
    assert set(read) == set(weights)
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = dict(weights_of_relative(GOOGLENET_CAFFE))
    del weights["inception_4a/5x5/bias"]
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **weights)
    with pytest.raises(UsageError, match="inception_4a/5x5/bias"):
        weights_of(GOOGLENET_CAFFE, tmp_path / "weights.npz")


def test_a_caffemodel_of_another_network_is_refused(tmp_path: Path) -> None:
    content = caffemodel(DENSENET, weights_of_relative(DENSENET))
    (tmp_path / "net.caffemodel").write_bytes(content)
    with pytest.raises(UsageError, match="conv1/7x7_s2/0"):
        weights_of(GOOGLENET_CAFFE, tmp_path / "net.caffemodel")


def _assert_same(read: Mapping[str, Array], weights: Mapping[str, Array]) -> None:
    assert set(read) == set(weights)
    for name, array in read.items():
        np.testing.assert_allclose(array, weights[name], rtol=FLOAT32, atol=FLOAT32, err_msg=name)
