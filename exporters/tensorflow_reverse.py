"""TensorFlow's ReverseV2 as a Slice that steps backwards; tf2onnx 1.17 transposes to a ReverseSequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporters.tensorflow_building import Builder

_BEFORE_THE_FIRST = np.iinfo(np.int64).min
"""The end of a Slice that steps backwards and takes the first element too."""


def reverse(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replace `node`; raises ValueError where its axes are not constant."""
    if not node.inputs[1].is_const():
        raise ValueError(f"{name} reverses axes that are computed")
    axes = np.atleast_1d(node.inputs[1].get_tensor_value(as_list=False)).astype(np.int64)
    if not axes.size:
        raise ValueError(f"{name} reverses no axis")
    build = Builder(graph, name)
    each = np.ones_like(axes)
    roles = {"starts": -each, "ends": _BEFORE_THE_FIRST * each, "axes": axes, "steps": -each}
    inputs = [node.input[0], *(build.constant(role, value) for role, value in roles.items())]
    outputs, shapes, types = list(node.output), node.output_shapes, node.output_dtypes
    graph.remove_node(name)
    graph.make_node("Slice", inputs, name=name, outputs=outputs, shapes=shapes, dtypes=types)
