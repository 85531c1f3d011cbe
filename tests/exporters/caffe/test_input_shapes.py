"""Inputs of other shapes than the prototxt says: the graph and OpenCV both have them."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from runtime.errors import UsageError
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, run_onnx, values

POOL = """
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "pool" bottom: "more" top: "sum" }
"""
FORMS = {
    "input_shape": 'input: "data" input: "more" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 }'
    " input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }",
    "input_dim": 'input: "data" input: "more" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4'
    " input_dim: 1 input_dim: 3 input_dim: 2 input_dim: 2",
    "Input layers": """layer { name: "in" type: "Input" top: "data" top: "more"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }""",
    "one shape of an Input layer for all": """layer { name: "in" type: "Input" top: "data" top: "more"
        input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }""",
}
SHAPES = {"data": (1, 3, 8, 12), "more": (1, 3, 4, 6)}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_is_given_its_shape(form: str) -> None:
    source = CaffeSource(FORMS[form] + POOL, b"", input_shapes=SHAPES)
    assert [str(spec) for spec in source.inputs] == [
        "data: float32[batch,3,8,12]",
        "more: float32[batch,3,4,6]",
    ]
    assert_like_opencv(source, {"data": values(1, 3, 8, 12), "more": values(1, 3, 4, 6, seed=1)})
    assert source.prototxt == FORMS[form] + POOL


def test_the_batch_stays_open_whatever_is_said_of_it() -> None:
    text = FORMS["input_shape"] + POOL
    source = CaffeSource(text, b"", input_shapes={"data": (7, 3, 4, 4)})
    assert str(source.inputs[0]) == "data: float32[batch,3,4,4]"
    assert_like_opencv(source, {"data": values(2, 3, 4, 4), "more": values(2, 3, 2, 2)})


def test_inputs_that_are_not_named_keep_their_shapes() -> None:
    source = CaffeSource(
        FORMS["one shape of an Input layer for all"] + POOL, b"", input_shapes={"data": SHAPES["data"]}
    )
    assert [spec.shape for spec in source.inputs] == [("batch", 3, 8, 12), ("batch", 3, 4, 4)]


def test_prior_boxes_follow_the_image() -> None:
    text = (
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }'
        'layer { name: "cells" type: "Pooling" bottom: "data" top: "cells"'
        " pooling_param { kernel_size: 4 stride: 4 } }"
        'layer { name: "priors" type: "PriorBox" bottom: "cells" bottom: "data" top: "priors"'
        " prior_box_param { min_size: 4 } }"
    )
    source = CaffeSource(text, b"", input_shapes={"data": (1, 3, 16, 32)})
    made = run_onnx(source.to_onnx(), {"data": values(1, 3, 16, 32)})["priors"].reshape(2, -1, 4)[0]
    assert len(made) == 4 * 8
    np.testing.assert_allclose(made[0], [0, 0, 4 / 32, 4 / 16], atol=1e-7)


def test_a_network_that_is_cut_keeps_the_shapes_it_was_given() -> None:
    from tests.exporters.caffe.test_detection import ssd

    whole = ssd()
    source = CaffeSource(whole.prototxt, whole.caffemodel, input_shapes={"data": (1, 3, 24, 32)})
    cut = source.without_post_processing()
    assert cut.inputs == source.inputs
    assert_like_opencv(cut, {"data": values(1, 3, 24, 32)}, tolerance=4e-6)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"dat": (1, 3, 4, 4)}, "unknown input of this network 'dat': did you mean data"),
        (
            {"data": (3, 4, 4)},
            r"'data' has 4 dimensions, \[batch, 3, 4, 4\]; the shape given for it has 3: \[3,",
        ),
        (
            {"data": (1, 3, 0, 4)},
            r"the shape \[1, 3, 0, 4\] given for input 'data': every dimension must be 1",
        ),
        ({"data": (1, 3, 4, -4)}, "every dimension must be 1 or more"),
        ({"data": (1, 3, 1 << 16, 1 << 16)}, "all together at most 2147483647 values"),
    ],
)
def test_a_shape_that_an_input_cannot_have_is_refused(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        CaffeSource(FORMS["input_shape"] + POOL, b"", input_shapes=shapes)


def test_weights_that_do_not_fit_the_shape_are_an_error_of_the_layer() -> None:
    from runtime.errors import ExportError

    text = (
        'input: "data" input_shape { dim: 1 dim: 4 } layer { name: "fc" type: "InnerProduct" bottom: "data"'
        ' top: "fc" inner_product_param { num_output: 2 bias_term: false } }'
    )
    source = CaffeSource(text, caffemodel({"fc": [values(2, 4)]}), input_shapes={"data": (1, 5)})
    with pytest.raises(
        ExportError, match=r"layer 'fc' \(InnerProduct\): blob 0 .* the prototxt wants \[2, 5\]"
    ):
        source.to_onnx()
