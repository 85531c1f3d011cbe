"""TensorFlow to ONNX, judged by TensorFlow itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from runtime.errors import ExportError, FeedError, UnavailableError, UsageError
from runtime.tensors import TensorSpec
from tests.exporters import functions
from tests.exporters.graphs import operators

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

RELATIVE = 1e-5
"""Ten times what these few layers' sums differ by in float32."""


def converted(source: TensorFlowSource, folder: Path) -> tuple[ir.Model, Path]:
    model = optimise(source.to_onnx())
    ir.save(model, folder / "model.onnx")
    return model, folder / "model.onnx"


@pytest.mark.parametrize("name", functions.CASES)
def test_onnx_answers_as_tensorflow_does_at_any_batch_size(name: str, tmp_path: Path) -> None:
    source = functions.source(name)
    run = open_graph(converted(source, tmp_path)[1])
    for batch_size in (1, 3):
        feed = functions.feed(name, batch_size, seed=batch_size)
        got = run(feed)
        for output, expected in source.run(feed).items():
            np.testing.assert_allclose(got[output], expected, rtol=0, atol=RELATIVE * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name, case in functions.CASES.items() if case.operators])
def test_what_is_left_is_what_the_network_computes(name: str, tmp_path: Path) -> None:
    model, _ = converted(functions.source(name), tmp_path)
    assert operators(model) == functions.CASES[name].operators


def test_inputs_and_outputs_have_the_names_and_shapes_given(tmp_path: Path) -> None:
    model, _ = converted(functions.source("transformer_layer"), tmp_path)
    facts = [
        (value.name, str(value.dtype), str(value.shape))
        for value in (*model.graph.inputs, *model.graph.outputs)
    ]
    assert facts == [
        ("input_ids", "INT32", "[batch,6]"),
        ("input_mask", "INT32", "[batch,6]"),
        ("start", "FLOAT", "[batch,6]"),
        ("end", "FLOAT", "[batch,6]"),
    ]


def test_outputs_are_known_before_converting() -> None:
    assert functions.source("small_residual").outputs == (
        TensorSpec("scores", "float32", ("batch", 10)),
        TensorSpec("peak", "float32", ("batch", 40)),
    )


def test_a_network_has_no_transposition_but_that_of_its_image(tmp_path: Path) -> None:
    model, _ = converted(functions.source("small_residual"), tmp_path)
    transposed = [
        node.inputs[0].name for node in model.graph if node.op_type == "Transpose" and node.inputs[0]
    ]
    assert transposed == ["images"]
    assert {"Pad", "BatchNormalization", "Identity"}.isdisjoint(operators(model))


def test_padding_is_in_numbers(tmp_path: Path) -> None:
    """tf.nn's rule: 3x3 with stride 2 needs (5-1)*2+3-9 = 2 rows for 9, (4-1)*2+3-8 = 1 column for 8."""
    model, _ = converted(functions.source("small_residual"), tmp_path)
    stem = next(node for node in model.graph if node.op_type == "Conv")
    assert "auto_pad" not in stem.attributes
    assert tuple(stem.attributes["pads"].as_ints()) == (1, 0, 1, 1)


def test_weights_keep_the_names_of_their_variables(tmp_path: Path) -> None:
    model, _ = converted(functions.source("small_residual"), tmp_path)
    learned = {"stem/kernel", "depthwise/kernel", "point/kernel", "dense/kernel", "dense/bias"}
    assert learned <= set(model.graph.initializers)


def test_nodes_keep_the_names_of_their_operations() -> None:
    def function(x: Any) -> tuple[Any, ...]:
        with tf.name_scope("stem"):
            y = tf.nn.conv2d(x, tf.ones([3, 3, 3, 8]), 2, "SAME", name="conv1")
        return (tf.nn.relu(y),)

    model = optimise(TensorFlowSource(function, functions.IMAGE, ("y",)).to_onnx())
    assert "stem/conv1" in [node.name for node in model.graph if node.op_type == "Conv"]


