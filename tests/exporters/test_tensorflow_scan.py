"""Scans put into a TensorFlow graph, against the loop that TensorFlow runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.export import export
from exporters.tensorflow import TensorFlowSource
from exporters.tensorflow_scan import scan
from runtime.errors import ExportError
from runtime.tensors import TensorSpec

tensorflow: Any = pytest.importorskip("tensorflow")

STEP = """decaying (float[N,3] sum, float[N,3] largest, float[N,3] x)
    => (float[N,3] sum_after, float[N,3] largest_after)
<float half = {0.5}> {
    kept = Mul(sum, half)
    turned = MatMul(x, kernel)
    sum_after = Add(kept, turned)
    largest_after = Max(largest, x)
}"""

INPUTS = (TensorSpec("x", "float32", ("batch", "steps", 3)),)


def _source(scans: int = 1) -> TensorFlowSource:
    """Two states; the kernel is what the step reads from outside."""
    generator = np.random.default_rng(0)
    variable = tensorflow.Variable(generator.standard_normal((40, 3)).astype(np.float32), name="layer/kernel")

    def start(x: Any) -> tuple[Any, Any, Any]:
        by_step = tensorflow.transpose(x, (1, 0, 2))
        zeros = tensorflow.zeros((tensorflow.shape(x)[0], 3))
        return by_step, zeros, variable[:3]

    def function(x: Any) -> tuple[Any, ...]:
        by_step, zeros, kernel = start(x)

        def step(states: tuple[Any, Any], read: Any) -> tuple[Any, Any]:
            return states[0] * 0.5 + tensorflow.matmul(read, kernel), tensorflow.maximum(states[1], read)

        return tuple(tensorflow.foldl(step, by_step, (zeros, zeros))) * scans

    def convertible(x: Any) -> tuple[Any, ...]:
        by_step, zeros, kernel = start(x)
        made = [scan(STEP, [zeros, zeros], [by_step], {"kernel": kernel}) for _ in range(scans)]
        return tuple(state for states in made for state in states)

    names = tuple(f"{state}{index}" for index in range(scans) for state in ("sum", "largest"))
    return TensorFlowSource(function, INPUTS, names, (variable,), convertible=convertible)


def _feed(batch: int, steps: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(1).standard_normal((batch, steps, 3)).astype(np.float32)}


def test_a_scan_is_the_loop_of_its_steps_at_any_length(tmp_path: Path) -> None:
    report = export(_source(), tmp_path / "scan.onnx", [_feed(1, 5), _feed(4, 9)])
    assert max(output.relative for output in report.parity.outputs) < 1e-6
    (node,) = [node for node in onnx.load(tmp_path / "scan.onnx").graph.node if node.op_type == "Scan"]
    body = onnx.helper.get_attribute_value(next(part for part in node.attribute if part.name == "body"))
    assert [each.op_type for each in body.node] == ["Mul", "MatMul", "Add", "Max"]
    assert body.name == "decaying"


def test_the_body_reads_weights_of_the_graph_around_it(tmp_path: Path) -> None:
    export(_source(), tmp_path / "scan.onnx", [_feed(1, 5)])
    graph = onnx.load(tmp_path / "scan.onnx").graph
    (node,) = [node for node in graph.node if node.op_type == "Scan"]
    assert len(node.input) == 3  # two states and a sequence: the kernel is none of them
    body = onnx.helper.get_attribute_value(next(part for part in node.attribute if part.name == "body"))
    (product,) = [each for each in body.node if each.op_type == "MatMul"]
    assert product.input[1] in {each.name for each in graph.initializer}


def test_two_scans_of_the_same_step_do_not_share_names(tmp_path: Path) -> None:
    export(_source(scans=2), tmp_path / "scan.onnx", [_feed(1, 5)])
    graph = onnx.load(tmp_path / "scan.onnx").graph
    assert len([node for node in graph.node if node.op_type == "Scan"]) == 2


def test_a_function_of_pythons_is_refused_by_name() -> None:
    def function(x: Any) -> tuple[Any]:
        (made,) = tensorflow.raw_ops.PyFunc(
            input=[x], token="pyfunc_7", Tout=[tensorflow.float32], name="mine"
        )
        return (tensorflow.ensure_shape(made, x.shape),)

    with pytest.raises(ExportError, match=r"PyFunc .*'mine'"):
        TensorFlowSource(function, INPUTS, ("y",)).to_onnx()
