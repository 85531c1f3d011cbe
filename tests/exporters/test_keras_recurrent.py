"""Keras's recurrent layers as operators of ONNX, judged by Keras itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from exporters.keras_source import source_of_model
from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from exporters.writing import write_file
from runtime.errors import ExportError
from runtime.tensors import Array, Feed
from tests.exporters.graphs import operators, random

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

keras = tf.keras
STEPS, INPUTS, UNITS = 5, 3, 4

KINDS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "LSTM": ("LSTM", keras.layers.LSTM),
    "GRU": ("GRU", keras.layers.GRU),
    "GRU before": ("GRU", lambda *a, **k: keras.layers.GRU(*a, reset_after=False, **k)),
    "SimpleRNN": ("RNN", keras.layers.SimpleRNN),
}

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "last output": {},
    "every output": {"return_sequences": True},
    "from the end": {"go_backwards": True},
    "every output from the end": {"go_backwards": True, "return_sequences": True},
    "no bias": {"use_bias": False},
    "states too": {"return_state": True, "return_sequences": True},
    "dropout": {"dropout": 0.5, "recurrent_dropout": 0.5},
    "unrolled": {"unroll": True, "return_sequences": True},
    "relu": {"activation": "relu"},
}


def sequences(steps: int | None = STEPS) -> Any:
    return keras.Input((steps, INPUTS), name="x")


def model_of(layers: Callable[[Any], Any], steps: int | None = STEPS) -> Any:
    """A model of one input x, every weight of which is another number."""
    x = sequences(steps)
    return seeded(keras.Model(x, layers(x)))


def seeded(model: Any) -> Any:
    for index, variable in enumerate(model.trainable_variables):
        variable.assign(random(*variable.shape, seed=index) * 0.5)
    return model


def converted(model: Any, folder: Path) -> ir.Model:
    graph = optimise(source_of_model(model).to_onnx())
    write_file(graph, folder / "model.onnx")
    return graph


def check(model: Any, folder: Path, feed: Feed | None = None) -> ir.Model:
    """The graph, after it answered as Keras does; three samples unless a feed is given."""
    graph = converted(model, folder)
    given = feed or {"x": random(3, STEPS, INPUTS)}
    got = open_graph(folder / "model.onnx")(given)
    (x,) = given.values()
    expected = keras.tree.flatten(model(x, training=False))
    for value, answer in zip(graph.graph.outputs, expected, strict=True):
        np.testing.assert_allclose(got[str(value.name)], answer.numpy(), atol=1e-5)
    assert "Loop" not in operators(graph)
    return graph


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_becomes_one_operator_with_named_weights(kind: str, option: str, tmp_path: Path) -> None:
    operator, layer = KINDS[kind]
    graph = check(model_of(layer(UNITS, name="first", **OPTIONS[option])), tmp_path)
    assert operators(graph)[operator] == 1
    (node,) = (node for node in graph.graph if node.op_type == operator)
    weights = [str(value.name) for value in node.inputs[1:4] if value is not None]
    assert all(name.startswith("first/") for name in weights), weights
    assert len(weights) == (2 if option == "no bias" else 3)


ACTIVATIONS = ["hard_sigmoid", "elu", "leaky_relu", "linear", "softplus", "softsign", "relu", "sigmoid"]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_other_functions_are_said_with_their_parameters(kind: str, tmp_path: Path) -> None:
    operator, layer = KINDS[kind]
    gate = {} if kind == "SimpleRNN" else {"recurrent_activation": "hard_sigmoid"}
    made = [layer(UNITS, activation=activation, **gate) for activation in ACTIVATIONS]
    graph = check(model_of(lambda x: [layer(x) for layer in made]), tmp_path)
    assert operators(graph)[operator] == len(ACTIVATIONS)


def masked(layer: Any, steps: int | None = STEPS) -> Any:
    """A model of tokens, of which 0 is none."""
    tokens = keras.Input((steps,), name="tokens", dtype="int32")
    embedded = keras.layers.Embedding(7, INPUTS, mask_zero=True)(tokens)
    return seeded(keras.Model(tokens, layer(embedded)))


TOKENS: Array = np.array(
    [[3, 1, 2, 0, 0], [0, 0, 5, 6, 1], [1, 0, 2, 0, 3], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [0, 4, 0, 2, 0]],
    np.int32,
)
"""Padded behind, in front, in between, nothing but padding, none, and everywhere."""


@pytest.mark.parametrize("go_backwards", [False, True], ids=["", "from the end"])
@pytest.mark.parametrize("return_sequences", [False, True], ids=["last", "every"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_are_masked_are_left_out_wherever_they_are(
    kind: str, return_sequences: bool, go_backwards: bool, tmp_path: Path
) -> None:
    operator, layer = KINDS[kind]
    made = layer(UNITS, return_sequences=return_sequences, go_backwards=go_backwards)
    graph = check(masked(made), tmp_path, {"tokens": TOKENS})
    assert operators(graph)[operator] == 1


@pytest.mark.parametrize("return_sequences", [False, True], ids=["last", "every"])
def test_both_directions_of_masked_steps(return_sequences: bool, tmp_path: Path) -> None:
    both = keras.layers.Bidirectional(keras.layers.GRU(UNITS, return_sequences=return_sequences))
    check(masked(both), tmp_path, {"tokens": TOKENS})


@pytest.mark.parametrize("kind", KINDS)
def test_states_after_masked_steps_read_from_the_end(kind: str, tmp_path: Path) -> None:
    layer = KINDS[kind][1](UNITS, go_backwards=True, return_sequences=True, return_state=True)
    check(masked(layer), tmp_path, {"tokens": TOKENS})


def test_only_states_after_masked_steps_hang_on_lengths(tmp_path: Path) -> None:
    """Not every runtime takes them: ONNX's own evaluator leaves them out without a word."""
    for states, inputs in ((False, 4), (True, 5)):
        layer = keras.layers.LSTM(UNITS, return_state=states)
        graph = check(masked(layer), tmp_path, {"tokens": TOKENS})
        (node,) = (node for node in graph.graph if node.op_type == "LSTM")
        assert sum(value is not None for value in node.inputs) == inputs


