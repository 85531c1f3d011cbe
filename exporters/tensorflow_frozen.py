"""Frozen graphs, as TensorFlow 1 hands on a model: a GraphDef that does not say what is input or output."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from exporters.tensorflow import TensorFlowSource, import_tensorflow, one_line, tensor_spec
from exporters.tensorflow_control_flow import fold_branches
from runtime.errors import ExportError, UsageError

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})

_NO_OUTPUT = _PLACEHOLDERS | {"Assert", "Const", "NoOp", "PlaceholderWithDefault"}
"""What nobody reads and is no output all the same."""

_SHOWN = 8
"""Names in a message, of each kind."""


def frozen_source(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> TensorFlowSource:
    """The part of a binary GraphDef between tensors of it, such as "images:0"; ":0" may be left out.

    A frozen graph does not say which of its constants were learned: `parameters` is 0. Raises UsageError for
    a file or for names that do not fit, ExportError for operators that this TensorFlow does not have.
    """
    graph_def = read_graph_def(path)
    graph = _imported(graph_def, path).graph
    given, wanted = ([_tensor(graph, name, graph_def, path) for name in names] for names in (inputs, outputs))
    _check_fed(graph_def, given, wanted)
    ends = [tensor.name for tensor in given], [tensor.name for tensor in wanted]
    folded = fold_branches(graph_def, *ends)
    return TensorFlowSource(
        _between(graph_def, *ends, path),
        tuple(tensor_spec(_name(tensor), tensor) for tensor in given),
        tuple(_name(tensor) for tensor in wanted),
        convertible=None if folded is None else _between(folded, *ends, path),
    )


def read_graph_def(path: Path) -> Any:
    """The GraphDef in a binary file; raises UsageError where there is none."""
    from google.protobuf.message import DecodeError

    graph_def = import_tensorflow().compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise UsageError(f"{path} is not a TensorFlow GraphDef: {one_line(error)}") from error
    if not graph_def.node:
        raise UsageError(f"{path} is not a TensorFlow GraphDef, or one without nodes; give a frozen graph")
    return graph_def


def ends_of(graph_def: Any) -> str:
    """In words: the placeholders of a graph, and what none of its nodes reads, its likely outputs."""
    read = {_node(edge) for node in graph_def.node for edge in node.input}
    unread = [node.name for node in graph_def.node if node.name not in read and node.op not in _NO_OUTPUT]
    placeholders = [node.name for node in graph_def.node if node.op in _PLACEHOLDERS]
    return f"its placeholders: {_listed(placeholders)}; read by no other node: {_listed(unread)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" if names else "none"


def _imported(graph_def: Any, path: Path) -> Any:
    tensorflow = import_tensorflow()
    try:
        return tensorflow.compat.v1.wrap_function(lambda: tensorflow.import_graph_def(graph_def, name=""), [])
    except (ValueError, tensorflow.errors.OpError) as error:
        functions = {function.signature.name for function in graph_def.library.function}
        for node in graph_def.node:
            if not hasattr(tensorflow.raw_ops, node.op) and node.op not in functions:
                raise ExportError(
                    f"{path}: TensorFlow {tensorflow.__version__} has no operator {node.op} (node"
                    f" {node.name!r}); it is of another library, which ONNX has not: name outputs before it"
                ) from error
        raise UsageError(
            f"{path} is not a sound TensorFlow graph: {one_line(error)}; freeze it again"
        ) from error


def _between(
    graph_def: Any, inputs: Sequence[str], outputs: Sequence[str], path: Path
) -> Callable[..., Sequence[Any]]:
    imported = _imported(graph_def, path)
    tensors = [[imported.graph.get_tensor_by_name(name) for name in names] for names in (inputs, outputs)]
    function: Callable[..., Sequence[Any]] = imported.prune(*tensors)
    return function


def _tensor(graph: Any, name: str, graph_def: Any, path: Path) -> Any:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        nodes = [node.name for node in graph_def.node]
        near = difflib.get_close_matches(_node(name), nodes, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"{path} has no tensor {name!r}: {hint}{ends_of(graph_def)}") from error


def _check_fed(graph_def: Any, given: Iterable[Any], wanted: Iterable[Any]) -> None:
    """Raises UsageError where an output hangs on a placeholder that is no input."""
    nodes = {node.name: node for node in graph_def.node}
    fed = {tensor.op.name for tensor in given}
    seen: set[str] = set()
    pending = [tensor.op.name for tensor in wanted]
    while pending:
        name = pending.pop()
        if name in seen or name in fed:
            continue
        seen.add(name)
        if nodes[name].op in _PLACEHOLDERS:
            raise UsageError(
                f"the outputs also need placeholder {name!r}: add it to the inputs, or freeze the graph with"
                " its value as a constant"
            )
        pending.extend(map(_node, nodes[name].input))


def _node(edge: str) -> str:
    """The node that an edge names: "^name" is read for its order only, "name:1" is its second output."""
    return edge.removeprefix("^").split(":")[0]


def _name(tensor: Any) -> str:
    """The node's; behind the first of several outputs, the tensor's."""
    return str(tensor.op.name if tensor.value_index == 0 else tensor.name)
