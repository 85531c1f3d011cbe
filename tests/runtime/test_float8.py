"""FP8 graphs on the backends, against ONNX's evaluator and NumPy."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from runtime.tensors import Array

ZERO_AS = {
    "initializer": "<float8e4m3fn z = {0}, float s = {0.01}>",
    "node": "<float s = {0.01}>",
}


def _write(path: Path, zero: str) -> Path:
    made = "" if zero == "initializer" else "z = Constant<value = float8e4m3fn {0}>()"
    text = f"""<ir_version: 10, opset_import: ["": 22]> g (float[batch,8] x) => (float[batch,8] y)
        {ZERO_AS[zero]} {{ {made} r = Relu(x)  q = QuantizeLinear(r, s, z)  d = DequantizeLinear(q, s, z)
        [product] y = MatMul(d, w) }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32), "w"))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("zero", ZERO_AS)
@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_a_relu_in_front_of_fp8_clips(name: str, zero: str, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 leaves it out, as it may in front of uint8, whose zero point 0 clips, too."""
    backend = get_backend(name)
    if reason := backend.unavailable():
        pytest.skip(reason)
    graph = _write(tmp_path / "g.onnx", zero)
    x = np.linspace(-3, 3, 16, dtype=np.float32).reshape(2, 8)
    scale = np.float32(0.01)
    steps = (np.maximum(x, 0) / scale).astype(ml_dtypes.float8_e4m3fn)
    rounded: Array = steps.astype(np.float32) * scale
    [evaluated] = ReferenceEvaluator(str(graph)).run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(evaluated), rounded, rtol=1e-6)
    with backend.open(graph, "cpu", SessionOptions()) as session:
        query = session.bind({"x": x}, Boundary.HOST)
        query.run()
        found = query.outputs()["y"]
        assert session.executed().macs_by_type == {"float32": 1.0}
    # OpenVINO rounds to float16 on the way, which tips what lies within 2**-11 of halfway: one step, 2**-3
    np.testing.assert_allclose(found, rounded, rtol=1e-6 if name == "ort" else 2.0**-3)
