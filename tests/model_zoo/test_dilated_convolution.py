"""Dilated convolutions that can be learned, against TensorFlow's own and numeric gradients."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.layers import SAME, Convolution, Padding
from runtime.tensors import Array

tf = pytest.importorskip("tensorflow")


def values(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "padding", "dilation"),
    [
        ((12, 12), SAME, 6),
        ((13, 9), SAME, 6),
        ((13, 9), 6, 6),
        ((10, 11), 0, 2),
        ((7, 8), 2, 2),
        ((6, 5), 3, 2),
    ],
)
def test_it_is_tensorflows_own(size: tuple[int, int], padding: Padding, dilation: int) -> None:
    from model_zoo.dilated_convolution import dilated

    x, kernel = values(2, *size, 3), values(3, 3, 3, 5)
    pads = padding if padding == SAME else [[0, 0], [padding] * 2, [padding] * 2, [0, 0]]
    expected = tf.nn.conv2d(x, kernel, 1, pads, dilations=dilation)
    found = dilated(Convolution("c", ("x",), 5, 3, padding=padding, dilation=dilation), x, kernel)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_its_gradients_are_those_of_small_steps() -> None:
    from model_zoo.dilated_convolution import dilated

    layer = Convolution("c", ("x",), 2, 3, padding=SAME, dilation=2)
    found, expected = tf.test.compute_gradient(
        lambda x, kernel: dilated(layer, x, kernel), [values(1, 5, 4, 2), values(3, 3, 2, 2)], delta=1 / 64
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_it_stands_in_for_every_convolution(dilation: int, bias: bool) -> None:
    from model_zoo.dilated_convolution import LEARNING
    from model_zoo.layers_tensorflow import evaluate
    from model_zoo.network import Network

    layer = Convolution("c", ("x",), 4, 3, padding=dilation, dilation=dilation, bias=bias)
    network = Network("little", "little", "x", (8, 8), 1.0, (layer,))
    weights = {name: values(*shape) for name, shape in network.tensors().items()}
    plain, standing_in = (
        evaluate(network, values(2, 8, 8, 3), weights, "c", stand_ins=each) for each in ({}, LEARNING)
    )
    np.testing.assert_allclose(standing_in, plain, atol=1e-5)
