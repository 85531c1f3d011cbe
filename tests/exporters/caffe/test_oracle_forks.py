"""What stands in for layers that OpenCV lacks: the exporter's graph answers as OpenCV does with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from exporters.caffe.layerwise import compare_blobs, first_difference
from exporters.caffe.source import CaffeSource
from runtime.errors import UnavailableError
from runtime.tensors import Array
from tests.exporters.caffe.networks import (
    assert_like_opencv,
    caffemodel,
    one_layer,
    prototxt,
    values,
    vector,
)

IMAGE = (1, 4, 6, 8)
VARIANCE = np.abs(values(4, seed=3)) + np.float32(0.5)

ONE_BOTTOM: dict[str, tuple[str, str, Sequence[Array]]] = {
    "BN of SegNet": (
        "BN",
        "bn_param { bn_mode: INFERENCE scale_filler { value: 1 } }",
        (values(4), values(4)),
    ),
    "BN of PSPNet": (
        "BN",
        "bn_param { eps: 0.01 slope_filler { } frozen: true }",
        (values(4), values(4), values(4, seed=2), VARIANCE),
    ),
    "sum": ("Reduction", "reduction_param { axis: 2 }", ()),
    "mean": ("Reduction", "reduction_param { operation: MEAN axis: 2 coeff: 3 }", ()),
    "squares": ("Reduction", "reduction_param { operation: SUMSQ axis: 2 }", ()),
    "absolutes": ("Reduction", "reduction_param { operation: ASUM axis: 2 }", ()),
    "reorg": ("Reorg", "reorg_param { stride: 2 }", ()),
    "reorg back": ("Reorg", "reorg_param { stride: 2 reverse: true }", ()),
    "tile": ("Tile", "tile_param { tiles: 3 }", ()),
    "shrunk": ("Interp", "interp_param { shrink_factor: 2 }", ()),
    "cut and resized": ("Interp", "interp_param { height: 9 width: 7 pad_beg: -1 pad_end: -1 }", ()),
    "cut and zoomed": ("Interp", "interp_param { zoom_factor: 2 pad_beg: -1 }", ()),
    "lrn with k": ("LRN", "lrn_param { local_size: 3 alpha: 0.6 beta: 0.5 k: 2 }", ()),
    "mean and variance with eps": ("MVN", "mvn_param { eps: 0.5 }", ()),
    "normalised across space by channel": ("Normalize", "norm_param { channel_shared: false }", (values(4),)),
    "nearest": ("Upsample", "", ()),
    "nearest, not square": ("Upsample", "upsample_param { scale_h: 3 scale_w: 1 }", ()),
    "spatial dropout": (
        "Python",
        "python_param { module: 'spatial_dropout' layer: 'SpatialDropoutLayer' param_str: \"{'p': '0.1'}\" }",
        (),
    ),
    "the prototxt's batch": ("Reshape", "reshape_param { shape { dim: 1 dim: 4 dim: 48 } }", ()),
}


@pytest.mark.parametrize("case", ONE_BOTTOM)
def test_a_layer_that_opencv_lacks_is_checked(case: str) -> None:
    type_, parameters, blobs = ONE_BOTTOM[case]
    source = one_layer(type_, parameters, IMAGE, blobs)
    assert_like_opencv(source, {"data": values(3, *IMAGE[1:], seed=7)})


def test_axpy_is_checked() -> None:
    text = (
        'layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"'
        " pooling_param { pool: AVE global_pooling: true } }"
        'layer { name: "axpy" type: "Axpy" bottom: "mean" bottom: "data" bottom: "data" top: "out" }'
    )
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({}))
    assert_like_opencv(source, {"data": values(2, *IMAGE[1:])})


def test_masks_and_labels_that_rounding_decides_are_not_compared() -> None:
    pool = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
    )
    up = 'layer { name: "up" type: "Upsample" bottom: "pool" bottom: "mask" top: "out" }'
    labels = 'layer { name: "labels" type: "ArgMax" bottom: "data" top: "out" argmax_param { axis: 1 } }'
    for text in (pool + up, labels):
        with pytest.raises(UnavailableError, match="OpenCV cannot run this Caffe network"):
            CaffeSource(prototxt(text, *IMAGE), b"").run({"data": values(2, *IMAGE[1:])})


def test_a_mask_is_checked_layer_by_layer() -> None:
    text = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"'
        " pooling_param { kernel_size: 2 stride: 2 } }"
    )
    source = CaffeSource(prototxt(text, *IMAGE), b"")
    found = compare_blobs(source, {"data": values(2, *IMAGE[1:])})
    assert [difference.blob for difference in found] == ["pool", "mask"]
    assert first_difference(found, 0.0) is None


def test_an_answer_of_another_function_is_seen() -> None:
    """The stand-ins are no copies of the exporter's handlers: what is not told to them differs."""
    source = one_layer("BN", "bn_param { eps: 0.01 }", IMAGE, [values(4), values(4), values(4), VARIANCE])
    layer = source.network.layers[0]
    layer.parameter.bn_param.eps = 0.5
    with pytest.raises(AssertionError):
        assert_like_opencv(source, {"data": values(2, *IMAGE[1:])})


def test_nvidias_batch_norm_is_not_asked_of_opencv() -> None:
    blobs = [values(4), VARIANCE, vector(1), values(4), values(4)]
    source = one_layer("BatchNorm", "batch_norm_param { scale_bias: true }", IMAGE, blobs)
    with pytest.raises(UnavailableError, match="does not know the scale and bias of the BatchNorm layer"):
        source.run({"data": values(1, *IMAGE[1:])})


@pytest.mark.parametrize("axis", [-1, 1])
def test_a_reduction_to_one_or_three_dimensions_is_not_asked_of_opencv(axis: int) -> None:
    source = one_layer("Reduction", f"reduction_param {{ axis: {axis} }}", IMAGE)
    with pytest.raises(UnavailableError, match="OpenCV cannot run this Caffe network"):
        source.run({"data": values(1, *IMAGE[1:])})


def test_refinedets_layer_is_not_asked_of_opencv() -> None:
    read = 'bottom: "data" ' * 5
    text = f'layer {{ name: "found" type: "DetectionOutput" {read} top: "found"'
    source = CaffeSource(prototxt(text + " detection_output_param { num_classes: 2 } }", *IMAGE), b"")
    with pytest.raises(UnavailableError, match="does not read all 5 bottoms of 'found'"):
        source.run({"data": values(1, *IMAGE[1:])})
