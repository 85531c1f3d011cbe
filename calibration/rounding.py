"""Rounds weights to INT8 so that a layer's answers, not its weights, are as close as they can be.

Rounded to the nearest, each weight is off by up to half a step whatever it is multiplied with. Here the
error that rounding makes in one input of a layer is handed on to the inputs that are not rounded yet, as far
as they can make it good: those that go together with it in the calibration samples (E. Frantar et al.,
"GPTQ", ICLR 2023; the problem is that of B. Hassibi et al., "Optimal Brain Surgeon", 1993). That a layer's
answers are right on average, which a correction of biases is for, comes with it. Scales stay those of the
largest weight, and so does all that a runtime does with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from calibration.gemm import split_gemms
from calibration.graphs import open_float_graph
from calibration.int8_plan import Reader, plan_int8
from calibration.observers.contract import Observer
from calibration.observers.patches import Moments, Window, blocks
from calibration.observers.several import Several
from calibration.qdq import STORED
from calibration.ranges import INT8_MAX, symmetric_scale
from calibration.stream import observe
from runtime.graphs import load
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed

_DAMPING = 1e-3
"""Of the mean square of the inputs, added to each: directions no sample showed must not be free."""

_BLOCK = 32
"""Columns whose errors are handed on together; it changes no result, only how fast it is found."""

_MOST_BYTES = 1 << 30
"""Of moments that are gathered in one pass over the samples."""


@dataclass(frozen=True)
class Layer:
    """A constant weight of a node, as rows of outputs by columns of inputs, and what its inputs are."""

    node: ir.Node
    weight: str
    array: Array
    tensor: str
    window: Window | None
    channel_axis: int

    @property
    def inputs(self) -> int:
        return int(self.array.size // self.array.shape[self.channel_axis])

    def matrix(self) -> Array:
        """float64[outputs, inputs]."""
        return self.as_rows(self.array)

    def as_rows(self, array: Array) -> Array:
        """Values of the weight's own shape as float64[outputs, inputs]."""
        first = np.moveaxis(array, self.channel_axis, 0)
        return first.reshape(len(first), -1).astype(np.float64)

    def restored(self, matrix: Array) -> Array:
        """A matrix as `matrix` gives it, in the weight's own shape."""
        first = np.moveaxis(self.array, self.channel_axis, 0)
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(first.shape), 0, self.channel_axis))


def round_weights(
    graph: Path,
    feeds: Callable[[], Iterable[Feed]],
    progress: Progress = silent,
    *,
    together: bool = False,
) -> dict[str, Array]:
    """int8 values of the weights that INT8 quantises, by name; those left out are rounded to the nearest.

    Of Convs with one group, MatMuls and Gemms; `feeds` are asked for once for each gigabyte of moments.
    Raises as calibration.stream.observe.
    """
    model = open_float_graph(graph)
    split_gemms(model.graph)
    rounded: dict[str, Array] = {}
    for layers in _passes(weighted_layers(model.graph)):
        moments = _observed(graph, feeds(), layers, progress, together=together)
        for layer in progress(layers, "rounding weights"):
            matrix = layer.matrix()
            scales = symmetric_scale(np.abs(matrix).max(axis=1)).astype(np.float64)
            means = moments[layer.tensor, layer.window].means
            steps = [
                round_with_feedback(matrix[:, block], mean, scales)
                for block, mean in zip(blocks(layer.inputs), means, strict=True)
            ]
            rounded[layer.weight] = layer.restored(np.concatenate(steps, axis=1))
    return rounded


def stored_weights(int8: Path) -> dict[str, Array]:
    """The int8 values of an INT8 file's weights, under the names that they have in float."""
    graph = load(int8).graph
    return {
        name.removesuffix(STORED): value.const_value.numpy()
        for name, value in graph.initializers.items()
        if name.endswith(STORED) and value.const_value is not None
    }


def round_with_feedback(matrix: Array, moments: Array, scales: Array) -> Array:
    """int8[outputs, inputs] whose product with the inputs is close to that of `matrix`.

    matrix: float64[outputs, inputs]; moments: mean of x xᵀ, float64[inputs, inputs]; scales: one an output.
    """
    if not moments.any():  # nothing but zeros was ever multiplied with
        return np.clip(np.rint(matrix / scales[:, None]), -INT8_MAX, INT8_MAX).astype(np.int8)
    damped = moments + np.eye(len(moments)) * _DAMPING * np.trace(moments) / len(moments)
    # What matters most is rounded first, while all others can still make it good.
    order = np.argsort(-np.diag(damped), kind="stable")
    spread = _upper_root_of_inverse(damped[np.ix_(order, order)])
    left = matrix[:, order].copy()
    steps = np.empty_like(left)
    for start in range(0, len(order), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(order)))
        errors = _round_block(left[:, block], spread[block, block], scales, steps[:, block])
        left[:, block.stop :] -= errors @ spread[block, block.stop :]
    result = np.empty(matrix.shape, np.int8)
    result[:, order] = steps
    return result