def test_layer_norm_and_gelu_are_operators_of_their_own(tmp_path: Path) -> None:
    model, _ = converted(functions.source("transformer_layer"), tmp_path)
    counts = operators(model)
    assert (counts["LayerNormalization"], counts["Gelu"]) == (2, 1)
    norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
    assert [node.attributes["epsilon"].as_float() for node in norms] == pytest.approx([1e-12] * 2)


def test_large_weights_share_the_memory_of_their_variable() -> None:
    kernel = tf.Variable(np.ones((300, 300), np.float32), name="kernel")
    source = TensorFlowSource(
        lambda x: (tf.matmul(x, kernel),), (TensorSpec("x", "float32", ("batch", 300)),), ("y",), (kernel,)
    )
    tensor = ir.convenience.get_const_tensor(source.to_onnx().graph.initializers["kernel"])
    assert tensor is not None
    assert np.shares_memory(tensor.numpy(), np.asarray(kernel.read_value()))


def test_parameters_are_the_sizes_of_the_variables() -> None:
    assert functions.source("small_residual").parameters == 27 * 40 + 9 * 40 + 40 * 40 + 40 + 400 + 10


def test_a_large_constant_becomes_an_initializer(tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((100, 50)).astype(np.float32)
    source = TensorFlowSource(
        lambda x: (tf.matmul(x, tf.constant(table)),), (TensorSpec("x", "float32", ("batch", 100)),), ("y",)
    )
    model, path = converted(source, tmp_path)
    assert len(model.graph.initializers) == 1
    x = np.ones((2, 100), np.float32)
    np.testing.assert_allclose(open_graph(path)({"x": x})["y"], x @ table, rtol=1e-5, atol=1e-5)


def test_a_choice_hands_on_nothing_of_what_is_not_chosen(tmp_path: Path) -> None:
    def function(x: Any) -> tuple[Any, ...]:
        return (tf.where(x > 0, tf.math.log(x), tf.zeros(())),)

    source = TensorFlowSource(function, (TensorSpec("x", "float32", ("batch", 3)),), ("y",))
    model, path = converted(source, tmp_path)
    feed = {"x": np.array([[0, 1, 2]], np.float32)}  # the logarithm of 0 is infinite, and times 0 it is NaN
    np.testing.assert_allclose(open_graph(path)(feed)["y"], source.run(feed)["y"], rtol=1e-6)
    assert operators(model) == {"Greater": 1, "Log": 1, "Where": 1}


def test_a_saved_model_is_read_by_its_signature(tmp_path: Path) -> None:
    source = functions.source("transformer_layer")
    module = tf.Module()
    module.variables_ = list(source.variables)
    signature = tf.function(
        lambda input_ids, input_mask: dict(zip("ab", source.function(input_ids, input_mask), strict=True)),
        input_signature=[
            tf.TensorSpec([None, 6], tf.int32, "input_ids"),
            tf.TensorSpec([None, 6], tf.int32, "input_mask"),
        ],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=signature)
    loaded = TensorFlowSource.from_saved_model(tmp_path / "saved")
    assert [str(spec) for spec in loaded.inputs] == [
        "input_ids: int32[batch,6]",
        "input_mask: int32[batch,6]",
    ]
    assert loaded.parameters == source.parameters
    feed = functions.feed("transformer_layer", 2)
    got, expected = open_graph(converted(loaded, tmp_path)[1])(feed), source.run(feed)
    np.testing.assert_allclose(got["a"], expected["start"], atol=1e-5)
    np.testing.assert_allclose(got["b"], expected["end"], atol=1e-5)


def test_a_reversal_is_a_slice_of_any_length(tmp_path: Path) -> None:
    source = TensorFlowSource(
        lambda x: (tf.reverse(x, [1, -1]),), (TensorSpec("x", "float32", ("batch", "time", 3)),), ("y",)
    )
    model, path = converted(source, tmp_path)
    assert operators(model) == {"Slice": 1}
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(open_graph(path)({"x": x})["y"], x[:, ::-1, ::-1])


def test_a_loop_may_read_a_large_weight(tmp_path: Path) -> None:
    kernel = tf.Variable(np.random.default_rng(0).normal(0, 0.1, (32, 32)).astype(np.float32), name="kernel")

    def function(x: Any) -> tuple[Any, ...]:
        step = lambda index, y: (index + 1, tf.tanh(y @ kernel))  # noqa: E731 - tf.while_loop's body
        return (tf.while_loop(lambda index, _: index < 3, step, (0, x))[1],)

    source = TensorFlowSource(function, (TensorSpec("x", "float32", ("batch", 32)),), ("y",), (kernel,))
    model, path = converted(source, tmp_path)
    assert operators(model)["Loop"] == 1
    feed = {"x": np.random.default_rng(1).standard_normal((2, 32)).astype(np.float32)}
    np.testing.assert_allclose(open_graph(path)(feed)["y"], source.run(feed)["y"], atol=1e-6)


X = (TensorSpec("x", "float32", ("batch", 2)),)


def python_function(x: Any) -> tuple[Any, ...]:
    return (tf.ensure_shape(tf.py_function(lambda value: value, [x], tf.float32), [None, 2]),)


def stateless_python(x: Any) -> tuple[Any, ...]:
    answer = tf.numpy_function(lambda value: value, [x], tf.float32, stateful=False)
    return (tf.ensure_shape(answer, [None, 2]),)


def strings(x: Any) -> tuple[Any, ...]:
    return (tf.strings.to_hash_bucket_fast(tf.strings.as_string(x), 10),)


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (python_function, "EagerPyFunc"),
        (stateless_python, "PyFuncStateless"),
        (strings, "StringToHashBucketFast"),
    ],
)
def test_an_operator_without_onnx_is_named_with_its_node(function: Any, operator: str) -> None:
    with pytest.raises(
        ExportError, match=rf"TensorFlow operator {operator} \(node '.+'\) cannot be said in ONNX"
    ):
        TensorFlowSource(function, X, ("y",)).to_onnx()


