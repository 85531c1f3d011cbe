"""Layers of Caffe's forks, and others that read nothing or pick samples: against the formula in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array, Feed
from tests.exporters.caffe.networks import caffemodel, one_layer, prototxt, run_onnx, values, vector
from tests.exporters.caffe.runtimes import build_with_tensorrt, run_openvino

IMAGE = (1, 4, 6, 8)

Formula = Callable[[Array], Array]


def _darknet(x: Array, stride: int) -> Array:
    """reorg_cpu of darknet with forward = 0, value by value."""
    n, channels, height, width = x.shape
    fewer = channels // stride**2
    wide = x.reshape(n, fewer, height * stride, width * stride)
    made = np.empty_like(x)
    for channel, row, column in np.ndindex(channels, height, width):
        offset, low = divmod(channel, fewer)
        made[:, channel, row, column] = wide[
            :, low, row * stride + offset // stride, column * stride + offset % stride
        ]
    return made.reshape(n, channels * stride**2, height // stride, width // stride)


def _windows(x: Array, kernel: int, pad: int, stride: int) -> Array:
    """im2col_cpu: one channel for each place in the window, channel by channel."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    count = [(size + 2 * pad - kernel) // stride + 1 for size in x.shape[2:]]
    places = [
        padded[:, :, i : i + stride * count[0] : stride, j : j + stride * count[1] : stride]
        for i in range(kernel)
        for j in range(kernel)
    ]
    return np.stack([place[:, :, : count[0], : count[1]] for place in places], axis=2).reshape(
        len(x), -1, *count
    )


ONE_BOTTOM: dict[str, tuple[str, str, Formula]] = {
    "reorg": ("Reorg", "reorg_param { stride: 2 }", lambda x: _darknet(x, 2)),
    "windows as channels": (
        "Im2col",
        "convolution_param { kernel_size: 3 pad: 1 stride: 2 }",
        lambda x: _windows(x, 3, 1, 2),
    ),
    "reversed batch": ("Reverse", "", lambda x: x[::-1]),
    "reversed rows": ("Reverse", "reverse_param { axis: 2 }", lambda x: x[:, :, ::-1]),
    "mirrored": ("Flip", "", lambda x: x[..., ::-1]),
    "upside down": (
        "Flip",
        "flip_param { flip_width: false flip_height: true }",
        lambda x: x[:, :, ::-1],
    ),
    "turned by half a circle": ("Flip", "flip_param { flip_height: true }", lambda x: x[:, :, ::-1, ::-1]),
    "not turned": ("Flip", "flip_param { flip_width: false }", lambda x: x),
    "transposed": (
        "Transpose",
        "transpose_param { dim: 3 dim: 2 dim: 0 dim: 1 }",
        lambda x: x.transpose(3, 2, 0, 1),
    ),
}


@pytest.mark.parametrize("case", ONE_BOTTOM)
def test_a_layer_of_a_fork_is_its_formula_everywhere(case: str, tmp_path: Path) -> None:
    type_, parameters, formula = ONE_BOTTOM[case]
    data = values(3, *IMAGE[1:], seed=3)
    model = one_layer(type_, parameters, IMAGE).to_onnx()
    for made in (run_onnx(model, {"data": data}), run_openvino(model, {"data": data}, tmp_path)):
        np.testing.assert_array_equal(made["out"], formula(data))
    build_with_tensorrt(model, tmp_path, batch=3)


def test_a_reversed_reorg_undoes_the_other() -> None:
    text = (
        'layer { name: "there" type: "Reorg" bottom: "data" top: "there" reorg_param { stride: 2 } }'
        'layer { name: "back" type: "Reorg" bottom: "there" top: "back"'
        " reorg_param { stride: 2 reverse: true } }"
    )
    data = values(2, *IMAGE[1:])
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), b"").to_onnx(), {"data": data})["back"]
    # Darknet's reverse writes where the other reads, over the larger image.
    n, channels, height, width = (2, 16, 3, 4)
    expected = np.empty((n, 4, 6, 8), np.float32)
    there = _darknet(data, 2)
    for channel, row, column in np.ndindex(channels, height, width):
        offset, low = divmod(channel, 4)
        expected[:, low, 2 * row + offset // 2, 2 * column + offset % 2] = there[:, channel, row, column]
    np.testing.assert_array_equal(made, expected)


def _run(
    layers: str, blobs: Mapping[str, list[Array]], feed: Feed, inputs: Mapping[str, Sequence[int]]
) -> Array:
    heads = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}'
        for name, shape in inputs.items()
    )
    return run_onnx(CaffeSource(heads + layers, caffemodel(blobs)).to_onnx(), feed)["out"]


def _read(type_: str, bottoms: str, parameters: str = "", tops: str = "out") -> str:
    read = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    made = " ".join(f'top: "{name}"' for name in tops.split())
    return f'layer {{ name: "layer" type: "{type_}" {read} {made} {parameters} }}'


