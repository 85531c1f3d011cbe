"""Biases of products: without optimisations not a bit differs, with them the kernels are integer ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import ort_profile
from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.lowering import lower
from runtime.lowering_bias import take_biases_in
from runtime.tensors import Array

onnxruntime = pytest.importorskip("onnxruntime")

INNER, WIDTH, CLASSES = 300, 64, 10
"""More terms than a panel of ONNX Runtime's float product has, whose partial sums would show."""

TWO_LAYERS = """
    qx = QuantizeLinear(x, s, z) dx = DequantizeLinear(qx, s, z)
    dw = DequantizeLinear<axis=1>(w, ws, wz) [first] m = MatMul(dx, dw) [first_bias] a = Add(m, b) r = Relu(a)
    qr = QuantizeLinear(r, t, z) dr = DequantizeLinear(qr, t, z)
    dv = DequantizeLinear<axis=1>(v, vs, vz) [second] n = MatMul(dr, dv) [second_bias] c = Add(BIAS) END
"""
FLOAT_END = TWO_LAYERS.replace("END", "y = Sigmoid(c)")
INT8_END = TWO_LAYERS.replace("END", "qc = QuantizeLinear(c, u, z) y = DequantizeLinear(qc, u, z)")


def _constants(seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Array:
        return random.integers(-127, 128, shape).astype(np.int8)

    def scales(count: int) -> Array:
        return random.uniform(0.0005, 0.002, count).astype(np.float32)

    return {
        "s": np.array(0.02, np.float32),
        "t": np.array(0.05, np.float32),
        "u": np.array(0.03, np.float32),
        "z": np.array(0, np.int8),
        "w": weights(INNER, WIDTH),
        "ws": scales(WIDTH),
        "wz": np.zeros(WIDTH, np.int8),
        "b": random.normal(size=WIDTH).astype(np.float32),
        "v": weights(WIDTH, CLASSES),
        "vs": scales(CLASSES),
        "vz": np.zeros(CLASSES, np.int8),
        "d": random.normal(size=CLASSES).astype(np.float32),
    }


def _model(
    body: str = FLOAT_END,
    bias: str = "n, d",
    before: str = "batch",
    seed: int = 0,
    changed: Mapping[str, Array] = {},
) -> ir.Model:
    text = f"""<ir_version: 10, opset_import: ["": 22]>
        g (float[{before},{INNER}] x) => (float[{before},{CLASSES}] y) <float[{before},{WIDTH}] a>
        {{ {body.replace("BIAS", bias)} }}"""
    model = onnx.parser.parse_model(text)
    for name, array in (_constants(seed) | dict(changed)).items():
        model.graph.initializer.append(ir.to_proto(ir.tensor(array, name=name)))
    onnx.checker.check_model(model, full_check=True)
    return ir.from_proto(model)


def _feed(*before: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(*before, INNER)).astype(np.float32)


def _plainly(model: ir.Model, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found: Array = session.run(None, {"x": x})[0]
    return found


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Operators in the profiles of the backend's sessions."""
    seen: Counter[str] = Counter()
    read_kernels = ort_profile.read_kernels

    def reading(profile: Path) -> Any:
        events = json.loads(profile.read_text())
        seen.update(event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time"))
        return read_kernels(profile)

    monkeypatch.setattr(ort_profile, "read_kernels", reading)
    return seen


def _by_integers(model: ir.Model, x: Array, folder: Path) -> Array:
    """What the backend gives, all of whose products are seen to be integers."""
    ir.save(model, folder / "g.onnx")
    with get_backend("ort").open(folder / "g.onnx", "cpu", SessionOptions(threads=1)) as session:
        y = session.run({"x": x})["y"]
        assert session.executed().macs_by_type == {"int8": 1.0}
    return y


@pytest.mark.parametrize("body", [FLOAT_END, INT8_END], ids=["float behind", "int8 behind"])
@settings(max_examples=10, deadline=None)
@given(bias=st.sampled_from(["n, d", "d, n"]), seed=st.integers(0, 99))
def test_without_optimisations_not_a_bit_differs(body: str, bias: str, seed: int) -> None:
    canonical, changed = _model(body, bias, seed=seed), _model(body, bias, seed=seed)
    lower(changed)
    assert take_biases_in(changed.graph)
    x = _feed(5, seed=seed)
    np.testing.assert_array_equal(
        _plainly(changed, x).view(np.uint32), _plainly(canonical, x).view(np.uint32)
    )


def test_a_bias_in_front_of_a_q_is_taken_in_and_another_is_not(kernels: Counter[str], tmp_path: Path) -> None:
    y = _by_integers(_model(FLOAT_END), _feed(5), tmp_path)
    assert kernels["QGemm"] == kernels["MatMulIntegerToFloat"] == kernels["Sub"] == 1
    assert not kernels.keys() & {"Gemm", "Add", "DequantizeLinear"}
    # one of 64 hidden values may be rounded to the other side: a step of 0.05 times a weight, at most 0.254
    np.testing.assert_allclose(y, _plainly(_model(FLOAT_END), _feed(5)), atol=0.05 * 0.254 / 4)


def test_all_biases_are_taken_in_where_all_are_quantised(kernels: Counter[str], tmp_path: Path) -> None:
    y = _by_integers(_model(INT8_END), _feed(5), tmp_path)
    assert kernels["QGemm"] == 2
    assert not kernels.keys() & {"Gemm", "Add", "Sub", "MatMulIntegerToFloat"}
    np.testing.assert_allclose(y, _plainly(_model(INT8_END), _feed(5)), atol=0.03 * 1.01)  # a step


LEFT_ALONE: dict[str, tuple[str, dict[str, Array]]] = {
    "nothing is quantised behind a bias": (
        FLOAT_END.replace("qr = QuantizeLinear(r", "h = Neg(r) qr = QuantizeLinear(h"),
        {},
    ),
    "a bias of a row a sample": (FLOAT_END, {"b": np.ones((1, WIDTH), np.float32)}),
    "a bias that int32 does not hold": (FLOAT_END, {"b": np.full(WIDTH, 1e9, np.float32)}),
    "channels of scale 0": (FLOAT_END, {"ws": np.zeros(WIDTH, np.float32)}),
    "a layer normalisation": (FLOAT_END.replace("Sigmoid(c)", "LayerNormalization(c, vs)"), {}),
}


@pytest.mark.parametrize("why", LEFT_ALONE)
def test_what_no_integer_kernel_takes_keeps_the_fusion_off(why: str) -> None:
    body, constants = LEFT_ALONE[why]
    model = _model(body, changed=constants)
    lower(model)
    before = ir.to_proto(model).SerializeToString()
    assert not take_biases_in(model.graph)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_product_of_more_axes_is_left_alone() -> None:
    """Were they all known, a Reshape would be put between the DQ and the Gemm."""
    model = _model(FLOAT_END, before="2,5")
    lower(model)
    assert not take_biases_in(model.graph)


def test_a_bias_of_two_products_is_negated_once() -> None:
    body = FLOAT_END.replace("y = Sigmoid(c)", "o = MatMul(dr, dv) e = Add(d, o) y = Sum(c, e)")
    model = _model(body)
    lower(model)
    assert take_biases_in(model.graph)
    assert [name for name in model.graph.initializers if name.endswith("_negated")] == ["d_negated"]
    np.testing.assert_array_equal(_plainly(model, _feed(3)), _plainly(_model(body), _feed(3)))
