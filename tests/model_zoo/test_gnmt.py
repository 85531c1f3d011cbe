"""GNMT: counts against MODELS.md 19, TensorFlow against the formulas, graphs against TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.export import ExportReport, export
from model_zoo.gnmt import Gnmt
from model_zoo.gnmt_feeds import sentence_feeds, step_feeds
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.gnmt_sources import Form, source_of, states
from model_zoo.gnmt_weights import weights_of
from model_zoo.nmt import NETWORK, SPEC, macs
from model_zoo.spec import Split
from runtime.errors import UsageError
from runtime.graphs import inspect, load
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.gnmt_relative import END, RELATIVE, Oracle, random_weights, sentences

pytest.importorskip("tensorflow")

# Four layers of float32 sums of up to 192 products, seven steps long: sqrt(192) * 6e-8 each
# (exporters.parity gives the source), grown by the steps they pass
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Array]:
    return random_weights(RELATIVE)


@pytest.fixture(scope="module")
def oracle(weights: Mapping[str, Array]) -> Oracle:
    return Oracle(RELATIVE, weights)


# Counts


def test_the_network_counts_what_models_md_counts() -> None:
    assert NETWORK.parameters == 210_880_513
    assert NETWORK.encoder_macs(1) == pytest.approx(47.19e6, rel=1e-4)
    assert NETWORK.step_macs(0) == pytest.approx(88.81e6, rel=1e-4)
    assert NETWORK.step_macs(50) - NETWORK.step_macs(0) == 2048 * 50


@pytest.mark.parametrize("network", [NETWORK, RELATIVE, Gnmt(2, 16, 30, 42)])
def test_shapes_add_up_to_the_parameters(network: Gnmt) -> None:
    assert sum(map(prod, network.shapes().values())) == network.parameters


def test_the_paper_row_is_128_sentences_of_74_words() -> None:
    """MODELS.md 19; were it a beam of ten, it would be sentences of 11."""
    assert SPEC.paper is not None
    of_74 = macs(NETWORK, Form.GREEDY, {"source": 74, "target": 74})
    assert 2 * SPEC.paper.batch_size * of_74 == pytest.approx(SPEC.paper.flops, rel=1e-2)


def test_a_single_layer_is_refused() -> None:
    with pytest.raises(UsageError, match="a GNMT of 1 layers, expected 2 or more"):
        Gnmt(1, 16, 30, 42)


def test_the_description_needs_no_tensorflow() -> None:
    code = "import sys, model_zoo.nmt; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# TensorFlow


def test_the_encoder_computes_the_formulas(weights: Mapping[str, Array], oracle: Oracle) -> None:
    feed = sentences(RELATIVE)
    outputs = source_of(RELATIVE, Form.ENCODER, weights).run(feed)
    for row, length in enumerate(feed["source_length"]):
        memory, cells = oracle.encode(feed["source"][row, :length])
        _near(outputs["memory"][row, :length], memory)
        assert not outputs["memory"][row, length:].any()
        for layer, (hidden, cell) in enumerate(cells):
            _near(outputs[f"hidden_{layer}"][row], hidden)
            _near(outputs[f"cell_{layer}"][row], cell)
    _near(outputs["keys"], outputs["memory"] @ weights["dynamic_seq2seq/decoder/memory_layer/kernel"])


def test_a_step_computes_the_formulas(weights: Mapping[str, Array], oracle: Oracle) -> None:
    feed = next(step_feeds(RELATIVE, 6).batches(3, Split.EVALUATION))
    # the oracle compares keys of the memory; a step takes whatever keys it is given
    keys = feed["memory"] @ weights["dynamic_seq2seq/decoder/memory_layer/kernel"]
    outputs = source_of(RELATIVE, Form.STEP, weights).run({**feed, "keys": keys})
    for row, length in enumerate(feed["source_length"]):
        cells = [(feed[f"hidden_{layer}"][row], feed[f"cell_{layer}"][row]) for layer in range(4)]
        given = int(feed["words"][row]), cells, feed["attention"][row], feed["memory"][row, :length]
        logits, new, attention, _ = oracle.step(*given)
        _near(outputs["logits"][row], logits)
        _near(outputs["next_attention"][row], attention)
        for layer, (hidden, cell) in enumerate(new):
            _near(outputs[f"next_hidden_{layer}"][row], hidden)
            _near(outputs[f"next_cell_{layer}"][row], cell)


def test_what_stands_behind_a_sentence_changes_nothing(weights: Mapping[str, Array]) -> None:
    feed = sentences(RELATIVE)
    source = source_of(RELATIVE, Form.ENCODER, weights)
    behind = np.arange(7) >= feed["source_length"][:, np.newaxis]
    other = {**feed, "source": np.where(behind, 9, feed["source"]).astype(np.int32)}
    for name, array in source.run(feed).items():
        np.testing.assert_array_equal(array, source.run(other)[name])


def test_greedy_says_what_the_formulas_say() -> None:
    weights = seeded_weights(RELATIVE)
    feed = next(sentence_feeds(RELATIVE, 12).batches(6, Split.EVALUATION))
    target = source_of(RELATIVE, Form.GREEDY, weights).run(feed)["target"]
    for row, length in enumerate(feed["source_length"]):
        said, _ = Oracle(RELATIVE, weights).greedy(feed["source"][row, :length])
        assert target[row, : len(said)].tolist() == said
        assert (target[row, len(said) :] == END).all()


def test_greedy_ends_with_its_longest_sentence_or_at_twice_the_source() -> None:
    weights = dict(seeded_weights(RELATIVE))
    feed = sentences(RELATIVE)
    ended = source_of(RELATIVE, Form.GREEDY, weights).run(feed)["target"]
    assert (ended[:, :-1] != END).any(axis=0).all()
    weights["dynamic_seq2seq/decoder/output_projection/kernel"][:, END] = 0  # never the likeliest
    endless = source_of(RELATIVE, Form.GREEDY, weights).run(feed)["target"]
    assert endless.shape == (3, 14)
    assert not (endless == END).any()


# The exported graphs


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Form, ExportReport]:
    """Every form with the same seeded weights."""
    folder, weights = tmp_path_factory.mktemp("gnmt"), seeded_weights(RELATIVE)
    return {
        form: export(source_of(RELATIVE, form, weights), folder / f"{form}.onnx", _feeds(form))
        for form in Form
    }


@pytest.mark.parametrize("form", Form)
def test_a_graph_is_the_same_function_and_holds_each_weight_once(
    form: Form, graphs: Mapping[Form, ExportReport]
) -> None:
    report, weights = graphs[form], seeded_weights(RELATIVE)
    assert report.parameters == RELATIVE.parameters
    assert report.parity.feeds == 4
    held = sum(array.nbytes for name, array in weights.items() if _reads(form, name))
    nodes = 120_000  # and the names of their constants
    assert held <= report.path.stat().st_size < held + nodes


def test_the_encoder_is_one_lstm_for_each_layer(graphs: Mapping[Form, ExportReport]) -> None:
    graph = load(graphs[Form.ENCODER].path).graph
    lstms = [node for node in graph if node.op_type == "LSTM"]
    directions = [node.attributes.get_string("direction", "forward") for node in lstms]
    assert directions == ["bidirectional", "forward", "forward", "forward"]
    assert all(len(node.inputs) == 5 and node.inputs[4] is not None for node in lstms)  # with lengths
    operators = Counter(node.op_type for node in graph)
    assert not operators.keys() & {"If", "Loop", "Scan", "Sigmoid"}
    assert inspect(graphs[Form.ENCODER].path, {"source": 50}).macs == RELATIVE.encoder_macs(50)


def test_a_step_is_made_of_products_that_can_be_quantised(graphs: Mapping[Form, ExportReport]) -> None:
    operators = Counter(node.op_type for node in load(graphs[Form.STEP].path).graph)
    assert operators["MatMul"] == RELATIVE.layers + 4  # the query, the scores, the mean, the words
    assert operators["Sigmoid"] == 3 * RELATIVE.layers
    assert not operators.keys() & {"Einsum", "Gemm", "If", "Loop", "LSTM", "Sqrt"}
    assert inspect(graphs[Form.STEP].path, {"source": 50}).macs == RELATIVE.step_macs(50)


def test_greedy_is_one_loop_behind_the_encoder(graphs: Mapping[Form, ExportReport]) -> None:
    operators = Counter(node.op_type for node in load(graphs[Form.GREEDY].path).graph)
    assert (operators["Loop"], operators["LSTM"]) == (1, 4)


def test_two_hundred_sentences_are_translated_alike(graphs: Mapping[Form, ExportReport]) -> None:
    """Near-ties between logits would show."""
    onnxruntime = pytest.importorskip("onnxruntime")
    source = source_of(RELATIVE, Form.GREEDY, seeded_weights(RELATIVE))
    session = onnxruntime.InferenceSession(graphs[Form.GREEDY].path, providers=["CPUExecutionProvider"])
    feed = next(sentence_feeds(RELATIVE, 24).batches(200, Split.EVALUATION))
    (got,) = session.run(["target"], feed)
    np.testing.assert_array_equal(got, source.run(feed)["target"])


# Weights and specifications


def test_the_forms_say_their_inputs_and_outputs(weights: Mapping[str, Array]) -> None:
    names = ("hidden_0", "cell_0", "hidden_1", "cell_1", "hidden_2", "cell_2", "hidden_3", "cell_3")
    assert states(RELATIVE) == (*names, "attention")
    sentence = TensorSpec("source", "int32", ("batch", "source"))
    length = TensorSpec("source_length", "int32", ("batch",))
    for form in (Form.ENCODER, Form.GREEDY, Form.BEAM):
        assert source_of(RELATIVE, form, weights).inputs == (sentence, length)
    step = source_of(RELATIVE, Form.STEP, weights)
    assert [spec.name for spec in step.inputs] == [
        *("words", *names, "attention", "memory", "keys", "source_length"),
    ]
    assert {spec.name.removeprefix("next_"): spec.shape for spec in step.outputs[1:]} == {
        spec.name: spec.shape for spec in step.inputs[1:10]
    }
    assert step.outputs[0] == TensorSpec("logits", "float32", ("batch", 400))


def test_weights_come_back_out_of_a_file_with_the_names_of_the_checkpoint(tmp_path: Path) -> None:
    """Those of AI Matrix's NMT/ende_gnmt_model_4_layer/translate.ckpt.index."""
    weights = random_weights(RELATIVE)
    first = "dynamic_seq2seq/decoder/multi_rnn_cell/cell_0_attention/attention"
    assert {f"{first}/basic_lstm_cell/bias", f"{first}/bahdanau_attention/attention_g"} <= weights.keys()
    assert "dynamic_seq2seq/encoder/rnn/multi_rnn_cell/cell_2/basic_lstm_cell/kernel" in weights
    _save(tmp_path / "weights.npz", weights)
    read = weights_of(RELATIVE, tmp_path / "weights.npz")
    assert read.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_file_without_the_attention_is_refused(tmp_path: Path) -> None:
    weights = {name: array for name, array in random_weights(RELATIVE).items() if "bahdanau" not in name}
    _save(tmp_path / "weights.npz", weights)
    with pytest.raises(UsageError, match="lack 4 of the network's tensors"):
        weights_of(RELATIVE, tmp_path / "weights.npz")


def _near(got: Array, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, atol=ROUNDING * np.abs(expected).max(), rtol=0)


def _feeds(form: Form) -> list[dict[str, Array]]:
    """Two sentences, so that both at once are tried as well, and three."""
    feeds = step_feeds(RELATIVE, 7) if form is Form.STEP else sentence_feeds(RELATIVE, 7)
    batch = next(feeds.batches(3, Split.EVALUATION))
    rows = [slice(0, 1), slice(1, 2), slice(None)]
    return [{name: array[row] for name, array in batch.items()} for row in rows]


def _reads(form: Form, name: str) -> bool:
    """Whether the form computes with a weight; three small vectors become one."""
    if name.endswith(("attention_v", "attention_g")):
        return False
    decodes = name.startswith(("dynamic_seq2seq/decoder", "embeddings/decoder"))
    match form:
        case Form.ENCODER:
            return not decodes or "memory_layer" in name
        case Form.STEP:
            return decodes and "memory_layer" not in name
        case _:
            return True


def _save(path: Path, weights: Mapping[str, Array]) -> None:
    arrays: dict[str, Any] = dict(weights)
    np.savez(path, **arrays)