def test_masked_steps_of_sequences_of_any_length(tmp_path: Path) -> None:
    model = masked(keras.layers.GRU(UNITS, return_sequences=True), steps=None)
    check(model, tmp_path, {"tokens": TOKENS[:, :3]})


@pytest.mark.parametrize("option", [{}, {"return_sequences": True}, {"go_backwards": True}], ids=str)
def test_outputs_of_masked_steps_are_zero_where_that_is_asked_for(
    option: dict[str, bool], tmp_path: Path
) -> None:
    layer = keras.layers.LSTM(UNITS, zero_output_for_mask=True, **option)
    check(masked(layer), tmp_path, {"tokens": TOKENS})


@pytest.mark.filterwarnings("ignore:Layer 'flatten")  # that masks end there, as they should here
def test_where_every_step_is_masked_the_first_states_are_the_last(tmp_path: Path) -> None:
    def layers(x: Any) -> Any:
        start = keras.layers.Dense(UNITS)(keras.layers.Flatten()(x))
        return keras.layers.LSTM(UNITS, return_state=True)(x, initial_state=[start, start])

    check(masked(layers), tmp_path, {"tokens": TOKENS})


def test_a_mask_reaches_the_layers_of_a_stack(tmp_path: Path) -> None:
    stack = keras.Sequential(
        [keras.layers.LSTM(UNITS, return_sequences=True), keras.layers.LSTM(UNITS, return_state=True)]
    )
    first, second = stack.layers
    check(masked(lambda x: second(first(x))), tmp_path, {"tokens": TOKENS})


@pytest.mark.parametrize(
    ("kind", "merge_mode"),
    [*((kind, "concat") for kind in KINDS), *(("LSTM", mode) for mode in ("sum", "mul", "ave", None))],
)
def test_both_directions_merge_as_in_keras(kind: str, merge_mode: str | None, tmp_path: Path) -> None:
    operator, layer = KINDS[kind]
    both = keras.layers.Bidirectional(layer(UNITS, return_sequences=True), merge_mode=merge_mode)
    graph = check(model_of(both), tmp_path)
    assert operators(graph)[operator] == (1 if merge_mode == "concat" else 2)


def test_a_stack_of_both_directions_is_one_operator_a_layer(tmp_path: Path) -> None:
    wrapped = keras.layers.Bidirectional
    layers = [
        wrapped(keras.layers.LSTM(UNITS, return_sequences=True)),
        wrapped(keras.layers.GRU(UNITS, return_sequences=True)),
        wrapped(keras.layers.LSTM(UNITS)),
    ]
    graph = check(model_of(lambda x: layers[2](layers[1](layers[0](x)))), tmp_path)
    counts = operators(graph)
    assert (counts["LSTM"], counts["GRU"], counts["Slice"]) == (2, 1, 0)
    assert counts["Transpose"] == 4  # of the sequence once, and of the directions in each layer


