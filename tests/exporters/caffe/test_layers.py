"""Every layer type against OpenCV, on random values and at a batch that the prototxt does not say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporters.caffe.layers import LAYERS, SUPPORTED
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
    vector,
)
from tests.exporters.caffe.test_forks import ONE_BOTTOM as FORKS

IMAGE = (1, 4, 7, 9)

ONE_BOTTOM: dict[str, tuple[str, str, Sequence[Array]]] = {
    "absolute value": ("AbsVal", "", ()),
    "batch norm with a factor": (
        "BatchNorm",
        "batch_norm_param { eps: 0.001 }",
        (values(4), np.abs(values(4, seed=1)) + 0.5, vector(999.98)),
    ),
    "bnll": ("BNLL", "", ()),
    "elu": ("ELU", "elu_param { alpha: 0.5 }", ()),
    "relu": ("ReLU", "", ()),
    "leaky relu": ("ReLU", "relu_param { negative_slope: 0.1 }", ()),
    "prelu": ("PReLU", "", (values(4),)),
    "prelu with one slope": ("PReLU", "prelu_param { channel_shared: true }", (vector(0.3),)),
    "sigmoid": ("Sigmoid", "", ()),
    "tanh": ("TanH", "", ()),
    "power": ("Power", "power_param { power: 2 scale: 0.5 shift: 1.5 }", ()),
    "dropout": ("Dropout", "dropout_param { dropout_ratio: 0.4 }", ()),
    "dropout unscaled in training": (
        "Dropout",
        "dropout_param { dropout_ratio: 0.4 scale_train: false }",
        (),
    ),
    "softmax over channels": ("Softmax", "", ()),
    "softmax over the last axis": ("Softmax", "softmax_param { axis: -1 }", ()),
    "scale": ("Scale", "", (values(4),)),
    "scale with bias": ("Scale", "scale_param { bias_term: true }", (values(4), values(4, seed=1))),
    "flatten": ("Flatten", "", ()),
    "flatten of two axes": ("Flatten", "flatten_param { axis: 2 }", ()),
    "reshape": ("Reshape", "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 9 } }", ()),
    "permute": ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }", ()),
    "lrn": ("LRN", "lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 }", ()),
    "lrn within a channel": (
        "LRN",
        "lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 norm_region: WITHIN_CHANNEL }",
        (),
    ),
    "normalize": (
        "Normalize",
        "norm_param { across_spatial: false channel_shared: false }",
        (values(4),),
    ),
    "normalize across space": ("Normalize", "norm_param { }", (vector(20),)),
    "global maximum": ("Pooling", "pooling_param { global_pooling: true }", ()),
    "global average": ("Pooling", "pooling_param { pool: AVE global_pooling: true }", ()),
    "rounded down": ("Pooling", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }", ()),
    "DenseNet's word for it": ("Pooling", "pooling_param { kernel_size: 2 stride: 2 ceil_mode: false }", ()),
    "inner product": (
        "InnerProduct",
        "inner_product_param { num_output: 5 }",
        (values(5, 4 * 7 * 9), values(5, seed=1)),
    ),
    "inner product without bias": (
        "InnerProduct",
        "inner_product_param { num_output: 5 bias_term: false }",
        (values(5, 4 * 7 * 9),),
    ),
    "inner product over the last axis": (
        "InnerProduct",
        "inner_product_param { num_output: 5 axis: 3 }",
        (values(5, 9), values(5, seed=1)),
    ),
    "deconvolution": (
        "Deconvolution",
        "convolution_param { num_output: 6 kernel_size: 3 stride: 2 pad: 1 }",
        (values(4, 6, 3, 3), values(6, seed=1)),
    ),
    "bilinear upsampling": (
        "Deconvolution",
        "convolution_param { num_output: 4 group: 4 kernel_size: 4 stride: 2 pad: 1 bias_term: false }",
        (values(4, 1, 4, 4),),
    ),
    "convolution that is not square": (
        "Convolution",
        "convolution_param { num_output: 6 kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1"
        " stride_h: 2 stride_w: 1 }",
        (values(6, 4, 1, 3), values(6, seed=1)),
    ),
    "split": ("Split", "", ()),
    "depthwise convolution": (
        "DepthwiseConvolution",
        "convolution_param { num_output: 4 kernel_size: 3 pad: 1 group: 4 }",
        (values(4, 1, 3, 3), values(4, seed=1)),
    ),
    "depthwise convolution of ShuffleNet": (
        "ConvolutionDepthwise",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 bias_term: false }",
        (values(4, 1, 3, 3),),
    ),
    "exponential": ("Exp", "", ()),
    "power of two": ("Exp", "exp_param { base: 2 scale: 0.5 shift: -1 }", ()),
    "relu up to six": ("ReLU6", "", ()),
    "swish": ("Swish", "", ()),
    "mish": ("Mish", "", ()),
    "mean and variance": ("MVN", "", ()),
    "mean and variance of a sample": ("MVN", "mvn_param { across_channels: true }", ()),
    "mean alone": ("MVN", "mvn_param { normalize_variance: false }", ()),
    "shuffled channels": ("ShuffleChannel", "shuffle_channel_param { group: 2 }", ()),
    "resized to": ("Interp", "interp_param { height: 12 width: 5 }", ()),
    "zoomed": ("Interp", "interp_param { zoom_factor: 3 }", ()),
}


@pytest.mark.parametrize("case", ONE_BOTTOM)
def test_a_layer_answers_as_opencv_does(case: str) -> None:
    type_, parameters, blobs = ONE_BOTTOM[case]
    source = one_layer(type_, parameters, IMAGE, blobs)
    assert_like_opencv(source, {"data": values(3, *IMAGE[1:], seed=7)})


TWO_BOTTOMS = {
    "sum": ("Eltwise", ""),
    "weighted sum": ("Eltwise", "eltwise_param { coeff: 1 coeff: -0.5 }"),
    "product": ("Eltwise", "eltwise_param { operation: PROD }"),
    "maximum": ("Eltwise", "eltwise_param { operation: MAX }"),
    "concat": ("Concat", ""),
    "concat along height": ("Concat", "concat_param { axis: 2 }"),
    "concat by its old name": ("Concat", "concat_param { concat_dim: 3 }"),
}


@pytest.mark.parametrize("case", TWO_BOTTOMS)
def test_a_layer_of_two_blobs_answers_as_opencv_does(case: str) -> None:
    type_, parameters = TWO_BOTTOMS[case]
    text = (
        'layer { name: "square" type: "Power" bottom: "data" top: "square" power_param { power: 2 } }'
        f'layer {{ name: "x" type: "{type_}" bottom: "data" bottom: "square" top: "out" {parameters} }}'
    )
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({}))
    assert_like_opencv(source, {"data": values(2, *IMAGE[1:])})


def test_slice_cuts_where_it_is_told_to() -> None:
    text = (
        'layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" top: "c"'
        " slice_param { slice_point: 1 slice_point: 3 } }"
    )
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({}))
    made = assert_like_opencv(source, {"data": values(2, *IMAGE[1:])})
    assert [made[name].shape[1] for name in "abc"] == [1, 2, 1]


def test_crop_takes_the_size_of_its_second_bottom() -> None:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "small" pooling_param { kernel_size: 3 } }'
        'layer { name: "crop" type: "Crop" bottom: "data" bottom: "small" top: "out"'
        " crop_param { axis: 2 offset: 1 offset: 2 } }"
    )
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({}))
    data = values(2, *IMAGE[1:])
    made = assert_like_opencv(source, {"data": data})
    np.testing.assert_array_equal(made["out"], data[:, :, 1:6, 2:9])


def test_scale_and_bias_take_a_second_bottom() -> None:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "mean"'
        " pooling_param { pool: AVE global_pooling: true } }"
        'layer { name: "flat" type: "Flatten" bottom: "mean" top: "flat" }'
        'layer { name: "scale" type: "Scale" bottom: "data" bottom: "flat" top: "scaled"'
        " scale_param { axis: 0 } }"
        'layer { name: "bias" type: "Bias" bottom: "scaled" bottom: "flat" top: "out"'
        " bias_param { axis: 0 } }"
    )
    data = values(2, *IMAGE[1:])
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), caffemodel({})).to_onnx(), {"data": data})
    mean = data.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(made["out"], data * mean + mean, atol=1e-6)


def test_a_learned_bias_is_added_to_each_channel() -> None:
    bias = values(4, seed=3)
    data = values(2, *IMAGE[1:])
    made = run_onnx(one_layer("Bias", "", IMAGE, [bias]).to_onnx(), {"data": data})
    np.testing.assert_allclose(made["out"], data + bias[:, None, None], atol=1e-7)


def test_lrn_uses_k_which_opencv_does_not() -> None:
    data = values(2, 3, 4, 4)
    source = one_layer("LRN", "lrn_param { local_size: 3 alpha: 0.6 beta: 0.5 k: 2 }", (1, 3, 4, 4))
    squares = np.pad(data**2, ((0, 0), (1, 1), (0, 0), (0, 0)))
    sums = squares[:, :3] + squares[:, 1:4] + squares[:, 2:]
    made = run_onnx(source.to_onnx(), {"data": data})
    np.testing.assert_allclose(made["out"], data / np.sqrt(2 + 0.2 * sums), atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    pad=st.integers(0, 3),
    dilation=st.integers(1, 3),
    group=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_any_convolution_answers_as_opencv_does(
    *, size: tuple[int, int], kernel: int, stride: int, pad: int, dilation: int, group: int, bias: bool
) -> None:
    assume(min(size) + 2 * pad >= dilation * (kernel - 1) + 1)
    parameters = (
        f"convolution_param {{ num_output: 8 kernel_size: {kernel} stride: {stride} pad: {pad}"
        f" dilation: {dilation} group: {group} bias_term: {str(bias).lower()} }}"
    )
    blobs = [values(8, 4 // group, kernel, kernel), *([values(8, seed=1)] if bias else [])]
    source = one_layer("Convolution", parameters, (1, 4, *size), blobs)
    assert_like_opencv(source, {"data": values(2, 4, *size, seed=2)}, tolerance=4e-6)


CANNOT: dict[str, tuple[str, str, Sequence[Array], str]] = {
    "unknown type": (
        "Yolo",
        "",
        (),
        r"line 1: layer 'layer' \(Yolo\) has a type that cannot be exported; take the layer out.*: .*ReLU",
    ),
    "loss": ("SoftmaxWithLoss", "", (), "give the deploy.prototxt"),
    "batch statistics": (
        "BatchNorm",
        "batch_norm_param { use_global_stats: false }",
        (values(4), values(4), values(1)),
        r"layer 'layer' \(BatchNorm\): use_global_stats: false",
    ),
    "negative variance": (
        "BatchNorm",
        "",
        (values(4), -np.ones(4, np.float32), vector(1)),
        "variance -1 .* has no square root",
    ),
    "random pooling": ("Pooling", "pooling_param { kernel_size: 2 pool: STOCHASTIC }", (), "draws at random"),
    "wide pad": ("Pooling", "pooling_param { kernel_size: 2 pad: 2 }", (), "wider than its pad"),
    "pooling outside": (
        "Pooling",
        "pooling_param { kernel_size: 1 stride: 4 }",
        (),
        "lies outside of 7 pixels",
    ),
    "huge window": ("Pooling", "pooling_param { kernel_size: 4000000000 }", (), "lies outside|1 or more"),
    "global with a kernel": (
        "Pooling",
        "pooling_param { global_pooling: true kernel_size: 2 }",
        (),
        "leave out kernel_size",
    ),
    "half a window": ("Pooling", "pooling_param { kernel_h: 2 }", (), "both kernel_h and kernel_w"),
    "missing weight": ("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", (), "0 blobs"),
    "wrong weight": (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 }",
        (values(2, 3, 1, 1),),
        r"blob 0 \(weight\) has shape \[2, 3, 1, 1\], the prototxt wants \[2, 4, 1, 1\]",
    ),
    "odd groups": (
        "Convolution",
        "convolution_param { num_output: 3 kernel_size: 1 group: 3 }",
        (),
        "group 3 must divide 4 input channels",
    ),
    "three kernels": (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 kernel_size: 1 kernel_size: 1 }",
        (),
        "give one number, or one for each of 2",
    ),
    "stride and stride_h": (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 stride: 1 stride_h: 1 }",
        (),
        "stride_h and stride_w",
    ),
    "stride 0": (
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 1 stride: 0 }",
        (),
        "must be 1 or more",
    ),
    "kernel larger than the image": (
        "Convolution",
        "convolution_param { num_output: 1 kernel_size: 20 bias_term: false }",
        (values(1, 4, 20, 20),),
        "every dimension must be 1 or more",
    ),
    "depthwise outputs": (
        "ConvolutionDepthwise",
        "convolution_param { num_output: 8 kernel_size: 3 }",
        (),
        "num_output 8 must be the number of channels, 4",
    ),
    "BN of the batch": ("BN", "", (values(4), values(4)), "say bn_mode: INFERENCE"),
    "even LRN": ("LRN", "lrn_param { local_size: 4 }", (), "odd"),
    "axis": ("Softmax", "softmax_param { axis: 4 }", (), "axis 4"),
    "one term": ("Eltwise", "", (), "has 1 bottoms, can take 2 or more"),
    "batch in Flatten": ("Flatten", "flatten_param { axis: 0 }", (), "batch .* cannot be merged"),
    "batch in Reshape": ("Reshape", "reshape_param { shape { dim: 1 dim: -1 } }", (), "begin it with dim: 0"),
    "samples in Reshape": (
        "Reshape",
        "reshape_param { shape { dim: 1 dim: 5 } }",
        (),
        r"\['batch', 4, 7, 9\] cannot be reshaped to \[1, 5\]: the number of values differs",
    ),
    "nothing in Reshape": ("Reshape", "reshape_param { shape { } }", (), "begin it with dim: 0"),
    "counts in Reshape": (
        "Reshape",
        "reshape_param { shape { dim: 0 dim: 5 } }",
        (),
        "number of values differs",
    ),
    "two unknowns": ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", (), "at most once -1"),
    "order": ("Permute", "permute_param { order: 1 order: 1 }", (), "at most once"),
    "slices": ("Slice", "slice_param { slice_point: 2 }", (), "does not cut 4 values into 1 parts"),
    "scale too long": (
        "Scale",
        "scale_param { axis: 3 num_axes: 2 }",
        (),
        "axis 3 and num_axes 2 do not fit",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_onnx_cannot_say_is_refused_in_one_line(case: str) -> None:
    type_, parameters, blobs, message = CANNOT[case]
    with pytest.raises(ExportError, match=message) as caught:
        one_layer(type_, parameters, IMAGE, blobs).to_onnx()
    assert "\n" not in str(caught.value)


def test_the_bottoms_of_eltwise_must_have_one_shape() -> None:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "p" pooling_param { kernel_size: 2 } }'
        'layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "p" top: "out" }'
    )
    with pytest.raises(ExportError, match=r"layer 'sum' \(Eltwise\): bottoms have different shapes"):
        CaffeSource(prototxt(text, *IMAGE), caffemodel({})).to_onnx()


def test_every_layer_type_of_the_table_is_tested_here() -> None:
    in_own_test = {"Bias", "Concat", "Crop", "Eltwise", "Silence", "Slice"}
    of_forks = {"Axpy", "BatchReindex", "DummyData", "Filter", "Parameter", "SPP"}
    of_forks |= {type_ for type_, _, _ in FORKS.values()}
    in_closed_form = {"BN", "ArgMax", "Clip", "Embed", "Log", "Reduction", "Threshold", "Tile", "Upsample"}
    recurrent = {"ContinuationIndicator", "LSTM", "Lstm", "RNN"}
    of_detectors = {"DetectionOutput", "PSROIPooling", "PriorBox", "Proposal", "ROIPooling"}
    tested = (
        {type_ for type_, _, _ in ONE_BOTTOM.values()}
        | in_own_test
        | in_closed_form
        | of_detectors
        | of_forks
        | recurrent
    )
    assert tested == set(LAYERS) == set(SUPPORTED) - {"Input"}


def test_an_unwanted_blob_is_silenced() -> None:
    text = (
        'layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" }'
        'layer { name: "hush" type: "Silence" bottom: "b" }'
    )
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({}))
    assert [spec.name for spec in source.outputs] == ["a"]
