"""GNMT as data (Wu et al. 2016, "Google's neural machine translation system"; MODELS.md 19).

An encoder whose first layer reads the sentence from either end, a decoder whose first layer asks normalised
Bahdanau attention what to look at (gnmt_v2: with the state of this very step). Names of tensors are those of
tensorflow/nmt's checkpoints; their kernels are [inputs + units, 4 units], with gates in the order input,
candidate, forget, output. Every count is of one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_zoo.layers import Shape
from runtime.errors import UsageError

FORGET_BIAS = 1.0
"""Added to every forget gate when it runs: it is in no checkpoint."""

UNKNOWN, START, END = 0, 1, 2
"""`<unk>`, `<s>` and `</s>` of both vocabularies; `</s>` also pads."""

FIRST_WORD = 3

FIRST_RESIDUAL = 2
"""From this layer on, in encoder and decoder, what the layer below says is added to what a layer says."""

SOURCE_EMBEDDING = "embeddings/encoder/embedding_encoder"
TARGET_EMBEDDING = "embeddings/decoder/embedding_decoder"

_ENCODER, _DECODER = "dynamic_seq2seq/encoder", "dynamic_seq2seq/decoder"
MEMORY_LAYER = f"{_DECODER}/memory_layer/kernel"
PROJECTION = f"{_DECODER}/output_projection/kernel"
ATTENTION = f"{_DECODER}/multi_rnn_cell/cell_0_attention/attention/bahdanau_attention"

FORWARD = f"{_ENCODER}/bidirectional_rnn/fw/basic_lstm_cell"
BACKWARD = f"{_ENCODER}/bidirectional_rnn/bw/basic_lstm_cell"

LONGEST = 2
"""Words said at most, as a multiple of those of the batch's longest sentence (tensorflow/nmt's default)."""


@dataclass(frozen=True)
class Beam:
    """A search for the `width` sentences with the best scores; the defaults are wmt16_gnmt_4_layer.json's.

    A score is the logarithm of the probability over ((5 + length) / 6) ** penalty (Wu et al. 2016, 7).
    """

    width: int = 10
    penalty: float = 1.0


LENGTH_OFFSET = 5.0
"""Of that length."""


@dataclass(frozen=True)
class Gnmt:
    """The numbers that tell one GNMT from another; embeddings are as wide as layers.

    Raises UsageError for fewer than two layers: the first is the bidirectional one, and hands on only the
    state of what reads backwards.
    """

    layers: int
    units: int
    source_vocabulary: int
    target_vocabulary: int

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise UsageError(f"a GNMT of {self.layers} layers, expected 2 or more; give it more layers")

    @property
    def parameters(self) -> int:
        """Learned parameters, in closed form."""
        units, layers = self.units, self.layers
        cell = 4 * units * (2 * units + 1)
        attention = 2 * units**2 + 2 * units + 1
        wider = 4 * units**2
        # the second layer of the encoder reads both directions, every layer of the decoder the attention
        cells = (layers + 1) * cell + wider + layers * (cell + wider)
        words = self.source_vocabulary + 2 * self.target_vocabulary
        return words * units + cells + attention

    def encoder_macs(self, source: int) -> int:
        """Multiply-accumulates over a sentence of `source` words, the attention's keys included."""
        cells = (self.layers + 1) * 2 + 1
        return source * self.units**2 * (4 * cells + 1)

    def step_macs(self, source: int) -> int:
        """Multiply-accumulates of one more word, over a sentence of `source` words."""
        cells = 4 * self.layers * 3 * self.units**2
        attention = self.units**2 + 2 * source * self.units
        return cells + attention + self.units * self.target_vocabulary

    def shapes(self) -> Mapping[str, Shape]:
        """Every tensor and its shape."""
        units = self.units
        shapes: dict[str, Shape] = {
            SOURCE_EMBEDDING: (self.source_vocabulary, units),
            TARGET_EMBEDDING: (self.target_vocabulary, units),
            MEMORY_LAYER: (units, units),
            f"{ATTENTION}/query_layer/kernel": (units, units),
            f"{ATTENTION}/attention_v": (units,),
            f"{ATTENTION}/attention_g": (),
            f"{ATTENTION}/attention_b": (units,),
            PROJECTION: (units, self.target_vocabulary),
        }
        for scope, inputs in self.cells().items():
            shapes[f"{scope}/kernel"] = ((inputs + 1) * units, 4 * units)
            shapes[f"{scope}/bias"] = (4 * units,)
        return shapes

    def cells(self) -> Mapping[str, int]:
        """Every LSTM's scope, and how many times `units` it reads besides its own state."""
        encoder = {encoder_scope(layer): 2 if layer == 1 else 1 for layer in range(1, self.layers)}
        decoder = {decoder_scope(layer): 2 for layer in range(self.layers)}
        return {FORWARD: 1, BACKWARD: 1, **encoder, **decoder}


def encoder_scope(layer: int) -> str:
    """The scope of the encoder's cell number 1, 2, ...; number 0 are FORWARD and BACKWARD."""
    return f"{_ENCODER}/rnn/multi_rnn_cell/cell_{layer - 1}/basic_lstm_cell"


def decoder_scope(layer: int) -> str:
    """The scope of the decoder's cell number 0, 1, ...; attention is wrapped around the first."""
    wrapped = "cell_0_attention/attention" if layer == 0 else f"cell_{layer}"
    return f"{_DECODER}/multi_rnn_cell/{wrapped}/basic_lstm_cell"
