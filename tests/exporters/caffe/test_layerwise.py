"""Every blob against OpenCV's: equal where the export is right, and the first wrong one is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from exporters.caffe.layerwise import BlobDifference, compare_blobs, first_difference
from exporters.caffe.source import CaffeSource
from exporters.parity import RELATIVE_TOLERANCE
from runtime.tensors import Array
from tests.exporters.caffe.networks import caffemodel, prototxt, values, vector

T = TypeVar("T")

TEXT = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "split" type: "Split" bottom: "conv" top: "left" top: "right" }
layer { name: "pool" type: "Pooling" bottom: "left" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "slice" type: "Slice" bottom: "right" top: "one" top: "two" slice_param { slice_point: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def _source() -> CaffeSource:
    blobs: dict[str, list[Array]] = {
        "conv": [values(4, 3, 3, 3), values(4)],
        "bn": [values(4, seed=1), np.abs(values(4, seed=2)) + 0.5, vector(999.98)],
        "scale": [values(4, seed=3), values(4, seed=4)],
        "fc": [values(5, 64) / 8, values(5)],
    }
    return CaffeSource(prototxt(TEXT, 1, 3, 7, 7), caffemodel(blobs))


def test_every_blob_of_a_right_export_is_opencvs() -> None:
    found = compare_blobs(_source(), {"data": values(2, 3, 7, 7, seed=5)})
    assert [difference.layer for difference in found] == [
        *("conv", "bn", "scale", "relu", "drop", "split", "split", "pool", "slice", "slice", "fc", "prob")
    ]
    assert first_difference(found, 1e-5) is None
    assert max(difference.relative for difference in found) > 0


def test_the_first_wrong_layer_is_found() -> None:
    source = _source()
    layers = list(source.network.layers)
    relu = layers[3]
    leaky = type(relu.parameter)()
    leaky.CopyFrom(relu.parameter)
    leaky.relu_param.negative_slope = 0.1
    layers[3] = replace(relu, parameter=leaky)  # what we export, and not what OpenCV reads
    source.network = replace(source.network, layers=tuple(layers))
    found = compare_blobs(source, {"data": values(2, 3, 7, 7, seed=5)})
    first = first_difference(found, 1e-4)
    assert first is not None
    assert (first.blob, first.layer, first.type) == ("conv/relu", "relu", "ReLU")
    assert 1e-3 < first.relative < 1


def _off_from_zero(shift: float) -> BlobDifference:
    """What is found where OpenCV makes zeros of values around 1, and ours makes `shift`."""
    text = 'layer { name: "none" type: "Power" bottom: "data" top: "none" power_param { scale: 0 } }'
    source = CaffeSource(prototxt(text, 1, 3, 7, 7), caffemodel({}))
    (none,) = source.network.layers
    shifted = type(none.parameter)()
    shifted.CopyFrom(none.parameter)
    shifted.power_param.shift = shift
    source.network = replace(source.network, layers=(replace(none, parameter=shifted),))
    (found,) = compare_blobs(source, {"data": values(2, 3, 7, 7, seed=5)})
    return found


def test_the_rounding_of_what_a_layer_reads_is_no_difference_from_zero() -> None:
    """One float32 epsilon, 1.2e-7, beside numbers up to 3."""
    rounding = _off_from_zero(float(np.finfo(np.float32).eps))
    assert rounding.absolute > 0
    assert rounding.relative < RELATIVE_TOLERANCE["float32"]
    assert _off_from_zero(1e-5).relative > RELATIVE_TOLERANCE["float32"]


def test_the_two_sides_are_told_as_they_are_done() -> None:
    told: list[tuple[str, int | None]] = []

    def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        for item in items:
            told.append((description, total))
            yield item

    compare_blobs(_source(), {"data": values(2, 3, 7, 7, seed=5)}, progress)
    assert told == [("making every blob twice", 2)] * 2


MAX_FEATURE_MAP = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "halves" type: "Slice" bottom: "conv" top: "one" top: "two" }
layer { name: "max" type: "Eltwise" bottom: "one" bottom: "two" top: "max" eltwise_param { operation: MAX } }
layer { name: "crop" type: "Pooling" bottom: "max" top: "small" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "crop" type: "Crop" bottom: "max" bottom: "small" top: "first" crop_param { axis: 2 } }
layer { name: "crop" type: "Crop" bottom: "max" bottom: "small" top: "second"
  crop_param { axis: 2 offset: 2 } }
"""
"""OpenCV writes over the second half, and calls the second and third `crop` otherwise (HED has five)."""


def test_blobs_that_opencv_writes_over_and_layers_of_one_name_are_compared() -> None:
    blobs = {"conv": [values(4, 3, 3, 3), values(4)]}
    source = CaffeSource(prototxt(MAX_FEATURE_MAP, 1, 3, 8, 8), caffemodel(blobs))
    found = compare_blobs(source, {"data": values(2, 3, 8, 8, seed=5)})
    assert [difference.blob for difference in found] == [
        *("conv", "one", "two", "max", "small", "first", "second")
    ]
    assert first_difference(found, 1e-5) is None


def test_a_blob_that_is_no_number_differs() -> None:
    right = BlobDifference("a", "a", "ReLU", 0.0, 0.0)
    wrong = BlobDifference("b", "b", "ReLU", float("inf"), float("inf"))
    assert first_difference([right, wrong], 1.0) is wrong
