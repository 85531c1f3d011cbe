"""Layers that OpenCV lacks, or does otherwise: against the formula, written again in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import caffemodel, one_layer, prototxt, run_onnx, values, vector

IMAGE = (1, 4, 5, 6)

Formula = Callable[[Array], Array]


def _bilinear(x: Array, height: int, width: int) -> Array:
    """Corners on corners: row i of the answer is row i * (H - 1) / (h - 1) of the image."""
    for axis, size in ((2, height), (3, width)):
        held = x.shape[axis]
        at = np.arange(size) * ((held - 1) / (size - 1) if size > 1 else 0.0)
        low = np.minimum(np.floor(at).astype(int), held - 1)
        high, part = np.minimum(low + 1, held - 1), at - low
        part = part.reshape(-1, *[1] * (3 - axis))
        x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
    return x


def _normalised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    return np.asarray(centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + eps))


FORMULAS: dict[str, tuple[str, str, Formula]] = {
    "natural logarithm": ("Log", "log_param { shift: 9 }", lambda x: np.log(x + 9)),
    "logarithm": ("Log", "log_param { base: 10 scale: 2 shift: 12 }", lambda x: np.log10(2 * x + 12)),
    "threshold": ("Threshold", "threshold_param { threshold: 0.25 }", lambda x: np.asarray(x > 0.25)),
    "clip": ("Clip", "clip_param { min: -0.5 max: 1.5 }", lambda x: x.clip(-0.5, 1.5)),
    "swish with beta": (
        "Swish",
        "swish_param { beta: 0.5 }",
        lambda x: np.asarray(x / (1 + np.exp(-0.5 * x))),
    ),
    "sum": ("Reduction", "reduction_param { axis: 1 }", lambda x: x.sum((1, 2, 3))),
    "sum of absolutes": (
        "Reduction",
        "reduction_param { operation: ASUM axis: 2 coeff: 2 }",
        lambda x: 2 * np.abs(x).sum((2, 3)),
    ),
    "sum of squares": (
        "Reduction",
        "reduction_param { operation: SUMSQ axis: -1 }",
        lambda x: (x**2).sum(3),
    ),
    "mean of all": ("Reduction", "reduction_param { operation: MEAN }", lambda x: np.asarray(x.mean())),
    "tile": ("Tile", "tile_param { axis: 1 tiles: 3 }", lambda x: np.tile(x, (1, 3, 1, 1))),
    "nearest": ("Upsample", "upsample_param { scale: 3 }", lambda x: x.repeat(3, 2).repeat(3, 3)),
    "mean and variance with eps": (
        "MVN",
        "mvn_param { eps: 0.5 }",
        lambda x: _normalised(x, (2, 3), 0.5),
    ),
    "shrunk": ("Interp", "interp_param { shrink_factor: 2 }", lambda x: _bilinear(x, 3, 3)),
    "cut and resized": (
        "Interp",
        "interp_param { height: 9 width: 7 pad_beg: -1 pad_end: -1 }",
        lambda x: _bilinear(x[:, :, 1:-1, 1:-1], 9, 7),
    ),
}


@pytest.mark.parametrize("case", FORMULAS)
def test_a_layer_is_its_formula(case: str) -> None:
    type_, parameters, formula = FORMULAS[case]
    data = values(3, *IMAGE[1:], seed=3)
    made = run_onnx(one_layer(type_, parameters, IMAGE).to_onnx(), {"data": data})["out"]
    expected = formula(data)
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=2e-6, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), to=st.tuples(st.integers(1, 40), st.integers(1, 40))
)
def test_any_size_is_resized_to_any_other(size: tuple[int, int], to: tuple[int, int]) -> None:
    source = one_layer("Interp", f"interp_param {{ height: {to[0]} width: {to[1]} }}", (1, 2, *size))
    data = values(1, 2, *size)
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    np.testing.assert_allclose(made, _bilinear(data, *to), atol=4e-6)


@settings(max_examples=25, deadline=None)
@given(
    axis=st.sampled_from([None, 1, 2, -1]),
    count=st.integers(1, 4),
    of_values=st.booleans(),
    seed=st.integers(0, 99),
)
def test_arg_max_takes_the_last_of_equals(axis: int | None, count: int, of_values: bool, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 3, (2, *IMAGE[1:])).astype(np.float32)
    text = f"argmax_param {{ top_k: {count} out_max_val: {str(of_values).lower()}"
    source = one_layer("ArgMax", f"{text} {'' if axis is None else f'axis: {axis}'} }}", IMAGE)
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    rows = data.reshape(2, -1) if axis is None else np.moveaxis(data, axis, -1)
    # Falling value, then falling index: std::greater on pairs of both.
    order = np.argsort(rows[..., ::-1] * -1, axis=-1, kind="stable")[..., :count]
    places = rows.shape[-1] - 1 - order
    largest = np.take_along_axis(rows, places, -1)
    if axis is None:
        parts = [places, largest] if of_values else [places]
        expected = np.stack(parts, axis=1).reshape(2, len(parts), count, 1)
    else:
        expected = np.moveaxis(largest if of_values else places, -1, axis)
    np.testing.assert_array_equal(made, expected)


def test_embed_looks_rows_up() -> None:
    weight, bias = values(7, 3), values(3, seed=1)
    parameters = "embed_param { input_dim: 7 num_output: 3 }"
    data = vector(6, 0, 3, 3).reshape(2, 2)
    made = run_onnx(one_layer("Embed", parameters, (1, 2), [weight, bias]).to_onnx(), {"data": data})["out"]
    np.testing.assert_array_equal(made, weight[data.astype(int)] + bias)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_a_mask_puts_values_back_where_they_were_pooled_from(size: tuple[int, int]) -> None:
    height, width = size
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
        'layer { name: "up" type: "Upsample" bottom: "pool" bottom: "mask" top: "out"'
        f" upsample_param {{ upsample_h: {height} upsample_w: {width} }} }}"
    )
    data = values(2, 3, height, width)
    made = run_onnx(CaffeSource(prototxt(text, 1, 3, *size), caffemodel({})).to_onnx(), {"data": data})["out"]
    expected = np.zeros_like(data)
    for n, c, y, x in np.ndindex(2, 3, -(-height // 2), -(-width // 2)):
        window = data[n, c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        row, column = np.unravel_index(window.argmax(), window.shape)
        expected[n, c, 2 * y + row, 2 * x + column] = window.max()
    np.testing.assert_array_equal(made, expected)


CANNOT: dict[str, tuple[str, str, Sequence[Array], str]] = {
    "base": ("Exp", "exp_param { base: -2 }", (), "base -2 must be above 0, or -1 for e"),
    "power": ("Exp", "exp_param { base: 10 shift: 99 }", (), "to the power of shift 99 is too large"),
    "rate": ("Exp", "exp_param { base: 10 scale: 3e38 }", (), "together are too large for float32"),
    "nan": ("Power", "power_param { scale: nan }", (), "scale is infinite or not a number"),
    "base 1": ("Log", "log_param { base: 1 }", (), "base 1 has no logarithm"),
    "top_k": ("ArgMax", "argmax_param { top_k: 5 axis: 1 }", (), "top_k 5 of 4 values"),
    "tiles": ("Tile", "tile_param { axis: 1 tiles: 0 }", (), "tiles is 0; give 1 or more"),
    "tiled batch": ("Tile", "tile_param { axis: 0 tiles: 2 }", (), "batch .* cannot be merged"),
    "groups": ("ShuffleChannel", "shuffle_channel_param { group: 3 }", (), "group 3 must divide 4 channels"),
    "padding": ("Interp", "interp_param { height: 2 width: 2 pad_beg: 1 }", (), "only cuts off"),
    "nothing left": ("Interp", "interp_param { pad_beg: -5 }", (), "leave nothing of 5 pixels"),
    "no size": ("Interp", "interp_param { height: 3 }", (), "give height and width, or a factor"),
    "no zoom": ("Interp", "interp_param { zoom_factor: 0 }", (), "are 1 or more"),
    "no scale": ("Upsample", "upsample_param { scale: 0 }", (), "scale is 1 or more"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_makes_no_sense_is_refused_in_one_line(case: str) -> None:
    type_, parameters, blobs, message = CANNOT[case]
    with pytest.raises(ExportError, match=message) as caught:
        one_layer(type_, parameters, IMAGE, blobs).to_onnx()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blobs", [2, 4])
def test_bn_of_the_forks_scales_and_shifts(blobs: int) -> None:
    scale, shift, mean = (values(4, seed=seed) for seed in range(3))
    variance = np.abs(values(4, seed=3)) + np.float32(0.5)
    arrays = [array.reshape(1, 4, 1, 1) for array in (scale, shift, mean, variance)][:blobs]
    parameters = "bn_param { eps: 0.01 bn_mode: INFERENCE slope_filler { value: 1 } }"
    data = values(2, *IMAGE[1:])
    made = run_onnx(one_layer("BN", parameters, IMAGE, arrays).to_onnx(), {"data": data})["out"]
    normal = data if blobs == 2 else (data - arrays[2]) / np.sqrt(arrays[3] + 0.01)
    np.testing.assert_allclose(made, normal * arrays[0] + arrays[1], atol=3e-6)


def test_a_scale_behind_bn_is_its_own() -> None:
    text = (
        'layer { name: "bn" type: "BN" bottom: "data" top: "bn" bn_param { bn_mode: INFERENCE } }'
        'layer { name: "scale" type: "Scale" bottom: "bn" top: "out" }'
    )
    blobs = {"bn": [vector(2, 3, 4, 5), vector(1, 0, 1, 0)], "scale": [vector(1, 2, 1, 2)]}
    data = values(2, *IMAGE[1:])
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), caffemodel(blobs)).to_onnx(), {"data": data})["out"]
    factor, shift = vector(2, 6, 4, 10)[:, None, None], vector(1, 0, 1, 0)[:, None, None]
    np.testing.assert_allclose(made, data * factor + shift, atol=2e-6)


ABSURD = {
    "pixels": ("Interp", "interp_param { height: 100000 width: 100000 }", "at most 2147483647 values"),
    "repeats": ("Tile", "tile_param { tiles: 2000000000 }", "at most 2147483647 values"),
    "scale": ("Upsample", "upsample_param { scale: 4000000000 }", "at most 2147483647 values"),
}


@pytest.mark.parametrize("case", ABSURD)
def test_absurd_sizes_cost_no_memory(case: str) -> None:
    type_, parameters, message = ABSURD[case]
    with pytest.raises(ExportError, match=message):
        one_layer(type_, parameters, IMAGE).to_onnx()


def test_an_absurd_unpooled_image_costs_no_memory() -> None:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
        'layer { name: "up" type: "Upsample" bottom: "pool" bottom: "mask" top: "out"'
        " upsample_param { upsample_h: 4000000000 upsample_w: 4000000000 } }"
    )
    with pytest.raises(ExportError, match=r"layer 'up' \(Upsample\): .*at most 2147483647 values"):
        CaffeSource(prototxt(text, *IMAGE), b"").to_onnx()


def test_the_largest_of_too_many_values_is_not_looked_for() -> None:
    with pytest.raises(ExportError, match="would need 100000000 places, at most 16777216"):
        one_layer("ArgMax", "", (1, 1, 10000, 10000)).to_onnx()
