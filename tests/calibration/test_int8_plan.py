from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx.defs
import onnx_ir as ir
import pytest

from calibration.graphs import LEAST_OPSET, open_float_graph
from calibration.int8_plan import KEPT, Plan, plan_int8
from calibration.placement import FLOAT_REASONS, FUSED_ACTIVATIONS, PLACEMENTS
from tests.calibration import tiny


def _plan(path: Path) -> Plan:
    return plan_int8(open_float_graph(path).graph)


def _written(
    folder: Path, body: str, shapes: Mapping[str, tuple[int, ...]], result: str = "batch,c,h,w"
) -> Path:
    signature = f"(float[batch,4,8,8] x) => (float[{result}] y)"
    return tiny.write(folder / "g.onnx", tiny.graph_text(signature, body), shapes)


@pytest.mark.parametrize("op_type", [*PLACEMENTS, *sorted(FUSED_ACTIVATIONS), *FLOAT_REASONS])
def test_each_operator_of_the_tables_is_a_standard_one(op_type: str) -> None:
    schema = onnx.defs.get_schema(op_type, LEAST_OPSET)
    placement = PLACEMENTS.get(op_type)
    if placement is not None:
        indices = [*(placement.activations or ()), *([placement.weight.index] if placement.weight else [])]
        assert all("tensor(float)" in schema.inputs[index].types for index in indices)


def test_a_residual_network_is_int8_between_convolutions(tmp_path: Path) -> None:
    plan = _plan(tiny.residual_cnn(tmp_path))
    assert [r.node.name for r in plan.readers] == ["stem", "pool", "branch", "sum", "gap", "flat", "classify"]
    assert set(plan.sources) == {"images", "r1", "p1", "c2", "r2", "g", "f"}
    assert plan.skipped == ()


def test_nothing_stands_between_a_convolution_and_its_relu(tmp_path: Path) -> None:
    plan = _plan(tiny.residual_cnn(tmp_path))
    assert "c1" not in plan.sources
    assert "s2" not in plan.sources
    assert "r1" in plan.integer


def test_graph_outputs_stay_float(tmp_path: Path) -> None:
    assert "logits" not in _plan(tiny.residual_cnn(tmp_path)).sources


def test_pooling_and_moving_data_share_the_scale_of_what_they_move(tmp_path: Path) -> None:
    cnn = _plan(tiny.residual_cnn(tmp_path))
    assert cnn.sources["p1"] == cnn.sources["r1"] == ("r1",)
    assert cnn.sources["f"] == cnn.sources["g"] == ("g",)
    assert "p1" not in cnn.observed
    attention = _plan(tiny.attention(tmp_path))
    assert attention.sources["kt"] == attention.sources["k4"] == attention.sources["km"] == ("km",)


def test_concatenation_gives_all_its_parts_one_scale(tmp_path: Path) -> None:
    body = """
        a = Conv(x, w1)  b = Conv(x, w2)  c = Concat<axis=1>(a, b)  d = Conv(c, w3)
        e = Concat<axis=1>(c, d)  y = Conv(e, w4)
    """
    shapes = {"w1": (4, 4, 1, 1), "w2": (4, 4, 1, 1), "w3": (4, 8, 1, 1), "w4": (4, 12, 1, 1)}
    plan = _plan(_written(tmp_path, body, shapes))
    for tensor in "abcde":
        assert plan.sources[tensor] == ("a", "b", "d")
    assert set(plan.observed) == {"x", "a", "b", "d"}


def test_attention_reads_weights_and_activations_in_int8_and_keeps_the_rest_float(tmp_path: Path) -> None:
    plan = _plan(tiny.attention(tmp_path))
    both = [r.node.name for r in plan.readers if r.node.op_type == "MatMul" and r.activations == (0, 1)]
    assert both == ["scores"]
    float_ops = {"Softmax", "LayerNormalization", "Add", "Mul", "Sub", "Cast"}
    assert float_ops.isdisjoint(r.node.op_type for r in plan.readers)
    assert "res" not in plan.sources
    assert "probabilities" not in plan.sources
    assert ("context", "reads what a Softmax made, which has more shades than INT8") in plan.skipped


def test_weights_have_the_axis_of_their_output_channels(tmp_path: Path) -> None:
    body = """
        a = Conv(x, w1)  b = ConvTranspose(a, w2)  f = Flatten(b)  g = Gemm(f, w3)
        h = Gemm<transB=1>(g, w4)  y = MatMul(h, w5)
    """
    shapes = {"w1": (6, 4, 1, 1), "w2": (6, 2, 1, 1), "w3": (128, 5), "w4": (3, 5), "w5": (3, 2)}
    plan = _plan(_written(tmp_path, body, shapes, "batch,c"))
    axes = [r.weight[1] for r in plan.readers if r.weight is not None]
    assert axes == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("body", "shapes", "reason"),
    [
        ("v = Mul(w, k)  [n] y = Conv(x, v)", {"w": (4, 4, 1, 1), "k": (1,)}, "its weights are computed"),
        ("[n] y = MatMul(w, x)", {"w": (8, 8)}, "a constant in a place of an activation"),
        ('[n] y = Einsum<equation="ncij,ncjk->ncik">(x, x)', {}, "no runtime reads a quantised Einsum"),
        ("i = Cast<to=6>(x)  [n] p = MatMul(i, i)  y = Cast<to=1>(p)", {}, "does not compute on float32"),
    ],
)
def test_a_multiplying_operator_that_stays_float_says_why(
    tmp_path: Path, body: str, shapes: dict[str, tuple[int, ...]], reason: str
) -> None:
    [(name, said)] = _plan(_written(tmp_path, body, shapes)).skipped
    assert name == "n"
    assert reason in said


