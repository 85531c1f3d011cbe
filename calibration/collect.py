"""Finds the ranges of a graph's tensors by running it in FP32 on a stream of feeds.

No activation outlives the sample it belongs to: memory is that of one sample, however many there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from calibration.graphs import open_float_graph
from calibration.observers import OBSERVERS, Observer
from calibration.placement import nothing_to_quantise, plan_int8
from calibration.ranges import Ranges
from runtime.errors import CalibrationError, UnavailableError, unknown_name
from runtime.graphs import graph_digest, input_specs
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed, TensorSpec, batch_size, check_feed


def calibrate(
    graph: Path,
    feeds: Iterable[Feed],
    method: str = "entropy",
    progress: Progress = silent,
    *,
    together: bool = False,
) -> Ranges:
    """Observe every tensor that an INT8 file of `graph` quantises, on finite `feeds`.

    A feed of several samples is cut into single ones where the graph's batch dimension is open, so
    the ranges do not depend on how the samples were batched, and the same feeds give the same bits; not so
    where a sample's answer depends on the others of its batch: those stay `together`.
    Raises CalibrationError (nothing to quantise, no feeds, NaN or infinity in a tensor), FeedError,
    GraphError, UsageError (unknown method), UnavailableError (ONNX Runtime is not installed).
    """
    if method not in OBSERVERS:
        raise unknown_name("calibration method", method, OBSERVERS)
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        observed = _write_observed(graph, Path(folder) / "observed.onnx")
        session = _open(Path(folder) / "observed.onnx")
        observers = {name: OBSERVERS[method](name) for name in observed.tensors}
        count = 0
        samples = _whole(feeds, observed.inputs) if together else _samples(feeds, observed.inputs)
        for sample in progress(samples, f"calibrating ({method})"):
            _observe(session, sample, observers)
            count += batch_size(sample)
    if count == 0:
        raise CalibrationError(f"no feeds to calibrate {graph} on; give at least one sample")
    ranges = {name: observer.range() for name, observer in observers.items()}
    return Ranges(ranges, method, count, graph_digest(graph))


@dataclass(frozen=True)
class _Observed:
    inputs: tuple[TensorSpec, ...]
    tensors: tuple[str, ...]


def _write_observed(graph: Path, out: Path) -> _Observed:
    """The same graph with the tensors to observe as its outputs.

    The weights go to a file beside it, which ONNX Runtime maps instead of copying.
    """
    model = open_float_graph(graph)
    inputs = input_specs(model)
    tensors = plan_int8(model.graph).observed
    if not tensors:
        raise nothing_to_quantise(graph, model.graph)
    made = {str(value.name): value for node in model.graph for value in node.outputs}
    # Inputs of the graph may be among the tensors; ONNX Runtime wants at least one output.
    model.graph.outputs[:] = [made[name] for name in tensors if name in made] or model.graph.outputs[:]
    ir.save(model, out, external_data="observed.data")
    return _Observed(inputs, tensors)


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(
            "calibration runs the FP32 graph on onnxruntime, which is not installed;"
            " pip install '.[cpu]' in the clone"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # NOTE: the arena would keep the largest sample's memory twice, once as the outputs we read.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _whole(feeds: Iterable[Feed], specs: Sequence[TensorSpec]) -> Iterator[Feed]:
    for feed in feeds:
        check_feed(feed, specs)
        yield feed


def _samples(feeds: Iterable[Feed], specs: Sequence[TensorSpec]) -> Iterator[Feed]:
    first_dimensions = {spec.shape[0] if spec.shape else None for spec in specs}
    may_cut = len(first_dimensions) == 1 and "batch" in str(first_dimensions.pop()).lower()
    for feed in _whole(feeds, specs):
        if not may_cut:
            yield feed
            continue
        for row in range(batch_size(feed)):
            yield {name: array[row : row + 1] for name, array in feed.items()}


def _observe(session: Any, sample: Feed, observers: dict[str, Observer]) -> None:
    names = [output.name for output in session.get_outputs()]
    arrays: dict[str, Array] = dict(sample)
    arrays.update(zip(names, session.run(names, dict(sample)), strict=True))
    for name, observer in observers.items():
        observer.observe(arrays.pop(name))
