"""Weights of 4 bits with an odd side: the same values in bytes, and what OpenVINO makes of either."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from runtime.backend import Executed, SessionOptions
from runtime.backends import get_backend
from runtime.lowering_odd import WIDENED, store_odd_as_bytes
from runtime.tensors import Array

ROWS = 33


def _model(rows: int, data_type: ir.DataType, *, zero_point: bool, transposed: bool = False) -> ir.Model:
    """y = x @ weights, which are stored as [rows, 16], or turned."""
    generator = np.random.default_rng(rows)
    shape = (16, rows) if transposed else (rows, 16)
    low, high = (0, 16) if data_type is ir.DataType.UINT4 else (-7, 8)
    stored = generator.integers(low, high, shape).astype(data_type.numpy())
    constants = {
        "w": ir.tensor(stored, dtype=data_type),
        "scale": ir.tensor((generator.random(16) / 8 + 0.1).astype(np.float32)),
    }
    if zero_point:
        constants["zero"] = ir.tensor(np.full(16, 3, data_type.numpy()), dtype=data_type)
    values = {name: _constant(name, tensor) for name, tensor in constants.items()}
    x = ir.Value(name="x", shape=ir.Shape((4, rows)), type=ir.TensorType(ir.DataType.FLOAT))
    restore = ir.node("DequantizeLinear", list(values.values()), {"axis": 0 if transposed else 1}, name="dq")
    kind, attributes = ("Gemm", {"transB": 1}) if transposed else ("MatMul", {})
    product = ir.node(kind, [x, restore.outputs[0]], attributes, name="product")
    restore.outputs[0].name, product.outputs[0].name = "weights", "y"
    product.outputs[0].type, product.outputs[0].shape = x.type, ir.Shape((4, 16))
    graph = ir.Graph(
        [x],
        product.outputs,
        nodes=[restore, product],
        initializers=list(values.values()),
        opset_imports={"": 21},
        name="odd",
    )
    return ir.Model(graph, ir_version=10)


def _constant(name: str, tensor: ir.TensorProtocol) -> ir.Value:
    return ir.Value(
        name=name, shape=ir.Shape(tensor.numpy().shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )


def _run(model: ir.Model, folder: Path, backend: str) -> tuple[Array, Executed]:
    path = folder / "odd.onnx"
    ir.save(model, path)
    x = np.random.default_rng(1).standard_normal((4, ROWS), np.float32)
    with get_backend(backend).open(path, "cpu", SessionOptions()) as session:
        return session.run({"x": x})["y"], session.executed()


each_type = pytest.mark.parametrize("data_type", [ir.DataType.INT4, ir.DataType.UINT4])


@each_type
@pytest.mark.parametrize("zero_point", [False, True])
def test_not_a_bit_of_the_answer_changes(tmp_path: Path, data_type: ir.DataType, zero_point: bool) -> None:
    wide = _model(ROWS, data_type, zero_point=zero_point)
    assert store_odd_as_bytes(wide) == 1
    wanted, _ = _run(_model(ROWS, data_type, zero_point=zero_point), tmp_path, "reference")
    np.testing.assert_array_equal(_run(wide, tmp_path, "reference")[0], wanted)
    assert {value.dtype for value in wide.graph.initializers.values()} <= {
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.FLOAT,
    }


def test_an_even_number_of_rows_stays_as_it_is() -> None:
    assert store_odd_as_bytes(_model(32, ir.DataType.INT4, zero_point=True)) == 0


@each_type
@pytest.mark.parametrize("transposed", [False, True])
def test_openvino_multiplies_by_them_as_the_reference_does(
    tmp_path: Path, data_type: ir.DataType, transposed: bool
) -> None:
    pytest.importorskip("openvino")
    model = _model(ROWS, data_type, zero_point=False, transposed=transposed)
    found, executed = _run(model, tmp_path, "openvino")
    wanted, _ = _run(model, tmp_path, "reference")
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert executed.lowering == WIDENED
    # its execution graph calls the kernel after its weights
    assert executed.macs_by_type == {"float32": 1.0}


def test_values_are_those_of_four_bits() -> None:
    model = _model(ROWS, ir.DataType.INT4, zero_point=False)
    before = model.graph.initializers["w"].const_value.numpy().astype(np.int32)  # type: ignore[union-attr]
    store_odd_as_bytes(model)
    (after,) = (v.const_value for v in model.graph.initializers.values() if v.dtype is ir.DataType.INT8)
    assert after is not None
    np.testing.assert_array_equal(after.numpy().astype(np.int32), before)
    assert before.dtype != ml_dtypes.int4
