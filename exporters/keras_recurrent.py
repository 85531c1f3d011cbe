"""Keras's recurrent layers as ONNX's LSTM, GRU and RNN.

Keras 3 computes each of them in one method, `inner_loop`: the cell's steps over a whole sequence. Where only
that is replaced while a model is traced, all that surrounds it stays Keras's own: Bidirectional,
TimeDistributed, nested models, first states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from exporters.keras_tracing import Methods
from exporters.tensorflow_marked import onnx_operator
from runtime.errors import ExportError


@dataclass(frozen=True)
class _Operator:
    """What a Keras cell is in ONNX.

    gates:       where in Keras's kernels [inputs, gates x units] each of ONNX's gates lies.
    activations: the cell's attributes that hold the functions, in ONNX's order, with the operator's defaults.
    """

    name: str
    gates: tuple[int, ...]
    activations: tuple[tuple[str, str], ...]


_GATE, _STATE = ("recurrent_activation", "Sigmoid"), ("activation", "Tanh")

_OPERATORS: Mapping[str, _Operator] = {
    "LSTMCell": _Operator("LSTM", (0, 3, 1, 2), (_GATE, _STATE, _STATE)),  # i, f, c, o; ONNX: i, o, f, c
    "GRUCell": _Operator("GRU", (0, 1, 2), (_GATE, _STATE)),  # z, r, h, both
    "SimpleRNNCell": _Operator("RNN", (0,), (_STATE,)),
}

_ACTIVATIONS: Mapping[str, tuple[str, tuple[float, ...], tuple[float, ...]]] = {
    "elu": ("Elu", (1.0,), ()),
    "hard_sigmoid": ("HardSigmoid", (1 / 6,), (0.5,)),
    "leaky_relu": ("LeakyRelu", (0.2,), ()),
    "linear": ("Affine", (1.0,), (0.0,)),
    "relu": ("Relu", (), ()),
    "sigmoid": ("Sigmoid", (), ()),
    "softplus": ("Softplus", (), ()),
    "softsign": ("Softsign", (), ()),
    "tanh": ("Tanh", (), ()),
}
"""Keras's name of a function to ONNX's, with the alpha and the beta that ONNX's has."""


def check_recurrent_layers(model: Any) -> None:
    """Raises ExportError, naming the layer, where ONNX has no operator for a recurrent one of `model`.

    A layer that is unrolled needs none.
    """
    for layer in _recurrent_layers(model):
        named = f"layer {layer.name!r} ({type(layer).__name__})"
        if layer.stateful:
            raise ExportError(
                f"{named} is stateful, and an ONNX graph keeps nothing from one run to the next;"
                " save the model with stateful=False"
            )
        obstacle = _obstacle(layer)
        if obstacle and not layer.unroll:
            raise ExportError(
                f"{named} {obstacle}; where the length of sequences is fixed, save the model with unroll=True"
                " in this layer: its steps are written out one by one"
            )


def operators_of_layers(model: Any) -> Iterator[tuple[Any, Methods]]:
    """For recurrent layers that ONNX has an operator for, the methods that trace them as that."""
    for layer in _recurrent_layers(model):
        if not _obstacle(layer):
            # dropout's masks are drawn even where none is used
            yield (
                layer,
                {
                    "inner_loop": partial(_inner_loop, layer),
                    "_maybe_config_dropout_masks": lambda *_: None,
                },
            )


def _recurrent_layers(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, _keras().layers.RNN)]


def _obstacle(layer: Any) -> str | None:
    """Why no operator of ONNX is this layer, or None where one is."""
    cell = layer.cell
    operator = _OPERATORS.get(type(cell).__name__)
    if operator is None or type(cell) is not getattr(_keras().layers, type(cell).__name__):
        return f"runs a {type(cell).__name__}; ONNX has operators for {', '.join(_OPERATORS)}"
    for attribute, _ in operator.activations:
        if _activation(cell, attribute) not in _ACTIVATIONS:
            return (
                f"has the {attribute} {_activation(cell, attribute)!r}; ONNX's {operator.name} knows"
                f" {', '.join(_ACTIVATIONS)}"
            )
    return None


def _activation(cell: Any, attribute: str) -> str:
    return str(_keras().activations.serialize(getattr(cell, attribute)))


def _inner_loop(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
) -> tuple[Any, Any, list[Any]]:
    """Stands in for RNN.inner_loop at inference: last output, outputs in the order of steps, last states.

    sequences: [batch, time, inputs].     mask: None, or whether a step is one, [batch, time].
    """
    tree = _keras().tree
    states = tree.flatten(initial_state)
    (mask,) = tree.flatten(mask) or (None,)
    if mask is not None:
        return _masked(layer, sequences, states, mask)
    import tensorflow as tf

    outputs, states = _run(layer.cell, sequences, states, reverse=layer.go_backwards)
    return states[0], tf.reverse(outputs, [1]) if layer.go_backwards else outputs, states