def test_states_of_one_layer_start_another(tmp_path: Path) -> None:
    def layers(x: Any) -> Any:
        _, hidden, cell = keras.layers.LSTM(UNITS, return_state=True)(x)
        return keras.layers.LSTM(UNITS, return_sequences=True)(x, initial_state=[hidden, cell])

    graph = check(model_of(layers), tmp_path)
    given = [
        sum(value is not None for value in node.inputs) for node in graph.graph if node.op_type == "LSTM"
    ]
    assert given == [4, 6]


def test_layers_are_found_in_models_and_wrappers(tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((STEPS, INPUTS)), keras.layers.GRU(UNITS)], name="inner")

    def layers(x: Any) -> Any:
        windows = keras.layers.Reshape((1, STEPS, INPUTS))(x)
        return keras.layers.TimeDistributed(keras.layers.LSTM(UNITS))(windows), inner(x)

    counts = operators(check(model_of(layers), tmp_path))
    assert (counts["LSTM"], counts["GRU"]) == (1, 1)


def test_a_cell_of_its_own_is_as_good_as_its_layer(tmp_path: Path) -> None:
    graph = check(model_of(keras.layers.RNN(keras.layers.GRUCell(UNITS), return_sequences=True)), tmp_path)
    assert operators(graph)["GRU"] == 1


def test_sequences_of_any_length(tmp_path: Path) -> None:
    both = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True))
    model = model_of(both, steps=None)
    for steps in (1, 6):
        check(model, tmp_path, {"x": random(2, steps, INPUTS)})


def test_keras_is_as_before_when_a_model_was_converted(tmp_path: Path) -> None:
    model = model_of(keras.layers.LSTM(UNITS))
    converted(model, tmp_path)
    concrete = tf.function(model).get_concrete_function(tf.TensorSpec([None, STEPS, INPUTS]))
    assert "While" in {operation.type for operation in concrete.graph.get_operations()}


def test_a_function_onnx_lacks_is_refused_with_its_layer() -> None:
    model = model_of(keras.layers.LSTM(UNITS, activation="gelu", name="odd"))
    with pytest.raises(
        ExportError, match=r"layer 'odd' \(LSTM\) has the activation 'gelu'; ONNX's LSTM knows .*unroll=True"
    ):
        source_of_model(model)


def test_an_unrolled_layer_needs_no_operator(tmp_path: Path) -> None:
    graph = check(model_of(keras.layers.LSTM(UNITS, activation="gelu", unroll=True)), tmp_path)
    assert "LSTM" not in operators(graph)


def test_another_cell_is_refused_with_its_layer() -> None:
    x = keras.Input((STEPS, 6, 6, 2))
    model = keras.Model(x, keras.layers.ConvLSTM2D(2, 3, name="odd")(x))
    with pytest.raises(ExportError, match=r"layer 'odd' \(ConvLSTM2D\) runs a ConvLSTMCell; ONNX has operat"):
        source_of_model(model)


def test_a_layer_with_a_memory_is_refused() -> None:
    x = keras.Input(batch_shape=(1, STEPS, INPUTS))
    model = keras.Model(x, keras.layers.GRU(UNITS, stateful=True, name="odd")(x))
    with pytest.raises(ExportError, match=r"layer 'odd' \(GRU\) is stateful, .*save .* stateful=False"):
        source_of_model(model)


def test_a_saved_model_of_such_a_layer_is_sent_to_its_own_file(tmp_path: Path) -> None:
    model = model_of(keras.layers.Bidirectional(keras.layers.GRU(UNITS), name="memory"))
    model.export(tmp_path / "saved", verbose=False)
    with pytest.raises(
        ExportError, match=r"operator While \(node '.*memory.*'\) is the loop of a recurrent layer .* --keras"
    ):
        TensorFlowSource.from_saved_model(tmp_path / "saved").to_onnx()


def test_nodes_are_called_after_their_layers(tmp_path: Path) -> None:
    def layers(x: Any) -> Any:
        y = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, name="memory"), name="both")(x)
        return keras.layers.Dense(2, name="scores")(y)

    names = {node.name for node in check(model_of(layers), tmp_path).graph}
    assert {"both/forward_memory/transpose", "both/concat/LSTM", "scores/MatMul"} <= names
