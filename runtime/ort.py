"""ONNX Runtime, on the CPU or, with onnxruntime-gpu, on CUDA."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import onnx_ir as ir

from runtime import cuda, ort_profile
from runtime.attestation import Circumstances, attest
from runtime.backend import Boundary, Device, Executed, Query, SessionOptions
from runtime.costs import node_macs
from runtime.errors import (
    FeedError,
    GraphError,
    HarnessError,
    UnavailableError,
    UnsupportedError,
    UsageError,
    unknown_name,
)
from runtime.graphs import input_specs, load, output_specs, was_given_names
from runtime.lowering import LOWERING, lower, serialised
from runtime.lowering_tables import LOOKED_UP_FIRST, look_up_first
from runtime.origins import trace_back
from runtime.session import CheckedSession
from runtime.stepping import Carried, OrtStepper, Stepper
from runtime.tensors import Array, Feed

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"

_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
"""An FP32 graph runs in float32 (TF32 is the provider's default); algorithms are searched in warm-up."""

_HINDERS_INTEGERS = ["MatMulAddFusion"]
"""Makes a Gemm of a quantised MatMul and its float bias, which no integer kernel takes: ResNet50's
classifier was then dequantised in every query (8.8 ms where 6.4 ms is possible)."""

_FLOAT_ARITHMETIC = ("session.qdq_matmulnbits_accuracy_level", "1")
"""A product by int4 weights computes in float32, as the file has it: of itself ONNX Runtime 1.32 quantises
what is multiplied by them to int8 (level 4)."""

_WRONG_FOR_FLOAT8 = ["ReluQuantRewrite", "WeightBiasQuantization"]
"""ONNX Runtime 1.32 takes the zero point of a float8 for the least value there is, and leaves out a ReLU in
front of it: NCF in FP8 was then -1.2 dB from FP32. And it makes int32 of a bias beside float8."""

_CRASHES_WITH_LSTM = ["NchwcTransformer"]
"""ONNX Runtime 1.32's processor kernels crash on a 16-bit CRNN with it: convolutions in vectors of channels,
an LSTM in float32 and a 16-bit product behind it. Without it the graph runs."""

_FELL_BACK = "fallback to CPU EP"
"""In the message for a node that would run on the CPU against `session.disable_cpu_ep_fallback`."""


class OnnxRuntimeBackend:
    """The `ort` backend. Precision comes from the file; nothing falls back to another device unseen."""

    name = "ort"

    def unavailable(self) -> str | None:
        try:
            import onnxruntime  # noqa: F401  # only whether it is there
        except ImportError:
            return "onnxruntime is not installed: pip install '.[cpu]' in the clone, or '.[gpu]' for CUDA"
        return None

    def version(self) -> str:
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def devices(self) -> tuple[Device, ...]:
        if self.unavailable():
            return ()
        import onnxruntime

        gpus = cuda.device_names() if _CUDA in onnxruntime.get_available_providers() else ()
        return (
            Device("cpu", _CPU),
            *(Device(f"cuda:{index}", f"{_CUDA}, {name}") for index, name in enumerate(gpus)),
        )

    def open(self, graph: Path, device: str, options: SessionOptions) -> OnnxRuntimeSession:
        reason = self.unavailable()
        if reason:
            raise UnavailableError(reason)
        provider, provider_options = self._provider(device, options)
        model = load(graph)
        lowered = ", ".join(_lowered(model)) if device == "cpu" and options.optimize else ""
        # NOTE: it calls the kernel of an unnamed node after its place in the optimised graph ("MatMul_3")
        source = model if lowered or was_given_names(model) else graph
        profile = Path(tempfile.mkdtemp(prefix="aimatrix-profile-"))
        try:
            disabled = _disabled_optimizers(model, provider, lowered=bool(lowered))
            session = _open(source, profile, options, (provider, provider_options), disabled)
        except HarnessError:
            shutil.rmtree(profile, ignore_errors=True)
            raise
        return OnnxRuntimeSession(model, session, provider, lowered or None)

    def _provider(self, device: str, options: SessionOptions) -> tuple[str, Mapping[str, str]]:
        found = [entry.name for entry in self.devices()]
        if device.startswith("cuda") and device not in found:
            raise UnavailableError(
                f"backend ort has no device {device!r}: {self._without_cuda()}; found: {', '.join(found)}"
            )
        if device not in found:
            raise unknown_name("device of backend ort", device, found)
        if device == "cpu" and options.provider_options:
            raise UsageError(
                f"{_CPU} takes no provider options, got {sorted(options.provider_options)}; leave them out"
            )
        if device == "cpu":
            return _CPU, {}
        return _CUDA, {**_CUDA_OPTIONS, "device_id": device.partition(":")[2], **options.provider_options}

    @staticmethod
    def _without_cuda() -> str:
        import onnxruntime

        if _CUDA not in onnxruntime.get_available_providers():
            return (
                "this onnxruntime is built without CUDA: pip uninstall onnxruntime,"
                " then pip install '.[gpu]' in the clone"
            )
        return cuda.missing() or "no GPU of that number"


class OnnxRuntimeSession(CheckedSession):
    """An InferenceSession whose first query is profiled, so that it can tell what executed."""

    def __init__(self, model: ir.Model, session: Any, provider: str, lowering: str | None) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._model = model
        self._session = session
        self._provider = provider
        self._lowering = lowering

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        query: Query
        if boundary is Boundary.HOST:
            query = _HostQuery(self._session, feed)
        elif any(array.dtype.kind == "U" for array in feed.values()):
            raise UnsupportedError(
                "onnxruntime keeps no text in the memory of a device; measure this graph with --boundary host"
            )
        else:
            query = _DeviceQuery(self._session, feed, *_memory(self._provider, self._session))
        return query

    def _run_unproven(self, query: Query) -> None:
        with _told_as_feed_error():
            query.run()

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        profile = Path(self._session.end_profiling())
        kernels = ort_profile.read_kernels(profile)
        shutil.rmtree(profile.parent, ignore_errors=True)
        macs = node_macs(self._model, sizes)
        fallback = tuple(kernel.name for kernel in kernels if kernel.provider != self._provider)
        multiplying = ort_profile.multiplying_kernels(kernels, self._provider)
        ran = trace_back(multiplying, self._model.graph, macs)
        return attest(macs, ran, Circumstances(ort_profile.EVIDENCE, fallback, self._lowering))

    def stepper(self, feed: Feed, carried: Carried) -> Stepper:
        """See runtime.stepping; a query before the first step ends the profile."""
        self.bind(feed, Boundary.HOST)
        return OrtStepper(self._session, _memory(self._provider, self._session), self.inputs, feed, carried)

    def close(self) -> None:
        if self._session is not None and self._executed is None:
            shutil.rmtree(Path(self._session.end_profiling()).parent, ignore_errors=True)
        self._session = None


class _HostQuery:
    """From NumPy arrays to NumPy arrays."""

    def __init__(self, session: Any, feed: Feed) -> None:
        self._names = [output.name for output in session.get_outputs()]
        self._call = partial(session.run, self._names, dict(feed))
        self._results: list[Array] = []

    def run(self) -> None:
        self._results = self._call()

    def outputs(self) -> dict[str, Array]:
        return dict(zip(self._names, self._results, strict=True))


class _DeviceQuery:
    """Inputs and outputs stay where they are: memory of the device, the same at every run."""

    def __init__(self, session: Any, feed: Feed, device: str, index: int) -> None:
        import onnxruntime

        self._names = [output.name for output in session.get_outputs()]
        self._binding = session.io_binding()
        for name, array in feed.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, index)
            self._binding.bind_ortvalue_input(name, value)
        for name in self._names:
            self._binding.bind_output(name, device, index)
        self._call = partial(session.run_with_iobinding, self._binding)
        self._fixed = False

    def run(self) -> None:
        self._call()
        if not self._fixed:
            self._fix_outputs()

    def outputs(self) -> dict[str, Array]:
        arrays = (value.numpy().copy() for value in self._binding.get_outputs())
        return dict(zip(self._names, arrays, strict=True))

    def _fix_outputs(self) -> None:
        """Their sizes are known after one run: from then on nothing is allocated."""
        values = self._binding.get_outputs()
        self._binding.clear_binding_outputs()
        for name, value in zip(self._names, values, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._fixed = True


def _open(
    graph: ir.Model | Path,
    profile: Path,
    options: SessionOptions,
    provider: tuple[str, Mapping[str, str]],
    disabled: Sequence[str],
) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        return onnxruntime.InferenceSession(
            serialised(graph) if isinstance(graph, ir.Model) else str(graph),
            _settings(profile, options, provider[0]),
            providers=[(provider[0], dict(provider[1]))],
            disabled_optimizers=list(disabled) or None,
        )
    except errors.NotImplemented as error:
        raise UnsupportedError(
            f"onnxruntime's {provider[0]} cannot run this graph: {_line(error)};"
            " use another precision or backend"
        ) from error
    except (errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.RuntimeException) as error:
        if _FELL_BACK in str(error):
            raise UnsupportedError(
                f"{provider[0]} does not take every node of this graph, or its libraries do not load, and"
                " nothing may fall back to the CPU unseen; see `bench doctor`, or use another precision"
            ) from error
        raise GraphError(f"onnxruntime does not open the graph: {_line(error)}") from error


def _lowered(model: ir.Model) -> Iterator[str]:
    """Rewrite the model, exactly, to what the CPU's kernels are fast at; what was done."""
    if lower(model):
        yield LOWERING
    if look_up_first(model.graph):
        yield LOOKED_UP_FIRST


def _disabled_optimizers(model: ir.Model, provider: str, *, lowered: bool) -> Sequence[str]:
    if lowered:
        return _HINDERS_INTEGERS
    if _holds_float8(model.graph):
        return _WRONG_FOR_FLOAT8
    halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    recurrent = any(node.op_type in ("GRU", "LSTM", "RNN") for node in model.graph)
    narrow = any(value.dtype in halves for node in model.graph for value in node.outputs)
    return _CRASHES_WITH_LSTM if provider == _CPU and recurrent and narrow else ()


def _holds_float8(graph: ir.Graph) -> bool:
    """As weights or as zero points."""
    float8 = {ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2}
    nodes = (node for node in graph if node.op_type == "Constant" and "value" in node.attributes)
    constants = {node.attributes["value"].as_tensor().dtype for node in nodes}
    return bool(float8 & (constants | {value.dtype for value in graph.initializers.values()}))


def _settings(profile: Path, options: SessionOptions, provider: str) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # its errors are raised; said twice, they would spoil the one line
    settings.enable_profiling = True
    settings.profile_file_prefix = str(profile / "query")
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    if not options.optimize:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.add_session_config_entry(*_FLOAT_ARITHMETIC)
    if provider != _CPU:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return settings


def _memory(provider: str, session: Any) -> tuple[str, int]:
    if provider == _CPU:
        return "cpu", 0
    return "cuda", int(session.get_provider_options()[provider].get("device_id", "0"))


@contextmanager
def _told_as_feed_error() -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        yield
    # run_with_iobinding raises RuntimeError where run raises one of its own errors
    except (errors.InvalidArgument, errors.Fail, errors.RuntimeException, RuntimeError) as error:
        raise FeedError(
            f"the graph does not accept this feed: {_line(error)}; check index ranges and shapes"
        ) from error


def _line(error: Exception) -> str:
    """The error without its "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED :" and on one line."""
    return " ".join(str(error).split()).rpartition(" : ")[2][:300]
