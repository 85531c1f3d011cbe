"""ONNX Runtime, on the CPU, on CUDA with onnxruntime-gpu, or by any other of its execution providers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import onnx_ir as ir

from runtime import cuda, ort_profile
from runtime.attestation import UNSEEN, Circumstances, Ran, attest
from runtime.backend import HOST, Boundary, Device, Executed, Query, SessionOptions
from runtime.costs import node_macs
from runtime.errors import (
    GraphError,
    HarnessError,
    UnavailableError,
    UnsupportedError,
    unknown_name,
)
from runtime.graphs import input_specs, load, output_specs, was_given_names
from runtime.lowering import LOWERING, lower, serialised
from runtime.lowering_bias import take_biases_in
from runtime.lowering_tables import LOOKED_UP_FIRST, look_up_first
from runtime.origins import Kernel, trace_back
from runtime.ort_providers import CPU, CUDA, Provider, chosen, plugged_in
from runtime.ort_queries import NO_GRAPH, DeviceQuery, HostQuery, line_of, run_options, told_as_feed_error
from runtime.ort_values import ValueQuery
from runtime.raw import beyond_numpy
from runtime.session import CheckedSession
from runtime.stepping import Carried, OrtStepper, Stepper
from runtime.tensors import Feed

_HINDERS_INTEGERS = ["MatMulAddFusion"]
"""Unless runtime.lowering_bias has seen to what it makes of biases."""

_FLOAT_ARITHMETIC = ("session.qdq_matmulnbits_accuracy_level", "1")
"""A product by int4 weights computes in float32, as the file has it: of itself ONNX Runtime 1.32 quantises
what is multiplied by them to int8 (level 4)."""

_WRONG_FOR_FLOAT8 = ["ReluQuantRewrite", "WeightBiasQuantization"]
"""ONNX Runtime 1.32 takes the zero point of a float8 for the least value there is, and leaves out a ReLU in
front of it: NCF in FP8 was then -1.2 dB from FP32. And it makes int32 of a bias beside float8."""

_CRASHES_WITH_LSTM = ["NchwcTransformer"]
"""ONNX Runtime 1.32's processor kernels crash on a 16-bit CRNN with it: convolutions in vectors of channels,
an LSTM in float32 and a 16-bit product behind it. Without it the graph runs."""

_MAKING_KERNELS = "Exception during initialization"
"""In the message of a kernel that is made, and cannot do what a sound file asks for."""

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

        gpus = cuda.device_names() if CUDA in onnxruntime.get_available_providers() else ()
        return (
            Device("cpu", CPU),
            *(Device(f"cuda:{index}", f"{CUDA}, {name}") for index, name in enumerate(gpus)),
        )

    def check_options(self, device: str, options: SessionOptions) -> None:
        """See runtime.backend.ChecksOptions; a vendor's library is loaded by `open` alone, in its process."""
        if options.provider_library is None:
            chosen(device, options)

    def open(self, graph: Path, device: str, options: SessionOptions) -> OnnxRuntimeSession:
        reason = self.unavailable()
        if reason:
            raise UnavailableError(reason)
        self._check_device(device)
        provider, settings = chosen(device, options)
        model = load(graph)
        lowered = ", ".join(_lowered(model)) if provider.name == CPU and options.optimize else ""
        takes_biases = bool(lowered) and take_biases_in(model.graph)
        # NOTE: it calls the kernel of an unnamed node after its place in the optimised graph ("MatMul_3")
        source = model if lowered or was_given_names(model) else graph
        profile = Path(tempfile.mkdtemp(prefix="aimatrix-profile-"))
        try:
            disabled = _disabled_optimizers(model, provider, lowered=bool(lowered), takes_biases=takes_biases)
            session = _open(source, profile, options, (provider, settings), disabled)
        except HarnessError:
            shutil.rmtree(profile, ignore_errors=True)
            raise
        told = _declared(options, settings)
        return OnnxRuntimeSession(model, session, provider, Circumstances("", (), lowered or None, told))

    def _check_device(self, device: str) -> None:
        found = [entry.name for entry in self.devices()]
        if device.startswith("cuda") and device not in found:
            raise UnavailableError(
                f"backend ort has no device {device!r}: {self._without_cuda()}; found: {', '.join(found)}"
            )
        if device not in found:
            raise unknown_name("device of backend ort", device, found)

    @staticmethod
    def _without_cuda() -> str:
        import onnxruntime

        if CUDA not in onnxruntime.get_available_providers():
            return (
                "this onnxruntime is built without CUDA: pip uninstall onnxruntime,"
                " then pip install '.[gpu]' in the clone"
            )
        return cuda.missing() or "no GPU of that number"


