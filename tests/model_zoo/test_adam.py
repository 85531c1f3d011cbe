"""Adam against the formulas of its paper in NumPy, and against Keras."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.adam import Adam
from runtime.tensors import Array

tf = pytest.importorskip("tensorflow")

GRADIENTS = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


def descended(**options: object) -> Array:
    variable = tf.Variable(np.zeros(3, np.float32))
    adam = Adam({"x": variable}, rate=0.01, **options)  # type: ignore[arg-type]
    for gradient in GRADIENTS:
        adam.step({"x": gradient})
    return np.asarray(variable.numpy())


def test_steps_are_those_of_the_paper() -> None:
    x, first, second = (np.zeros(3) for _ in range(3))
    for step, gradient in enumerate(GRADIENTS.astype(np.float64), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        x -= 0.01 * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    np.testing.assert_allclose(descended(), x, rtol=1e-4, atol=1e-6)


def test_steps_are_those_of_keras() -> None:
    variable = tf.Variable(np.zeros(3, np.float32))
    keras = tf.keras.optimizers.Adam(0.01, epsilon=1e-8)
    for gradient in GRADIENTS:
        keras.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(descended(), variable.numpy(), rtol=1e-3, atol=1e-6)


def test_a_unit_is_as_if_the_input_had_been_scaled() -> None:
    """A weight w of an input x moves as w / u does as the weight of u x, whose gradient is 1 / u of it."""
    units = np.array([1, 1 / 64, 8], np.float32)
    plain = tf.Variable(np.zeros(3, np.float32))
    adam = Adam({"x": plain}, rate=0.01)
    for gradient in GRADIENTS:
        adam.step({"x": gradient * units})
    np.testing.assert_allclose(descended(units={"x": units}), plain.numpy() * units, rtol=1e-5)


def test_what_is_in_its_state_is_all_that_it_remembers() -> None:
    variable, other = (tf.Variable(np.zeros(3, np.float32)) for _ in range(2))
    adam, resumed = Adam({"x": variable}), Adam({"x": other})
    adam.step({"x": GRADIENTS[0]})
    for into, out_of in zip((other, *resumed.state), (variable, *adam.state), strict=True):
        into.assign(out_of)
    for each in (adam, resumed):
        each.step({"x": GRADIENTS[1]})
    np.testing.assert_array_equal(variable.numpy(), other.numpy())
