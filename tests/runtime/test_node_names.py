"""Files whose nodes have no names, or share one: every multiplication is counted, and attested as it ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.costs import node_macs
from runtime.graphs import inspect, load, was_given_names
from runtime.tensors import Array

INTEGER, FLOAT = 64 * 4 * 4 * 9, 64 * 64 * 4 * 9
"""Multiply-accumulates of the two convolutions below, counted by hand."""

BODY = """
    e = Conv<pads=[1,1,1,1]>(x, v)
    q = QuantizeLinear(x, s, z) dx = DequantizeLinear(q, s, z) dw = DequantizeLinear<axis=0>(w, ws, wz)
    a = Conv<pads=[1,1,1,1]>(dx, dw)
    p = QuantizeLinear(a, s, z) da = DequantizeLinear(p, s, z)
    t = Tile(da, times) y = Add(e, t)"""


def _write(folder: Path, name: str = "") -> Path:
    """A large float convolution, then a small one in int8; every node is called `name`."""
    head = '<ir_version: 10, opset_import: ["": 22]>'
    model = onnx.parser.parse_model(f"{head} g (float[1,4,8,8] x) => (float[1,64,8,8] y) {{ {BODY} }}")
    random = np.random.default_rng(0)
    constants: dict[str, Array] = {
        "s": np.array(0.03, np.float32),
        "z": np.array(0, np.int8),
        "w": random.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8),
        "ws": np.full(4, 0.003, np.float32),
        "wz": np.zeros(4, np.int8),
        "v": random.standard_normal((64, 4, 3, 3)).astype(np.float32),
        "times": np.array([1, 16, 1, 1]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in constants.items())
    for node in model.graph.node:
        node.name = name
    path = folder / "m.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["", "same"], ids=["unnamed", "shared"])
def test_every_node_is_counted(name: str, tmp_path: Path) -> None:
    path = _write(tmp_path, name)
    assert inspect(path).macs == INTEGER + FLOAT
    assert node_macs(load(path), {}) == {"e": FLOAT, "a": INTEGER}
    assert was_given_names(load(path))


def test_names_of_the_file_stay(tmp_path: Path) -> None:
    path = _write(tmp_path)
    model = onnx.load(path)
    model.graph.node[0].name = "a"  # as the output that another, unnamed node is called after
    onnx.save(model, path)
    assert node_macs(load(path), {}) == {"a": FLOAT, "a_": INTEGER}


@pytest.mark.parametrize("name", ["ort", "openvino"])
def test_an_unnamed_float_convolution_is_not_attested_as_int8(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    reason = backend.unavailable()
    if reason:
        pytest.skip(reason)
    with backend.open(_write(tmp_path), "cpu", SessionOptions()) as session:
        session.run({"x": np.ones((1, 4, 8, 8), np.float32)})
        total = INTEGER + FLOAT
        assert session.executed().macs_by_type == pytest.approx(
            {"float32": FLOAT / total, "int8": INTEGER / total}
        )


def test_openvino_does_not_guess_between_nodes_that_share_a_name(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with get_backend("openvino").open(_write(tmp_path, "same"), "cpu", SessionOptions()) as session:
        session.run({"x": np.ones((1, 4, 8, 8), np.float32)})
        assert session.executed().macs_by_type.get("int8", 0.0) <= INTEGER / (INTEGER + FLOAT)