def test_operators_of_other_domains_are_left_alone() -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 4]))
    node = ir.node("MatMul", [x, x], domain="custom", name="n")
    assert plan_int8(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 22})).readers == ()


def test_a_product_of_two_maps_is_int8_where_a_convolution_reads_it(tmp_path: Path) -> None:
    """DSSD's decoder. A product with a constant, and one that is read in float, are not."""
    body = """[left] a = Conv(x, v) [right] b = Conv(x, w) [product] p = Mul(a, b) [rectify] r = Relu(p)
        [behind] c = Conv(r, u) [scaled] d = Mul(c, half) [square] y = Mul(d, d)"""
    shapes = {"v": (4, 4, 1, 1), "w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "half": (1,)}
    plan = _plan(_written(tmp_path, body, shapes))
    assert [reader.node.name for reader in plan.readers] == ["left", "right", "product", "behind"]
    assert set(plan.sources) == {"x", "a", "b", "r"}


JOINED = """[c1] a = Conv<pads=[1,1,1,1]>(x, w1) [r1] r = Relu(a) [c2] b = Conv<pads=[1,1,1,1]>(x, w2)"""
JOINED_SHAPES = {"w1": (4, 4, 3, 3), "w2": (6, 4, 3, 3), "s": (1, 10, 1, 1)}


def test_what_convolutions_hand_to_a_concat_is_int8_though_it_is_read_in_float(tmp_path: Path) -> None:
    """A DenseNet's: the scaling behind the concatenation keeps the latter in float."""
    body = f"{JOINED} [join] j = Concat<axis=1>(r, b) [scale] y = Mul(j, s)"
    plan = _plan(_written(tmp_path, body, JOINED_SHAPES))
    assert [reader.node.name for reader in plan.readers] == ["c1", "c2"]
    assert plan.sources["r"] == ("r",)
    assert plan.sources["b"] == ("b",)
    assert plan.integer == {"r", "b"}
    assert not {"a", "j"} & plan.sources.keys()


def test_what_a_convolution_hands_to_a_batch_normalisation_is_int8(tmp_path: Path) -> None:
    """As between the two convolutions of AI Matrix' DenseNet, where a ReLU keeps it from being folded."""
    body = """[c1] a = Conv<pads=[1,1,1,1]>(x, w1) [r1] r = Relu(a)
        [norm] n = BatchNormalization(r, g, b, m, v) [r2] s = Relu(n) [c2] y = Conv(s, w2)"""
    shapes = {"w1": (4, 4, 3, 3), "w2": (6, 4, 3, 3), **dict.fromkeys("gbmv", (4,))}
    plan = _plan(_written(tmp_path, body, shapes))
    assert set(plan.sources) == {"x", "r", "s"}
    assert plan.integer == {"r"}


@pytest.mark.parametrize("pool", ["AveragePool", "MaxPool"])
def test_what_a_convolution_hands_to_a_pool_that_stays_float_is_int8(tmp_path: Path, pool: str) -> None:
    body = f"""[c1] a = Conv<pads=[1,1,1,1]>(x, w1) [p] q = {pool}<kernel_shape=[2,2], strides=[2,2]>(a)
        [norm] n = BatchNormalization(q, g, b, m, v) [r2] s = Relu(n) [c2] y = Conv(s, w2)"""
    shapes = {"w1": (4, 4, 3, 3), "w2": (6, 4, 3, 3), **dict.fromkeys("gbmv", (4,))}
    plan = _plan(_written(tmp_path, body, shapes))
    assert set(plan.sources) == {"x", "a", "s"}


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_a_resize_keeps_the_scale_and_the_sum_before_it_is_int8(tmp_path: Path, mode: str) -> None:
    """As in the bottlenecks of CPN's RefineNet, whose sums are enlarged before they are joined."""
    plan = _plan(tiny.pyramid(tmp_path, mode))
    assert [reader.node.name for reader in plan.readers] == ["first", "second", "sum", "larger", "last"]
    assert plan.sources["r"] == plan.sources["l"] == ("r",)


def test_a_resize_that_is_read_in_float_stays_so(tmp_path: Path) -> None:
    body = """[conv] c = Conv<pads=[1,1,1,1]>(x, w) [larger] l = Resize<mode="linear">(c, , twice)
        [end] y = Sigmoid(l)"""
    shapes, twice = {"w": (4, 4, 3, 3)}, np.array([1, 1, 2, 2], np.float32)
    text = tiny.graph_text("(float[batch,4,8,8] x) => (float[batch,4,16,16] y)", body)
    plan = _plan(tiny.write(tmp_path / "g.onnx", text, shapes, twice=twice))
    assert [reader.node.name for reader in plan.readers] == ["conv"]


def test_what_is_also_read_otherwise_stays_float_and_what_is_moved_before_it_is_joined_does_not(
    tmp_path: Path,
) -> None:
    """As the scores and offsets of a single-shot detector, which are turned before they are joined."""
    body = f"""{JOINED} [turn] t = Transpose<perm=[0,1,3,2]>(b) [join] j = Concat<axis=1>(r, t)
        [scale] k = Mul(j, s) [other] o = Sigmoid(r) [both] y = Concat<axis=1>(k, o)"""
    assert set(_plan(_written(tmp_path, body, JOINED_SHAPES)).sources) == {"x", "b"}


def test_what_is_moved_to_an_output_keeps_its_shades(tmp_path: Path) -> None:
    """As the heat maps of CPN, in which the greatest value is looked for."""
    text = tiny.graph_text(
        "(float[batch,3,8,8] x) => (float[batch,8,8,4] y)",
        "[conv] c = Conv<pads=[1,1,1,1]>(x, w) [turn] y = Transpose<perm=[0,2,3,1]>(c)",
    )
    assert set(_plan(tiny.write(tmp_path / "g.onnx", text, {"w": (4, 3, 3, 3)})).sources) == {"x"}


def test_what_float_operators_made_is_quantised_once_it_is_moved_and_joined(tmp_path: Path) -> None:
    """As the features of Wide&Deep; the ranges are those of the features."""
    text = tiny.graph_text(
        "(float[batch,4] x, float[batch,2,2] z) => (float[batch,5] y)",
        "[flat] f = Reshape(z, shape) [join] j = Concat<axis=1>(x, f) [dense] y = MatMul(j, w)",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"w": (8, 5)}, shape=np.array([-1, 4]))
    plan = _plan(graph)
    assert plan.sources == {"j": ("x", "z")}
    assert [reader.node.name for reader in plan.readers] == ["dense"]


