"""Caffe's pooling windows against a loop that follows pooling_layer.cpp line by line, and against OpenCV."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.tensors import Array
from tests.exporters.caffe.networks import assert_like_opencv, one_layer, run_onnx, values


def caffe_pooling(image: Array, kernel: int, stride: int, pad: int, average: bool, down: bool) -> Array:
    """PoolingLayer::Forward_cpu on [N, C, H, W], one window after the other, in double precision."""
    rounding = math.floor if down else math.ceil
    made = [rounding((size + 2 * pad - kernel) / stride) + 1 for size in image.shape[2:]]
    if pad:
        made = [
            count - 1 if (count - 1) * stride >= size + pad else count
            for count, size in zip(made, image.shape[2:], strict=True)
        ]
    out = np.empty((*image.shape[:2], *made))
    for row, column in np.ndindex(*made):
        starts = [row * stride - pad, column * stride - pad]
        ends = [min(start + kernel, size + pad) for start, size in zip(starts, image.shape[2:], strict=True)]
        area = (ends[0] - starts[0]) * (ends[1] - starts[1])
        top, left = max(starts[0], 0), max(starts[1], 0)
        window = image[:, :, top : ends[0], left : ends[1]].astype(np.float64)
        out[:, :, row, column] = window.sum(axis=(2, 3)) / area if average else window.max(axis=(2, 3))
    return out


def pooling(
    size: tuple[int, int], kernel: int, stride: int, pad: int, average: bool, down: bool
) -> CaffeSource:
    method, rounding = "AVE" if average else "MAX", "FLOOR" if down else "CEIL"
    parameters = (
        f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} pad: {pad}"
        f" round_mode: {rounding} }}"
    )
    return one_layer("Pooling", parameters, (1, 2, *size))


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    pad=st.integers(0, 4),
    average=st.booleans(),
    down=st.booleans(),
)
def test_any_pooling_answers_as_caffes_loop_does(
    size: tuple[int, int], kernel: int, stride: int, pad: int, average: bool, down: bool
) -> None:
    assume(pad < kernel <= min(size) + 2 * pad)
    # a window beyond the image (possible without padding where stride > kernel) is undefined in Caffe too
    assume(pad or down or all(-(-(one - kernel) // stride) * stride < one for one in size))
    source = pooling(size, kernel, stride, pad, average, down)
    data = values(2, 2, *size)
    expected = caffe_pooling(data, kernel, stride, pad, average, down)
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "pooled"),
    [
        (112, 3, 2, 0, 56),  # the ResNets' pool1
        (112, 3, 2, 1, 57),  # the same with padding
        (7, 7, 1, 0, 1),  # the ResNets' pool5
        (14, 3, 1, 1, 14),  # an Inception branch
        (75, 2, 2, 0, 38),  # SSD's pool3
        (5, 2, 2, 1, 3),  # clipped: 4 windows, the last of which would start in the end pad
    ],
)
def test_the_windows_of_the_reference_networks(
    size: int, kernel: int, stride: int, pad: int, pooled: int, average: bool
) -> None:
    source = pooling((size, size), kernel, stride, pad, average, down=False)
    assert source.outputs[0].shape == ("batch", 2, pooled, pooled)
    assert_like_opencv(source, {"data": values(1, 2, size, size)})


def test_no_exported_pooling_leaves_rounding_to_the_runtime() -> None:
    for average in (False, True):
        (node, *_) = pooling((6, 6), 3, 2, 1, average, down=False).to_onnx().graph
        assert "ceil_mode" not in node.attributes
