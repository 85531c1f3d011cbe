"""BF16 rounded from float32, beside ONNX's evaluator where sums are not its matter, and beside float64."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.backend import Backend, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnsupportedError
from runtime.tensors import Array, Feed
from runtime.widened import Widened

AS_WRITTEN = SessionOptions(optimize=False)
BF16 = TensorProto.BFLOAT16


def _run(backend: Backend, path: Path, feed: Feed) -> dict[str, Array]:
    with backend.open(path, "cpu", AS_WRITTEN) as session:
        return dict(session.run(feed))


def _widened(path: Path, feed: Feed) -> dict[str, Array]:
    return _run(Widened(get_backend("ort")), path, feed)


def _assert_bits_of_the_evaluator(path: Path, feed: Feed) -> None:
    want, got = _run(get_backend("reference"), path, feed), _widened(path, feed)
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name].astype(np.float32), array.astype(np.float32))


def _save(
    folder: Path, nodes: list[onnx.NodeProto], weights: dict[str, Array], output: int, *shape: int
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", output, [None] * len(shape))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = folder / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def _normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _narrow(values: Array) -> Array:
    return np.asarray(values).astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize("output", [TensorProto.FLOAT, BF16])
def test_each_result_is_rounded(output: int, tmp_path: Path) -> None:
    """A sum of a product: rounded only once, it would be another one for most values."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=BF16),
        helper.make_node("Mul", ["narrow", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=output),
    ]
    weights = {"w": _narrow(_normal(64, seed=1)), "b": _narrow(_normal(64, seed=2))}
    path, feed = _save(tmp_path, nodes, weights, output, 100, 64), {"x": _normal(100, 64)}
    _assert_bits_of_the_evaluator(path, feed)
    exact = _narrow(feed["x"]).astype(np.float32) * weights["w"].astype(np.float32)
    once = _narrow(exact + weights["b"].astype(np.float32)).astype(np.float32)
    assert np.mean(_widened(path, feed)["y"].astype(np.float32) != once) > 0.1


def test_inputs_and_constants_in_bf16(tmp_path: Path) -> None:
    """And results that are two outputs, one of them read by a node as well."""
    constant = numpy_helper.from_array(_narrow(_normal(8)), "c")
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], value=constant),
            helper.make_node(
                "ConstantOfShape", ["shape"], ["f"], value=numpy_helper.from_array(_narrow(_normal(1)))
            ),
            helper.make_node("Mul", ["x", "c"], ["product"]),
            helper.make_node("Add", ["product", "f"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", BF16, (4, 8))],
        [helper.make_tensor_value_info(name, BF16, (4, 8)) for name in ("product", "y")],
        [numpy_helper.from_array(np.array([4, 8]), "shape")],
    )
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    _assert_bits_of_the_evaluator(path, {"x": _narrow(_normal(4, 8, seed=1))})


def test_what_stands_in_a_loop_is_rounded_in_every_turn(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["carried", "w"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("going", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("carried", BF16, (16,)),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next", BF16, (16,)),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=BF16),
        helper.make_node("Loop", ["turns", "yes", "narrow"], ["last"], body=body),
        helper.make_node("Cast", ["last"], ["y"], to=TensorProto.FLOAT),
    ]
    weights = {"turns": np.array(9), "yes": np.array(True), "w": _narrow(1 + _normal(16, seed=1) / 10)}
    _assert_bits_of_the_evaluator(_save(tmp_path, nodes, weights, TensorProto.FLOAT, 16), {"x": _normal(16)})


def test_products_are_added_up_in_float32(tmp_path: Path) -> None:
    """Beside float64: no further off than one rounding."""
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=BF16),
        helper.make_node("MatMul", ["narrow", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y"], to=TensorProto.FLOAT),
    ]
    weights, feed = {"w": _narrow(_normal(4096, 8, seed=1))}, {"x": _normal(4, 4096)}
    path = _save(tmp_path, nodes, weights, TensorProto.FLOAT, 4, 4096)
    exact = _narrow(feed["x"]).astype(np.float64) @ weights["w"].astype(np.float64)
    half_a_step = 2.0**-8
    assert np.max(np.abs(_widened(path, feed)["y"] / exact - 1)) <= half_a_step * 1.01


def test_a_graph_without_bf16_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {}, TensorProto.FLOAT, 4)
    with pytest.raises(UnsupportedError, match=r"nothing in .*graph\.onnx is BF16"):
        _widened(path, {"x": _normal(4)})
