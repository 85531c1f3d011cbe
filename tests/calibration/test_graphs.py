from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes import common

from calibration import graphs
from calibration.precision import Precision
from calibration.write import write_precision
from runtime.errors import GraphError
from tests.calibration import tiny


def test_an_unsound_result_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    model = graphs.open_float_graph(tiny.residual_cnn(tmp_path))
    model.graph[0].op_type = "Convolution"
    out = tmp_path / "out.onnx"
    out.write_bytes(b"what was there")
    with pytest.raises(
        GraphError, match=r"out\.onnx would not be sound ONNX: No Op registered for Convolution"
    ):
        graphs.save_checked(model, out)
    assert out.read_bytes() == b"what was there"
    assert {path.name for path in tmp_path.iterdir()} == {"cnn.onnx", "out.onnx"}


def test_weights_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "_LARGEST_PROTOBUF", 1000)
    graph = tiny.residual_cnn(tmp_path)
    out = write_precision(graph, Precision.FP16, tmp_path / "out" / "fp16.onnx").path
    assert {path.name for path in out.parent.iterdir()} == {"fp16.onnx", "fp16.onnx.data"}
    feed = next(iter(tiny.images(1)))
    np.testing.assert_allclose(tiny.evaluate(out, feed)[0], tiny.evaluate(graph, feed)[0], atol=0.05)


def test_a_value_that_no_type_is_found_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __call__(self, model: ir.Model) -> None:
            """As onnx_ir's pass, which only logs when ONNX's shape inference fails."""

    monkeypatch.setattr(common, "ShapeInferencePass", Blind)
    with pytest.raises(GraphError, match=r"finds no type for 'c1', made by Conv 'stem'; check the file"):
        graphs.open_float_graph(tiny.residual_cnn(tmp_path))


def test_functions_are_inlined_and_constants_lifted(tmp_path: Path) -> None:
    text = """
        <ir_version: 10, opset_import: ["": 22, "local": 1]>
        g (float[batch,4] x) => (float[batch,4] y) {
            k = Constant<value = float {3.0}>()
            y = local.scaled_relu(x, k)
        }
        <domain: "local", opset_import: ["": 22]>
        scaled_relu (a, k) => (c) { b = Mul(a, k)  c = Relu(b) }
    """
    path = tmp_path / "g.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    model = graphs.open_float_graph(path)
    assert [node.op_type for node in model.graph] == ["Mul", "Relu"]
    assert list(model.graph.initializers) == ["k"]


def test_an_old_files_initializers_are_no_inputs(tmp_path: Path) -> None:
    proto = onnx.load(tiny.residual_cnn(tmp_path))
    proto.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in proto.graph.initializer
    )
    path = tmp_path / "old.onnx"
    onnx.save(proto, path)
    assert [value.name for value in graphs.open_float_graph(path).graph.inputs] == ["images"]


def test_new_names_count_up(tmp_path: Path) -> None:
    names = graphs.Names(graphs.open_float_graph(tiny.residual_cnn(tmp_path)).graph)
    assert [names.new("stem"), names.new("w1"), names.new("new"), names.new("new")] == [
        "stem_2", "w1_2", "new", "new_2",
    ]  # fmt: skip
