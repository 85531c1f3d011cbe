"""LSTM and RNN: Caffe's recurrent layers, whose `cont` says at which steps a sequence goes on.

ONNX's own LSTM and RNN cannot forget their state in the middle of a run, so one step is written out and
repeated by Scan, except where `cont` is known to say that a run is one sequence. Gates, clearing and the
order of blobs are those of LSTMLayer, LSTMUnitLayer and RNNLayer in BVLC/caffe. The first dimension of data
and cont is time, which is left open where they are inputs.

Every run begins with zeros, or with the states that `expose_hidden` reads; Caffe begins with those that its
last run ended with, so a sequence that is run in parts needs `expose_hidden`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term, constant
from exporters.caffe.layers.reshape import reshape_to
from exporters.caffe.layers.sequence import Weights, whole_sequences
from exporters.caffe.shapes import Dims, dims


@dataclass(frozen=True)
class _Run:
    """What every step adds to the gates [T, N, gates], `cont` [T, N, 1], first states [N, H]; blobs read."""

    added: Term
    goes_on: Term
    states: tuple[Term, ...]
    blobs: int


_Step = Callable[[Term, Term, Sequence[Term]], tuple[Term, ...]]
"""What is added to the gates [N, gates], `cont` [N, 1] and the states to the output and the new states."""


def lstm(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Gates in the order input, forget, output, candidate; hidden state and cell."""
    hidden = _hidden(build)
    if _is_one_sequence(build, bottoms):
        return [whole_sequences(_flat(build, bottoms[0]), _weights(build, bottoms[0], hidden)).value]
    run = _run(build, bottoms, states=2, gates=4 * hidden)
    across = _weight(build, run.blobs, "recurrent weight", (4 * hidden, hidden))

    def step(added: Term, goes_on: Term, states: Sequence[Term]) -> tuple[Term, ...]:
        before, cell = states
        gates = _product(before * goes_on, across) + added
        enter, keep, leave = (
            gates.slice(1, index * hidden, (index + 1) * hidden).apply("Sigmoid") for index in range(3)
        )
        candidate = gates.slice(1, 3 * hidden, 4 * hidden).apply("Tanh")
        cell = keep * goes_on * cell + enter * candidate
        after = leave * cell.apply("Tanh")
        return after, after, cell

    return _repeated(build, run, step, outputs=hidden)


