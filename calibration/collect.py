"""Finds the ranges of a graph's tensors by running it in FP32 on a stream of feeds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from calibration.graphs import open_float_graph
from calibration.int8_plan import nothing_to_quantise, plan_int8
from calibration.observers import full_name, observer_maker
from calibration.ranges import Ranges
from calibration.stream import observe
from runtime.graphs import graph_digest
from runtime.progress import Progress, silent
from runtime.tensors import Feed


def calibrate(
    graph: Path,
    feeds: Iterable[Feed],
    method: str = "entropy",
    progress: Progress = silent,
    *,
    together: bool = False,
) -> Ranges:
    """Observe every tensor that an INT8 file of `graph` quantises, on finite `feeds`.

    method:   min-max, percentile (or `percentile:99.9`), entropy or mean-squared-error.
    together: whether a sample's answer depends on the others of its batch (calibration.stream).
    Raises CalibrationError (nothing to quantise, no feeds, NaN or infinity in a tensor), FeedError,
    GraphError, UsageError (unknown method), UnavailableError (ONNX Runtime is not installed).
    """
    method, make = full_name(method), observer_maker(method)
    tensors = observed_tensors(graph)
    observers = {name: make(name) for name in tensors}
    samples = observe(graph, feeds, observers, f"calibrating ({method})", progress, together=together)
    ranges = {name: observer.range() for name, observer in observers.items()}
    return Ranges(ranges, method, samples, graph_digest(graph))


def observed_tensors(graph: Path) -> tuple[str, ...]:
    """The tensors whose ranges an INT8 file of `graph` needs; raises GraphError and CalibrationError."""
    model = open_float_graph(graph)
    tensors = plan_int8(model.graph).observed
    if not tensors:
        raise nothing_to_quantise(graph, model.graph)
    return tensors