def test_what_products_with_a_bias_made_is_joined_as_int8(tmp_path: Path) -> None:
    """As the towers of NCF: ONNX Runtime makes one integer kernel of product and bias."""
    text = tiny.graph_text(
        "(float[batch,4] x) => (float[batch,5] y)",
        """[one] a = MatMul(x, u) [one_bias] ab = Add(a, bu) [two] b = MatMul(x, v) [two_bias] bb = Add(b, bv)
        [join] j = Concat<axis=1>(ab, bb) [dense] y = MatMul(j, w)""",
    )
    shapes = {"u": (4, 4), "v": (4, 4), "bu": (4,), "bv": (4,), "w": (8, 5)}
    plan = _plan(tiny.write(tmp_path / "g.onnx", text, shapes))
    assert set(plan.sources) == {"x", "ab", "bb", "j"}
    assert plan.sources["j"] == ("ab", "bb")


def test_the_ranges_that_are_needed_do_not_depend_on_what_is_kept(tmp_path: Path) -> None:
    graph = tiny.attention(tmp_path)
    everything = set(_plan(graph).observed)
    for keep in ("q", "k", "v", "out", "scores"):
        assert set(plan_int8(open_float_graph(graph).graph, keep={keep}).observed) <= everything


@pytest.mark.parametrize(("step", "named"), [("MatMul(h, w)", True), ("Add(h, h)", False)])
def test_a_loop_that_multiplies_is_named_as_staying_in_float(tmp_path: Path, step: str, named: bool) -> None:
    text = tiny.graph_text(
        "(float[batch,8] x, int64 n, bool c) => (float[batch,8] y)",
        f"""[dense] a = MatMul(x, v)
        [loop] y = Loop(n, c, a) <body = g (int64 i, bool ci, float[batch,8] h) => (bool co, float[batch,8] o)
            {{ co = Identity(ci)  o = {step} }}>""",
    )
    graph = tiny.write(tmp_path / "g.onnx", text, {"v": (8, 8), "w": (8, 8)})
    reason = "ranges are found outside of what it repeats"
    assert _plan(graph).skipped == ((("loop", reason),) if named else ())


def test_a_named_node_stays_in_float_and_what_served_it_alone_follows(tmp_path: Path) -> None:
    plan = plan_int8(open_float_graph(tiny.residual_cnn(tmp_path)).graph, keep={"branch"})
    assert ("branch", KEPT) in plan.skipped
    names = [str(reader.node.name) for reader in plan.readers]
    assert "branch" not in names
    assert "stem" in names
