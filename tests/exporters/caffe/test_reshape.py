"""Reshape where the batch is among what it changes: the batch stays open, whatever the prototxt calls it."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from tests.exporters.caffe.networks import one_layer, prototxt, run_onnx, values

IMAGE = (1, 4, 7, 9)


@pytest.mark.parametrize(
    ("dims", "made"),
    [
        ((1, 4, 63), ("batch", 4, 63)),  # CRNN: the prototxt's batch, said again
        ((-1, 252), ("batch", 252)),  # R-FCN
        ((6, 63), ("4*batch", 63)),
        ((-1, 4, 9), ("7*batch", 4, 9)),
        ((1, 2, 252), ("batch/2", 2, 252)),  # LRCN: clips of a batch of frames
    ],
)
def test_a_reshape_that_says_the_batch_leaves_it_open(
    dims: tuple[int, ...], made: tuple[int | str, ...]
) -> None:
    shape = " ".join(f"dim: {size}" for size in dims)
    source = one_layer("Reshape", f"reshape_param {{ shape {{ {shape} }} }}", IMAGE)
    assert source.outputs[0].shape == made
    data = values(2, *IMAGE[1:])
    np.testing.assert_array_equal(
        run_onnx(source.to_onnx(), {"data": data})["out"], data.reshape(-1, *dims[1:])
    )


TURNED = (
    'layer { name: "turn" type: "Permute" bottom: "data" top: "turned"'
    " permute_param { order: 3 order: 2 order: 0 order: 1 } }"
)


@pytest.mark.parametrize(
    ("parameters", "made", "shape"),
    [
        # CTPN: the rows of all images are sequences of their own.
        ("axis: 1 num_axes: 2 shape { dim: -1 }", (9, "7*batch", 4), (9, 14, 4)),
        ("shape { dim: -1 dim: 4 }", ("63*batch", 4), (126, 4)),
        ("axis: 2 num_axes: 2 shape { dim: 2 dim: -1 }", (9, 7, 2, "2*batch"), (9, 7, 2, 4)),
        ("axis: 0 num_axes: 0 shape { dim: 1 }", (1, 9, 7, "batch", 4), (1, 9, 7, 2, 4)),
    ],
)
def test_a_reshape_merges_a_batch_that_is_not_in_front(
    parameters: str, made: tuple[int | str, ...], shape: tuple[int, ...]
) -> None:
    text = (
        TURNED
        + 'layer { name: "r" type: "Reshape" bottom: "turned" top: "out"'
        + f" reshape_param {{ {parameters} }} }}"
    )
    source = CaffeSource(prototxt(text, *IMAGE), b"")
    assert source.outputs[0].shape == made
    data = values(2, *IMAGE[1:])
    expected = data.transpose(3, 2, 0, 1).reshape(shape)
    np.testing.assert_array_equal(run_onnx(source.to_onnx(), {"data": data})["out"], expected)


def test_a_reshape_that_mixes_the_batch_with_the_rest_must_fit() -> None:
    text = (
        TURNED
        + 'layer { name: "r" type: "Reshape" bottom: "turned" top: "out"'
        + " reshape_param { axis: 1 num_axes: 2 shape { dim: 5 dim: -1 } } }"
    )
    with pytest.raises(ExportError, match=r"\[7, 'batch'\] cannot be reshaped to \[5, -1\]"):
        CaffeSource(prototxt(text, *IMAGE), b"").to_onnx()
