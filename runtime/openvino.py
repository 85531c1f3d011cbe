"""OpenVINO, with the inference precision pinned to the file's: its own default on many CPUs is BF16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtime.attestation import Circumstances, Ran, attest
from runtime.backend import Boundary, BuildFacts, Device, Executed, Query, SessionOptions
from runtime.costs import node_macs
from runtime.errors import FeedError, UnavailableError, UnsupportedError, unknown_name
from runtime.graphs import input_specs, load, output_specs
from runtime.lowering import LARGEST_LOWERED, LOWERING, held_bytes, lower, serialised
from runtime.lowering_odd import WIDENED, store_odd_as_bytes
from runtime.lowering_positive import POSITIVE, store_positive_as_uint8
from runtime.lowering_strided import PICKED, pick_first
from runtime.openvino_ignored import refuse_ignored
from runtime.openvino_properties import CACHE, PRECISION, check_given, core, properties_of
from runtime.origins import Kernel, trace_back
from runtime.raw import from_raw, is_numpys, to_raw
from runtime.session import CheckedSession
from runtime.stepping import Carried, OpenVINOStepper, Stepper
from runtime.tensors import Array, Feed, TensorSpec

EVIDENCE = "openvino's execution graph"

_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "u8": "int8", "i8": "int8"}
"""OpenVINO's names of a kernel's precision as NumPy's; a u8 kernel is INT8 arithmetic."""

_RESTORED = frozenset({"i4", "u4"})
"""A product by weights of 4 bits is called after these; it restores them as it goes, and computes in the type
of everything else."""

_REPEATED = frozenset({"Loop", "TensorIterator"})
"""A body that is repeated: a Loop or Scan of the graph's, or a recurrence whose lengths are given."""

_RECURRENT = _REPEATED | {
    "GRUCell",
    "GRUSequence",
    "LSTMCell",
    "LSTMSequence",
    "RNNCell",
    "RNNSeq",
    "RNNSequence",
}
_MULTIPLYING = _RECURRENT | {
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "MatMul",
    "MHA",
    "ScaledDotProductAttention",
}
"""Layer types of the execution graph that multiply and accumulate."""


class OpenVINOBackend:
    """The `openvino` backend; a device is called as OpenVINO does, in lower case ("cpu", "gpu:0")."""

    name = "openvino"

    def unavailable(self) -> str | None:
        try:
            import openvino  # noqa: F401  # only whether it is there
        except ImportError:
            return "openvino is not installed: pip install '.[openvino]' in the clone"
        return None

    def version(self) -> str:
        import openvino

        return f"openvino {openvino.__version__.split('-')[0]}"

    def devices(self) -> tuple[Device, ...]:
        if self.unavailable():
            return ()
        return tuple(
            Device(_our_name(name), str(core().get_property(name, "FULL_DEVICE_NAME")))
            for name in core().available_devices
        )

    def check_options(self, device: str, options: SessionOptions) -> None:
        """See runtime.backend.ChecksOptions."""
        found = {_our_name(name): name for name in core().available_devices}
        check_given(options.provider_options, found[device])

    def open(self, graph: Path, device: str, options: SessionOptions) -> OpenVINOSession:
        reason = self.unavailable()
        if reason:
            raise UnavailableError(reason)
        if not options.optimize:
            raise UnsupportedError(
                "openvino cannot switch its graph optimisations off; use backend ort for that"
            )
        found = {_our_name(name): name for name in core().available_devices}
        if device not in found:
            raise unknown_name("device of backend openvino", device, found)
        model = load(graph)
        refuse_ignored(model)
        lowering = _lower(model)
        properties = properties_of(model, found[device], options)
        try:
            return OpenVINOSession(
                model,
                core().read_model(serialised(model) if lowering else str(graph)),
                found[device],
                properties,
                Circumstances(EVIDENCE, lowering=lowering, settings=properties),
            )
        except RuntimeError as error:
            raise UnsupportedError(
                f"openvino cannot read {graph}: {_line(error)}; use another backend"
            ) from error


