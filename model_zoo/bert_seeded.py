"""Seeded weights for a BERT that behave like a trained one's.

What is imitated was measured on all-MiniLM-L6-v2 (DATA.md A1), a trained BERT of six layers: heads whose
attention is spread over much or over little, feed-forward branches that add more than attention does, tokens
that stay different from each other at every depth, and the same few features standing out in every layer.

Random weights alone would give logits that are noise on top of noise: the best two of 384 would be a third of
a standard deviation apart, and hardly any span would survive another rounding. In a trained network the
answer hangs on what the words are, and something carries that to the last layer. So do these: two directions
of the hidden state hold how well a token would start or end an answer, most of all a rare word of the second
segment; a pair of units per layer keeps them from fading; attention and all other units add what they make of
the context.

Made of IEEE operations on single elements only, in a fixed order: the same bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from model_zoo.bert_network import Bert, BertSize, Head, layer_name
from model_zoo.seeded import seeded_normal, seeded_uniform

Tensor = NDArray[np.float32]
Named = tuple[str, Tensor]

SEED = 0

# Embeddings, relative to a word's; MiniLM's have 1 : 0.45 : 0.45.
_POSITION_DEVIATION = 0.45
_TYPE_DEVIATION = 0.45

# Layer normalisation. MiniLM's gammas are 0.6 on average, BERT's are larger. The features that stand out
# have 2.5 times the others' gamma after attention and much less than theirs after the feed-forward branch.
_GAMMA = 0.8
_GAMMA_DEVIATION = 0.1
_BETA_DEVIATION = 0.05
_OUTLIER_SHARE = 1 / 128
_OUTLIER_GAIN = 2.5
_OUTLIER_BETA_GAIN = 30.0

# Per head: deviation of query and key features, whose product is that of the scores; and how much a key
# resembles its token's query, which draws attention to the token itself and to words like it.
_QUERY_DEVIATION = (1.1, 2.1)
_QUERY_KEY_CORRELATION = (0.0, 0.5)
_QUERY_BIAS_DEVIATION = 0.3
_KEY_BIAS_DEVIATION = 0.001  # it adds the same to all scores of a query, so training leaves it alone
_BIAS_DEVIATION = 0.05

# Inputs of the activation: most are below zero, as in a trained network.
_INNER_MEAN = -0.4
_INNER_MEAN_DEVIATION = 0.25
_INNER_DEVIATION = 1.05

# Of the two branches and of the pair of units at 12 layers. Other depths add more often and therefore less.
_DEPTH = 12
_ATTENTION_BRANCH = 0.3
_FEED_FORWARD_BRANCH = 1.2
_KEPT = 0.35
_KEPT_INPUT = 0.25  # of the pair, to the other units': it must not set the range of the activations

# What the answer hangs on, as lengths along a direction; a word's embedding has a length of sqrt(hidden).
_WORD_SCORE = 14.0
_SEGMENT_SCORE = 2.5
_CUBED_DEVIATION = 3.6  # of the cube of a seeded normal value; cubing makes a few words stand out

# Logits have a deviation of about 3 over the tokens of a text, as those of a BERT trained on SQuAD.
_CONTEXT_LOGIT_DEVIATION = 1.4
_SCORE_LOGIT = 1.1

_POOLER_DEVIATION = 0.02  # google-research/bert's initial value; no output depends on it


def seeded_weights(network: Bert) -> Iterator[Named]:
    """Name and value of all tensors of `network.shapes()` and `network.unused_shapes()`, one at a time."""
    size = network.size
    yield from _embeddings(size)
    for index in range(size.layers):
        yield from _attention(layer_name(index), size)
        yield from _feed_forward(layer_name(index), size)
    for name, shape in network.unused_shapes().items():
        yield name, _normal(name, shape, _POOLER_DEVIATION)
    if network.head is Head.SPAN:
        yield from _span_head(size)


def answer_directions(hidden: int) -> Tensor:
    """[2, hidden] of -1 and 1: along these a token's state says how well it starts and ends an answer."""
    signs = seeded_normal("bert/answer_directions", (2, hidden), SEED) < 0
    return np.where(signs, np.float32(-1), np.float32(1))


def outlier_features(hidden: int) -> NDArray[np.intp]:
    """The features that stand out, the same in every layer (Kovaleva et al. 2021, "BERT busters")."""
    order = np.argsort(seeded_uniform("bert/outlier_features", (hidden,), 0, 1, SEED), kind="stable")
    return order[: max(1, round(hidden * _OUTLIER_SHARE))]


def _embeddings(size: BertSize) -> Iterator[Named]:
    scope, hidden = "bert/embeddings", size.hidden
    directions = answer_directions(hidden)
    words = _normal(f"{scope}/word_embeddings", (size.vocabulary, hidden), 1)
    for index, direction in enumerate(directions):
        words += _word_scores(f"{scope}/scores_{index}", size)[:, None] * direction
    yield f"{scope}/word_embeddings", words
    name = f"{scope}/position_embeddings"
    yield name, _normal(name, (size.positions, hidden), _POSITION_DEVIATION)
    types = _normal(f"{scope}/token_type_embeddings", (size.types, hidden), _TYPE_DEVIATION)
    step = (directions[0] + directions[1]) * np.float32(_SEGMENT_SCORE / math.sqrt(hidden))
    types[0] -= step
    types[1:] += step
    yield f"{scope}/token_type_embeddings", types
    yield from _normalisation(f"{scope}/LayerNorm", size)


