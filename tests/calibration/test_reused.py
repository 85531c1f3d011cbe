from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from calibration.reused import Memory, Runner
from runtime.tensors import Array

GRAPH = """
<ir_version: 10, opset_import: ["": 22]>
few (float[batch,length] x) => (float[batch,length] a, float[batch,length] b, int64[2,found] places) {
    a = Relu(x)
    b = Exp(a)
    places = NonZero(a)
}
"""


def _runner(memory: Memory) -> Runner:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = onnx.parser.parse_model(GRAPH).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return Runner(session, ("a", "b", "places"), frozenset({"a", "b"}), memory)


def _inputs(length: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((2, length), np.float32)


def test_arrays_have_their_shapes_and_none_lies_over_another() -> None:
    shapes = {"a": (3, 5), "scalar": (), "empty": (0, 4), "b": (7,)}
    arrays = Memory().arrays(shapes)
    assert {name: array.shape for name, array in arrays.items()} == shapes
    for number, array in enumerate(arrays.values()):
        array[...] = number
    assert [set(array.ravel().tolist()) for array in arrays.values()] == [{0.0}, {1.0}, set(), {3.0}]


def test_no_arrays_need_no_memory() -> None:
    assert Memory().arrays({}) == {}


def test_fewer_values_lie_where_more_of_them_lay() -> None:
    memory = Memory()
    many, few = (memory.arrays({"a": (size,)})["a"] for size in (1000, 10))
    assert np.shares_memory(many, few)


def test_outputs_are_those_of_a_plain_run_whatever_lengths_come() -> None:
    runner = _runner(Memory())
    for seed, length in enumerate((3, 3, 5, 3, 0, 0, 5, 9, 9)):
        x = _inputs(length, seed)
        found = runner.run({"x": x})
        np.testing.assert_array_equal(found["a"], np.maximum(x, 0))
        np.testing.assert_allclose(found["b"], np.exp(np.maximum(x, 0)), rtol=1e-6)
        np.testing.assert_array_equal(found["places"], np.nonzero(x > 0))


def test_from_the_second_sample_on_the_values_lie_in_the_same_memory() -> None:
    runner = _runner(Memory())
    _, second, third = (runner.run({"x": _inputs(6, seed)})["b"] for seed in range(3))
    assert np.shares_memory(second, third)


def test_an_input_that_is_not_contiguous_is_read_as_it_is() -> None:
    runner = _runner(Memory())
    x = np.asfortranarray(_inputs(4, 0))
    for _ in range(2):
        np.testing.assert_array_equal(runner.run({"x": x})["a"], np.maximum(x, 0))
