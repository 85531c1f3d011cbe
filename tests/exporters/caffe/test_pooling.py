"""Caffe's pooling windows against a loop that follows pooling_layer.cpp line by line, and against OpenCV."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import (
    assert_like_opencv,
    caffemodel,
    one_layer,
    prototxt,
    run_onnx,
    values,
)
from tests.exporters.caffe.runtimes import build_with_tensorrt, run_openvino

Pair = tuple[int, int]


def caffe_pooling(
    image: Array, kernel: Pair, stride: Pair, pad: Pair, *, average: bool = False, down: bool = False
) -> tuple[Array, Array]:
    """PoolingLayer::Forward_cpu on [N, C, H, W], one window after the other, in double precision.

    Also where in its channel each maximum lies, the first among equals.
    """
    rounding = math.floor if down else math.ceil
    sizes = image.shape[2:]
    made = [rounding((sizes[i] + 2 * pad[i] - kernel[i]) / stride[i]) + 1 for i in range(2)]
    if any(pad):
        made = [made[i] - ((made[i] - 1) * stride[i] >= sizes[i] + pad[i]) for i in range(2)]
    out, places = np.empty((*image.shape[:2], *made)), np.empty((*image.shape[:2], *made))
    for n, c, row, column in np.ndindex(*out.shape):
        starts = [row * stride[0] - pad[0], column * stride[1] - pad[1]]
        ends = [min(starts[i] + kernel[i], sizes[i] + pad[i]) for i in range(2)]
        area = (ends[0] - starts[0]) * (ends[1] - starts[1])
        top, left = max(starts[0], 0), max(starts[1], 0)
        window = image[n, c, top : ends[0], left : ends[1]].astype(np.float64)
        out[n, c, row, column] = window.sum() / area if average else window.max()
        first = np.unravel_index(window.argmax(), window.shape)
        places[n, c, row, column] = (top + first[0]) * sizes[1] + left + first[1]
    return out, places


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
    expected, _ = caffe_pooling(data, (kernel,) * 2, (stride,) * 2, (pad,) * 2, average=average, down=down)
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


WINDOW = {
    "size": st.tuples(st.integers(2, 9), st.integers(2, 9)),
    "kernel": st.tuples(st.integers(1, 3), st.integers(1, 4)),
    "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
}


def _parameters(kernel: Pair, stride: Pair, pad: Pair) -> str:
    numbers = {"kernel": kernel, "stride": stride, "pad": pad}
    return " ".join(f"{name}_h: {high} {name}_w: {wide}" for name, (high, wide) in numbers.items())


def _defined(size: Pair, kernel: Pair, stride: Pair, pad: Pair) -> bool:
    """Whether every window has a pixel; what Caffe makes of one without is whatever its memory held."""
    made = [-(-(size[i] + 2 * pad[i] - kernel[i]) // stride[i]) + 1 for i in range(2)]
    fits = all(pad[i] < kernel[i] <= size[i] + 2 * pad[i] for i in range(2))
    return (
        fits
        and all(any(pad) or (made[i] - 1) * stride[i] < size[i] for i in range(2))
        and all(
            (made[i] - 1 - (any(pad) and (made[i] - 1) * stride[i] >= size[i] + pad[i])) * stride[i] - pad[i]
            < size[i]
            for i in range(2)
        )
    )


@settings(max_examples=60, deadline=None)
@given(**WINDOW, average=st.booleans())
def test_windows_that_are_not_square_pool_as_caffes_loop_does(
    size: Pair, kernel: Pair, stride: Pair, pad: Pair, average: bool
) -> None:
    assume(_defined(size, kernel, stride, pad))
    method = "AVE" if average else "MAX"
    text = f"pooling_param {{ pool: {method} {_parameters(kernel, stride, pad)} }}"
    data = values(2, 2, *size)
    made = run_onnx(one_layer("Pooling", text, (1, 2, *size)).to_onnx(), {"data": data})["out"]
    expected, _ = caffe_pooling(data, kernel, stride, pad, average=average)
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-6)


def _masked(size: Pair, parameters: str) -> CaffeSource:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "out" top: "mask"'
        f" pooling_param {{ {parameters} }} }}"
    )
    return CaffeSource(prototxt(text, 1, 2, *size), b"")


@settings(max_examples=40, deadline=None)
@given(**WINDOW, seed=st.integers(0, 99))
def test_a_second_top_tells_where_the_first_of_the_largest_lies(
    size: Pair, kernel: Pair, stride: Pair, pad: Pair, seed: int
) -> None:
    assume(_defined(size, kernel, stride, pad))
    data = np.random.default_rng(seed).integers(-3, 1, (2, 2, *size)).astype(np.float32)
    made = run_onnx(_masked(size, _parameters(kernel, stride, pad)).to_onnx(), {"data": data})
    pooled, places = caffe_pooling(data, kernel, stride, pad)
    np.testing.assert_array_equal(made["out"], pooled)
    np.testing.assert_array_equal(made["mask"], places)


def test_the_place_in_a_large_window_is_not_looked_for() -> None:
    with pytest.raises(ExportError, match="a window of 289 places is too large for a second top"):
        _masked((20, 20), "kernel_size: 17").to_onnx()


def test_openvino_and_tensorrt_unpool_as_well(tmp_path: Path) -> None:
    """SegNet's pair: pooled with a mask, and put back to where it came from."""
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
        'layer { name: "twice" type: "Power" bottom: "pool" top: "twice" power_param { scale: 2 } }'
        'layer { name: "up" type: "Upsample" bottom: "twice" bottom: "mask" top: "out"'
        " upsample_param { scale: 2 } }"
    )
    model = CaffeSource(prototxt(text, 1, 3, 6, 8), caffemodel({})).to_onnx()
    data = values(2, 3, 6, 8)
    pooled, _ = caffe_pooling(data, (2, 2), (2, 2), (0, 0))
    expected = np.where(data == pooled.repeat(2, 2).repeat(2, 3), 2 * data, 0)
    np.testing.assert_array_equal(run_openvino(model, {"data": data}, tmp_path)["out"], expected)
    build_with_tensorrt(model, tmp_path, batch=2)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_pyramid_pools_into_as_many_bins_for_any_image(height: int, average: bool) -> None:
    size, method = (9, 13), "AVE" if average else "MAX"
    source = one_layer("SPP", f"spp_param {{ pyramid_height: {height} pool: {method} }}", (1, 2, *size))
    data = values(2, 2, *size)
    levels = []
    for bins in (2**level for level in range(height)):
        kernel = (math.ceil(size[0] / bins), math.ceil(size[1] / bins))
        pad = ((kernel[0] * bins - size[0] + 1) // 2, (kernel[1] * bins - size[1] + 1) // 2)
        levels.append(caffe_pooling(data, kernel, kernel, pad, average=average)[0])
    expected = levels[0] if height == 1 else np.concatenate([one.reshape(2, -1) for one in levels], axis=1)
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, atol=2e-6)
