"""A BERT small enough for a fast test, and the network written out in NumPy as an oracle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model_zoo.bert_network import Bert, BertSize, Gelu, Head
from runtime.tensors import Array, Feed

RELATIVE = Bert(BertSize(2, hidden=32, heads=4, intermediate=64, vocabulary=60, positions=24), 16)
EMBEDDER = replace(RELATIVE, head=Head.EMBEDDING, gelu=Gelu.ERF)

Doubles = NDArray[np.float64]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def random_weights(network: Bert, seed: int = 0) -> dict[str, Array]:
    """Nothing small, so that every term of the formulas shows in the result."""
    rng = np.random.default_rng(seed)
    shapes = network.shapes() | network.unused_shapes()
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: array + 1 if name.endswith("gamma") else array for name, array in weights.items()}


def random_feed(network: Bert, samples: int = 3, seed: int = 0) -> Feed:
    """Padding from another place on in each sample; the last sample has none."""
    rng = np.random.default_rng(seed)
    shape = (samples, network.sequence_length)
    lengths = np.linspace(network.sequence_length // 3, network.sequence_length, samples).astype(int)
    mask = np.arange(network.sequence_length) < lengths[:, None]
    ids, segments = rng.integers(0, network.size.vocabulary, shape), rng.integers(0, 2, shape)
    arrays = {"input_ids": ids, "input_mask": mask, "segment_ids": segments}
    return {name: array.astype(np.int32) for name, array in arrays.items()}


def states_in_numpy(network: Bert, stored: Mapping[str, Array], feed: Feed) -> Doubles:
    """The last layer [samples, tokens, hidden] in double precision, by the formulas of MODELS.md 20."""
    weights = {name: array.astype(np.float64) for name, array in stored.items()}
    ids, segments, size = feed["input_ids"], feed["segment_ids"], network.size

    def dense(x: Doubles, name: str) -> Doubles:
        result: Doubles = np.einsum("bti,io->bto", x, weights[f"{name}/kernel"]) + weights[f"{name}/bias"]
        return result

    def normalise(x: Doubles, name: str) -> Doubles:
        mean, deviation = x.mean(axis=-1, keepdims=True), np.sqrt(x.var(axis=-1, keepdims=True) + 1e-12)
        result: Doubles = (x - mean) / deviation * weights[f"{name}/gamma"] + weights[f"{name}/beta"]
        return result

    x = weights["bert/embeddings/word_embeddings"][ids]
    x = x + weights["bert/embeddings/token_type_embeddings"][segments]
    x = x + weights["bert/embeddings/position_embeddings"][None, : ids.shape[1]]
    x = normalise(x, "bert/embeddings/LayerNorm")
    hidden = (1.0 - feed["input_mask"])[:, None, None, :] * -10000.0
    for layer in range(size.layers):
        name = f"bert/encoder/layer_{layer}"
        query, key, value = (
            dense(x, f"{name}/attention/self/{part}").reshape(*ids.shape, size.heads, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(size.hidden // size.heads) + hidden
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        context = np.einsum("bhqk,bkhd->bqhd", shares, value).reshape(x.shape)
        x = normalise(
            x + dense(context, f"{name}/attention/output/dense"), f"{name}/attention/output/LayerNorm"
        )
        inner = activate(network, dense(x, f"{name}/intermediate/dense"))
        x = normalise(x + dense(inner, f"{name}/output/dense"), f"{name}/output/LayerNorm")
    return x


def activate(network: Bert, x: Doubles) -> Doubles:
    if network.gelu is Gelu.ERF:
        gate: Doubles = 1 + _erf(x / math.sqrt(2))
    else:
        gate = 1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return x / 2 * gate


def outputs_in_numpy(network: Bert, weights: Mapping[str, Array], feed: Feed) -> dict[str, Doubles]:
    states = states_in_numpy(network, weights, feed)
    if network.head is Head.SPAN:
        logits = states @ weights["cls/squad/output_weights"].T.astype(np.float64)
        logits += weights["cls/squad/output_bias"]
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
    kept = feed["input_mask"][:, :, None]
    mean = (states * kept).sum(axis=1) / kept.sum(axis=1)
    return {"embedding": mean / np.linalg.norm(mean, axis=1, keepdims=True)}
