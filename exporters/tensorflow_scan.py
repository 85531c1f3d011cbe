"""A recurrence of one's own as ONNX's Scan, put into a TensorFlow graph while it is traced.

TensorFlow traces a recurrence as a loop that counts its steps and picks each one's inputs out of a list;
tf2onnx makes a Loop of that, which says less than a Scan: neither how often it runs nor that its inputs are
slices. Where the trace is ours, the recurrence leaves one node instead (see `tensorflow_marked`), and its
step is written as ONNX.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MARKER = "PyFunc"
"""Carries a text and any inputs and outputs; it is converted and never run."""

_PREFIX = "onnx scan "


def scan(
    step: str, states: Sequence[Any], sequences: Sequence[Any], constants: Mapping[str, Any]
) -> list[Any]:
    """The states, [...], after a step has been repeated over the first axis of all `sequences`, [time, ...].

    step: a graph in ONNX's text form. Its inputs are the states and one element of each sequence, its outputs
          the states after it, in the same order. Other names in it are those of `constants`.
    """
    import tensorflow as tf

    said = {"step": step, "states": len(states), "constants": list(constants)}
    made = tf.raw_ops.PyFunc(
        input=[*states, *sequences, *constants.values()],
        token=_PREFIX + json.dumps(said),
        Tout=[state.dtype for state in states],
        name="Scan",
    )
    return [tf.ensure_shape(tensor, state.shape) for tensor, state in zip(made, states, strict=True)]


def write_scan(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replace `node` by the Scan it stands for; raises ValueError where it is a function of Python's."""
    token = node.get_attr_value("token")
    text = token.decode() if isinstance(token, bytes) else str(token)
    if not text.startswith(_PREFIX):
        raise ValueError(f"{name} calls a function of Python's")
    said = json.loads(text.removeprefix(_PREFIX))
    read, outputs = list(node.input), list(node.output)
    shapes, types = node.output_shapes, node.output_dtypes
    own = len(read) - len(said["constants"])
    outer = dict(zip(said["constants"], read[own:], strict=True))
    graph.remove_node(name)
    graph.make_node(
        "Scan",
        read[:own],
        attr={"num_scan_inputs": own - said["states"]},
        outputs=outputs,
        name=name,
        shapes=shapes,
        dtypes=types,
        branches={"body": _body(graph, said["step"], name, outer)},
    )


def _body(graph: Any, step: str, name: str, outer: Mapping[str, str]) -> Any:
    """The step as a graph of tf2onnx'; `outer` maps names in it to names of the graph around it."""
    import onnx
    from tf2onnx.graph import GraphUtil

    body = onnx.parser.parse_graph(step)

    def renamed(inner: str) -> str:
        return outer.get(inner) or f"{name}/{inner}"

    for value in (*body.input, *body.output, *body.initializer):
        value.name = renamed(value.name)
    for value in (*body.input, *body.output):
        # tf2onnx would give open sizes names with numbers of this process; ONNX infers them from outside
        value.type.tensor_type.ClearField("shape")
    for node in body.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        node.name = node.output[0]
    made = GraphUtil.create_graph_from_onnx_graph(body, graph.opset, graph.extra_opset)
    made.graph_name = body.name  # in the place of one with a number of this process
    return made
