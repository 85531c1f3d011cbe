"""Which function says a Python layer: the user's for a class, ours for published ones, one for the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.layers import Handler
from exporters.caffe.python_layers import OTHERS
from exporters.caffe.shapes import dims
from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError, UsageError
from tests.exporters.caffe.networks import prototxt, run_onnx, values, vector
from tests.exporters.caffe.test_regions import FASTER_RCNN, faster_rcnn

MINE = (
    'layer { name: "%s" type: "Python" bottom: "%s" top: "%s" python_param { module: "mine" layer: "%s" } }'
)


def _times(factor: float) -> Handler:
    def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
        constant = build.constant("factor", np.array(factor, np.float32))
        return [build.node("Mul", [bottoms[0], constant], dims(bottoms[0]))]

    return convert


def test_the_rest_goes_to_the_function_for_all_others() -> None:
    text = MINE % ("a", "data", "a", "First") + MINE % ("b", "a", "b", "Second")
    source = CaffeSource(prototxt(text, 1, 2), b"", python_layers={"First": _times(2), OTHERS: _times(5)})
    made = run_onnx(source.to_onnx(), {"data": vector(1, -3).reshape(1, 2)})
    np.testing.assert_array_equal(made["b"], [[10, -30]])


def _with_a_layer_of_ones_own() -> tuple[str, bytes]:
    whole = faster_rcnn()
    text = FASTER_RCNN.replace('bottom: "back" bottom: "delta"', 'bottom: "mine" bottom: "delta"')
    at = text.index('layer { name: "proposal"')
    return text[:at] + MINE % ("mine", "back", "mine", "Layer") + text[at:], bytes(whole.caffemodel)


def test_a_published_layer_keeps_its_own_handler_unless_it_is_named() -> None:
    text, blobs = _with_a_layer_of_ones_own()
    feed = {"data": values(1, 3, 144, 192), "im_info": vector(144, 192, 1).reshape(1, 3)}
    source = CaffeSource(text, blobs, python_layers={OTHERS: _times(1)})
    made = run_onnx(source.to_onnx(), feed)["class_prob"]
    np.testing.assert_allclose(made, run_onnx(faster_rcnn().to_onnx(), feed)["class_prob"], atol=2e-6)

    def refuse(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
        raise build.error("mine was asked")

    named = CaffeSource(text, blobs, python_layers={OTHERS: _times(1), "ProposalLayer": refuse})
    with pytest.raises(ExportError, match=r"layer 'proposal' \(Python\): mine was asked"):
        named.to_onnx()


def test_a_function_for_a_layer_that_is_cut_off_is_no_mistake() -> None:
    text, blobs = _with_a_layer_of_ones_own()
    source = CaffeSource(text, blobs, python_layers={OTHERS: _times(1), "ProposalLayer": _times(1)})
    assert [spec.name for spec in source.without_post_processing().outputs] == ["delta", "mine"]


def test_a_function_that_no_layer_asks_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown Python layer of this network 'Other': .*mine\.First"):
        CaffeSource(
            prototxt(MINE % ("a", "data", "a", "First"), 1, 2), b"", python_layers={"Other": _times(2)}
        )
    with pytest.raises(UsageError, match=r"no Python layer of this network is left for .*: it has rpn"):
        CaffeSource(FASTER_RCNN, faster_rcnn().caffemodel, python_layers={OTHERS: _times(2)})
    relu = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    with pytest.raises(UsageError, match=r"is left for .*: it has none; leave the function out"):
        CaffeSource(prototxt(relu, 1, 2), b"", python_layers={OTHERS: _times(2)})


def test_a_python_layer_that_is_no_post_processing_is_not_cut_off() -> None:
    """ENet's dropout, at the end of the network."""
    text = 'layer { name: "drop" type: "Python" bottom: "data" top: "out" python_param {'
    text += ' module: "spatial_dropout" layer: "SpatialDropoutLayer" } }'
    with pytest.raises(UsageError, match="has no DetectionOutput or Proposal layer"):
        CaffeSource(prototxt(text, 1, 2), b"").without_post_processing()
