"""Builds a TensorRT plan from an ONNX file, with TensorRT or, on a machine without a GPU, TensorRT-RTX.

The network is strongly typed, so precision comes from the file alone; whether a float32 product may be a
TF32 one is said either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import cuda
from runtime.errors import UnsupportedError
from runtime.trt_library import TENSORRT, Library, library, one_line
from runtime.trt_options import DEFAULTS, BuildSettings
from runtime.trt_profile import Profile, SizeRange, make_profile
from runtime.trt_progress import Steps, cancellable, listener, make_monitor


@dataclass(frozen=True)
class Request:
    """What to build.

    graph:    an ONNX file, known to be sound: TensorRT's parser may crash on a broken one.
    profile:  of its inputs with open dimensions.
    timings:  what earlier builds measured of kernels, as TensorRT serialises it; empty where nothing did.
    device:   number of the GPU to build for; None for TensorRT-RTX, which builds for all of them.
    """

    graph: Path
    profile: Profile = ()
    settings: BuildSettings = DEFAULTS
    timings: bytes = b""
    device: int | None = None


@dataclass(frozen=True)
class Built:
    """A serialised engine, and the timings that Request.timings has become; None from TensorRT-RTX."""

    plan: bytes
    timings: bytes | None


def build(trt: Library, request: Request) -> Built:
    """Raises UnavailableError, UnsupportedError (names node and reason), KeyboardInterrupt once stopped."""
    steps = Steps(listener(), f"building {request.graph.name} with {trt.title}")
    return cancellable(lambda: _build(trt, request, steps), steps.cancel)


def build_plan(
    graph: Path,
    flavour: str = TENSORRT,
    sizes: Mapping[str, int] | None = None,
    settings: BuildSettings = DEFAULTS,
    ranges: Mapping[str, SizeRange] | None = None,
) -> bytes:
    """The serialised engine of a graph.

    sizes: of open dimensions, by name; one that is not given is 1.     ranges: instead of one size.
    Raises UnavailableError, GraphError (a broken file) and UnsupportedError (names node and reason).
    """
    from runtime.graphs import input_specs, load  # takes half a second, which parsing does without

    trt = library(flavour)
    profile = make_profile(input_specs(load(graph)), sizes or {}, ranges or {})
    device = 0 if flavour == TENSORRT else None
    return build(trt, Request(graph, profile, settings, device=device)).plan


def refusals(graph: Path, flavour: str) -> list[str]:
    """Why the ONNX parser does not take a graph, a line for each node; empty where it does.

    Nothing is built, so that no GPU is needed; the parser may crash the process on a broken file
    (runtime.trt_parser asks it from another one). Raises UnavailableError where there is no builder.
    """
    trt = library(flavour)
    return _parsed(trt, trt.builder(), graph)[1]


def parse(trt: Library, builder: Any, graph: Path) -> Any:
    """The network of a graph; raises UnsupportedError."""
    network, reasons = _parsed(trt, builder, graph)
    if reasons:
        raise UnsupportedError(
            f"{trt.module.__name__} does not take {graph}: {'; '.join(reasons)}; use another precision or"
            " backend"
        )
    return network


def _build(trt: Library, request: Request, steps: Steps) -> Built:
    if request.device is not None:
        cuda.make_current(request.device)  # this thread is new
    builder = trt.builder()
    network = parse(trt, builder, request.graph)
    _check_shape_inputs(network, request.graph)
    config = _config(trt, builder, request)
    config.progress_monitor = monitor = make_monitor(trt.module, steps)
    timings = None if trt.is_rtx else _timing_cache(trt, config, request.timings)
    plan = builder.build_serialized_network(network, config)
    del monitor  # which had to live until here
    if steps.failure is not None:
        raise steps.failure
    if plan is None:
        raise UnsupportedError(
            f"{trt.module.__name__} cannot build {request.graph}: {trt.logger.told()}; use another backend"
        )
    return Built(bytes(plan), None if timings is None else bytes(timings.serialize()))


def _parsed(trt: Library, builder: Any, graph: Path) -> tuple[Any, list[str]]:
    """The network, and why the parser could not read all of it."""
    network = builder.create_network(trt.network_flags)
    parser = trt.module.OnnxParser(network, trt.logger)
    if parser.parse_from_file(str(graph)):
        return network, []
    reasons = [_reason(parser.get_error(index)) for index in range(parser.num_errors)]
    return network, reasons or [trt.logger.told()]


def _reason(error: Any) -> str:
    """Of an initializer it tells no node."""
    node = f"node {error.node_name()!r} ({error.node_operator()}): " if error.node_operator() else ""
    return f"{node}{one_line(error.desc())}"


def _check_shape_inputs(network: Any, graph: Path) -> None:
    """Raises UnsupportedError for inputs whose values are sizes: an engine would fit some feeds only."""
    inputs = (network.get_input(index) for index in range(network.num_inputs))
    deciding = [tensor.name for tensor in inputs if tensor.is_shape_tensor]
    if deciding:
        raise UnsupportedError(
            f"in {graph}, the values of input {', '.join(deciding)} decide shapes, for which backend trt has"
            " no profile: export the graph with these sizes as open dimensions, or use another backend"
        )


def _config(trt: Library, builder: Any, request: Request) -> Any:
    module, settings = trt.module, request.settings
    config = builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    change = config.set_flag if settings.tf32 else config.clear_flag
    change(module.BuilderFlag.TF32)  # on by default
    if settings.builder_optimization_level is not None:
        config.builder_optimization_level = settings.builder_optimization_level
    if settings.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    profile = builder.create_optimization_profile()
    for shapes in request.profile:
        profile.set_shape(shapes.name, shapes.least, shapes.best, shapes.most)
    config.add_optimization_profile(profile)
    return config


def _timing_cache(trt: Library, config: Any, timings: bytes) -> Any:
    """What was measured before, or an empty one where TensorRT does not take that."""
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