class OnnxRuntimeSession(CheckedSession):
    """An InferenceSession whose first query is profiled, so that it can tell what executed."""

    def __init__(
        self, model: ir.Model, session: Any, provider: Provider, circumstances: Circumstances
    ) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._model = model
        self._session = session
        self._provider = provider
        self._circumstances = circumstances
        self._captures = provider.memory == "cuda" and "1" in (
            circumstances.settings.get("enable_cuda_graph"),
            circumstances.settings.get("trt_cuda_graph_enable"),
        )
        self._graphs = count(1)

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        query: Query
        if boundary is Boundary.HOST:
            place = ValueQuery if beyond_numpy((*self.inputs, *self.outputs)) else HostQuery
            query = place(self._session, feed, run_options(NO_GRAPH if self._captures else {}))
        elif any(array.dtype.kind == "U" for array in feed.values()):
            raise UnsupportedError(
                "onnxruntime keeps no text in the memory of a device; measure this graph with --boundary host"
            )
        elif beyond_numpy((*self.inputs, *self.outputs)):
            raise UnsupportedError(
                "only inputs and outputs of NumPy's own types are kept in the memory of a device, these are"
                f" {', '.join(map(str, (*self.inputs, *self.outputs)))}; take --boundary host"
            )
        else:
            # A captured graph reads and writes where its own query's arrays are, and nowhere else.
            graph = {"gpu_graph_id": str(next(self._graphs))} if self._captures else {}
            memory = _memory(self._provider, self._session)
            of_ours = self._provider.name != CPU
            query = DeviceQuery(self._session, feed, memory, run_options(graph), of_ours=of_ours)
        return query

    def _run_unproven(self, query: Query) -> None:
        with told_as_feed_error():
            query.run()

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        profile = Path(self._session.end_profiling())
        kernels = ort_profile.read_kernels(profile)
        shutil.rmtree(profile.parent, ignore_errors=True)
        macs = node_macs(self._model, sizes)
        mine = self._provider.name
        fallback = tuple(kernel.name for kernel in kernels if kernel.provider != mine)
        seen = [*ort_profile.multiplying_kernels(kernels, mine), *self._compiled()]
        ran = trace_back(seen, self._model.graph, macs)
        if self._circumstances.settings.get("use_tf32") == "1":
            ran = {node: _as_tf32(each) for node, each in ran.items()}
        circumstances = replace(
            self._circumstances,
            evidence=ort_profile.EVIDENCE,
            fallback_nodes=fallback,
            on_device_nodes=1 - len(fallback) / len(kernels) if kernels else 1.0,
        )
        return attest(macs, ran, circumstances)

    def _compiled(self) -> Iterator[Kernel]:
        """What a provider took as whole subgraphs: the profile has one kernel of each, without a type."""
        if not self._provider.compiles:
            return
        for part in self._session.get_provider_graph_assignment_info():
            if part.ep_name == self._provider.name:
                yield from (Kernel((node.name,), Ran(UNSEEN)) for node in part.get_nodes())

    def stepper(self, feed: Feed, carried: Carried) -> Stepper:
        """See runtime.stepping; a query before the first step ends the profile."""
        self.bind(feed, Boundary.HOST)
        return OrtStepper(self._session, _memory(self._provider, self._session), self.inputs, feed, carried)

    def close(self) -> None:
        if self._session is not None and self._executed is None:
            shutil.rmtree(Path(self._session.end_profiling()).parent, ignore_errors=True)
        self._session = None