@pytest.mark.parametrize("form", [(1, 4), (1, 4, 1, 1)])
def test_axpy_scales_each_channel_and_adds(form: tuple[int, ...]) -> None:
    inputs = {"a": form, "x": IMAGE, "y": IMAGE}
    feed = {name: values(2, *shape[1:], seed=seed) for seed, (name, shape) in enumerate(inputs.items())}
    made = _run(_read("Axpy", "a x y"), {}, feed, inputs)
    np.testing.assert_allclose(made, feed["a"].reshape(2, 4, 1, 1) * feed["x"] + feed["y"], atol=1e-6)


def test_samples_are_taken_by_their_places() -> None:
    feed = {"x": values(3, 2, 2), "order": vector(2, 0, 0, 1)}
    made = _run(_read("BatchReindex", "x order"), {}, feed, {"x": (3, 2, 2), "order": (4,)})
    np.testing.assert_array_equal(made, feed["x"][[2, 0, 0, 1]])


@pytest.mark.parametrize("chosen", [(0, 1, -2), (1, 1, 1), (0, 0, 0)])
def test_samples_are_filtered(chosen: tuple[float, ...], tmp_path: Path) -> None:
    feed = {"x": values(3, 2, 2), "y": values(3, 5), "which": vector(*chosen).reshape(3, 1, 1, 1)}
    heads = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in array.shape)} }}'
        for name, array in feed.items()
    )
    layer = _read("Filter", "x y which", tops="a b")
    model = CaffeSource(heads + layer, b"").to_onnx()
    for made in (run_onnx(model, feed), run_openvino(model, feed, tmp_path)):
        for name, source in (("a", "x"), ("b", "y")):
            np.testing.assert_array_equal(made[name], feed[source][vector(*chosen) != 0])


def test_dummy_data_is_a_constant() -> None:
    filler = "data_filler { value: 2.5 } data_filler { }"
    shapes = "shape { dim: 1 dim: 4 dim: 6 dim: 8 } shape { dim: 4 dim: 6 dim: 8 }"
    layers = _read("DummyData", "", f"dummy_data_param {{ {filler} {shapes} }}", tops="full zeros")
    layers += 'layer { name: "sum" type: "Bias" bottom: "data" bottom: "zeros" top: "out" }'
    source = CaffeSource(prototxt(layers, *IMAGE), b"")
    data = values(2, *IMAGE[1:])
    made = run_onnx(source.to_onnx(), {"data": data})
    np.testing.assert_array_equal(made["out"], data)
    np.testing.assert_array_equal(made["full"], np.full(IMAGE, 2.5, np.float32))


def test_dummy_data_has_the_old_way_to_say_shapes() -> None:
    text = "dummy_data_param { num: 2 channels: 3 height: 1 width: 4 data_filler { value: 1 } }"
    layers = _read("DummyData", "", text, tops="out other")
    made = run_onnx(CaffeSource(prototxt(layers, *IMAGE), b"").to_onnx(), {"data": values(1, *IMAGE[1:])})
    for name in ("out", "other"):
        np.testing.assert_array_equal(made[name], np.ones((2, 3, 1, 4), np.float32))


def test_a_parameter_is_a_blob() -> None:
    learned = values(6, 8)
    layers = _read("Parameter", "", "parameter_param { shape { dim: 6 dim: 8 } }", tops="p")
    layers += 'layer { name: "b" type: "Bias" bottom: "data" bottom: "p" top: "out" bias_param { axis: 2 } }'
    data = values(2, *IMAGE[1:])
    made = _run(layers, {"layer": [learned]}, {"data": data}, {"data": IMAGE})
    np.testing.assert_allclose(made, data + learned, atol=1e-6)


def _nvidia(blobs: Sequence[Array], parameters: str) -> Array:
    data = values(2, *IMAGE[1:], seed=9)
    source = one_layer("BatchNorm", f"batch_norm_param {{ eps: 0.01 {parameters} }}", IMAGE, blobs)
    return run_onnx(source.to_onnx(), {"data": data})["out"]


def test_nvidias_batch_norm_has_scale_and_bias_in_either_order() -> None:
    gamma, beta, mean = (values(4, seed=seed) for seed in range(3))
    variance = np.abs(values(4, seed=3)) + np.float32(0.5)
    data = values(2, *IMAGE[1:], seed=9)
    g, b, m, v = (array[:, None, None] for array in (gamma, beta, mean, variance))
    expected = (data - m) / np.sqrt(v + 0.01) * g + b
    new = [mean * 2, variance * 2, vector(2), gamma, beta]
    np.testing.assert_allclose(_nvidia(new, "scale_bias: true"), expected, atol=3e-6)
    old = [gamma, beta, mean, variance, vector(0)]
    np.testing.assert_allclose(_nvidia(old, "scale_filler { value: 1 }"), expected, atol=3e-6)