def test_where_tf2onnx_gives_up_its_reason_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(*_: Any, **__: Any) -> None:
        raise ValueError("make_sure failure:\n  no such node")

    monkeypatch.setattr("tf2onnx.tfonnx.process_tf_graph", give_up)
    with pytest.raises(
        ExportError, match="cannot convert the TensorFlow graph: make_sure failure: no such no"
    ):
        TensorFlowSource(lambda x: (x + 1,), X, ("y",)).to_onnx()


def test_a_function_that_returns_too_little_is_refused() -> None:
    source = TensorFlowSource(lambda x: (x,), X, ("y", "z"))
    with pytest.raises(ExportError, match=r"returns 1 tensors, 2 output names were given \(y, z\)"):
        source.to_onnx()


def test_a_feed_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FeedError, match=r"input 'x' has shape \[1, 3\], the graph wants \['batch', 2\]"):
        TensorFlowSource(lambda x: (x,), X, ("y",)).run({"x": np.ones((1, 3), np.float32)})


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a sound SavedModel folder"):
        TensorFlowSource.from_saved_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a protobuf"])
def test_a_saved_model_that_is_empty_or_damaged_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(UsageError, match="is not a sound SavedModel folder"):
        TensorFlowSource.from_saved_model(tmp_path)


def test_a_saved_model_whose_variables_are_cut_short_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.weight = tf.Variable(tf.ones((64, 64)))
    signature = tf.function(
        lambda x: {"y": x @ module.weight}, input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(tmp_path), signatures=signature)
    data = next((tmp_path / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(UsageError, match="is not a sound SavedModel folder"):
        TensorFlowSource.from_saved_model(tmp_path)


def test_an_unknown_signature_is_refused_with_those_there_are(tmp_path: Path) -> None:
    module = tf.Module()
    signature = tf.function(
        lambda x: {"y": x + 1}, input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")]
    )
    tf.saved_model.save(module, str(tmp_path), signatures={"predict": signature})
    with pytest.raises(UsageError, match=r"unknown signature of .+ 'serving_default': .*valid: predict"):
        TensorFlowSource.from_saved_model(tmp_path)


def test_without_tensorflow_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    with pytest.raises(UnavailableError, match=r"pip install '\.\[export\]'"):
        TensorFlowSource(lambda x: (x,), X, ("y",)).to_onnx()
