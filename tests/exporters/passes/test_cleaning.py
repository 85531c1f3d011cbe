"""The passes that fold, drop, merge and order."""

from __future__ import annotations

import sys

import numpy as np
import onnx_ir as ir
import pytest

from exporters.passes.constants import _FOLDED_OTHERWISE, fold_constants
from exporters.passes.dead import remove_dead
from exporters.passes.duplicates import merge_duplicates
from exporters.passes.no_ops import remove_no_ops
from exporters.passes.order import sort
from exporters.passes.reshapes import keep_open_dimension
from exporters.passes.transposes import cancel_transposes
from tests.exporters.graphs import apply, attribute, operators, parse, random

INTEGERS = {
    "zero": np.array([0], np.int64),
    "end": np.array([10**9], np.int64),
    "axis": np.array([1], np.int64),
}


def test_a_transposed_weight_is_folded_and_keeps_its_name_whatever_its_size() -> None:
    text = "g (float[N,300] x) => (float[N,400] y) { t = Transpose<perm=[1,0]>(kernel) y = MatMul(x, t) }"
    folded = apply(fold_constants, parse(text, kernel=random(400, 300)))
    assert operators(folded) == {"MatMul": 1}
    assert list(folded.graph.initializers) == ["kernel"]


def test_an_output_that_is_a_constant_keeps_its_own_name() -> None:
    text = "g (float[N,4] x) => (float[N,4] y, float[4] anchors) { y = Relu(x) anchors = Identity(k) }"
    folded = apply(fold_constants, parse(text, k=random(4)))
    assert [value.name for value in folded.graph.outputs] == ["y", "anchors"]


def test_arithmetic_on_constants_is_folded() -> None:
    text = "g (float[N,4] x) => (float[N,4] y) { r = Sqrt(v) k = Div(g, r) y = Mul(x, k) }"
    folded = apply(fold_constants, parse(text, v=np.abs(random(4)) + 1, g=random(4)))
    assert operators(folded) == {"Mul": 1}


def test_an_empty_part_of_a_concat_goes() -> None:
    text = "g (float[N,4] x, float[N,0] e) => (float[N,4] y) { c = Concat<axis=1>(x, e) y = Relu(c) }"
    folded = apply(fold_constants, parse(text))
    assert [value.name for value in folded.graph.node(0).inputs if value] == ["x"]


def test_where_nothing_can_fold_the_optimizer_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    text = "g (float[N,4] x, float[N,4] z) => (float[N,8] y) { a = Add(x, k) y = Concat<axis=1>(a, z) }"
    assert operators(apply(fold_constants, parse(text, k=random(4)))) == {"Add": 1, "Concat": 1}
    with pytest.raises(ImportError, match="onnxscript"):
        fold_constants(parse(text.replace("a = Add(x, k)", "j = Neg(k) a = Add(x, j)"), k=random(4)))


def test_every_rule_of_the_optimizer_is_known_here() -> None:
    """Of these five, four only see through what begins at a Shape or a constant; Concat is looked into."""
    from onnxscript.optimizer._constant_folding import registry

    ruled = {op_type for domain, op_type in registry.op_evaluators if not domain}
    assert ruled - _FOLDED_OTHERWISE == {"Abs", "Add", "Concat", "Gather", "Squeeze"}


def test_a_broadcast_that_would_swell_the_file_stays() -> None:
    text = "g (float[1000,1000] x) => (float[1000,1000] y) { e = Expand(k, s) y = Mul(x, e) }"
    folded = apply(fold_constants, parse(text, k=random(1), s=np.array([1000, 1000], np.int64)))
    assert operators(folded)["Expand"] == 1


NO_OPS = {
    "identity": "n = Identity(x)",
    "reshaping to what it is": "n = Reshape(x, same)",
    "dropout": "n = Dropout(x)",
    "cast": "n = Cast<to=1>(x)",
    "transposition": "n = Transpose<perm=[0,1,2]>(x)",
    "expansion": "n = Expand(x, ones)",
    "slice": "n = Slice(x, zero, end, axis)",
    "padding": "n = Pad(x, nothing)",
    "concatenation": "n = Concat<axis=1>(x)",
    "one": "n = Mul(x, one)",
    "none": "n = Sub(x, none)",
}
OPERANDS = INTEGERS | {
    "ones": np.ones(3, np.int64),
    "same": np.array([-1, 3, 4]),
    "nothing": np.zeros(6, np.int64),
    "one": np.array(1, np.float32),
    "none": np.array(0, np.float32),
}


@pytest.mark.parametrize("name", NO_OPS)
def test_what_hands_on_its_input_goes(name: str) -> None:
    model = parse(f"g (float[N,3,4] x) => (float[N,3,4] y) {{ {NO_OPS[name]} y = Relu(n) }}", **OPERANDS)
    assert operators(apply(remove_no_ops, model)) == {"Relu": 1}


