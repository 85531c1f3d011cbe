"""Where clipping and quantising do not commute, the lowering leaves ReLUs alone; how large a graph may be."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from runtime.errors import UnsupportedError
from runtime.lowering import lower, serialised
from runtime.tensors import Array

onnxruntime = pytest.importorskip("onnxruntime")

CONSTANTS: dict[str, Array] = {
    "zero": np.array(0, np.int8),
    "step": np.array(0.03, np.float32),
    "low": np.array(-1, np.float32),
    "high": np.array(1, np.float32),
    "huge": np.array(3e38, np.float32),
    "nan": np.array(np.nan, np.float32),
}

SCALES = {"usual": 0.03, "negative": -0.03, "none": 0.0, "nan": np.nan, "tiny": 1e-45, "infinite": np.inf}

CLIPPINGS = [
    "Relu(x)",
    "Clip(x, low, high)",
    "Clip(x, high, low)",
    "Clip(x, nan, high)",
    "Clip(x, low, huge)",
]


def _run(model: ir.Model) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal(64).astype(np.float32) * 2
    x[:4] = np.inf, -np.inf, 0.0, -0.0
    result: Array = session.run(None, {"x": x})[0]
    return result


def _model(clipping: str, scale: float, attribute: str = "") -> ir.Model:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 22]> g (float[64] x) => (float[64] y) {'
        f"r = {clipping} q = QuantizeLinear{attribute}(r, s, zero) y = DequantizeLinear(q, step, zero) }}"
    )
    constants: dict[str, Array] = {**CONSTANTS, "s": np.array(scale, np.float32)}
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items() if name in used
    )
    return ir.from_proto(model)


@pytest.mark.parametrize("clipping", CLIPPINGS)
@pytest.mark.parametrize("scale", SCALES.values(), ids=list(SCALES))
def test_no_bit_differs_at_any_scale_and_bound(clipping: str, scale: float) -> None:
    canonical = _run(_model(clipping, scale))
    lowered = _model(clipping, scale)
    assert lower(lowered) == 1
    np.testing.assert_array_equal(_run(lowered).view(np.uint32), canonical.view(np.uint32))


def test_a_q_that_declares_its_type_is_left_alone() -> None:
    model = _model("Relu(x)", 0.03, "<output_dtype = 3>")
    assert lower(model) == 0
    assert _run(model).max() > 0


def test_what_does_not_fit_into_a_protocol_buffer_is_refused_before_it_is_loaded() -> None:
    def load() -> ir.TensorProtocol:
        pytest.fail("2 GB were loaded for nothing")

    model = _model("Relu(x)", 0.03)
    large = ir.LazyTensor(load, ir.DataType.FLOAT, ir.Shape([1 << 29]), name="large")
    model.graph.register_initializer(ir.Value(name="large", const_value=large))
    with pytest.raises(UnsupportedError, match=r"the graph has 21474836[0-9]+ bytes, .* 2 GB at most"):
        serialised(model)
