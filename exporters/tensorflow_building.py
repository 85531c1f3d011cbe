"""Building ONNX inside of a tf2onnx graph, where an operator of TensorFlow was."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.tensors import Array


class Builder:
    """Adds nodes called after the operation they stand for to a tf2onnx graph."""

    def __init__(self, graph: Any, name: str) -> None:
        self._graph = graph
        self._name = name

    def node(self, operator: str, inputs: list[str], count: int = 1, **attributes: Any) -> Any:
        """The output's name, or of several a list of names."""
        made = self._graph.make_node(
            operator, inputs, attr=attributes, output_count=count, op_name_scope=self._name
        )
        return made.output[0] if count == 1 else made.output

    def constant(self, name: str, value: Array | np.generic) -> str:
        """A constant; its name must be new in this builder."""
        output: str = self._graph.make_const(f"{self._name}/{name}", np.asarray(value)).output[0]
        return output

    def integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.array(values, np.int64))
