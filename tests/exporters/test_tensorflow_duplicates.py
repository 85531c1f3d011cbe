from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from exporters.tensorflow_duplicates import merge_duplicates
from tests.exporters.graphs import random

tf = pytest.importorskip("tensorflow")

v1 = tf.compat.v1


def graph_of(build: Callable[[Any], Any]) -> Any:
    """The GraphDef of what `build` makes of x [2, 3], which it calls y."""
    with tf.Graph().as_default() as graph:
        tf.identity(build(v1.placeholder(tf.float32, [2, 3], "x")), name="y")
    return graph.as_graph_def()


def run(graph_def: Any) -> Any:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with v1.Session(graph=graph) as session:
            return session.run("y:0", {"x:0": random(2, 3)})


def count(graph_def: Any, operator: str) -> int:
    """How many nodes of it the answer hangs on."""
    kept = v1.graph_util.extract_sub_graph(graph_def, ["y"])
    return sum(node.op == operator for node in kept.node)


def chains(x: Any) -> Any:
    return sum(tf.tanh(tf.transpose(tf.nn.relu(x), [1, 0])) for _ in range(3))


def halves(x: Any) -> Any:
    first, second = (tf.split(x, [1, 2], axis=1) for _ in range(2))
    return tf.concat([first[0], second[1], second[0]], axis=1)


def ordered(x: Any) -> Any:
    first, second = tf.nn.relu(x), tf.nn.relu(x)
    with tf.control_dependencies([second]):
        return tf.tanh(first)


@pytest.mark.parametrize(
    ("build", "operator", "left"),
    [(chains, "Tanh", 1), (chains, "Transpose", 1), (halves, "SplitV", 1), (ordered, "Relu", 1)],
)
def test_what_computes_the_same_is_computed_once(
    build: Callable[[Any], Any], operator: str, left: int
) -> None:
    graph_def = graph_of(build)
    before = run(graph_def)
    assert count(graph_def, operator) > left
    merge_duplicates(graph_def, ["y:0"])
    assert count(graph_def, operator) == left
    np.testing.assert_array_equal(run(graph_def), before)


def axes(x: Any) -> Any:
    return tf.reduce_sum(x, 0)[0] + tf.reduce_sum(x, 1)[0]


def attributes(x: Any) -> Any:
    return tf.matmul(x, x, transpose_a=True)[0, 0] + tf.matmul(x, x, transpose_b=True)[0, 0]


def chance(x: Any) -> Any:
    return tf.random.uniform([2]) + tf.random.uniform([2])


@pytest.mark.parametrize(
    ("build", "operator"), [(axes, "Sum"), (attributes, "MatMul"), (chance, "RandomUniform")]
)
def test_what_differs_in_a_constant_an_attribute_or_by_chance_stays(
    build: Callable[[Any], Any], operator: str
) -> None:
    graph_def = graph_of(build)
    merge_duplicates(graph_def, ["y:0"])
    assert count(graph_def, operator) == 2


def test_an_output_stays_though_another_node_is_the_same() -> None:
    graph_def = graph_of(lambda x: tf.nn.relu(x, name="one") + tf.nn.relu(x, name="two"))
    merge_duplicates(graph_def, ["two:0", "y:0"])
    (total,) = (node for node in graph_def.node if node.op == "AddV2")
    assert list(total.input) == ["one", "two"]
