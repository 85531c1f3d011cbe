"""What OpenVINO would read over is refused; what it computes as the reference does is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnsupportedError
from runtime.tensors import Array

openvino = pytest.importorskip("openvino")

STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 3, 4
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal((1, 1, 8, 8)).astype(np.float32)
SEQUENCE = RANDOM.standard_normal((STEPS, BATCH, FEATURES)).astype(np.float32)


def _weights(gates: int) -> dict[str, Array]:
    shapes = {"w": (1, gates * HIDDEN, FEATURES), "r": (1, gates * HIDDEN, HIDDEN)}
    return {name: RANDOM.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _write(
    folder: Path, node: onnx.NodeProto, x: Array, constants: dict[str, Array], rank: int, opset: int = 22
) -> Path:
    """The node's first input is fed; the sizes of its output are open."""
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [f"s{axis}" for axis in range(rank)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def _run(backend: str, path: Path, x: Array) -> Array:
    with get_backend(backend).open(path, "cpu", SessionOptions()) as session:
        return session.run({"x": x})["y"]


SIZES = {"sizes": np.array([1, 1, 4, 6], np.int64)}
HALVES = {"scales": np.array([1, 1, 0.5, 0.5], np.float32)}


@pytest.mark.parametrize(
    ("node", "x", "constants", "what"),
    [
        (
            helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=1),
            IMAGE,
            HALVES,
            "the attribute antialias of Resize",
        ),
        (
            helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="cubic", exclude_outside=1),
            IMAGE,
            HALVES,
            "the attribute exclude_outside of Resize",
        ),
        (
            helper.make_node(
                "Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", keep_aspect_ratio_policy="not_larger"
            ),
            IMAGE,
            SIZES,
            "the attribute keep_aspect_ratio_policy of Resize",
        ),
        (
            helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=HIDDEN, layout=1),
            SEQUENCE,
            _weights(3),
            "the attribute layout of GRU",
        ),
        (
            helper.make_node(
                "LSTM", ["x", "w", "r", "", "", "", "", "p"], ["y"], name="cell", hidden_size=HIDDEN
            ),
            SEQUENCE,
            {**_weights(4), "p": np.ones((1, 3 * HIDDEN), np.float32)},
            "the peepholes of LSTM, which node 'cell' has",
        ),
    ],
    ids=["antialias", "exclude_outside", "aspect ratio", "layout", "peepholes"],
)
def test_what_would_be_read_over_is_refused(
    node: onnx.NodeProto, x: Array, constants: dict[str, Array], what: str, tmp_path: Path
) -> None:
    path = _write(tmp_path, node, x, constants, x.ndim + (x.ndim == 3))
    with pytest.raises(UnsupportedError, match=f"openvino ignores {what}.*use another backend"):
        _run("openvino", path, x)


@pytest.mark.parametrize(
    ("node", "x", "constants"),
    [
        (
            helper.make_node(
                "Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=0, exclude_outside=0
            ),
            IMAGE,
            HALVES,
        ),
        (
            helper.make_node(
                "Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", keep_aspect_ratio_policy="stretch"
            ),
            IMAGE,
            SIZES,
        ),
        (
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=HIDDEN, layout=0),
            SEQUENCE,
            _weights(4),
        ),
    ],
    ids=["as always", "stretched", "steps first"],
)
def test_what_changes_nothing_is_computed(
    node: onnx.NodeProto, x: Array, constants: dict[str, Array], tmp_path: Path
) -> None:
    path = _write(tmp_path, node, x, constants, x.ndim + (x.ndim == 3))
    np.testing.assert_allclose(_run("openvino", path, x), _run("reference", path, x), rtol=1e-4, atol=1e-5)
