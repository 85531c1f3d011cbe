"""DIEN's two recurrences, each twice: step by step in TensorFlow, and as operators of ONNX.

The first is a GRU as in TensorFlow 1: its candidate reads the state after the reset. ONNX has that one. Of
the second, whose update gate is multiplied by 1 - attention, it has none, so it becomes a Scan. What its
steps make of their inputs does not wait for a state: one product does it for all steps before the Scan, where
it can be quantised, and inside are only the products with the state. (tests/performance/attention_gru.py
compares this with a Loop, with the whole product inside, and with steps written out.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from model_zoo.behaviour_layers import Tensor, Tensors
from model_zoo.dien_network import WIDTH


@dataclass(frozen=True)
class Recurrences:
    """A way to trace both; `inputs` are [steps, batch, width], lengths [batch] int32.

    gru:           of inputs, lengths, the layer's name and weights: states [steps, batch, width], zero after
                   the length.
    attention_gru: of inputs, attention [steps, batch, 1], lengths, name and weights: the state [batch, width]
                   after the last step within the length.
    """

    gru: Callable[[Tensor, Tensor, str, Tensors], Tensor]
    attention_gru: Callable[[Tensor, Tensor, Tensor, str, Tensors], Tensor]


def _gru_by_steps(inputs: Tensor, lengths: Tensor, name: str, weights: Tensors) -> Tensor:
    import tensorflow as tf

    def step(state: Tensor, given: tuple[Tensor, Tensor]) -> Tensor:
        x, valid = given
        reset, update = _gates(x, state, name, weights)
        after = update * state + (1.0 - update) * _candidate(x, reset * state, name, weights)
        return tf.where(valid, after, state)

    valid = _valid(inputs, lengths)
    states = tf.scan(step, (inputs, valid), _zeros(inputs))
    return tf.where(valid, states, 0.0)


def _attention_gru_by_steps(
    inputs: Tensor, attention: Tensor, lengths: Tensor, name: str, weights: Tensors
) -> Tensor:
    import tensorflow as tf

    def step(state: Tensor, given: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, share, valid = given
        reset, update = _gates(x, state, name, weights)
        update = (1.0 - share) * update
        after = update * state + (1.0 - update) * _candidate(x, reset * state, name, weights)
        return tf.where(valid, after, state)

    return tf.foldl(step, (inputs, attention, _valid(inputs, lengths)), _zeros(inputs))


def _gru_operator(inputs: Tensor, lengths: Tensor, name: str, weights: Tensors) -> Tensor:
    """Without the operator's own input for lengths: no state before a length depends on what is behind."""
    import tensorflow as tf

    from exporters.tensorflow_marked import onnx_operator

    shapes = [(None, 1, None, WIDTH)]
    tensors = gru_tensors(name, weights)
    with tf.name_scope(f"{name}/"):
        (states,) = onnx_operator("GRU", [inputs, *tensors], shapes, {"hidden_size": WIDTH})
        return tf.where(_valid(inputs, lengths), tf.squeeze(states, 1), 0.0)


def gru_tensors(name: str, weights: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """ONNX's kernels of inputs and states, [1, 3 x units, width] each, and bias: update, reset, candidate."""
    import tensorflow as tf

    gates, candidate = weights[f"{name}/gates/kernel"], weights[f"{name}/candidate/kernel"]
    kernel = tf.concat((gates[:, WIDTH:], gates[:, :WIDTH], candidate), axis=1)
    kernel = tf.transpose(kernel)[tf.newaxis]
    gates, candidate = weights[f"{name}/gates/bias"], weights[f"{name}/candidate/bias"]
    bias = tf.concat((gates[WIDTH:], gates[:WIDTH], candidate, tf.zeros(3 * WIDTH)), axis=0)
    return kernel[..., :WIDTH], kernel[..., WIDTH:], bias[tf.newaxis]


def _attention_gru_scan(
    inputs: Tensor, attention: Tensor, lengths: Tensor, name: str, weights: Tensors
) -> Tensor:
    import tensorflow as tf

    from exporters.tensorflow_scan import scan

    gates, candidate = weights[f"{name}/gates/kernel"], weights[f"{name}/candidate/kernel"]
    kernel = tf.concat((gates[:WIDTH], candidate[:WIDTH]), axis=1)
    bias = tf.concat((weights[f"{name}/gates/bias"], weights[f"{name}/candidate/bias"]), axis=0)
    with tf.name_scope(f"{name}/"):
        added = tf.matmul(inputs, kernel) + bias
        kept = tf.cast(tf.logical_not(_valid(inputs, lengths)), tf.float32)
        sequences = [added, 1.0 - attention, kept]
        constants = {"gates": gates[WIDTH:], "candidate": candidate[WIDTH:]}
        (state,) = scan(STEP, [_zeros(inputs)], sequences, constants)
    return state


STEP = f"""attention_gru (float[batch,{WIDTH}] state, float[batch,{3 * WIDTH}] added,
                         float[batch,1] unattended, float[batch,1] kept) => (float[batch,{WIDTH}] after)
<int64[2] parts = {{{2 * WIDTH}, {WIDTH}}}, int64[2] halves = {{{WIDTH}, {WIDTH}}}, float one = {{1}}> {{
    to_gates, to_candidate = Split<axis = 1>(added, parts)
    from_state = MatMul(state, gates)
    gate_sums = Add(to_gates, from_state)
    opened = Sigmoid(gate_sums)
    reset, open_update = Split<axis = 1>(opened, halves)
    reset_state = Mul(reset, state)
    from_reset = MatMul(reset_state, candidate)
    candidate_sum = Add(to_candidate, from_reset)
    new = Tanh(candidate_sum)
    attended_update = Mul(unattended, open_update)
    update = Max(attended_update, kept)
    old_part = Mul(update, state)
    share = Sub(one, update)
    new_part = Mul(share, new)
    after = Add(old_part, new_part)
}}"""
"""One step in ONNX: `added` is what the step's input adds to reset gate, update gate and candidate;
`kept` is 1 behind the history's end and opens the update gate whole, so that the state stays as it is."""


def _gates(x: Tensor, state: Tensor, name: str, weights: Tensors) -> tuple[Tensor, Tensor]:
    """Reset and update gate, [batch, width] each."""
    import tensorflow as tf

    both = tf.concat((x, state), axis=1)
    opened = tf.sigmoid(tf.matmul(both, weights[f"{name}/gates/kernel"]) + weights[f"{name}/gates/bias"])
    reset, update = tf.split(opened, 2, axis=1)
    return reset, update


def _candidate(x: Tensor, state: Tensor, name: str, weights: Tensors) -> Tensor:
    import tensorflow as tf

    both = tf.concat((x, state), axis=1)
    kernel, bias = weights[f"{name}/candidate/kernel"], weights[f"{name}/candidate/bias"]
    return tf.tanh(tf.matmul(both, kernel) + bias)


def _valid(inputs: Tensor, lengths: Tensor) -> Tensor:
    """[steps, batch, 1]: whether a step lies within the length."""
    import tensorflow as tf

    return (tf.range(tf.shape(inputs)[0])[:, tf.newaxis] < lengths)[..., tf.newaxis]


def _zeros(inputs: Tensor) -> Tensor:
    """[batch, width]: a state before the first step."""
    import tensorflow as tf

    return tf.zeros((tf.shape(inputs)[1], WIDTH))


AS_STEPS = Recurrences(_gru_by_steps, _attention_gru_by_steps)
"""A loop of TensorFlow's: the oracle, and what can be taught."""

AS_OPERATORS = Recurrences(_gru_operator, _attention_gru_scan)
"""One operator of ONNX each."""
