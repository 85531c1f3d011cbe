"""A product by INT4 weights is computed in float, as the file has it: by NumPy's word, on each backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.attestation import Ran
from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from runtime.openvino import _multiplying_kernels
from runtime.origins import Kernel
from runtime.tensors import Array

ROWS, COLUMNS, BLOCK = 256, 32, 32
BACKENDS = pytest.mark.parametrize("name", ["ort", "openvino"])


def _weights() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    steps = random.integers(-8, 8, (ROWS, COLUMNS)).astype(np.int8)
    return steps, random.uniform(0.01, 0.02, (ROWS // BLOCK, COLUMNS)).astype(np.float32)


def _write(path: Path, zero_points: bool) -> Path:
    text = f"""<ir_version: 10, opset_import: ["": 22]>
        g (float[batch,{ROWS}] x) => (float[batch,{COLUMNS}] y) {{
        r = DequantizeLinear<axis=0, block_size={BLOCK}>(w, s{", z" if zero_points else ""})
        [product] y = MatMul(x, r) }}"""
    model = onnx.parser.parse_model(text)
    steps, scales = _weights()
    model.graph.initializer.extend(
        [
            helper.make_tensor("w", TensorProto.INT4, steps.shape, steps.astype(ml_dtypes.int4).ravel()),
            numpy_helper.from_array(scales, "s"),
        ]
    )
    if zero_points:
        zeros = np.zeros(scales.size, ml_dtypes.int4)
        model.graph.initializer.append(helper.make_tensor("z", TensorProto.INT4, scales.shape, zeros))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@BACKENDS
@pytest.mark.parametrize("zero_points", [False, True])
def test_what_is_multiplied_by_int4_weights_is_not_quantised_unseen(
    name: str, zero_points: bool, tmp_path: Path
) -> None:
    """Of themselves both backends do, where there are no zero points: an error of 0.5 %."""
    backend = get_backend(name)
    if reason := backend.unavailable():
        pytest.skip(reason)
    steps, scales = _weights()
    x = np.random.default_rng(1).standard_normal((3, ROWS)).astype(np.float32)
    expected = x.astype(np.float64) @ (steps * np.repeat(scales, BLOCK, axis=0).astype(np.float64))
    with backend.open(_write(tmp_path / "g.onnx", zero_points), "cpu", SessionOptions()) as session:
        query = session.bind({"x": x}, Boundary.HOST)
        query.run()
        error = np.abs(query.outputs()["y"] - expected).max()
        # 256 products in float32, summed in any order; int8 activations are off by 2**-9 of their greatest
        assert error <= ROWS * 2.0**-24 * np.abs(x).max() * np.abs(steps).max() * scales.max()
        assert session.executed().macs_by_type == {"float32": 1.0}


@dataclass(frozen=True)
class Told:
    """A layer as OpenVINO's execution graph tells of it."""

    name: str
    facts: Mapping[str, str]

    def get_friendly_name(self) -> str:
        return self.name

    def get_rt_info(self) -> dict[str, Array]:
        return {key: np.array(text) for key, text in self.facts.items()}


@dataclass(frozen=True)
class ExecutionGraph:
    layers: tuple[Told, ...]

    def get_ordered_ops(self) -> tuple[Told, ...]:
        return self.layers


@pytest.mark.parametrize("precision", ["i4", "u4"])
def test_openvinos_kernel_is_traced_to_its_product_and_not_to_one_before(precision: str) -> None:
    """Of DIEN's second recurrence OpenVINO 2026.4.1 gave the names of what it reads, made by another."""
    told = {
        "layerType": "FullyConnected",
        "runtimePrecision": precision,
        "originalLayersNames": "gru1/SelectV2,Multiply_14699",
    }
    graph = ExecutionGraph((Told("gru2/add", told), Told("w", {**told, "layerType": "Const"})))
    products = {"gru1/MatMul", "gru2/MatMul"}
    [kernel] = _multiplying_kernels(graph, products, "f32")
    assert kernel == Kernel(("gru2/add",), Ran("float32"))
