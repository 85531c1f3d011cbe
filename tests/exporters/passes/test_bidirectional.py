from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from exporters.passes.bidirectional import fuse_bidirectional
from exporters.passes.dead import remove_dead
from runtime.tensors import Array
from tests.exporters.graphs import apply, operators, parse, random

CONSTANTS: dict[str, Array] = {
    **{
        f"{role}{index}": random(1, *shape, seed=10 * index + number)
        for index in (1, 2)
        for number, (role, shape) in enumerate({"w": (20, 3), "r": (20, 5), "b": (40,)}.items())
    },
    "one": np.array([1], np.int64),
    "backwards": np.array([3, 2, 1, 0], np.int64),
    "counted from the end".replace(" ", "_"): np.array([-1, -2, -3, -4], np.int64),
    "swapped": np.array([1, 0, 3, 2], np.int64),
}
BOTH = (
    "p = LSTM<hidden_size=5>(x, w1, r1, b1) a = Squeeze(p, one)"
    " back = Gather<axis=0>(x, {order}) q = LSTM<hidden_size=5>(back, w2, r2, b2) s = Squeeze(q, one)"
    " c = Gather<axis=0>(s, backwards) y = Concat<axis={axis}>({first}, {second})"
)


def fuse(model: ir.Model) -> None:
    fuse_bidirectional(model)
    remove_dead(model)


def graph(
    order: str = "backwards", axis: int = 2, first: str = "a", second: str = "c", more: str = ""
) -> ir.Model:
    body = BOTH.format(order=order, axis=axis, first=first, second=second) + more
    outputs = "float[4,N,10] y" + (", float[4,N,5] z" if more else "")
    return parse(f"g (float[4,N,3] x) => ({outputs}) {{ {body} }}", **CONSTANTS)


@pytest.mark.parametrize("axis", [2, -1])
@pytest.mark.parametrize("order", ["backwards", "counted_from_the_end"])
def test_a_layer_from_either_end_becomes_one_lstm(order: str, axis: int) -> None:
    fused = apply(fuse, graph(order, axis))
    assert operators(fused) == {"LSTM": 1, "Transpose": 1, "Reshape": 1}
    (lstm,) = (node for node in fused.graph if node.op_type == "LSTM")
    assert lstm.attributes["direction"].as_string() == "bidirectional"


@pytest.mark.parametrize(
    "other",
    [
        graph(order="swapped"),
        graph(first="c", second="a"),
        graph(more=" z = Identity(a)"),
        graph(more=" z = Neg(c)"),
    ],
    ids=["another order", "backward first", "forward is an output", "backward is read apart"],
)
def test_what_is_no_such_layer_stays_as_it_is(other: ir.Model) -> None:
    assert operators(apply(fuse, other))["LSTM"] == 2


def test_first_states_keep_the_two_apart() -> None:
    body = BOTH.format(order="backwards", axis=2, first="a", second="c")
    body = body.replace("(x, w1, r1, b1)", "(x, w1, r1, b1, , h)")
    states = parse(f"g (float[4,2,3] x, float[1,2,5] h) => (float[4,2,10] y) {{ {body} }}", **CONSTANTS)
    assert operators(apply(fuse, states))["LSTM"] == 2