def _word_scores(name: str, size: BertSize) -> Tensor:
    """A few words stand out; the frequent ones, which come first in BERT's vocabulary, do so less."""
    normal = seeded_normal(name, (size.vocabulary,), SEED)
    rarity = np.sqrt(np.arange(size.vocabulary) / size.vocabulary).astype(np.float32)
    length = _WORD_SCORE / (_CUBED_DEVIATION * math.sqrt(size.hidden))
    return normal * normal * normal * rarity * np.float32(length)


def _attention(layer: str, size: BertSize) -> Iterator[Named]:
    hidden, scope = size.hidden, f"{layer}/attention/self"
    unit = 1 / (_GAMMA * math.sqrt(hidden))  # a kernel with this deviation gives features a deviation of 1
    query, key = (_normal(f"{scope}/{name}/kernel", (hidden, hidden), unit) for name in ("query", "key"))
    gain = _per_head(f"{scope}/gain", size, _QUERY_DEVIATION)
    correlation = _per_head(f"{scope}/correlation", size, _QUERY_KEY_CORRELATION)
    key *= np.sqrt(np.float32(1) - correlation * correlation)
    key += query * correlation
    yield f"{scope}/query/kernel", query * gain
    yield f"{scope}/query/bias", _normal(f"{scope}/query/bias", (hidden,), _QUERY_BIAS_DEVIATION)
    yield f"{scope}/key/kernel", key * gain
    yield f"{scope}/key/bias", _normal(f"{scope}/key/bias", (hidden,), _KEY_BIAS_DEVIATION)
    branch = _ATTENTION_BRANCH * _share(size)
    for name, deviation in (
        (f"{scope}/value", unit),
        (f"{layer}/attention/output/dense", branch / math.sqrt(hidden)),
    ):
        yield f"{name}/kernel", _normal(f"{name}/kernel", (hidden, hidden), deviation)
        yield f"{name}/bias", _normal(f"{name}/bias", (hidden,), _BIAS_DEVIATION * _share(size))
    yield from _normalisation(f"{layer}/attention/output/LayerNorm", size, _OUTLIER_GAIN)


def _feed_forward(layer: str, size: BertSize) -> Iterator[Named]:
    """The kernel that leads back has its rows twice, the second time negated.

    The mean of the activation, the same for every token, then cancels out instead of growing with depth.
    And unit i of both halves, reading x and -x, adds gelu(x) - gelu(-x), which is exactly x.
    """
    hidden, inner, half = size.hidden, size.intermediate, (size.intermediate + 1) // 2
    wide, back = f"{layer}/intermediate/dense", f"{layer}/output/dense"
    unit = _INNER_DEVIATION / (_GAMMA * math.sqrt(hidden))
    kernel = _normal(f"{wide}/kernel", (hidden, inner), unit)
    bias = _normal(f"{wide}/bias", (inner,), _INNER_MEAN_DEVIATION) + np.float32(_INNER_MEAN)
    branch = _FEED_FORWARD_BRANCH * _share(size)
    rows = _normal(f"{back}/kernel", (half, hidden), branch / math.sqrt(inner))
    for index, direction in enumerate(answer_directions(hidden)):
        reading = direction * np.float32(_KEPT_INPUT * unit)
        kernel[:, index], kernel[:, half + index] = reading, -reading
        bias[[index, half + index]] = 0
        rows[index] = direction * np.float32(_KEPT * _share(size) ** 2 / (_KEPT_INPUT * unit * hidden))
    yield f"{wide}/kernel", kernel
    yield f"{wide}/bias", bias
    yield f"{back}/kernel", np.concatenate([rows, -rows[: inner - half]])
    yield f"{back}/bias", _normal(f"{back}/bias", (hidden,), _BIAS_DEVIATION * _share(size))
    yield from _normalisation(f"{layer}/output/LayerNorm", size, 1 / _OUTLIER_GAIN)


def _normalisation(name: str, size: BertSize, outlier_gain: float = 1.0) -> Iterator[Named]:
    hidden = size.hidden
    gamma = _normal(f"{name}/gamma", (hidden,), _GAMMA_DEVIATION) + np.float32(_GAMMA)
    beta = _normal(f"{name}/beta", (hidden,), _BETA_DEVIATION * _share(size))
    outliers = outlier_features(hidden)
    gamma[outliers] *= np.float32(outlier_gain)
    if outlier_gain > 1:
        beta[outliers] *= np.float32(_OUTLIER_BETA_GAIN)
    yield f"{name}/gamma", gamma
    yield f"{name}/beta", beta


def _span_head(size: BertSize) -> Iterator[Named]:
    name, root = "cls/squad/output_weights", math.sqrt(size.hidden)
    kernel = _normal(name, (2, size.hidden), _CONTEXT_LOGIT_DEVIATION / (_GAMMA * root))
    kernel += answer_directions(size.hidden) * np.float32(_SCORE_LOGIT / root)
    yield name, kernel
    yield "cls/squad/output_bias", np.zeros(2, np.float32)


def _share(size: BertSize) -> float:
    """What a branch adds, relative to one of 12 layers: all branches together add as much at any depth."""
    return math.sqrt(_DEPTH / size.layers)


def _per_head(name: str, size: BertSize, bounds: tuple[float, float]) -> Tensor:
    """[hidden]: one value per head, for each of its features."""
    return np.repeat(seeded_uniform(name, (size.heads,), *bounds, SEED), size.head_size)


def _normal(name: str, shape: tuple[int, ...], deviation: float) -> Tensor:
    values = seeded_normal(name, shape, SEED)
    values *= np.float32(deviation)
    return values