class OpenVINOSession(CheckedSession):
    """Compiles once for each set of input shapes, since a static graph is what users deploy."""

    def __init__(
        self,
        model: ir.Model,
        network: Any,
        device: str,
        properties: dict[str, str],
        circumstances: Circumstances,
    ) -> None:
        super().__init__(input_specs(model), output_specs(model))
        self._model = model
        self._network = network
        self._device = device
        self._properties = properties
        self._circumstances = circumstances
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}

    def _place(self, feed: Feed, boundary: Boundary) -> Query:
        compiled = self._compiled_for(feed)
        places = _places(compiled.inputs, self.inputs)
        fed = [(place, feed[name]) for name, place in places.items()]
        place = _HostQuery if boundary is Boundary.HOST else _DeviceQuery
        return place(compiled.create_infer_request(), fed, self.outputs)

    def stepper(self, feed: Feed, carried: Carried) -> Stepper:
        """See runtime.stepping."""
        self.bind(feed, Boundary.HOST)
        return OpenVINOStepper(self._compiled_for(feed), self.inputs, self.outputs, feed, carried)

    def _run_unproven(self, query: Query) -> None:
        try:
            query.run()
        except RuntimeError as error:
            raise FeedError(
                f"the graph does not accept this feed: {_line(error)}; check index ranges and shapes"
            ) from error

    def built(self) -> BuildFacts:
        """Whether the latest came from the folder that the user gave as CACHE_DIR."""
        if CACHE not in self._properties or not self._compiled:
            return BuildFacts(cached=None, engine_bytes=None)
        *_, latest = self._compiled.values()
        return BuildFacts(latest.get_property("LOADED_FROM_CACHE"), engine_bytes=None)

    def close(self) -> None:
        self._compiled.clear()
        self._network = None

    def _compiled_for(self, feed: Feed) -> Any:
        shapes = tuple(feed[spec.name].shape for spec in self.inputs)
        if shapes not in self._compiled:
            try:
                places = _places(self._network.inputs, self.inputs)
                self._network.reshape({place: list(feed[name].shape) for name, place in places.items()})
                self._compiled[shapes] = core().compile_model(self._network, self._device, self._properties)
            except RuntimeError as error:
                raise UnsupportedError(
                    f"openvino cannot compile the graph for {self._device}: {_line(error)};"
                    " use another backend"
                ) from error
        return self._compiled[shapes]

    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        macs = node_macs(self._model, sizes)
        compiled = self._compiled_for(feed)
        execution_graph = compiled.get_runtime_model()
        # NOTE: a loop's own precision is that of its first input, often a counter; its body has the model's
        inside = compiled.get_property(PRECISION).get_type_name()
        kernels = _multiplying_kernels(execution_graph, macs.keys(), inside)
        ran = trace_back(kernels, self._model.graph, macs)
        recurrent = _recurrent(execution_graph, self._model.graph, macs.keys(), inside)
        return attest(macs, recurrent | ran, self._circumstances)


