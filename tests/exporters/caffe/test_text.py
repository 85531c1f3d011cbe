"""What a prototxt's text tells beyond its messages: lines, unlisted fields; and Python layers of the user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.shapes import dims
from exporters.caffe.source import CaffeSource
from exporters.caffe.text import outline
from runtime.errors import ExportError, GraphError
from tests.exporters.caffe.networks import run_onnx, values

TEXT = """
name: "net"  # layer { in a comment }
input: "data" input_shape { dim: 1 dim: 2 }
layer {
  name: "layer { a: 1 }" type: "ReLU" bottom: "data" top: "a"
  relu_param { negative_slope: 0.5 slope_kind: LINEAR }
}
layer { name: 'b\\'s', type: "AbsVal"; bottom: "a" top: "b" fork_param < deep { er: [1, 2] } name: "x" > }
engine: FAST
"""


def test_fields_that_the_schema_lacks_are_named_with_their_lines() -> None:
    source = CaffeSource(TEXT, b"")
    assert source.warnings == (
        "line 6: ReLUParameter has no field 'slope_kind', so it is not exported;"
        " check that the network is the same without it",
        "line 8: LayerParameter has no field 'fork_param', so it is not exported;"
        " check that the network is the same without it",
        "line 9: NetParameter has no field 'engine', so it is not exported;"
        " check that the network is the same without it",
    )
    data = values(2, 2)
    made = run_onnx(source.to_onnx(), {"data": data})["b"]
    np.testing.assert_allclose(made, np.abs(np.where(data > 0, data, data / 2)))


def test_a_network_of_known_fields_has_no_warnings() -> None:
    assert not CaffeSource(
        'input: "x" input_shape { dim: 1 } layer { name: "r" type: "ReLU" bottom: "x" }', b""
    ).warnings


def test_layers_have_the_lines_on_which_they_begin() -> None:
    assert outline(TEXT).layer_lines == (4, 8)
    assert [layer.line for layer in CaffeSource(TEXT, b"").network.layers] == [4, 8]


def test_an_error_names_line_layer_and_type() -> None:
    text = TEXT.replace('"AbsVal"', '"Permut"')
    with pytest.raises(
        ExportError, match=r"line 8: layer \"b's\" \(Permut\) has a type .*did you mean Permute\?"
    ):
        CaffeSource(text, b"").to_onnx()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("{}<>[]:;,\"'#\n layer", max_size=80))
def test_any_text_has_an_outline(text: str) -> None:
    outline(text)


def test_a_field_given_twice_is_still_an_error() -> None:
    with pytest.raises(GraphError, match=r"line:column 1:1\d+ : .*should not have multiple \"name\""):
        CaffeSource(" " * 100 + 'layer { name: "a" name: "b" }', b"")


PYTHON = """
input: "data" input_shape { dim: 1 dim: 2 }
layer { name: "twice" type: "Python" bottom: "data" top: "out"
  python_param { module: "mine.layers" layer: "Twice" param_str: "2" } }
"""


def _twice(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    factor = np.array(float(build.parameter.python_param.param_str), np.float32)
    return [build.node("Mul", [bottoms[0], build.constant("factor", factor)], dims(bottoms[0]))]


@pytest.mark.parametrize("name", ["Twice", "mine.layers.Twice"])
def test_a_python_layer_is_said_by_the_users_function(name: str) -> None:
    source = CaffeSource(PYTHON, b"", python_layers={name: _twice})
    data = values(3, 2)
    np.testing.assert_array_equal(run_onnx(source.to_onnx(), {"data": data})["out"], 2 * data)


def test_a_python_layer_that_nobody_knows_is_named_with_what_to_do() -> None:
    with pytest.raises(
        ExportError,
        match=r"line 3: layer 'twice' \(Python\) runs mine\.layers\.Twice, .*--python-layer module:function",
    ):
        CaffeSource(PYTHON, b"").to_onnx()


def test_a_flood_of_unknown_fields_is_cut_off() -> None:
    found = outline("x: 1 " * 1000).unknown
    assert len(found) == 101
    assert found[-1] == "more fields are unknown"
