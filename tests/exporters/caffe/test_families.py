"""The block each family of networks is made of, small, against OpenCV."""

from __future__ import annotations

from collections import Counter

import numpy as np

from exporters.caffe.source import CaffeSource
from runtime.tensors import Array
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, prototxt, values, vector


def _layer(name: str, type_: str, bottoms: str, top: str, parameters: str = "") -> str:
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{type_}" {read} top: "{top}" {parameters} }}\n'


def _convolution(name: str, bottom: str, outputs: int, kernel: int, bias: bool = True) -> str:
    window = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} bias_term: {str(bias).lower()}"
    return _layer(name, "Convolution", bottom, name, f"convolution_param {{ {window} }}")


def _statistics(channels: int, seed: int) -> list[Array]:
    return [values(channels, seed=seed), np.abs(values(channels, seed=seed + 1)) + 0.5, vector(999.98)]


def test_an_inception_block_of_googlenet() -> None:
    text = (
        _layer("norm", "LRN", "data", "norm", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")
        + _convolution("1x1", "norm", 4, 1)
        + _convolution("3x3", "norm", 6, 3)
        + _convolution("5x5", "norm", 2, 5)
        + _layer(
            "pool", "Pooling", "norm", "pool", "pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }"
        )
        + _layer("relu", "ReLU", "3x3", "3x3")
        + _layer("output", "Concat", "1x1 3x3 5x5 pool", "output")
        + _layer("max", "Pooling", "output", "max", "pooling_param { kernel_size: 3 stride: 2 }")
        + _layer("drop", "Dropout", "max", "max", "dropout_param { dropout_ratio: 0.4 }")
        + _layer("classifier", "InnerProduct", "max", "classifier", "inner_product_param { num_output: 7 }")
        + _layer("prob", "Softmax", "classifier", "prob")
    )
    blobs = {
        "1x1": [values(4, 3, 1, 1), values(4)],
        "3x3": [values(6, 3, 3, 3), values(6)],
        "5x5": [values(2, 3, 5, 5), values(2)],
        "classifier": [values(7, 15 * 4 * 4) / 16, values(7)],
    }
    source = CaffeSource(prototxt(text, 10, 3, 8, 8), caffemodel(blobs))
    made = assert_like_opencv(source, {"data": values(2, 3, 8, 8)})
    np.testing.assert_allclose(made["prob"].sum(axis=1), 1, atol=1e-6)


def test_a_dense_block_and_transition_of_densenet() -> None:
    text = (
        _layer("x1/bn", "BatchNorm", "data", "x1/bn", "batch_norm_param { eps: 1e-5 }")
        + _layer("x1/scale", "Scale", "x1/bn", "x1/bn", "scale_param { bias_term: true }")
        + _layer("relu1", "ReLU", "x1/bn", "x1/bn")
        + _convolution("x1", "x1/bn", 4, 3, bias=False)
        + _layer("concat", "Concat", "data x1", "concat")
        + _layer("bn", "BatchNorm", "concat", "bn", "batch_norm_param { eps: 1e-5 }")
        + _layer("scale", "Scale", "bn", "bn", "scale_param { bias_term: true }")
        + _layer("relu", "ReLU", "bn", "bn")
        + _layer("pool", "Pooling", "bn", "pool", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
        + _layer("global", "Pooling", "pool", "global", "pooling_param { pool: AVE global_pooling: true }")
        + _convolution("fc6", "global", 5, 1)
    )
    blobs = {
        "x1/bn": _statistics(3, seed=1),
        "x1/scale": [values(3, seed=3), values(3, seed=4)],
        "x1": [values(4, 3, 3, 3, seed=5)],
        "bn": _statistics(7, seed=6),
        "scale": [values(7, seed=8), values(7, seed=9)],
        "fc6": [values(5, 7, 1, 1, seed=10), values(5, seed=11)],
    }
    source = CaffeSource(prototxt(text, 1, 3, 7, 7), caffemodel(blobs))
    made = assert_like_opencv(source, {"data": values(2, 3, 7, 7)})
    assert made["fc6"].shape == (2, 5, 1, 1)
    operators = Counter(node.op_type for node in source.to_onnx().graph)
    assert (operators["BatchNormalization"], operators["Mul"]) == (2, 0)


def test_a_residual_block_of_resnet() -> None:
    text = (
        _convolution("branch1", "data", 4, 1, bias=False)
        + _layer("bn1", "BatchNorm", "branch1", "branch1", "batch_norm_param { use_global_stats: true }")
        + _layer("scale1", "Scale", "branch1", "branch1", "scale_param { bias_term: true }")
        + _convolution("branch2", "data", 4, 3, bias=False)
        + _layer("sum", "Eltwise", "branch1 branch2", "sum")
        + _layer("relu", "ReLU", "sum", "sum")
    )
    blobs = {
        "branch1": [values(4, 3, 1, 1)],
        "bn1": _statistics(4, seed=1),
        "scale1": [values(4, seed=3), values(4, seed=4)],
        "branch2": [values(4, 3, 3, 3, seed=5)],
    }
    source = CaffeSource(prototxt(text, 1, 3, 6, 6), caffemodel(blobs))
    assert source.parameters == 12 + 8 + 108
    assert_like_opencv(source, {"data": values(3, 3, 6, 6)})


def test_a_detection_head_of_ssd() -> None:
    """Dilated convolution, normalisation, Permute, Flatten, Concat, Reshape and Softmax over classes."""
    dilated = "convolution_param { num_output: 4 kernel_size: 3 pad: 6 dilation: 6 }"
    norm = "norm_param { across_spatial: false channel_shared: false }"
    text = (
        _layer("fc6", "Convolution", "data", "fc6", dilated)
        + _layer("norm", "Normalize", "data", "norm", norm)
        + "".join(
            _convolution(f"{name}_conf", name, 6, 3)
            + _layer(
                f"{name}_perm",
                "Permute",
                f"{name}_conf",
                f"{name}_perm",
                "permute_param { order: 0 order: 2 order: 3 order: 1 }",
            )
            + _layer(f"{name}_flat", "Flatten", f"{name}_perm", f"{name}_flat")
            for name in ("fc6", "norm")
        )
        + _layer("conf", "Concat", "fc6_flat norm_flat", "conf")
        + _layer("reshape", "Reshape", "conf", "reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
        + _layer("softmax", "Softmax", "reshape", "softmax", "softmax_param { axis: 2 }")
    )
    blobs = {
        "fc6": [values(4, 3, 3, 3), values(4)],
        "norm": [vector(20, 20, 20)],
        "fc6_conf": [values(6, 4, 3, 3) / 8, values(6)],
        "norm_conf": [values(6, 3, 3, 3) / 8, values(6)],
    }
    source = CaffeSource(prototxt(text, 1, 3, 6, 6), caffemodel(blobs))
    assert source.outputs[0].shape == ("batch", 2 * 36 * 2, 3)
    assert_like_opencv(source, {"data": values(2, 3, 6, 6)})


def test_a_squeeze_and_excitation_block() -> None:
    text = (
        _convolution("branch", "data", 4, 3)
        + _layer(
            "squeeze", "Pooling", "branch", "squeeze", "pooling_param { pool: AVE global_pooling: true }"
        )
        + _convolution("down", "squeeze", 2, 1)
        + _layer("relu", "ReLU", "down", "down")
        + _convolution("up", "down", 4, 1)
        + _layer("gate", "Sigmoid", "up", "gate")
        + _convolution("shortcut", "data", 4, 1)
        + _layer("sum", "Axpy", "gate branch shortcut", "sum")
        + _layer("out", "ReLU", "sum", "sum")
    )
    blobs = {
        "branch": [values(4, 3, 3, 3), values(4)],
        "down": [values(2, 4, 1, 1, seed=1), values(2)],
        "up": [values(4, 2, 1, 1, seed=2), values(4)],
        "shortcut": [values(4, 3, 1, 1, seed=3), values(4)],
    }
    source = CaffeSource(prototxt(text, 1, 3, 6, 6), caffemodel(blobs))
    assert_like_opencv(source, {"data": values(2, 3, 6, 6)})


def test_a_pyramid_of_pspnet() -> None:
    """Averages of the whole map and of its quarters, brought back to its size."""
    text = _layer("bn", "BN", "data", "data_bn", "bn_param { frozen: true }")
    for name, kernel in (("pool1", 6), ("pool2", 3)):
        window = f"pool: AVE kernel_size: {kernel} stride: {kernel}"
        text += (
            _layer(name, "Pooling", "data_bn", name, f"pooling_param {{ {window} }}")
            + _convolution(f"{name}_conv", name, 2, 1, bias=False)
            + _layer(f"{name}_bn", "BN", f"{name}_conv", f"{name}_conv", "bn_param { frozen: true }")
            + _layer(
                f"{name}_up", "Interp", f"{name}_conv", f"{name}_up", "interp_param { height: 6 width: 6 }"
            )
        )
    text += _layer("all", "Concat", "data_bn pool1_up pool2_up", "all")
    text += _layer("zoom", "Interp", "all", "zoom", "interp_param { zoom_factor: 4 }")
    blobs = {"bn": [values(3), values(3, seed=1), *_statistics(3, seed=2)[:2]]}
    for seed, name in ((4, "pool1"), (8, "pool2")):
        blobs[f"{name}_conv"] = [values(2, 3, 1, 1, seed=seed)]
        blobs[f"{name}_bn"] = [
            *(values(2, seed=seed + i) for i in (1, 2)),
            *_statistics(2, seed=seed + 2)[:2],
        ]
    source = CaffeSource(prototxt(text, 1, 3, 6, 6), caffemodel(blobs))
    made = assert_like_opencv(source, {"data": values(2, 3, 6, 6)}, tolerance=4e-6)
    assert made["zoom"].shape == (2, 7, 21, 21)


def test_a_route_of_yolo() -> None:
    text = (
        _convolution("small", "data", 4, 3)
        + _layer("leaky", "ReLU", "small", "small", "relu_param { negative_slope: 0.1 }")
        + _layer("pool", "Pooling", "small", "pool", "pooling_param { kernel_size: 2 stride: 2 }")
        + _layer("up", "Upsample", "pool", "up", "upsample_param { scale: 2 }")
        + _layer("reorg", "Reorg", "small", "reorg", "reorg_param { stride: 2 }")
        + _layer("route", "Concat", "up small", "route")
        + _layer("deep", "Concat", "pool reorg", "deep")
    )
    source = CaffeSource(prototxt(text, 1, 3, 6, 8), caffemodel({"small": [values(4, 3, 3, 3), values(4)]}))
    made = assert_like_opencv(source, {"data": values(2, 3, 6, 8)})
    assert made["route"].shape == (2, 8, 6, 8)
    assert made["deep"].shape == (2, 20, 3, 4)
