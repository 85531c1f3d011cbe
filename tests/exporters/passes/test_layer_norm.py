from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from exporters.passes.dead import remove_dead
from exporters.passes.layer_norm import fuse_layer_norm
from runtime.tensors import Array
from tests.exporters.graphs import apply, operators, parse, random

HEAD = "a (float[N,5,8] x) => (float[N,5,8] y) { m = ReduceMean(x, axis) d = Sub(x, m) "
SQUARE = "q = Mul(d, d) "
ROOT = "v = ReduceMean(q, axis) e = Add(v, epsilon) r = Sqrt(e) "
WAYS = {
    "divided by the root": SQUARE + ROOT + "n = Div(d, r) s = Mul(n, gamma) y = Add(s, beta) }",
    "square as a power": "q = Pow(d, two) " + ROOT + "n = Div(d, r) s = Mul(gamma, n) y = Add(beta, s) }",
    "times the reciprocal": SQUARE
    + ROOT
    + "i = Reciprocal(r) n = Mul(i, d) s = Mul(n, gamma) y = Add(s, beta) }",
    "gamma first": SQUARE + ROOT + "i = Reciprocal(r) k = Mul(gamma, i) s = Mul(d, k) y = Add(s, beta) }",
    "tf.nn.batch_normalization": SQUARE
    + ROOT
    + "i = Reciprocal(r) k = Mul(i, gamma) s = Mul(x, k) t = Mul(m, k) o = Sub(beta, t) y = Add(s, o) }",
    "Keras": SQUARE + ROOT + "i = Reciprocal(r) k = Mul(i, gamma) s = Mul(x, k)"
    " w = Neg(m) t = Mul(w, k) o = Add(t, beta) y = Add(s, o) }",
}


def constants(axis: int = -1, epsilon: float = 1e-3) -> dict[str, Array]:
    return {
        "axis": np.array([axis], np.int64),
        "epsilon": np.array(epsilon, np.float32),
        "two": np.array(2, np.float32),
        "gamma": random(8, seed=1) + 1,
        "beta": random(8, seed=2),
    }


def fuse(model: ir.Model) -> None:
    fuse_layer_norm(model)
    remove_dead(model)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("axis", [-1, 2])
def test_every_way_of_writing_it_becomes_one_operator(way: str, axis: int) -> None:
    fused = apply(fuse, parse(HEAD + WAYS[way], **constants(axis)))
    assert operators(fused) == {"LayerNormalization": 1}


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 0.1])
def test_epsilon_is_kept(epsilon: float) -> None:
    fused = apply(fuse, parse(HEAD + WAYS["divided by the root"], **constants(epsilon=epsilon)))
    assert fused.graph.node(0).attributes["epsilon"].as_float() == pytest.approx(epsilon, rel=1e-6)


def test_normalisation_over_another_axis_stays() -> None:
    fused = apply(fuse, parse(HEAD + WAYS["divided by the root"], **constants(axis=1)))
    assert "LayerNormalization" not in operators(fused)


def test_another_mean_than_that_of_the_variance_stays() -> None:
    text = WAYS["tf.nn.batch_normalization"].replace("t = Mul(m, k)", "z = ReduceMax(x, axis) t = Mul(z, k)")
    assert "LayerNormalization" not in operators(apply(fuse, parse(HEAD + text, **constants())))


def test_a_scale_that_is_no_vector_of_the_last_axis_stays() -> None:
    given = constants() | {"gamma": random(5, 8, seed=1)}
    assert "LayerNormalization" not in operators(
        apply(fuse, parse(HEAD + WAYS["divided by the root"], **given))
    )


def test_what_else_reads_the_inside_still_can() -> None:
    text = HEAD.replace("y)", "y, float[N,5,1] r)") + WAYS["divided by the root"]
    assert operators(apply(fuse, parse(text, **constants())))["LayerNormalization"] == 1