def rnn(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """Tanh of a sum twice: the new state, and the output made of it."""
    hidden = _hidden(build)
    run = _run(build, bottoms, states=1, gates=hidden)
    across = _weight(build, run.blobs, "recurrent weight", (hidden, hidden))
    out = _weight(build, run.blobs + 1, "output weight", (hidden, hidden))
    bias = build.blob(run.blobs + 2, "output bias", (hidden,))

    def step(added: Term, goes_on: Term, states: Sequence[Term]) -> tuple[Term, ...]:
        after = (_product(states[0] * goes_on, across) + added).apply("Tanh")
        return (_product(after, out) + bias).apply("Tanh"), after

    return _repeated(build, run, step, outputs=hidden)


def _hidden(build: LayerBuilder) -> int:
    hidden = build.parameter.recurrent_param.num_output
    if hidden < 1:
        raise build.error("recurrent_param wants num_output")
    return hidden


def _run(build: LayerBuilder, bottoms: Sequence[ir.Value], states: int, gates: int) -> _Run:
    """The bottoms, those of all steps already multiplied with their weights."""
    exposed = states if build.parameter.recurrent_param.expose_hidden else 0
    x, goes_on, *others = bottoms
    time, streams = _time_and_streams(build, x, goes_on)
    if len(others) not in (exposed, exposed + 1):
        raise build.error(
            f"has {len(bottoms)} bottoms; it reads data and cont, then perhaps one blob that stays the same"
            f"{f', then {exposed} states' if exposed else ''}"
        )
    size = prod(build.sizes(x, 2))
    weight = _weight(build, 0, "weight", (gates, size))
    added = _product(_flat(build, x), weight) + build.blob(1, "bias", (gates,))
    blobs = 2
    if len(others) > exposed:
        width = prod(build.sizes(others[0], 1))
        same = Term(build, others.pop(0)).reshape(streams, width)
        # NOTE: added here, as OpenVINO lets the body of a Scan read constants from outside, but no values.
        added = added + _product(same, _weight(build, 2, "static weight", (gates, width)))
        blobs = 3
    shape = (streams, build.parameter.recurrent_param.num_output)
    given = [Term(build, value).reshape(*shape) for value in others]
    zeros = [constant(build, "state", np.zeros(shape, np.float32)) for _ in range(states - len(given))]
    return _Run(added, Term(build, goes_on).reshape(time, streams, 1), (*given, *zeros), blobs)


def _is_one_sequence(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> bool:
    """Whether `cont` is known now, goes on at every step but the first, and nothing else is read or shown."""
    x, goes_on, *others = bottoms
    if goes_on.const_value is None or others or build.parameter.recurrent_param.expose_hidden:
        return False
    steps = goes_on.const_value.numpy()
    return (
        steps.ndim == 2
        and dims(x)[:1] == steps.shape[:1]
        and not steps[0].any()
        and bool((steps[1:] == 1).all())
    )


def _weights(build: LayerBuilder, x: ir.Value, hidden: int) -> Weights:
    size, gates = prod(build.sizes(x, 2)), 4 * hidden
    return Weights(
        data=build.blob(0, "weight", (gates, size)),
        state=build.blob(2, "recurrent weight", (gates, hidden)),
        bias=build.blob(1, "bias", (gates,)),
    )


def _flat(build: LayerBuilder, x: ir.Value) -> Term:
    """Data [time, streams, ...] as [time, streams, size]."""
    shape = dims(x)
    if len(shape) == 3:
        return Term(build, x)
    return Term(build, reshape_to(build, x, (*shape[:2], prod(build.sizes(x, 2)))))


def _time_and_streams(build: LayerBuilder, x: ir.Value, goes_on: ir.Value) -> tuple[int | str, int]:
    shape = dims(x)
    if len(shape) < 3 or dims(goes_on) != shape[:2]:
        raise build.error(
            f"wants data [time, streams, ...] and cont [time, streams], got {list(shape)}"
            f" and {list(dims(goes_on))}"
        )
    (streams,) = build.sizes(x, 1, 2)
    return shape[0], streams


def _repeated(build: LayerBuilder, run: _Run, step: _Step, outputs: int) -> Sequence[ir.Value]:
    """The step over all of time: outputs [T, N, H], and the last states [1, N, H] where they are shown."""
    time, streams, gates = run.added.shape
    held = {f"state{index}": state.shape for index, state in enumerate(run.states)}
    given: Mapping[str, Dims] = {**held, "gates": (streams, gates), "goes_on": (streams, 1)}

    def write(values: Sequence[ir.Value]) -> Sequence[ir.Value]:
        *states, added, goes_on = (Term(build, value) for value in values)
        output, *after = step(added, goes_on, states)
        # NOTE: an output of a body may not be two of them.
        return [*(state.value for state in after), output.apply("Identity").value]

    body = build.body(given, write)
    shapes = [*held.values(), (time, streams, outputs)]
    inputs = [*(state.value for state in run.states), run.added.value, run.goes_on.value]
    *states, made = build.nodes("Scan", inputs, shapes, {"body": body, "num_scan_inputs": 2})
    if not build.parameter.recurrent_param.expose_hidden:
        return [made]
    return [made, *(Term(build, state).reshape(1, *dims(state)).value for state in states)]


def _weight(build: LayerBuilder, index: int, role: str, shape: tuple[int, int]) -> Term:
    """A weight [out, in] turned round for a product from the left."""
    return constant(build, role, np.ascontiguousarray(build.blob(index, role, shape).T))


def _product(left: Term, weight: Term) -> Term:
    return left.make("MatMul", [weight], (*left.shape[:-1], weight.shape[1]))