def _open(
    graph: ir.Model | Path,
    profile: Path,
    options: SessionOptions,
    provider: tuple[Provider, Mapping[str, str]],
    disabled: Sequence[str],
) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    (chosen_one, provider_options), settings = provider, _settings(profile, options, provider[0])
    devices = plugged_in(chosen_one.name)
    if devices:
        settings.add_provider_for_devices(devices[:1], dict(provider_options))
    try:
        session = onnxruntime.InferenceSession(
            serialised(graph) if isinstance(graph, ir.Model) else str(graph),
            settings,
            providers=None if devices else [(chosen_one.name, dict(provider_options))],
            disabled_optimizers=list(disabled) or None,
        )
    except errors.NotImplemented as error:
        raise UnsupportedError(
            f"onnxruntime's {chosen_one.name} cannot run this graph: {line_of(error)};"
            " use another precision or backend"
        ) from error
    except (errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.RuntimeException) as error:
        if _FELL_BACK in str(error):
            raise UnsupportedError(
                f"{chosen_one.name} does not take every node of this graph, or its libraries do not load, and"
                " nothing may fall back to the CPU unseen; --allow-fallback measures and names it, or use"
                " another precision"
            ) from error
        refusal = UnsupportedError if _MAKING_KERNELS in str(error) else GraphError
        raise refusal(f"onnxruntime does not open the graph: {line_of(error)}") from error
    _check_landed(session, chosen_one)
    return session


def _check_landed(session: Any, provider: Provider) -> None:
    """ONNX Runtime leaves out a provider that does not load, and goes on."""
    first = session.get_providers()[0]
    if first != provider.name:
        raise UnavailableError(
            f"onnxruntime opened the graph on {first} instead of {provider.name}, whose libraries do not"
            " load; see `bench doctor`"
        )


def _declared(options: SessionOptions, provider_options: Mapping[str, str]) -> dict[str, str]:
    """What the runtime was told, as the record has it."""
    threads = {} if options.threads is None else {"intra_op_num_threads": str(options.threads)}
    spinning = {"session.intra_op.allow_spinning": "1" if options.spinning else "0"}
    provider = {"provider": options.provider} if options.provider else {}
    return {**provider, **threads, **spinning, **provider_options}


def _as_tf32(ran: Ran) -> Ran:
    return replace(ran, type="tf32") if ran.type == "float32" and ran.on_device else ran


def _lowered(model: ir.Model) -> Iterator[str]:
    """Rewrite the model, exactly, to what the CPU's kernels are fast at; what was done."""
    if lower(model):
        yield LOWERING
    if look_up_first(model.graph):
        yield LOOKED_UP_FIRST


def _disabled_optimizers(
    model: ir.Model, provider: Provider, *, lowered: bool, takes_biases: bool
) -> Sequence[str]:
    if lowered:
        return () if takes_biases else _HINDERS_INTEGERS
    if _holds_float8(model.graph):
        return _WRONG_FOR_FLOAT8
    halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    recurrent = any(node.op_type in ("GRU", "LSTM", "RNN") for node in model.graph)
    narrow = any(value.dtype in halves for node in model.graph for value in node.outputs)
    return _CRASHES_WITH_LSTM if provider.name == CPU and recurrent and narrow else ()


def _holds_float8(graph: ir.Graph) -> bool:
    """As weights or as zero points."""
    float8 = {ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2}
    nodes = (node for node in graph if node.op_type == "Constant" and "value" in node.attributes)
    constants = {node.attributes["value"].as_tensor().dtype for node in nodes}
    return bool(float8 & (constants | {value.dtype for value in graph.initializers.values()}))


def _settings(profile: Path, options: SessionOptions, provider: Provider) -> Any:
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
    settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if options.spinning else "0")
    if provider.name != CPU:
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if not options.allow_fallback:
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return settings


def _memory(provider: Provider, session: Any) -> tuple[str, int]:
    if provider.memory == HOST:
        return HOST, 0
    return provider.memory, int(session.get_provider_options()[provider.name].get("device_id", "0"))