def _masked(layer: Any, sequences: Any, states: list[Any], mask: Any) -> tuple[Any, Any, list[Any]]:
    """What is no step moves behind the others, where nothing hangs on it, and comes back afterwards.

    As in Keras, it leaves the states alone, and its output is that of the step before it, or zero. Only the
    states need the operator's lengths, which not every runtime takes.
    """
    import tensorflow as tf

    valid, steps = tf.cast(mask, tf.int32), mask.shape[1] or tf.shape(mask)[1]
    if layer.go_backwards:
        sequences, valid = tf.reverse(sequences, [1]), tf.reverse(valid, [1])
    order = tf.math.top_k(valid * (steps - tf.range(steps)), k=steps).indices
    lengths = tf.reduce_sum(valid, axis=1) if layer.return_state else None
    outputs, states = _run(layer.cell, tf.gather(sequences, order, batch_dims=1), states, lengths)
    places = tf.cumsum(valid, axis=1) - 1
    shown = valid > 0 if layer.zero_output_for_mask else places >= 0
    if not layer.return_sequences:
        places, shown = places[:, -1:], shown[:, -1:]
    found = tf.gather(outputs, tf.maximum(places, 0), batch_dims=1)
    outputs = tf.where(shown[..., tf.newaxis], found, tf.zeros((), found.dtype))
    return outputs[:, -1], outputs, states


def _run(
    cell: Any, sequences: Any, states: list[Any], lengths: Any = None, *, reverse: bool = False
) -> tuple[Any, list[Any]]:
    """Outputs [batch, time, units], in the order of time, and last states of the cell's operator.

    reverse: read from the end.
    """
    import tensorflow as tf

    operator = _OPERATORS[type(cell).__name__]
    batch, time, _ = sequences.shape
    first = [None if _is_zero(state) else tf.expand_dims(state, 0) for state in states]
    outputs, *last = onnx_operator(
        operator.name,
        [tf.transpose(sequences, (1, 0, 2)), *_weights(cell, operator), lengths, *first],
        [(time, 1, batch, cell.units), *([(1, batch, cell.units)] * len(states))],
        {**_attributes(cell, operator), **({"direction": "reverse"} if reverse else {})},
    )
    return tf.transpose(tf.squeeze(outputs, 1), (1, 0, 2)), [tf.squeeze(state, 0) for state in last]


def _weights(cell: Any, operator: _Operator) -> list[Any]:
    """W [1, gates x units, inputs], R [1, gates x units, units] and B [1, 2 x gates x units], or None for B.

    Keras has a bias for each kernel, [2, gates x units], in a GRU with reset_after, and one elsewhere.
    """
    import tensorflow as tf

    convert = _keras().ops.convert_to_tensor
    kernels = [
        tf.expand_dims(tf.transpose(_by_gate(convert(kernel), operator.gates)), 0)
        for kernel in (cell.kernel, cell.recurrent_kernel)
    ]
    if cell.bias is None:
        return [*kernels, None]
    bias = convert(cell.bias)
    both = bias if len(bias.shape) == 2 else tf.pad(bias[tf.newaxis], [[0, 1], [0, 0]])
    return [*kernels, tf.reshape(_by_gate(both, operator.gates), (1, -1))]


def _by_gate(matrix: Any, gates: Sequence[int]) -> Any:
    """The last axis, gates x units, in another order of gates."""
    import tensorflow as tf

    if list(gates) == sorted(gates):
        return matrix
    rows, columns = matrix.shape
    each = tf.gather(tf.reshape(matrix, (rows, len(gates), -1)), gates, axis=1)
    return tf.reshape(each, (rows, columns))


def _attributes(cell: Any, operator: _Operator) -> dict[str, Any]:
    """Those of the operator that are not its defaults."""
    functions = [_ACTIVATIONS[_activation(cell, attribute)] for attribute, _ in operator.activations]
    names, alphas, betas = zip(*functions, strict=True)
    attributes: dict[str, Any] = {"hidden_size": cell.units}
    if list(names) != [default for _, default in operator.activations]:
        attributes["activations"] = list(names)
        parameters = {"activation_alpha": alphas, "activation_beta": betas}
        flat = {name: [part for parts in values for part in parts] for name, values in parameters.items()}
        attributes.update({name: values for name, values in flat.items() if values})
    if getattr(cell, "reset_after", False):
        attributes["linear_before_reset"] = 1
    return attributes


def _is_zero(state: Any) -> bool:
    """Whether it is traced as zeros, ONNX's own first state: a constant, or one of an open batch."""
    import tensorflow as tf

    filled = state.op.inputs[1] if state.op.type == "Fill" else state
    value = tf.get_static_value(filled)
    return value is not None and not value.any()


def _keras() -> Any:
    import tensorflow

    return tensorflow.keras
