"""Reads an ONNX file, refuses a broken or hostile one in a line, and tells its facts."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from runtime.costs import total_macs
from runtime.errors import GraphError
from runtime.files import sha256_of_file
from runtime.memory import MemoryEstimate, estimate
from runtime.tensors import TensorSpec
from runtime.written import written_types

_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_TYPE_NUMBERS = frozenset(int(dtype) for dtype in ir.DataType) - {ir.DataType.UNDEFINED, ir.DataType.STRING}
_NAMED = "runtime.graphs.named"
_STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_UNSOUND = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    ir.serde.SerdeError,
    ValueError,  # of the checker, for a message it cannot read
    KeyError,
    TypeError,
    AttributeError,
)
"""What onnx and onnx_ir raise on protobufs that parse but make no sense."""


@dataclass(frozen=True)
class GraphFacts:
    """What a file is.

    macs:       multiply-accumulates of one sample; open dimensions of no known size taken as 1.
    macs_by_type: their shares by the type they are written in (runtime.written).
    memory:     about what a runtime takes, at the same sizes.
    parameters: elements of the constants that are data, not shapes, indices, scales or zero points.
    """

    sha256: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    macs: int
    macs_by_type: Mapping[str, float]
    memory: MemoryEstimate
    parameters: int
    nodes: int


def load(path: Path) -> ir.Model:
    """Read a file; large external data stays on disk until it is used.

    A node without a name, or with another's, is called after its first output: costs and attestations
    go by node names, and runtimes call such nodes after that output too.
    Raises GraphError for what is no ONNX file, is cut short, is malformed, or names external data
    that is missing, too short, or outside the file's folder.
    """
    proto = _read(path)
    if not proto.graph.node or not proto.opset_import or not proto.ir_version:
        raise GraphError(f"{path} is not an ONNX model: it holds no operators; give a .onnx file")
    _check_external_data(proto, path)
    del proto  # the checker reads the file for itself, and takes twice its size
    try:
        onnx.checker.check_model(str(path), full_check=True)
        model = ir.from_proto(_read(path))
        _check_text(model.graph)
    except _UNSOUND as error:
        raise GraphError(f"{path} is not sound ONNX: {_first_line(error)}; export it again") from error
    _check_domains(model, path)
    model.meta[_NAMED] = _name_nodes(model.graph)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def was_given_names(model: ir.Model) -> bool:
    """Whether `load` gave any node a name that the file does not know."""
    return bool(model.meta.get(_NAMED))


def inspect(path: Path, sizes: Mapping[str, int] | None = None) -> GraphFacts:
    """The facts of a file; raises GraphError.

    sizes: of open dimensions besides the batch, by name.
    """
    digest = graph_digest(path)  # first: it reads the file for itself, too
    model = load(path)
    return GraphFacts(
        sha256=digest,
        opset=model.graph.opset_imports.get("", 0),
        inputs=input_specs(model),
        outputs=output_specs(model),
        macs=total_macs(model, sizes or {}),
        macs_by_type=written_types(model, sizes or {}),
        memory=estimate(model, sizes or {}),
        parameters=sum(map(_data_elements, model.graph.initializers.values())),
        nodes=len(model.graph),
    )


def graph_digest(path: Path) -> str:
    """SHA-256 of the file; with external data, over the file's digest and each data file's.

    Raises GraphError.
    """
    proto = _read(path)
    _check_external_data(proto, path)
    own = sha256_of_file(path)
    names = sorted({_external_data(tensor)["location"] for tensor in _external_tensors(proto)})
    if not names:
        return own
    parts = [own, *(f"{name} {sha256_of_file(path.parent / name)}" for name in names)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The inputs a feed must give: those that no initializer stands for."""
    initializers = model.graph.initializers
    return tuple(_spec(value) for value in model.graph.inputs if value.name not in initializers)


def output_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    return tuple(_spec(value) for value in model.graph.outputs)


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise GraphError(f"{path} {kind}; give an ONNX file")
    try:
        return onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise GraphError(
            f"{path} is not an ONNX file, or is cut short ({path.stat().st_size} bytes): {_first_line(error)}"
        ) from error
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror or error}") from error


