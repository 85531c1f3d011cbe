"""From a traced TensorFlow function to ONNX, without its weights ever passing through a converter.

tf2onnx copies every constant many times over (17 to 29 s for ResNet50, most of it in deep copies
between its optimisers). So large weights become placeholders before it sees the graph, and
initializers again, without a copy, after it. What then hangs on them (the transposition of a
kernel, a batch-norm factor) is folded by our own passes.

The freezing helpers are private to TensorFlow, but tf2onnx leans on the same ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from exporters.passes.order import sort
from exporters.tensorflow_control_flow import refuse_control_flow
from exporters.tensorflow_lstm import write_lstms
from exporters.tensorflow_names import name_as_in_tensorflow
from exporters.tensorflow_operators import HANDLERS, replace_operators
from runtime.errors import ExportError
from runtime.tensors import Array

TF2ONNX_OPSET = 18
"""The newest opset tf2onnx 1.17 writes; the passes raise it."""

INLINE_BYTES = 64 * 1024
"""Vectors up to this size stay constants: tf2onnx moves a transposition past a bias or a batch-norm
factor only where it sees the values. They are 1 % of ResNet50 and 0.1 % of BERT-Large."""

INLINE_BYTES_ABOVE_VECTORS = 1024
"""Kernels and tables leave whatever their size; paddings, shapes and axes stay."""


_NOT_CONVERTED = (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError)
"""What tf2onnx raises, of itself or by accident, where it does not say which operator it cannot convert."""

_LOOPS = frozenset({"StatelessWhile", "While"})


_NOT_REPEATABLE = "merge_duplication"
"""An optimiser of tf2onnx that keeps now one and now another of equal nodes; onnx_ir's pass merges them."""


@dataclass(frozen=True)
class WeightlessGraph:
    """A TensorFlow GraphDef without its large constants.

    weights: placeholder's name to what it stands for.
    names:   name of a node that holds or reads a variable, to the variable's name.
    """

    graph_def: Any
    weights: Mapping[str, Array]
    names: Mapping[str, str]


