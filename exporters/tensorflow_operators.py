"""TensorFlow operators said with others, where tf2onnx 1.17 lacks one or makes something worse of it.

Some become other operators of TensorFlow before tf2onnx sees them; those of HANDLERS become ONNX at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from exporters.tensorflow_crop import crop_and_resize
from exporters.tensorflow_marked import MARKER, write_marked
from exporters.tensorflow_reverse import reverse
from exporters.tensorflow_scan import MARKER as SCAN
from exporters.tensorflow_scan import write_scan
from exporters.tensorflow_suppression import combined_suppression


def replace_operators(graph_def: Any) -> None:
    """Rewrite the nodes of a GraphDef in place; names and outputs stay."""
    for node in list(graph_def.node):
        replace = _REPLACEMENTS.get(node.op)
        if replace:
            replace(graph_def, node)


def _rsqrt(graph_def: Any, node: Any) -> None:
    """tf2onnx reads some layer normalisations around Rsqrt as InstanceNormalization plus ten others."""
    root = _add(graph_def, node, "Sqrt", "sqrt")
    node.op = "Reciprocal"
    node.input[0] = root.name


def _erfc(graph_def: Any, node: Any) -> None:
    """erfc(x) = 1 - erf(x): what is left of tf.nn.gelu(approximate=False); ONNX has no Erfc."""
    import tensorflow as tf

    error = _add(graph_def, node, "Erf", "erf")
    one = graph_def.node.add(name=f"{node.name}/one", op="Const")
    dtype = node.attr["T"].type
    one.attr["dtype"].type = dtype
    array = np.ones((), tf.dtypes.as_dtype(dtype).as_numpy_dtype)
    one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    node.op = "Sub"
    node.input[:] = [one.name, error.name]


def _add(graph_def: Any, node: Any, operator: str, suffix: str) -> Any:
    """A new node that reads what `node` reads."""
    added = graph_def.node.add(name=f"{node.name}/{suffix}", op=operator)
    added.input.append(node.input[0])
    added.attr["T"].CopyFrom(node.attr["T"])
    return added


def _select(graph: Any, node: Any, name: str, _: Any) -> None:
    """tf2onnx multiplies both choices with the condition: infinity is NaN then, where it is not chosen."""
    shapes, types = node.output_shapes, node.output_dtypes
    inputs, outputs = list(node.input), list(node.output)
    graph.remove_node(node.name)
    graph.make_node("Where", inputs, outputs=outputs, shapes=shapes, dtypes=types, name=name)


_REPLACEMENTS: Mapping[str, Callable[[Any, Any], None]] = {"Rsqrt": _rsqrt, "Erfc": _erfc}

HANDLERS: Mapping[str, Callable[[Any, Any, str, Any], None]] = {
    "CombinedNonMaxSuppression": combined_suppression,
    "CropAndResize": crop_and_resize,
    MARKER: write_marked,
    SCAN: write_scan,
    "ReverseV2": reverse,
    "SelectV2": _select,
}
"""Operator to a function that replaces a node of it: tf2onnx' graph, the node, its name, and nothing."""