def _places(ports: Sequence[Any], specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Which port each input is, but for those that OpenVINO has left out, since nothing reads them."""
    named = {name: place for place, port in enumerate(ports) for name in port.get_names()}
    known = {spec.name: named[spec.name] for spec in specs if spec.name in named}
    # NOTE: an input that is an output as it stands may be called after that alone (Max of one input)
    nameless = [spec.name for spec in specs if spec.name not in known]
    left = [place for place in range(len(ports)) if place not in known.values()]
    return {**known, **(dict(zip(nameless, left, strict=True)) if len(nameless) == len(left) else {})}


class _DeviceQuery:
    """Tensors of the request stay where they are; nothing is allocated or copied in a run."""

    def __init__(self, request: Any, fed: Sequence[tuple[int, Array]], outputs: Sequence[TensorSpec]) -> None:
        self._request = request
        self._outputs = outputs  # OpenVINO calls some of them otherwise
        self._inputs = [(request.get_input_tensor(place).data, array) for place, array in fed]
        # NOTE: half the overhead of start_async and wait (8 against 19 us)
        self._compute = partial(request.infer, share_inputs=True, share_outputs=True)
        self._upload()

    def run(self) -> None:
        self._compute()

    def outputs(self) -> dict[str, Array]:
        return self._named(self._download())

    def _named(self, arrays: list[Array]) -> dict[str, Array]:
        return dict(zip((spec.name for spec in self._outputs), arrays, strict=True))

    def _upload(self) -> None:
        for place, array in self._inputs:
            if is_numpys(array.dtype):
                place[...] = array
            else:  # OpenVINO's Python shows it as another type, of the same bytes
                place.reshape(-1).view(np.uint8)[...] = to_raw(array)

    def _download(self) -> list[Array]:
        tensors = map(self._request.get_output_tensor, range(len(self._outputs)))
        return [_copy(tensor, spec.dtype) for tensor, spec in zip(tensors, self._outputs, strict=True)]


def _copy(tensor: Any, dtype: str) -> Array:
    if is_numpys(dtype):
        return np.array(tensor.data)
    return from_raw(tensor.data.reshape(-1).view(np.uint8), dtype, tuple(tensor.shape))


class _HostQuery(_DeviceQuery):
    """From NumPy arrays to NumPy arrays."""

    def run(self) -> None:
        # NOTE: a fifth of the overhead of giving the feed to infer and reading the dictionary it returns
        self._upload()
        self._compute()
        self._results = self._download()

    def outputs(self) -> dict[str, Array]:
        return self._named(self._results)


def _multiplying_kernels(execution_graph: Any, products: Set[str], inside: str) -> Iterator[Kernel]:
    """Kernels of one product each, then those of whole attention blocks, by each name they bear.

    inside: the precision of what loops repeat.
    """
    blocks = []
    for operation in execution_graph.get_ordered_ops():
        facts = operation.get_rt_info()
        ran = _type_of(facts, inside)
        originals = _text(facts, "originalLayersNames").split(",")
        if _text(facts, "layerType") in _MULTIPLYING:
            # NOTE: of a product by weights of 4 bits they may be what comes before and behind it alone
            names = () if _text(facts, "runtimePrecision") in _RESTORED else originals
            yield Kernel((operation.get_friendly_name(), *names), ran)
        elif not products.isdisjoint(originals):
            blocks += [Kernel((name,), ran) for name in originals if name]
    yield from blocks


def _type_of(facts: Any, inside: str) -> Ran:
    """What a kernel computes in; `inside`: the inference precision, that of what loops repeat."""
    precision = _text(facts, "runtimePrecision")
    if _text(facts, "layerType") in _REPEATED or precision in _RESTORED:
        precision = inside
    # NOTE: a product of float values by weights of 8 bits is called after these; its kernel's name tells
    kernel = _text(facts, "primitiveType").rpartition("_")[2].lower()
    if _TYPES.get(precision) == "int8" and _TYPES.get(kernel, "int8") != "int8":
        precision = kernel
    return Ran(_TYPES.get(precision, precision))


def _recurrent(execution_graph: Any, graph: ir.Graph, products: Set[str], inside: str) -> dict[str, Ran]:
    """Of recurrent nodes: what all recurrent kernels ran as, if that is one type.

    NOTE: OpenVINO runs the two directions of an LSTM as kernels of their own, which bear no name of ours, and
    a GRU of given lengths as a loop. A Scan's or a Loop's bears its name.
    """
    facts = [operation.get_rt_info() for operation in execution_graph.get_ordered_ops()]
    found = {
        _type_of(fact, inside)
        for fact in facts
        if _text(fact, "layerType") in _RECURRENT
        and products.isdisjoint(_text(fact, "originalLayersNames").split(","))
    }
    if len(found) != 1:
        return {}
    (ran,) = found
    kinds = ("GRU", "LSTM", "RNN")
    return {str(node.name): ran for node in graph if node.op_type in kinds and node.name in products}


def _our_name(device: str) -> str:
    return device.lower().replace(".", ":")


def _lower(model: ir.Model) -> str | None:
    """Rewrite `model` into what this runtime computes rightly, or faster; returns what was done."""
    widened, joins = store_odd_as_bytes(model) > 0, _joins_integers(model)
    # Where nothing is wrong it runs as it is, and could not be handed on.
    if not (widened or joins) and held_bytes(model) > LARGEST_LOWERED:
        return None
    done = [WIDENED] if widened else []
    if store_positive_as_uint8(model):
        done.append(POSITIVE)
    if joins and lower(model):
        done.append(LOWERING)
    if pick_first(model):
        done.append(PICKED)
    return "; ".join(done) or None


def _joins_integers(model: ir.Model) -> bool:
    """Whether a Concat reads a DequantizeLinear."""
    # NOTE: OpenVINO 2026.4.1 computes a Concat of int8 values wrongly: DQ, DQ -> Concat -> Q -> DQ -> Conv
    # is 8.7 dB from ONNX Runtime's float results, 143 dB without the Concat, and 141 dB in uint8 with
    # zero point 128, which says the same. GoogLeNet in INT8 is 22 dB from FP32 as it stands, 30 dB lowered.
    producers = (
        value.producer()
        for node in model.graph
        if node.op_type == "Concat"
        for value in node.inputs
        if value is not None
    )
    return any(node is not None and node.op_type == "DequantizeLinear" for node in producers)


def _text(facts: Any, key: str) -> str:
    return str(facts[key].astype(str)) if key in facts else ""


def _line(error: RuntimeError) -> str:
    """OpenVINO's messages begin with the place in its source; what went wrong stands last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
