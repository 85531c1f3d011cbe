from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
import pytest

from exporters.passes.dead import remove_dead
from exporters.passes.gelu import fuse_gelu
from tests.exporters.graphs import apply, operators, parse

CONSTANTS = {
    "half": np.array(0.5, np.float32),
    "one": np.array([1.0], np.float32),
    "three": np.array(3.0, np.float32),
    "cubic": np.array(0.044715, np.float32),
    "c": np.array(math.sqrt(2 / math.pi), np.float32),
    "root": np.array(math.sqrt(2), np.float32),
    "inverse": np.array(math.sqrt(0.5), np.float32),
}
TANH = {
    "Google's BERT": "p = Pow(x, three) q = Mul(cubic, p) s = Add(x, q) u = Mul(c, s) t = Tanh(u)"
    " a = Add(one, t) b = Mul(half, a) y = Mul(x, b)",
    "cube as a product": "x2 = Mul(x, x) x3 = Mul(x2, x) q = Mul(x3, cubic) s = Add(q, x) u = Mul(s, c)"
    " t = Tanh(u) a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "x taken out": "x2 = Mul(x, x) q = Mul(x2, cubic) s = Add(q, one) v = Mul(x, s) u = Mul(v, c) t = Tanh(u)"
    " a = Add(t, one) z = Mul(x, a) y = Mul(z, half)",
}
ERF = {
    "divided by the root": "u = Div(x, root) t = Erf(u) a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "complementary": "n = Neg(x) u = Mul(n, inverse) t = Erf(u) a = Sub(one, t)"
    " h = Mul(half, x) y = Mul(h, a)",
}


def fuse(model: ir.Model) -> None:
    fuse_gelu(model)
    remove_dead(model)


def graph(body: str) -> ir.Model:
    return parse(f"g (float[N,7] x) => (float[N,7] y) {{ {body} }}", **CONSTANTS)


@pytest.mark.parametrize("way", TANH)
def test_every_way_of_writing_the_approximation_becomes_gelu_tanh(way: str) -> None:
    fused = apply(fuse, graph(TANH[way]))
    assert operators(fused) == {"Gelu": 1}
    assert fused.graph.node(0).attributes["approximate"].as_string() == "tanh"


@pytest.mark.parametrize("way", ERF)
def test_every_way_of_writing_the_definition_becomes_gelu(way: str) -> None:
    fused = apply(fuse, graph(ERF[way]))
    assert operators(fused) == {"Gelu": 1}
    assert fused.graph.node(0).attributes["approximate"].as_string() == "none"


def test_arithmetic_around_gelu_stays_around_it() -> None:
    body = TANH["Google's BERT"].replace("x", "s0").replace("y =", "g0 =")
    fused = apply(fuse, graph(f"s0 = Mul(x, three) {body} y = Mul(g0, cubic)"))
    assert operators(fused) == {"Mul": 2, "Gelu": 1}


@pytest.mark.parametrize(
    ("name", "value"), [("cubic", 0.0447), ("c", 0.797), ("half", 0.4999), ("one", 1.001), ("three", 2.0)]
)
def test_a_formula_with_another_constant_stays(name: str, value: float) -> None:
    changed = CONSTANTS | {name: np.full_like(CONSTANTS[name], value)}
    body = TANH["Google's BERT"]
    model = parse(f"g (float[N,7] x) => (float[N,7] y) {{ {body} }}", **changed)
    assert "Gelu" not in operators(apply(fuse, model))


def test_two_different_inputs_are_no_gelu() -> None:
    body = ERF["divided by the root"].replace("h = Mul(x, half)", "z = Relu(x) h = Mul(z, half)")
    assert "Gelu" not in operators(apply(fuse, graph(body)))


def test_a_lone_tanh_stays() -> None:
    assert operators(apply(fuse, graph("y = Tanh(x)"))) == {"Tanh": 1}
