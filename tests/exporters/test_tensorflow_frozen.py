"""Frozen graphs between tensors that are named, judged by TensorFlow and closed forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from exporters.tensorflow_frozen import ends_of, frozen_source, read_graph_def
from exporters.writing import write_file
from runtime.errors import ExportError, UsageError
from tests.exporters.graphs import operators, random

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

v1 = tf.compat.v1
KERNEL = random(3, 200)


def write(build: Callable[[], object], path: Path) -> Path:
    """A frozen graph of what `build` adds, with the control flow of TensorFlow 1."""
    v2 = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            build()
    finally:
        if v2:
            v1.enable_control_flow_v2()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def dense() -> Any:
    images = v1.placeholder(tf.float32, [None, 3], "images")
    return tf.nn.relu(tf.matmul(images, tf.constant(KERNEL)), name="features")


def two_phases(phase: Any) -> Any:
    """A network that halves while it trains and doubles when it does not, as tf.layers did."""
    x = dense()
    return tf.identity(v1.cond(phase, lambda: x / 2, lambda: x * 2), name="scores")


def answer(source: TensorFlowSource, folder: Path, x: Any) -> Any:
    """The graph's only output, after it agreed with TensorFlow's."""
    model = optimise(source.to_onnx())
    write_file(model, folder / "model.onnx")
    (got,) = open_graph(folder / "model.onnx")({"images": x}).values()
    (expected,) = source.run({"images": x}).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    return got


@pytest.mark.parametrize("names", [("images", "features:0"), ("images:0", "features")])
def test_a_graph_is_read_between_its_tensors(names: tuple[str, str], tmp_path: Path) -> None:
    source = frozen_source(write(dense, tmp_path / "frozen.pb"), names[:1], names[1:])
    assert [str(spec) for spec in source.inputs] == ["images: float32[batch,3]"]
    assert source.output_names == ("features",)
    x = random(2, 3, seed=1)
    np.testing.assert_allclose(answer(source, tmp_path, x), np.maximum(x @ KERNEL, 0), rtol=1e-4, atol=1e-4)


def test_the_second_output_of_a_node_keeps_its_number(tmp_path: Path) -> None:
    def build() -> Any:
        return tf.math.top_k(dense(), 2, name="best")

    path = write(build, tmp_path / "frozen.pb")
    source = frozen_source(path, ["images"], ["best:0", "best:1"])
    assert source.output_names == ("best", "best:1")
    assert [spec.dtype for spec in source.outputs] == ["float32", "int32"]


PHASES: dict[str, Callable[[], Any]] = {
    "a constant": lambda: two_phases(tf.constant(False, name="phase")),
    "a default": lambda: two_phases(v1.placeholder_with_default(False, [], "phase")),
    "a default denied": lambda: two_phases(
        tf.logical_not(v1.placeholder_with_default(True, [], "phase"), name="not")
    ),
}


@pytest.mark.parametrize("phase", PHASES)
def test_of_two_phases_the_one_that_is_chosen_is_left(phase: str, tmp_path: Path) -> None:
    path = write(PHASES[phase], tmp_path / "frozen.pb")
    assert {"Switch", "Merge"} <= {node.op for node in read_graph_def(path).node}
    source = frozen_source(path, ["images"], ["scores"])
    x = random(2, 3, seed=1)
    got = answer(source, tmp_path, x)
    np.testing.assert_allclose(got, 2 * np.maximum(x @ KERNEL, 0), rtol=1e-4, atol=1e-4)
    assert set(operators(optimise(source.to_onnx()))) == {"MatMul", "Relu", "Mul"}


def test_branches_of_branches_are_folded(tmp_path: Path) -> None:
    def build() -> Any:
        x = dense()
        no, yes = v1.placeholder_with_default(False, []), tf.constant(True)
        inner = lambda: v1.cond(yes, lambda: x * 3, lambda: x * 5)  # noqa: E731 - a branch
        return tf.identity(v1.cond(no, lambda: x / 2, inner), name="scores")

    source = frozen_source(write(build, tmp_path / "frozen.pb"), ["images"], ["scores"])
    x = random(2, 3, seed=1)
    np.testing.assert_allclose(
        answer(source, tmp_path, x), 3 * np.maximum(x @ KERNEL, 0), rtol=1e-4, atol=1e-4
    )


def depends_on_data() -> Any:
    return two_phases(tf.reduce_sum(v1.placeholder(tf.float32, [None, 3], "other")) > 0)


def counts() -> Any:
    x = dense()
    loop = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * tf.reduce_mean(y)), (0, x))
    return tf.identity(loop[1], name="scores")


@pytest.mark.parametrize(
    ("build", "inputs", "message"),
    [
        (
            depends_on_data,
            ["images", "other"],
            r"(Switch|Merge) \(node '.+'\) is a branch .* freeze the graph",
        ),
        (
            counts,
            ["images"],
            r"Enter \(node '.*while.*'\) is a loop of TensorFlow 1 .*; write it in TensorFlow 2",
        ),
    ],
)
def test_what_is_decided_while_it_runs_is_refused_by_name(
    build: Callable[[], Any], inputs: list[str], message: str, tmp_path: Path
) -> None:
    source = frozen_source(write(build, tmp_path / "frozen.pb"), inputs, ["scores"])
    with pytest.raises(ExportError, match=f"TensorFlow operator {message}"):
        source.to_onnx()


def test_a_placeholder_that_nobody_feeds_is_named(tmp_path: Path) -> None:
    path = write(lambda: two_phases(v1.placeholder(tf.bool, [], "phase")), tmp_path / "frozen.pb")
    with pytest.raises(UsageError, match="also need placeholder 'phase': add it to the inputs, or freeze"):
        frozen_source(path, ["images"], ["scores"])


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["image"], ["features"], "has no tensor 'image': did you mean images"),
        (["images"], ["feature:0"], "has no tensor 'feature:0': did you mean features"),
        (["images"], ["features:3"], "has no tensor 'features:3': did you mean features"),
        (["images"], ["x"], r"has no tensor 'x': its placeholders: images; read by no other node: features"),
    ],
)
def test_names_that_are_not_there_are_told_with_near_ones(
    inputs: list[str], outputs: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        frozen_source(write(dense, tmp_path / "frozen.pb"), inputs, outputs)


def test_the_ends_of_a_large_graph_are_counted(tmp_path: Path) -> None:
    def build() -> None:
        for index in range(12):
            tf.nn.relu(v1.placeholder(tf.float32, [1], f"x{index}"), name=f"y{index}")

    said = ends_of(read_graph_def(write(build, tmp_path / "frozen.pb")))
    assert said.startswith("its placeholders: x0, x1, ")
    assert "x7 and 4 more; read by no other node: y0, " in said


def test_an_operator_that_tensorflow_lacks_is_named(tmp_path: Path) -> None:
    graph_def = read_graph_def(write(dense, tmp_path / "frozen.pb"))
    node = graph_def.node.add(name="mine/of/my/own", op="OfMyOwn")
    node.input.append("features")
    (tmp_path / "frozen.pb").write_bytes(graph_def.SerializeToString())
    with pytest.raises(
        ExportError, match=r"has no operator OfMyOwn \(node 'mine/of/my/own'\); .* outputs before"
    ):
        frozen_source(tmp_path / "frozen.pb", ["images"], ["mine/of/my/own"])


def test_an_edge_to_nothing_is_refused_in_a_line(tmp_path: Path) -> None:
    graph_def = read_graph_def(write(dense, tmp_path / "frozen.pb"))
    graph_def.node[-1].input[0] = "gone"
    (tmp_path / "frozen.pb").write_bytes(graph_def.SerializeToString())
    with pytest.raises(UsageError, match=r"is not a sound TensorFlow graph: .*gone"):
        frozen_source(tmp_path / "frozen.pb", ["images"], ["features"])


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_a_file_that_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pb").write_bytes(content)
    with pytest.raises(UsageError, match="is not a TensorFlow GraphDef"):
        frozen_source(tmp_path / "x.pb", ["x"], ["y"])


def test_a_placeholder_without_a_rank_is_refused(tmp_path: Path) -> None:
    path = write(lambda: tf.nn.relu(v1.placeholder(tf.float32, None, "x"), name="y"), tmp_path / "frozen.pb")
    with pytest.raises(
        ExportError, match="tensor 'x' has no known rank; give the model inputs of a known rank"
    ):
        frozen_source(path, ["x"], ["y"])
