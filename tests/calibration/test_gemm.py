"""A Gemm and its MatMul and Add compute the same, by ONNX's reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from calibration.gemm import split_gemms

_GENERATOR = np.random.default_rng(3)
_CONSTANTS = {
    "w": _GENERATOR.standard_normal((5, 4)).astype(np.float32),
    "wt": _GENERATOR.standard_normal((4, 5)).astype(np.float32),
    "b": _GENERATOR.standard_normal(4).astype(np.float32),
}


def _model(gemm: str) -> ir.Model:
    model = ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : 22]> g (float[N,5] x) => (float[N,4] y) {{ [fc] y = {gemm} }}'
    )
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            name = str(value.name) if value is not None else ""
            if name in _CONSTANTS:
                tensor = ir.tensor(_CONSTANTS[name], name=name)
                constant = ir.Value(
                    name=name,
                    shape=ir.Shape(_CONSTANTS[name].shape),
                    type=ir.TensorType(tensor.dtype),
                    const_value=tensor,
                )
                model.graph.register_initializer(constant)
                node.replace_input_with(index, constant)
    return model


def _run(model: ir.Model) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    results: Any = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    return np.asarray(results[0])


@pytest.mark.parametrize("gemm", ["Gemm(x, w, b)", "Gemm<transB=1>(x, wt, b)", "Gemm<alpha=1.0>(x, w, b)"])
def test_a_plain_gemm_becomes_a_product_and_a_sum(gemm: str) -> None:
    model = _model(gemm)
    expected = _run(model)
    split_gemms(model.graph)
    assert [node.op_type for node in model.graph] == ["MatMul", "Add"]
    assert [node.name for node in model.graph] == ["fc", "fc_bias"]
    assert model.graph.outputs[0].name == "y"
    assert len(model.graph.initializers) == 2
    np.testing.assert_allclose(_run(model), expected, rtol=1e-6)  # one rounding each


@pytest.mark.parametrize(
    "gemm",
    ["Gemm(x, w)", "Gemm<alpha=2.0>(x, w, b)", "Gemm<beta=0.5>(x, w, b)"],
    ids=["no bias", "alpha", "beta"],
)
def test_any_other_gemm_stays(gemm: str) -> None:
    model = _model(gemm)
    split_gemms(model.graph)
    assert [node.op_type for node in model.graph] == ["Gemm"]
