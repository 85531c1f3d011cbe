"""A small GNMT for tests, and what it computes, written down in NumPy at double precision (MODELS.md 19)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model_zoo.gnmt import Gnmt
from model_zoo.seeded import seeded_normal
from runtime.tensors import Array

RELATIVE = Gnmt(layers=4, units=64, source_vocabulary=300, target_vocabulary=400)

_ENCODER, _DECODER = "dynamic_seq2seq/encoder", "dynamic_seq2seq/decoder/multi_rnn_cell"
_ATTENTION = f"{_DECODER}/cell_0_attention/attention/bahdanau_attention"

START, END = 1, 2

Weights = Mapping[str, Array]
Cells = list[tuple[Array, Array]]
Step = tuple[Array, Cells, Array, Array]


def random_weights(network: Gnmt) -> dict[str, Array]:
    """Weights that keep every part of the network busy; they say nothing sensible."""
    return {
        name: seeded_normal(f"relative/{name}", shape) * np.float32(0.3 if len(shape) == 2 else 1)
        for name, shape in network.shapes().items()
    }


def sentences(network: Gnmt, lengths: tuple[int, ...] = (7, 4, 5), words: int = 7) -> dict[str, Array]:
    """Random sentences filled with `</s>`."""
    source = np.random.default_rng(0).integers(3, network.source_vocabulary, (len(lengths), words))
    for row, length in zip(source, lengths, strict=True):
        row[length:] = END
    return {"source": source.astype(np.int32), "source_length": np.array(lengths, np.int32)}


class Oracle:
    """One sentence at a time, without padding."""

    def __init__(self, network: Gnmt, weights: Weights) -> None:
        self.network = network
        self.weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def encode(self, words: Array) -> tuple[Array, Cells]:
        """[words, units] for the attention, and (h, c) of every layer for the decoder."""
        embedded = self.weights["embeddings/encoder/embedding_encoder"][words]
        ahead, _ = self._sequence(embedded, f"{_ENCODER}/bidirectional_rnn/fw")
        back, last = self._sequence(embedded[::-1], f"{_ENCODER}/bidirectional_rnn/bw")
        below, cells = np.concatenate([ahead, back[::-1]], axis=1), [last]
        for layer in range(self.network.layers - 1):
            said, last = self._sequence(below, f"{_ENCODER}/rnn/multi_rnn_cell/cell_{layer}")
            below = said + below if layer > 0 else said
            cells.append(last)
        return below, cells

    def step(self, word: int, cells: Cells, attention: Array, memory: Array) -> Step:
        """Logits, cells, attention, and the shares [words] that it gave."""
        x = self.weights["embeddings/decoder/embedding_decoder"][word]
        first = self._cell(np.append(x, attention), cells[0], f"{_DECODER}/cell_0_attention/attention")
        new, below = [first], first[0]
        shares = self._shares(below, memory)
        attention = shares @ memory
        for layer in range(1, self.network.layers):
            state = self._cell(np.append(below, attention), cells[layer], f"{_DECODER}/cell_{layer}")
            below = state[0] + below if layer > 1 else state[0]
            new.append(state)
        logits = below @ self.weights["dynamic_seq2seq/decoder/output_projection/kernel"]
        return logits, new, attention, shares

    def greedy(self, words: Array) -> tuple[list[int], list[int]]:
        """What is said, up to and with `</s>`, and the place that each word looks at most."""
        memory, cells = self.encode(words)
        word, attention = START, np.zeros(self.network.units)
        said: list[int] = []
        looked: list[int] = []
        while word != END and len(said) < 2 * len(words):
            logits, cells, attention, shares = self.step(word, cells, attention, memory)
            word = int(logits.argmax())
            said.append(word)
            looked.append(int(shares.argmax()))
        return said, looked

    def log_probability(self, words: Array, said: list[int]) -> float:
        """Of saying these words, one after the other."""
        memory, cells = self.encode(words)
        word, attention, total = START, np.zeros(self.network.units), 0.0
        for following in said:
            logits, cells, attention, _ = self.step(word, cells, attention, memory)
            total += float(log_softmax(logits)[following])
            word = following
        return total

    def _sequence(self, inputs: Array, scope: str) -> tuple[Array, tuple[Array, Array]]:
        state = (np.zeros(self.network.units), np.zeros(self.network.units))
        said = []
        for x in inputs:
            state = self._cell(x, state, scope)
            said.append(state[0])
        return np.array(said), state

    def _cell(self, x: Array, state: tuple[Array, Array], scope: str) -> tuple[Array, Array]:
        hidden, cell = state
        kernel, bias = (self.weights[f"{scope}/basic_lstm_cell/{part}"] for part in ("kernel", "bias"))
        enter, candidate, forget, leave = np.split(np.append(x, hidden) @ kernel + bias, 4)
        cell = _sigmoid(forget + 1) * cell + _sigmoid(enter) * np.tanh(candidate)
        return _sigmoid(leave) * np.tanh(cell), cell

    def _shares(self, query: Array, memory: Array) -> Array:
        v, g, b = (self.weights[f"{_ATTENTION}/attention_{part}"] for part in "vgb")
        keys = memory @ self.weights["dynamic_seq2seq/decoder/memory_layer/kernel"]
        asked = query @ self.weights[f"{_ATTENTION}/query_layer/kernel"]
        scores = np.array([np.sum(g * v / np.linalg.norm(v) * np.tanh(key + asked + b)) for key in keys])
        return np.exp(log_softmax(scores))


def log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max()
    result: Array = shifted - np.log(np.exp(shifted).sum())
    return result


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))