def test_an_image_is_resized_to_the_size_of_another() -> None:
    text = (
        'layer { name: "small" type: "Pooling" bottom: "data" top: "small"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
        'layer { name: "there" type: "Interp" bottom: "small" bottom: "data" top: "there"'
        " interp_param { use_blob_size: true } }"
        'layer { name: "said" type: "Interp" bottom: "small" top: "said"'
        " interp_param { height: 6 width: 8 } }"
    )
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), b"").to_onnx(), {"data": values(2, *IMAGE[1:])})
    np.testing.assert_array_equal(made["there"], made["said"])
    assert made["there"].shape == (2, 4, 6, 8)


def test_enets_spatial_dropout_does_nothing() -> None:
    drop = "python_param { module: 'spatial_dropout' layer: 'SpatialDropoutLayer' param_str: \"{PHASE}\" }"
    data = values(2, *IMAGE[1:])
    source = one_layer("Python", drop.replace("PHASE", "'phase': 'TEST', 'p': '0.1'"), IMAGE)
    np.testing.assert_array_equal(run_onnx(source.to_onnx(), {"data": data})["out"], data)
    with pytest.raises(ExportError, match=r"layer 'layer' \(Python\): its param_str says phase TRAIN"):
        one_layer("Python", drop.replace("PHASE", "'phase': 'TRAIN'"), IMAGE).to_onnx()


CANNOT = {
    "axpy": ("Axpy", "data data data", "", "wants one number a channel and two blobs of one shape"),
    "reorg": ("Reorg", "data", "reorg_param { stride: 4 }", "stride 4 must divide height and width"),
    "no stride": ("Reorg", "data", "", "stride 0 must divide"),
    "transpose": ("Transpose", "data", "transpose_param { dim: 1 dim: 0 }", "name each dimension once"),
    "reindex": ("BatchReindex", "data data", "", "bottom 1 is a list of samples' places"),
    "filter of one number": (
        "Filter",
        "data one",
        "",
        "one number for each sample of the others, got",
    ),
    "filter": ("Filter", "data data", "", "one number for each sample of the others"),
    "random": (
        "DummyData",
        "",
        'dummy_data_param { data_filler { type: "gaussian" } shape { dim: 1 } }',
        r"draws its numbers at random \(gaussian\); put an Input layer in its place",
    ),
    "no shape": ("DummyData", "", "", r"has shapes \[\] for 1 tops"),
    "fillers": (
        "DummyData",
        "",
        "dummy_data_param { data_filler {} data_filler {} shape { dim: 1 } }",
        "has 2 data_filler for 1 tops",
    ),
    "pyramid": ("SPP", "data", "", "pyramid_height is 0; give 1 to 16"),
    "too many bins": ("SPP", "data", "spp_param { pyramid_height: 9 }", "wider than its pad|lies outside"),
    "random pyramid": ("SPP", "data", "spp_param { pyramid_height: 1 pool: STOCHASTIC }", "draws at random"),
    "no steps": ("ContinuationIndicator", "", "", "give time_step and batch_size, both above 0"),
    "two sizes": ("Interp", "data data", "interp_param { height: 2 width: 2 }", "goes with a second bottom"),
    "images as sequences": (
        "Lstm",
        "data",
        "lstm_param { num_output: 2 }",
        "wants data .time, streams, size.",
    ),
    "accuracy": ("Accuracy", "data data", "", "it is for training: .* take it out"),
    "binary loss": ("SigmoidCrossEntropyLoss", "data data", "", "put a Sigmoid layer in its place"),
    "data set": ("ImageData", "", "", "put an Input layer in its place"),
    "file": ("HDF5Output", "data", "", "writes to a file: take it out"),
    "YOLO": ("Yolov3DetectionOutput", "data", "", "take it out, and the blobs that it reads are outputs"),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_is_refused_in_one_line(case: str) -> None:
    type_, bottoms, parameters, message = CANNOT[case]
    one = 'layer { name: "sum" type: "Reduction" bottom: "data" top: "one" }' if "one" in bottoms else ""
    text = prototxt(one + _read(type_, bottoms, parameters), *IMAGE)
    with pytest.raises(ExportError, match=rf"layer 'layer' \({type_}\).*({message})") as caught:
        CaffeSource(text, b"").to_onnx()
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
)
def test_any_windows_are_laid_out_as_channels(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, pad: int
) -> None:
    text = f"convolution_param {{ kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride: {stride} pad: {pad} }}"
    data = values(2, 2, *size)
    made = run_onnx(one_layer("Im2col", text, (1, 2, *size)).to_onnx(), {"data": data})["out"]
    padded = np.pad(data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    for row, column in np.ndindex(*made.shape[2:]):
        top, left = row * stride, column * stride
        window = padded[:, :, top : top + kernel[0], left : left + kernel[1]]
        np.testing.assert_array_equal(made[:, :, row, column], window.reshape(2, -1))