KEPT = {
    "cast to another type": "n = Cast<to=11>(x) y = Cast<to=1>(n)",
    "a slice that starts later": "n = Slice(x, axis, end, axis) y = Relu(n)",
    "a broadcasting one": "n = Mul(x, wide) y = Relu(n)",
    "a copy of an input": "y = Identity(x)",
    "a reshaping": "n = Reshape(x, swapped) y = Relu(n)",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_changes_anything_stays(name: str) -> None:
    text = f"g (float[N,3,1] x) => (float[N,C,D] y) {{ {KEPT[name]} }}"
    swapped = np.array([-1, 1, 3])
    model = parse(text, wide=np.ones((1, 1, 5), np.float32), swapped=swapped, **INTEGERS)
    before = operators(model)
    assert operators(apply(remove_no_ops, model)) == before


def test_an_output_keeps_its_name_when_its_node_goes() -> None:
    model = parse(
        "g (float[N,3] x) => (float[N,3] y, float[N,3] z) { r = Relu(x) y = Identity(r) z = Tanh(r) }"
    )
    assert operators(apply(remove_no_ops, model)) == {"Relu": 1, "Tanh": 1}


def test_one_value_for_two_outputs_keeps_the_node_between_them() -> None:
    model = parse("g (float[N,3] x) => (float[N,3] y, float[N,3] z) { y = Relu(x) z = Identity(y) }")
    assert operators(apply(remove_no_ops, model)) == {"Relu": 1, "Identity": 1}


def test_global_pooling_takes_its_axes_from_before_the_transposition() -> None:
    text = (
        "g (float[N,5,7,7] x) => (float[N,5] y)"
        " { t = Transpose<perm=[0,2,3,1]>(x) y = ReduceMean<keepdims=0>(t, axes) }"
    )
    moved = apply(cancel_transposes, parse(text, axes=np.array([1, 2])))
    remove_dead(moved)
    assert operators(moved) == {"ReduceMean": 1}


def test_a_reduction_that_keeps_its_axes_is_transposed_after_it() -> None:
    text = "g (float[N,5,7,6] x) => (float[N,1,1,5] y)"
    text += " { t = Transpose<perm=[0,2,3,1]>(x) y = ReduceMean(t, axes) }"
    moved = apply(cancel_transposes, parse(text, axes=np.array([-3, -2])))
    remove_dead(moved)
    assert [node.op_type for node in moved.graph] == ["ReduceMean", "Transpose"]


def test_a_reduction_that_would_change_the_order_of_axes_stays() -> None:
    text = "g (float[N,5,7] x) => (float[7,N] y)"
    text += " { t = Transpose<perm=[1,2,0]>(x) y = ReduceMax<keepdims=0>(t, axes) }"
    assert operators(apply(cancel_transposes, parse(text, axes=np.array([0]))))["Transpose"] == 1


def test_neighbouring_transpositions_become_one() -> None:
    text = "g (float[N,3,4,5] x) => (float[N,A,B,C] y)"
    text += " { t = Transpose<perm=[0,2,3,1]>(x) y = Transpose<perm=[0,2,1,3]>(t) }"
    joined = apply(cancel_transposes, parse(text))
    remove_dead(joined)
    assert attribute(joined, "Transpose", "perm") == (0, 3, 2, 1)


def test_transpositions_that_undo_each_other_go() -> None:
    text = "g (float[N,3,4,5] x) => (float[N,3,4,5] y)"
    text += " { t = Transpose<perm=[0,2,3,1]>(x) u = Transpose<perm=[0,3,1,2]>(t) y = Relu(u) }"
    joined = apply(cancel_transposes, parse(text))
    remove_dead(joined)
    assert operators(joined) == {"Relu": 1}


TRANSPOSED = "a = Transpose<perm=[0,2,3,1]>(x) b = Transpose<perm=[0,2,3,1]>(z)"


def test_a_choice_between_whole_samples_comes_before_the_transposition() -> None:
    text = f"""g (float[N,3,4,5] x, float[N,3,4,5] z, float[N,1,1,1] s) => (float[N,4,5,3] y)
        {{ {TRANSPOSED} c = Greater(s, zero)
        [first] d = Where(c, a, b) [second] e = Where(c, b, d) y = Relu(e) }}"""
    moved = apply(cancel_transposes, parse(text, zero=np.zeros(1, np.float32)))
    remove_dead(moved)
    assert [node.op_type for node in moved.graph] == ["Greater", "Where", "Where", "Transpose", "Relu"]


@pytest.mark.parametrize("choices", ["c, a, w", "d, a, b"], ids=["one is not", "between pixels"])
def test_a_choice_of_what_is_not_transposed_alike_stays(choices: str) -> None:
    inputs = "float[N,3,4,5] x, float[N,3,4,5] z, float[N,4,5,3] w, float[N,1,1,1] s"
    text = f"""g ({inputs}) => (float[N,4,5,3] y) {{
        {TRANSPOSED} c = Greater(s, zero) d = Greater(w, zero) y = Where({choices}) }}"""
    model = parse(text, zero=np.zeros(1, np.float32))
    assert operators(apply(cancel_transposes, model))["Transpose"] == 2


def test_a_reshape_tells_the_open_dimension() -> None:
    text = "g (float[batch,6,4] x) => (float[batch,3,8] y) { y = Reshape(x, s) }"
    kept = apply(keep_open_dimension, parse(text, s=np.array([-1, 3, 8])))
    tensor = ir.convenience.get_const_tensor(kept.graph.initializers["s"])
    assert tensor is not None
    assert tensor.numpy().tolist() == [0, 3, 8]


def test_what_follows_the_reshape_has_the_open_dimension_too() -> None:
    text = "g (float[batch,6,4] x) => (float[batch,3,8] y) { r = Reshape(x, s) a = Relu(r) y = Tanh(a) }"
    kept = apply(keep_open_dimension, parse(text, s=np.array([-1, 3, 8])))
    assert [str(node.outputs[0].shape) for node in kept.graph] == ["[batch,3,8]"] * 3


@pytest.mark.parametrize("target", [[-1, 4], [-1, 2, 6, 4], [4, -1, 6]])
def test_a_reshape_that_mixes_the_open_dimension_stays(target: list[int]) -> None:
    text = "g (float[batch,6,4] x) => (float y) { r = Reshape(x, s) y = ReduceSum<keepdims=0>(r) }"
    kept = apply(keep_open_dimension, parse(text, s=np.array(target)))
    assert kept.graph.initializers["s"].const_value.numpy().tolist() == target  # type: ignore[union-attr]


def test_equal_shapes_and_scalars_are_merged_but_equal_weights_are_not() -> None:
    text = (
        "g (float[N,4] x) => (float[N,4] y) { a = Reshape(x, s) b = Reshape(a, t) c = Add(b, p) d = Add(c, q)"
        " e = Mul(d, k) y = Mul(e, l) }"
    )
    shape, zeros, scalar = np.array([-1, 4]), np.zeros(4, np.float32), np.array(3, np.float32)
    model = parse(text, s=shape, t=shape, p=zeros, q=zeros, k=scalar, l=scalar)
    assert list(apply(merge_duplicates, model).graph.initializers) == ["s", "p", "q", "k"]


def test_the_order_depends_on_the_edges_alone() -> None:
    nodes = ["a = Relu(x)", "b = Tanh(x)", "c = Mul(a, v)", "y = Add(c, b)", "z = Sub(c, w)"]
    ways = [
        parse(
            f"g (float[N,3] x) => (float[N,3] y, float[N,3] z) {{ {' '.join(way)} }}",
            v=random(3),
            w=random(3),
        )
        for way in (nodes, [nodes[1], nodes[0], nodes[2], nodes[4], nodes[3]])
    ]
    orders = [[node.outputs[0].name for node in apply(sort, model).graph] for model in ways]
    assert orders[0] == orders[1] == ["a", "c", "b", "y", "z"]


def test_initializers_come_in_the_order_of_their_use() -> None:
    text = "g (float[N,3] x) => (float[N,3] y) { a = Mul(x, second) y = Add(a, first) }"
    model = parse(text, unused=random(3), first=random(3), second=random(3))
    assert list(apply(sort, model).graph.initializers) == ["second", "first", "unused"]


def test_sorting_puts_what_a_branch_reads_before_it() -> None:
    text = """g (float[3] x, bool c) => (float[3] y) {
        y = If (c) <then_branch = t () => (float[3] p) { p = Relu(o) },
                    else_branch = e () => (float[3] q) { q = Neg(o) }>
        o = Tanh(x)
    }"""
    model = ir.from_proto(ir.to_proto(parse_unsorted(text)))
    sort(model)
    assert [node.op_type for node in model.graph] == ["Tanh", "If"]


def parse_unsorted(text: str) -> ir.Model:
    import onnx

    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 22]> {text}'))


def test_what_no_output_needs_goes() -> None:
    text = "g (float[N,3] x) => (float[N,3] y) { y = Relu(x) z = Mul(x, w) }"
    cleaned = apply(remove_dead, parse(text, w=random(3)))
    assert operators(cleaned) == {"Relu": 1}
    assert not cleaned.graph.initializers
