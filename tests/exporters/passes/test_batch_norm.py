from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from exporters.passes.batch_norm import fold_batch_norm
from runtime.tensors import Array
from tests.exporters.graphs import apply, evaluate, operators, parse, random

STATISTICS = {
    "g": random(4, seed=1) + 2,
    "b": random(4, seed=2),
    "m": random(4, seed=3),
    "v": np.abs(random(4, seed=4)) + 0.1,
}
CONV = "a (float[N,3,8,8] x) => (float[N,4,8,8] y) { c = Conv<pads=[1,1,1,1]>"


def weight(*shape: int) -> Array:
    return random(*shape, seed=9)


def test_batch_norm_goes_into_a_convolution_without_bias() -> None:
    model = parse(
        CONV + "(x, w) y = BatchNormalization<epsilon=0.001>(c, g, b, m, v) }",
        w=weight(4, 3, 3, 3),
        **STATISTICS,
    )
    assert operators(apply(fold_batch_norm, model)) == {"Conv": 1}


def test_batch_norm_goes_into_a_convolution_with_bias_which_keeps_the_weights_names() -> None:
    model = parse(
        CONV + "(x, w, d) y = BatchNormalization(c, g, b, m, v) }",
        w=weight(4, 3, 3, 3),
        d=weight(4),
        **STATISTICS,
    )
    folded = apply(fold_batch_norm, model)
    assert [value.name for value in folded.graph.node(0).inputs if value] == ["x", "w", "d"]


TRANSPOSED = (
    "a (float[N,6,5,5] x) => (float[N,4,6,6] y) { c = ConvTranspose<group=GROUPS>(x, w)"
    " y = BatchNormalization(c, g, b, m, v) }"
)


def test_batch_norm_goes_into_a_transposed_convolution() -> None:
    model = parse(TRANSPOSED.replace("GROUPS", "1"), w=weight(6, 4, 2, 2), **STATISTICS)
    assert operators(apply(fold_batch_norm, model)) == {"ConvTranspose": 1}


def test_batch_norm_goes_into_a_transposed_convolution_of_groups() -> None:
    """Judged by ONNX Runtime: the reference evaluator of onnx 1.23 cannot split it into groups."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = parse(TRANSPOSED.replace("GROUPS", "2"), w=weight(6, 2, 2, 2), **STATISTICS)
    answers = []
    for run in (lambda _: None, fold_batch_norm):
        run(model)
        session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
        answers.append(session.run(None, {"x": random(2, 6, 5, 5)})[0])
    assert operators(model) == {"ConvTranspose": 1}
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-4, atol=1e-5)


def test_batch_norm_goes_into_a_depthwise_convolution() -> None:
    text = (
        "a (float[N,4,8,8] x) => (float[N,4,6,6] y)"
        " { c = Conv<group=4>(x, w) y = BatchNormalization(c, g, b, m, v) }"
    )
    assert operators(apply(fold_batch_norm, parse(text, w=weight(4, 1, 3, 3), **STATISTICS))) == {"Conv": 1}


def test_multiplication_and_addition_per_channel_go_into_the_convolution() -> None:
    text = CONV + "(x, w) s = Mul(k, c) y = Add(s, t) }"
    model = parse(text, w=weight(4, 3, 3, 3), k=random(4, 1, 1, seed=5), t=random(1, 4, 1, 1, seed=6))
    assert operators(apply(fold_batch_norm, model)) == {"Conv": 1}


@pytest.mark.parametrize("shape", [(8, 8), (1, 4, 8, 8), (1, 1, 1, 8)])
def test_an_addition_along_other_axes_stays(shape: tuple[int, ...]) -> None:
    model = parse(CONV + "(x, w) y = Add(c, t) }", w=weight(4, 3, 3, 3), t=random(*shape))
    assert operators(apply(fold_batch_norm, model)) == {"Conv": 1, "Add": 1}


def test_a_residual_addition_stays() -> None:
    text = "a (float[N,4,8,8] x) => (float[N,4,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w) y = Add(c, x) }"
    assert operators(apply(fold_batch_norm, parse(text, w=weight(4, 4, 3, 3)))) == {"Conv": 1, "Add": 1}


def test_batch_norm_stays_where_the_convolution_has_another_reader() -> None:
    text = (
        "a (float[N,3,8,8] x) => (float[N,4,8,8] y, float[N,4,8,8] z) { c = Conv<pads=[1,1,1,1]>(x, w)"
        " y = BatchNormalization(c, g, b, m, v) z = Relu(c) }"
    )
    model = parse(text, w=weight(4, 3, 3, 3), **STATISTICS)
    assert operators(apply(fold_batch_norm, model))["BatchNormalization"] == 1


def test_a_weight_that_two_convolutions_share_is_copied_before_it_is_scaled() -> None:
    text = (
        "a (float[N,4,8,8] x) => (float[N,4,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w)"
        " n = BatchNormalization(c, g, b, m, v) y = Conv<pads=[1,1,1,1]>(n, w) }"
    )
    folded = apply(fold_batch_norm, parse(text, w=weight(4, 4, 3, 3), **STATISTICS))
    assert operators(folded) == {"Conv": 2}


def test_a_folded_weight_is_not_looked_into_before_it_is_asked_for() -> None:
    asked: list[str] = []

    def read() -> ir.TensorProtocol:
        asked.append("weight")
        return ir.tensor(weight(4, 3, 3, 3))

    text = CONV + "(x, w) n = BatchNormalization(c, g, b, m, v) s = Mul(n, k) y = Add(s, t) }"
    model = parse(text, w=weight(4, 3, 3, 3), **STATISTICS, k=random(4, 1, 1), t=random(4, 1, 1, seed=6))
    before = evaluate(model)
    model.graph.initializers["w"].const_value = ir.LazyTensor(
        read, dtype=ir.DataType.FLOAT, shape=ir.Shape([4, 3, 3, 3]), name="w"
    )
    fold_batch_norm(model)
    assert asked == []
    np.testing.assert_allclose(evaluate(model)[0], before[0], rtol=1e-4, atol=1e-5)
    assert asked == ["weight"]


def test_folding_rounds_once() -> None:
    """Against float64: w * gamma / sqrt(v + eps), rounded to float32 at the end."""
    kernel = weight(4, 3, 1, 1)
    model = parse(
        "a (float[N,3,8,8] x) => (float[N,4,8,8] y) { c = Conv(x, w) y = BatchNormalization(c, g, b, m, v) }",
        w=kernel,
        **STATISTICS,
    )
    fold_batch_norm(model)
    factor = STATISTICS["g"].astype(np.float64) / np.sqrt(
        STATISTICS["v"].astype(np.float64) + np.float32(1e-5)
    )
    tensor = ir.convenience.get_const_tensor(model.graph.initializers["w"])
    assert tensor is not None
    np.testing.assert_array_equal(tensor.numpy(), (kernel * factor[:, None, None, None]).astype(np.float32))
