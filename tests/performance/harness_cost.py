"""What a timed query costs on top of the runtime's own call (aim: at most 2 µs, 1 % of ResNet50)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bench.measure import Limits, measure
from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from tests.performance.trials import Row, interleaved

_QUERIES = 20_000
_ROUNDS = 15
_LIMITS = Limits(duration_ns=0, min_queries=_QUERIES, max_queries=_QUERIES, max_warm_up_ns=1)


def run() -> list[Row]:
    """A graph of one Identity: the call is as cheap as it can be, so that what we add shows."""
    feed = {"x": np.zeros((1, 8), np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        graph = identity(Path(folder) / "identity.onnx")
        with get_backend("ort").open(graph, "cpu", SessionOptions(threads=1)) as session:
            query = session.bind(feed, Boundary.DEVICE)
            per_query = interleaved(
                {
                    "onnxruntime, bare loop": _bare_loop(_onnxruntime_call(graph, feed)),
                    "our query, bare loop": _bare_loop(query.run),
                    "our query, timed": lambda: measure(query.run, _LIMITS).wall_ns / _QUERIES,
                },
                _ROUNDS,
            )
    bare = per_query["onnxruntime, bare loop"]
    return [
        Row(
            name, f"{ns / 1000:.2f} µs a query", f"{(ns - bare) / 1000:+.2f} µs over the bare loop", ns / bare
        )
        for name, ns in per_query.items()
    ]


def _bare_loop(call: Callable[[], object]) -> Callable[[], float]:
    def nanoseconds_per_call() -> float:
        start = time.perf_counter_ns()
        for _ in range(_QUERIES):
            call()
        return (time.perf_counter_ns() - start) / _QUERIES

    return nanoseconds_per_call


def _onnxruntime_call(graph: Path, feed: dict[str, np.ndarray]) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(feed["x"])
    result = onnxruntime.OrtValue.ortvalue_from_numpy(feed["x"])
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output("y", result)
    return lambda: session.run_with_iobinding(binding)


def identity(path: Path) -> Path:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 8]))
    node = ir.node("Identity", [x], name="identity")
    node.outputs[0].name = "y"
    node.outputs[0].type, node.outputs[0].shape = x.type, x.shape
    graph = ir.Graph([x], node.outputs, nodes=[node], name="identity", opset_imports={"": 22})
    ir.save(ir.Model(graph, ir_version=10), path)
    return path