def _upper_root_of_inverse(matrix: Array) -> Array:
    """Upper U with UᵀU the inverse of a positive definite `matrix`, which itself is never inverted.

    With C the Cholesky factor of the matrix read backwards, R = flip(C)ᵀ is lower and RᵀR the matrix.
    """
    import scipy.linalg

    factor = scipy.linalg.cholesky(matrix[::-1, ::-1], lower=True, check_finite=False)
    inverse, _ = scipy.linalg.lapack.dtrtri(np.asfortranarray(factor[::-1, ::-1].T), lower=1)
    return np.asarray(inverse).T


def _round_block(left: Array, spread: Array, scales: Array, steps: Array) -> Array:
    """Round the columns of `left` into `steps`; returns each one's error, as it is to be handed on."""
    errors = np.empty_like(left)
    for column in range(left.shape[1]):
        steps[:, column] = np.clip(np.rint(left[:, column] / scales), -INT8_MAX, INT8_MAX)
        errors[:, column] = (left[:, column] - steps[:, column] * scales) / spread[column, column]
        left[:, column:] -= np.outer(errors[:, column], spread[column, column:])
    return errors


def weighted_layers(graph: ir.Graph) -> Iterator[Layer]:
    """Those whose weights INT8 quantises: Convs with one group, MatMuls and Gemms."""
    for reader in plan_int8(graph).readers:
        layer = _layer(reader)
        if layer is not None:
            yield layer


def _layer(reader: Reader) -> Layer | None:
    node = reader.node
    if reader.weight is None or node.op_type not in ("Conv", "MatMul", "Gemm"):
        return None
    index, axis = reader.weight
    weight, value = node.inputs[index], node.inputs[0]
    if weight is None or weight.const_value is None or value is None or len(weight.uses()) != 1:
        return None
    array = weight.const_value.numpy()
    if node.op_type == "Conv":
        if array.ndim != 4 or node.attributes.get_int("group", 1) != 1:
            return None
        return Layer(node, str(weight.name), array, str(value.name), _window(node, array), axis)
    if array.ndim != 2 or node.attributes.get_int("transA", 0) != 0:
        return None
    return Layer(node, str(weight.name), array, str(value.name), None, axis)


def _window(node: ir.Node, weight: Array) -> Window:
    attributes = node.attributes
    auto = attributes.get_string("auto_pad", "NOTSET")
    pads = tuple(attributes.get_ints("pads", (0, 0, 0, 0))) if auto == "NOTSET" else (0, 0, 0, 0)
    strides, dilations = attributes.get_ints("strides", (1, 1)), attributes.get_ints("dilations", (1, 1))
    return Window(
        kernel=(int(weight.shape[2]), int(weight.shape[3])),
        strides=(int(strides[0]), int(strides[1])),
        dilations=(int(dilations[0]), int(dilations[1])),
        pads=None if auto.startswith("SAME") else (int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])),
        upper=auto != "SAME_LOWER",
    )


def _passes(layers: Iterable[Layer]) -> Iterator[list[Layer]]:
    """Layers whose moments fit into the memory together, at least one at a time."""
    taken: list[Layer] = []
    held: dict[tuple[str, Window | None], int] = {}
    for layer in layers:
        key = (layer.tensor, layer.window)
        size = sum((block.stop - block.start) ** 2 * 8 for block in blocks(layer.inputs))
        if taken and key not in held and sum(held.values()) + size > _MOST_BYTES:
            yield taken
            taken, held = [], {}
        taken.append(layer)
        held[key] = size
    if taken:
        yield taken


def _observed(
    graph: Path, feeds: Iterable[Feed], layers: Sequence[Layer], progress: Progress, *, together: bool
) -> Mapping[tuple[str, Window | None], Moments]:
    moments = {(layer.tensor, layer.window): Moments(layer.window) for layer in layers}
    observers: dict[str, Observer] = {
        tensor: Several([each for (name, _), each in moments.items() if name == tensor])
        for tensor, _ in moments
    }
    observe(graph, feeds, observers, "finding how to round weights", progress, together=together)
    return moments
