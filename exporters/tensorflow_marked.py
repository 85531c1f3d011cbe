"""ONNX operators put into a TensorFlow graph while it is traced.

TensorFlow traces a recurrent layer as a loop of steps, and nobody finds the layer in there again. Where the
trace is ours, the layer leaves one node instead that says which ONNX operator it is. TensorFlow's
PyFuncStateless lends itself to that: any number of inputs and outputs, and a text of any kind. It is
converted and never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MARKER = "PyFuncStateless"

_PREFIX = "onnx "


def onnx_operator(
    operator: str,
    inputs: Sequence[Any],
    shapes: Sequence[Sequence[int | None]],
    attributes: Mapping[str, Any],
    domain: str = "",
    dtype: Any = None,
) -> list[Any]:
    """Tensors that an ONNX operator will make; None is an input left out.

    shapes: of its outputs, None where a size is open.
    domain: the operator's, where it is none of ONNX's own.
    dtype:  of its outputs, where it is not that of the first input.
    """
    import tensorflow as tf

    given = [tensor for tensor in inputs if tensor is not None]
    said = {
        "operator": operator,
        "domain": domain,
        "given": [tensor is not None for tensor in inputs],
        "attributes": dict(attributes),
    }
    types = [dtype or given[0].dtype] * len(shapes)
    made = tf.raw_ops.PyFuncStateless(
        input=given, token=_PREFIX + json.dumps(said), Tout=types, name=operator
    )
    return [tf.ensure_shape(tensor, shape) for tensor, shape in zip(made, shapes, strict=True)]


def write_marked(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replace `node` by the operator it stands for; raises ValueError where it is a function of Python's."""
    token = node.get_attr_value("token")
    text = token.decode() if isinstance(token, bytes) else str(token)
    if not text.startswith(_PREFIX):
        raise ValueError(f"{name} calls a function of Python's")
    said = json.loads(text.removeprefix(_PREFIX))
    read = iter(tuple(node.input))
    inputs = [next(read) if given else "" for given in said["given"]]
    outputs, shapes, types = list(node.output), node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    graph.make_node(
        said["operator"],
        inputs,
        attr=said["attributes"],
        outputs=outputs,
        name=name,
        shapes=shapes,
        dtypes=types,
        domain=said["domain"],
    )
