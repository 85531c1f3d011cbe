"""Builds a TensorRT plan from an ONNX file, with TensorRT or, on a machine without a GPU, TensorRT-RTX.

The network is strongly typed, so precision comes from the file alone. TensorRT 10.13 and later, 11 and
RTX 1.7 share every name used here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime import cuda
from runtime.errors import UnavailableError, UnsupportedError
from runtime.tensors import TensorSpec

FLAVOURS: Mapping[str, str] = {"tensorrt": ".[trt]", "tensorrt_rtx": ".[trt-rtx]"}
"""Python package to the extra that brings it."""

_ALWAYS_STRONGLY_TYPED_FROM = 11
_LINE = 300


def missing(flavour: str) -> str | None:
    """One line that says what this machine lacks to build a plan, or None.

    TensorRT is asked last: without a driver its builder cannot be made and its runtime crashes the
    process. TensorRT-RTX builds without either.
    """
    return (cuda.missing() if flavour == "tensorrt" else None) or _not_importable(flavour)


def build_plan(graph: Path, flavour: str = "tensorrt", sizes: Mapping[str, int] | None = None) -> bytes:
    """The serialised engine of a graph.

    sizes: for each open dimension by name, the size to tune for, which is also the greatest that the
        engine takes (the least is 1); one that is not given is 1.
    Raises UnavailableError, GraphError (a broken file) and UnsupportedError (names node and reason).
    """
    from runtime.graphs import input_specs, load  # takes half a second, which parsing does without

    reason = missing(flavour)
    if reason:
        raise UnavailableError(reason)
    specs = input_specs(load(graph))
    trt = importlib.import_module(flavour)
    logger = make_logger(trt)
    builder = _builder(trt, logger)
    network = _parse(trt, builder, graph, logger)
    plan = builder.build_serialized_network(network, _settings(trt, builder, specs, sizes or {}))
    if plan is None:
        raise UnsupportedError(f"{flavour} cannot build {graph}: {logger.told()}; use another backend")
    return bytes(plan)


def refusals(graph: Path, flavour: str) -> list[str]:
    """Why the ONNX parser does not take a graph, a line for each node; empty where it does.

    Nothing is built, so that no GPU is needed; the parser may crash the process on a broken file
    (runtime.trt_parser asks it from another one). Raises UnavailableError where there is no builder.
    """
    trt = importlib.import_module(flavour)
    logger = make_logger(trt)
    return _refusals(trt, _builder(trt, logger), graph, logger)[1]


def make_logger(trt: Any) -> Any:
    """A logger that keeps warnings and errors instead of printing them."""

    class KeepingLogger(trt.ILogger):  # type: ignore[misc]  # the package ships no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message)

        def told(self) -> str:
            return one_line(self.errors[-1]) if self.errors else "it gives no reason"

    return KeepingLogger()


def one_line(text: str) -> str:
    return " ".join(text.split())[:_LINE]


def _not_importable(flavour: str) -> str | None:
    extra = FLAVOURS[flavour]
    try:
        importlib.import_module(flavour)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed: pip install '{extra}' in the clone"
    except (ImportError, OSError) as error:
        return (
            f"{flavour}'s libraries do not load ({one_line(str(error))}): install TensorRT from NVIDIA's"
            f" package index (pip install '{extra}'), or put its lib folder on LD_LIBRARY_PATH"
        )
    return None


def _builder(trt: ModuleType, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except TypeError as error:  # pybind11 got a null pointer; the log says why
        raise UnavailableError(
            f"{trt.__name__} makes no builder: {logger.told()}; check its libraries"
        ) from error


def _parse(trt: ModuleType, builder: Any, graph: Path, logger: Any) -> Any:
    network, reasons = _refusals(trt, builder, graph, logger)
    if reasons:
        raise UnsupportedError(
            f"{trt.__name__} does not take {graph}: {'; '.join(reasons)}; use another precision or backend"
        )
    return network


def _refusals(trt: ModuleType, builder: Any, graph: Path, logger: Any) -> tuple[Any, list[str]]:
    """The network, and why the parser could not read all of it."""
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(graph)):
        return network, []
    reasons = [_reason(parser.get_error(index)) for index in range(parser.num_errors)]
    return network, reasons or [logger.told()]


def _network_flags(trt: ModuleType) -> int:
    major = int(trt.__version__.split(".")[0])
    if trt.__name__ != "tensorrt" or major >= _ALWAYS_STRONGLY_TYPED_FROM:
        return 0
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _reason(error: Any) -> str:
    """Of an initializer it tells no node."""
    node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_operator() else ""
    return f"{node}{one_line(error.desc())}"


def _settings(trt: ModuleType, builder: Any, specs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> Any:
    settings = builder.create_builder_config()
    settings.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    settings.clear_flag(trt.BuilderFlag.TF32)  # on by default; an FP32 graph runs in float32
    profile = builder.create_optimization_profile()
    for spec in specs:
        if any(isinstance(size, str) for size in spec.shape):
            most = _shape(spec, sizes)
            profile.set_shape(spec.name, _shape(spec, {}), most, most)
    settings.add_optimization_profile(profile)
    return settings


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)