def without_weights(concrete: Any) -> WeightlessGraph:
    """Inline the functions a ConcreteFunction calls and take its large weights out."""
    from tensorflow.python.framework import convert_to_constants as freezing

    captures = dict(_captured(concrete))
    inlined = freezing._run_inline_graph_optimization(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    stand_ins = {node: _stand_in(index, array) for index, (node, (_, array)) in enumerate(captures.items())}
    graph_def, _ = freezing._replace_variables_by_constants(_Freezable(inlined, stand_ins))
    weights = {node: array for node, (_, array) in captures.items() if _is_large(array)}
    for node in graph_def.node:
        if node.op == "Const" and node.name not in captures:
            weights.update(_large_constant(node))
    for node in graph_def.node:
        if node.name in weights:
            _make_placeholder(node, weights[node.name])
        elif node.op in _LOOPS:
            _tell_shapes(node, weights)
    names = {node: name for node, (name, _) in captures.items()}
    readers = {node.name: names[node.input[0]] for node in graph_def.node if _reads_one_of(node, names)}
    return WeightlessGraph(graph_def, weights, names | readers)


def to_onnx(graph: WeightlessGraph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> ir.Model:
    """Convert; `inputs` and `outputs` map TensorFlow tensor names to ONNX names, in order.

    Raises ExportError, naming operator and node, where tf2onnx has no ONNX for one.
    """
    read = {edge.split(":")[0] for node in graph.graph_def.node for edge in node.input}
    feeds = [*inputs, *(f"{node}:0" for node in graph.weights if node in read)]
    with _captured_log() as log:
        try:
            proto = _tf2onnx_proto(graph.graph_def, feeds, outputs, {**inputs, **outputs})
        except _NOT_CONVERTED as error:
            raise ExportError(
                f"tf2onnx cannot convert the TensorFlow graph: {' '.join(str(error).split())[:200]}; take"
                " out what is decided or repeated while it runs, or write it with other operators"
            ) from error
    model = ir.from_proto(proto)
    common.CommonSubexpressionEliminationPass()(model)
    named = _restore_weights(model, graph)
    write_lstms(model)
    _refuse_leftovers(model, log)
    sort(model)
    name_as_in_tensorflow(model, named)
    return model


@dataclass(frozen=True)
class _Freezable:
    """What _replace_variables_by_constants reads of its argument."""

    graph_def: Any
    tensor_data: Mapping[str, Any]


def _captured(concrete: Any) -> Iterator[tuple[str, tuple[str, Array]]]:
    """Node name of each captured variable or constant, with the variable's name and its value."""
    variables = {id(variable.handle): variable for variable in concrete.graph.variables}
    for outer, inner in concrete.graph.captures:
        variable = variables.get(id(outer))
        if variable is not None:
            # np.asarray shares TensorFlow's memory, .numpy() would copy it
            yield inner.op.name, (variable.name.split(":")[0], np.asarray(variable.read_value()))
        elif outer.dtype.name != "resource":
            yield inner.op.name, (inner.op.name, np.asarray(outer))


def _stand_in(index: int, array: Array) -> Any:
    """A value of the right type for a capture: itself, or for a large one a scalar."""
    import tensorflow as tf
    from tensorflow.python.framework import convert_to_constants as freezing

    value = np.zeros((), array.dtype) if _is_large(array) else array
    return freezing._TensorData(numpy=value, dtype=tf.as_dtype(array.dtype).as_datatype_enum, index=index)


def _is_large(array: Array) -> bool:
    limit = INLINE_BYTES if array.ndim <= 1 else INLINE_BYTES_ABOVE_VECTORS
    return array.nbytes > limit and array.dtype.kind != "O"


def _large_constant(node: Any) -> dict[str, Array]:
    import tensorflow as tf

    array = tf.make_ndarray(node.attr["value"].tensor)
    return {node.name: array} if _is_large(array) else {}


def _make_placeholder(node: Any, array: Array) -> None:
    name, dtype = node.name, node.attr["dtype"].type
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = dtype
    for size in array.shape:
        node.attr["shape"].shape.dim.add().size = size
    if not array.shape:
        node.attr["shape"].shape.SetInParent()


def _tell_shapes(loop: Any, weights: Mapping[str, Array]) -> None:
    """A loop says the shapes of all that it hands on; of weights, those are the shapes of their stand-ins."""
    import tensorflow as tf

    for edge, shape in zip(loop.input, loop.attr["output_shapes"].list.shape, strict=False):
        if edge in weights:
            shape.CopyFrom(tf.TensorShape(weights[edge].shape).as_proto())


def _reads_one_of(node: Any, names: Mapping[str, str]) -> bool:
    return node.op == "Identity" and node.input[0] in names


def _tf2onnx_proto(
    graph_def: Any, feeds: Sequence[str], outputs: Mapping[str, str], names: Mapping[str, str]
) -> onnx.ModelProto:
    import tensorflow as tf
    from tf2onnx import tf_loader, tfonnx

    with tf.device("/cpu:0"):
        with tf.Graph().as_default():
            graph_def = tf_loader.tf_optimize(list(feeds), list(outputs), graph_def)
            refuse_control_flow(graph_def)
            replace_operators(graph_def)
        with tf.Graph().as_default() as tf_graph:
            tf.import_graph_def(graph_def, name="")

            def converted() -> Any:
                return tfonnx.process_tf_graph(
                    tf_graph,
                    continue_on_error=True,
                    opset=TF2ONNX_OPSET,
                    custom_op_handlers={operator: (handle, []) for operator, handle in HANDLERS.items()},
                    input_names=list(feeds),
                    output_names=list(outputs),
                    tensors_to_rename=dict(names),
                )

            proto: onnx.ModelProto = _optimised(converted).make_model("tensorflow")
        return proto


def _optimised(converted: Callable[[], Any]) -> Any:
    """What tf2onnx' optimisers make of the graph that `converted` makes anew.

    So that one that fails can be left out, they are given copies of the graph, which takes more time than all
    of them; that is done only where one does fail.
    """
    from tf2onnx import optimizer

    chosen = {name: each for name, each in optimizer._get_optimizers().items() if name != _NOT_REPEATABLE}
    try:
        return optimizer.optimize_graph(converted(), catch_errors=False, optimizers=chosen)
    except _NOT_CONVERTED:
        return optimizer.optimize_graph(converted(), optimizers=chosen)


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Keep tf2onnx's warnings and errors to ourselves: they come back as one ExportError."""
    messages: list[str] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:  # says more than what tf2onnx makes of it
                messages.append(str(record.exc_info[1]))
            messages.append(record.getMessage())

    logger, keep = logging.getLogger("tf2onnx"), _Keep(logging.ERROR)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(keep)
    try:
        yield messages
    finally:
        logger.removeHandler(keep)
        logger.propagate = propagate


def _refuse_leftovers(model: ir.Model, log: Sequence[str]) -> None:
    """tf2onnx logs what it cannot convert and writes the TensorFlow operator all the same."""
    for node in model.graph.all_nodes():
        if not onnx.defs.has(node.op_type, node.domain):
            reason = next((line for line in log if (node.name or "") in line), "no conversion is known")
            raise ExportError(
                f"TensorFlow operator {node.op_type} (node {node.name!r}) cannot be said in ONNX"
                f" opset {TF2ONNX_OPSET}: {' '.join(reason.split())[:200]};"
                " move it out of the function, or write it with other operators"
            )


def _restore_weights(model: ir.Model, graph: WeightlessGraph) -> dict[ir.Value, str]:
    """Make initializers of the inputs that stand for weights.

    Returns the variable's name of every initializer that is still recognisable as one.
    """
    for value in tuple(model.graph.inputs):
        array = graph.weights.get(_node_name(value))
        if array is not None:
            model.graph.inputs.remove(value)
            value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)
            model.graph.register_initializer(value)
    nodes = {value: _node_name(value) for value in model.graph.initializers.values()}
    return {
        value: graph.names.get(node, node)
        for value, node in nodes.items()
        if node in graph.names or node in graph.weights
    }


def _node_name(value: ir.Value) -> str:
    return (value.name or "").removesuffix(":0")
