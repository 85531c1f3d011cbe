"""Control flow: what of TensorFlow's folds away, and what is refused.

TensorFlow 1 has nodes that pass a tensor on to one of two branches, and nodes that wait for either; ONNX has
nothing like them. Where the condition is a constant, one branch is all that is left; tf2onnx 1.17 writes
nodes of its own make for what remains. Other loops are ONNX's Loop, but for those of a recurrent layer, which
accelerators take as one operator or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from runtime.errors import ExportError

_LOOPS_OF_1 = frozenset(
    {"Enter", "Exit", "LoopCond", "NextIteration", "RefEnter", "RefExit", "RefNextIteration"}
)

_BRANCHES_OF_1 = frozenset({"Merge", "RefMerge", "RefSwitch", "Switch"})
"""A loop has them too."""

_REFUSED = (
    (
        _LOOPS_OF_1,
        "a loop of TensorFlow 1 (while_loop, dynamic_rnn), which cannot be said in ONNX; write it in"
        " TensorFlow 2, or name outputs before it",
    ),
    (
        _BRANCHES_OF_1,
        "a branch of TensorFlow 1, decided while the graph runs, which cannot be said in ONNX; freeze the"
        " graph with its condition as a constant (such as is_training=False), or name outputs before it",
    ),
)

_LOOPS = frozenset({"StatelessWhile", "While"})

_CELL = re.compile(r"\b(gru|lstm|simple_rnn)_cell(_\d+)?/")
"""Keras's own names of what a step of a recurrent layer computes."""

_OPTIMIZERS = ("constfold", "loop", "constfold", "dependency")
"""Of TensorFlow's own: conditions become constants, and the second removes branches never taken."""


def fold_branches(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any | None:
    """A GraphDef for the same tensors without branches never taken; None where there is no control flow.

    What has a default and is no input is its default.
    """
    if not any(node.op in _BRANCHES_OF_1 or _has_default(node) for node in graph_def.node):
        return None
    given = {name.split(":")[0] for name in inputs}
    folded = type(graph_def)()
    folded.CopyFrom(graph_def)
    for node in folded.node:
        if _has_default(node) and node.name not in given:
            node.op = "Identity"
            node.attr["T"].CopyFrom(node.attr["dtype"])
            del node.attr["dtype"], node.attr["shape"]
    return _optimised(folded, [*inputs, *outputs])


def refuse_control_flow(graph_def: Any) -> None:
    """Raises ExportError, naming operator and node, for TensorFlow 1's, and for loops of Keras's layers."""
    called = (node for function in graph_def.library.function for node in function.node_def)
    nodes = (*graph_def.node, *called)
    for operators, reason in _REFUSED:
        found = next((node for node in nodes if node.op in operators), None)
        if found is not None:
            raise ExportError(f"TensorFlow operator {found.op} (node {found.name!r}) is {reason}")
    _refuse_loops_of_layers(graph_def)


def _refuse_loops_of_layers(graph_def: Any) -> None:
    bodies = {function.signature.name: function.node_def for function in graph_def.library.function}
    for node in graph_def.node:
        body = bodies.get(node.attr["body"].func.name, ()) if node.op in _LOOPS else ()
        if any(_CELL.search(step.name) for step in body):
            raise ExportError(
                f"TensorFlow operator {node.op} (node {node.name!r}) is the loop of a recurrent layer of"
                " Keras; give the file in which Keras saved the model (.keras or .h5) to --keras: there the"
                " layer becomes one operator"
            )


def _has_default(node: Any) -> bool:
    return bool(node.op == "PlaceholderWithDefault")


def _optimised(graph_def: Any, kept: Sequence[str]) -> Any:
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.optimizers[:] = _OPTIMIZERS
    config.graph_options.rewrite_options.min_graph_nodes = -1
    with tf.Graph().as_default():
        tf.import_graph_def(graph_def, name="")
        meta_graph = tf.compat.v1.train.export_meta_graph()
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend(kept)
    meta_graph.collection_def["train_op"].CopyFrom(fetched)
    return tf_optimizer.OptimizeGraph(config, meta_graph)
