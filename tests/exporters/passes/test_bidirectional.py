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


GRU = {
    f"{role}{index}": random(1, *shape, seed=10 * index + number)
    for index in (1, 2)
    for number, (role, shape) in enumerate({"w": (15, 3), "r": (15, 5), "b": (30,)}.items())
}
NUMBERS: dict[str, Array] = {
    "one": np.array([1], np.int64),
    "zero": np.array([0], np.int64),
    "last": np.array([-1], np.int64),
    "before": np.array([np.iinfo(np.int64).min], np.int64),
    "lengths": np.array([4, 2], np.int32),
}
FROM_THE_END = "hidden_size=5, direction={direction}, linear_before_reset=1"


def two_directions(ends: str, direction: str = '"reverse"', lengths: str = "") -> ir.Model:
    """GRUs over x [4, 2, 3], `p` forwards and `q` as said; `ends` makes y of their outputs."""
    more = f", {lengths}" if lengths else ""
    body = (
        f"p, i = GRU<hidden_size=5, linear_before_reset=1>(x, w1, r1, b1{more})"
        f" q, j = GRU<{FROM_THE_END.format(direction=direction)}>(x, w2, r2, b2{more}) {ends}"
    )
    rank = 2 if ends == LAST_STATES else 3
    sizes = ",".join("abc"[:rank])
    return parse(f"g (float[4,2,3] x) => (float[{sizes}] y) {{ {body} }}", **GRU, **NUMBERS)


EVERY_STEP = "a = Squeeze(p, one) c = Squeeze(q, one) y = Concat<axis=2>(a, c)"
LAST_STATES = "a = Squeeze(i, zero) c = Squeeze(j, zero) y = Concat<axis=-1>(a, c)"
BATCH_FIRST = (
    "a = Squeeze(p, one) c = Squeeze(q, one) d = Transpose<perm=[1,0,2]>(a)"
    " e = Transpose<perm=[1,0,2]>(c) y = Concat<axis=2>(d, e)"
)
THERE_AND_BACK = (
    "a = Squeeze(p, one) c = Squeeze(q, one) f = Slice(c, last, before, zero, last)"
    " k = Slice(f, last, before, zero, last) y = Concat<axis=2>(a, k)"
)


@pytest.mark.parametrize("lengths", ["", "lengths"])
@pytest.mark.parametrize(
    ("ends", "transposes"), [(EVERY_STEP, 1), (LAST_STATES, 1), (BATCH_FIRST, 2), (THERE_AND_BACK, 1)]
)
def test_an_operator_that_reads_from_the_end_joins_the_one_that_does_not(
    ends: str, transposes: int, lengths: str
) -> None:
    fused = apply(fuse, two_directions(ends, lengths=lengths))
    assert operators(fused) == {"GRU": 1, "Transpose": transposes, "Reshape": 1}


@pytest.mark.parametrize(
    "ends",
    [
        "a = Squeeze(p, one) c = Squeeze(j, zero) d = Unsqueeze(c, zero) f = Add(a, d) y = Identity(f)",
        "a = Squeeze(p, one) c = Squeeze(q, one) y = Add(a, c)",
        "a = Squeeze(p, one) c = Squeeze(q, one) y = Concat<axis=0>(a, c)",
        "a = Squeeze(p, one) c = Squeeze(q, one) y = Concat<axis=2>(c, a)",
        "a = Squeeze(p, one) c = Squeeze(q, one) d = Concat<axis=2>(a, c) e = ReduceSum(j) y = Add(d, e)",
        "a = Squeeze(p, one) c = Squeeze(q, one) f = Slice(c, last, before, zero, last)"
        " y = Concat<axis=2>(a, f)",
    ],
    ids=["other outputs", "added", "another axis", "end first", "its state too", "reversed again"],
)
def test_directions_that_do_not_stand_side_by_side_stay_apart(ends: str) -> None:
    assert operators(apply(fuse, two_directions(ends)))["GRU"] == 2


def test_one_direction_twice_stays_apart() -> None:
    assert operators(apply(fuse, two_directions(EVERY_STEP, direction='"forward"')))["GRU"] == 2
