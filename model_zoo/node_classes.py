"""What a network over the nodes of a graph says: a class for each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.finite import finite
from runtime.errors import GraphError
from runtime.tensors import Array


@dataclass(frozen=True)
class NodeClasses:
    """The class with the highest score of every node; a sample is a graph with all its nodes."""

    name: str = "node classification"
    agreement: str = "node top-1 agreement"
    numeric = True

    def classes(self, outputs: Mapping[str, Array]) -> NDArray[np.int64]:
        """[samples, nodes], of the only output [samples, nodes, classes].

        Raises GraphError for other outputs, CheckFailed for NaN or infinity in them.
        """
        if len(outputs) != 1:
            raise GraphError(f"{self.name} wants a graph with one output, this one gives {sorted(outputs)}")
        ((name, array),) = outputs.items()
        if array.ndim != 3 or not array.size:
            raise GraphError(
                f"{self.name} wants {name!r} as [samples, nodes, classes], the graph gives"
                f" {list(array.shape)}"
            )
        best: NDArray[np.int64] = finite(name, array, "it decides nothing").argmax(axis=-1)
        return best

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples]: the share of nodes with the same class; raises what `classes` raises."""
        return (self.classes(reference) == self.classes(outputs)).mean(axis=1)  # type: ignore[no-any-return]


NODE_CLASSES = NodeClasses()