def _check_external_data(proto: onnx.ModelProto, path: Path) -> None:
    for tensor in _external_tensors(proto):
        data = _external_data(tensor)
        name = data.get("location", "")
        place = _place_beside(path, name)
        if not place.is_file():
            raise GraphError(f"{path} wants its data in {name!r}, which is missing; put it beside the file")
        end, size = _end(tensor, data), place.stat().st_size
        if end > size:
            raise GraphError(
                f"{path} wants {end} bytes of data in {name!r}, which has {size}; copy it again in full"
            )


def _place_beside(path: Path, name: str) -> Path:
    """Where `name` leads from the folder of `path`, links followed; raises GraphError if out of it."""
    folder = path.parent.resolve()
    try:
        place = (folder / name).resolve()
        place.is_file()  # some names, no file system takes
    except (OSError, RuntimeError, ValueError) as error:  # too long; links in a circle; a null character
        raise GraphError(f"{path} wants data from {name[:80]!r}, which is no file's name; refused") from error
    if Path(name).is_absolute() or not place.is_relative_to(folder):
        raise GraphError(f"{path} wants data from {name!r}, outside its own folder; refused")
    return place


def _external_tensors(proto: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Constants of the main graph; onnx's checker refuses external data anywhere else."""
    return [tensor for tensor in proto.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]


def _external_data(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _end(tensor: onnx.TensorProto, data: Mapping[str, str]) -> int:
    """Where a tensor's bytes end in its file; what is not a number or type the checker refuses later.

    The length is optional, and may say less than the shape needs: the greater of the two counts.
    """
    offset, length = data.get("offset", "0"), data.get("length", "0")
    if not (offset.isdecimal() and length.isdecimal()) or tensor.data_type not in _TYPE_NUMBERS:
        return 0
    needed: int = math.ceil(math.prod(tensor.dims) * ir.DataType(tensor.data_type).itemsize)
    return int(offset) + max(int(length), needed)


def _name_nodes(graph: ir.Graph) -> int:
    """Give a name of its own to each node that has none; returns how many those were."""
    count = Counter(node.name for node in graph)
    taken = {name for name, uses in count.items() if name and uses == 1}
    nameless = [node for node in graph if node.name not in taken]
    for node in nameless:
        name = next((str(value.name) for value in node.outputs if value.name), node.op_type)
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)
    return len(nameless)


def _check_domains(model: ir.Model, path: Path) -> None:
    own = {function.domain for function in model.functions.values()}
    for node in model.graph.all_nodes():
        if node.domain not in _STANDARD_DOMAINS | own:
            raise GraphError(
                f"{path}: node {node.name!r} is a {node.domain}.{node.op_type}; only ONNX's own operators run"
                " on every backend: export it without custom operators"
            )


def _check_text(graph: ir.Graph) -> None:
    """Protobuf hands text that is not UTF-8 on as bytes, which nothing after it expects."""
    for node in graph.all_nodes():
        names = (node.name, node.op_type, node.domain, node.overload, *(value.name for value in node.outputs))
        if not all(isinstance(name, str) for name in names if name is not None):
            raise ValueError(f"a node's name is not text: {names[0]!r}")
    if not isinstance(graph.name or "", str):
        raise ValueError(f"the graph's name is not text: {graph.name!r}")


def _spec(value: ir.Value) -> TensorSpec:
    if value.dtype is None or value.shape is None:
        raise GraphError(
            f"input or output {value.name!r} has no tensor type and rank; declare them in the graph"
        )
    try:
        dtype = value.dtype.numpy().name
    except TypeError as error:
        raise GraphError(f"{value.name!r} has type {value.dtype.name}, which no feed can hold") from error
    shape = tuple(
        size if isinstance(size, int) else (size.value or f"{value.name}_{axis}")
        for axis, size in enumerate(value.shape)
    )
    return TensorSpec(str(value.name), "str" if dtype == "object" else dtype, shape)


def _data_elements(value: ir.Value) -> int:
    tensor = value.const_value
    if tensor is None or tensor.dtype in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL):
        return 0
    uses = value.uses()
    if uses and all(use.node.op_type in _QDQ and use.idx > 0 for use in uses):
        return 0
    return int(tensor.size)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
