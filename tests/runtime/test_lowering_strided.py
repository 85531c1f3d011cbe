"""MaxPools of one value before strided 1x1 convolutions: the same bits, now as integers on OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from runtime.backend import Executed, SessionOptions
from runtime.backends import get_backend
from runtime.lowering_strided import PICKED, pick_first
from runtime.tensors import Array

BLOCK = """
<ir_version: 10, opset_import: ["": 22]>
block (float[batch,16,9,9] x) => (float[batch,32,5,5] y) {
    [x_q] xq = QuantizeLinear(x, s, z)
    [x_dq] xd = DequantizeLinear(xq, s, z)
    [w_dq] w = DequantizeLinear(wq, s, z)
    [v_dq] v = DequantizeLinear(vq, s, z)
    [one] a = Conv<STRIDES>(xd, w)
    [two] b = Conv<STRIDES>(xd, v)
    [a_q] aq = QuantizeLinear(a, t, z)
    [a_dq] ad = DequantizeLinear(aq, t, z)
    [b_q] bq = QuantizeLinear(b, t, z)
    [b_dq] bd = DequantizeLinear(bq, t, z)
    [sum] y = Add(ad, bd)
}
"""
STRIDES = "strides=[2,2]"


def _block(strides: str = STRIDES, kernel: int = 1) -> onnx.ModelProto:
    """Scales are powers of 2, so that sums are exact in whatever order."""
    random = np.random.default_rng(7)
    model = onnx.parser.parse_model(BLOCK.replace("STRIDES", strides))
    constants = {
        name: random.integers(-9, 9, (32, 16, kernel, kernel)).astype(np.int8) for name in ("wq", "vq")
    }
    constants |= {"s": np.array(2.0**-4, np.float32), "t": np.array(2.0**-3, np.float32)}
    constants["z"] = np.array(0, np.int8)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    onnx.checker.check_model(model)
    return model


def _feed() -> dict[str, Array]:
    return {"x": np.random.default_rng(3).standard_normal((2, 16, 9, 9)).astype(np.float32)}


def _evaluated(model: onnx.ModelProto) -> Array:
    results = list(onnx.reference.ReferenceEvaluator(model).run(None, _feed()))
    return np.asarray(results[0])


def _pools(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "MaxPool"]


@pytest.mark.parametrize("pads", ["", ", pads=[0,0,0,0]", ', auto_pad="SAME_UPPER"', ', auto_pad="VALID"'])
def test_not_a_bit_differs(pads: str) -> None:
    plain = _block(STRIDES + pads)
    changed = ir.from_proto(plain)
    assert pick_first(changed) == 2
    [pool] = _pools(changed)  # both read it
    assert pool.attributes.get_ints("strides") == (2, 2)
    wanted, found = (_evaluated(model) for model in (plain, ir.to_proto(changed)))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("strides", "kernel"),
    [("strides=[1,1]", 1), ("strides=[2,2], pads=[1,1,1,1]", 3), ("strides=[2,2], pads=[1,1,1,1]", 1)],
)
def test_what_reads_every_place_or_beyond_the_edge_stays(strides: str, kernel: int) -> None:
    model = onnx.parser.parse_model(BLOCK.replace("STRIDES", strides))
    model.graph.initializer.extend(_block(kernel=1).graph.initializer)
    for tensor in model.graph.initializer:
        if tensor.name in ("wq", "vq") and kernel > 1:
            tensor.CopyFrom(numpy_helper.from_array(np.ones((32, 16, kernel, kernel), np.int8), tensor.name))
    changed = ir.from_proto(model)
    assert pick_first(changed) == 0
    assert not _pools(changed)


def test_float_values_are_left_to_openvino() -> None:
    text = """<ir_version: 10, opset_import: ["": 22]>
    plain (float[batch,16,9,9] x, float[32,16,1,1] w) => (float[batch,32,5,5] y) {
        y = Conv<strides=[2,2]>(x, w)
    }"""
    assert pick_first(ir.from_proto(onnx.parser.parse_model(text))) == 0


def test_openvino_computes_both_as_integers(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    onnx.save(_block(), tmp_path / "block.onnx")
    found: dict[str, tuple[Array, Executed]] = {}
    for name in ("openvino", "reference"):
        with get_backend(name).open(tmp_path / "block.onnx", "cpu", SessionOptions()) as session:
            found[name] = session.run(_feed())["y"], session.executed()
    np.testing.assert_array_equal(found["openvino"][0], found["reference"][0])
    executed = found["openvino"][1]
    assert executed.macs_by_type == {"int8": 1.0}
    assert executed.lowering is not None
    assert PICKED in executed.lowering
