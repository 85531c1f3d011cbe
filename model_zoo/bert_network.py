"""BERT as data (Devlin et al. 2018, "BERT: pre-training of deep bidirectional transformers").

Names of tensors are those of google-research/bert's checkpoints. Batches are not mentioned: every count is
of one sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model_zoo.layers import Shape
from runtime.errors import UsageError

EPSILON = 1e-12
"""Of every layer normalisation."""

MASKED = -10000.0
"""Added to the attention scores of padding."""


class Head(StrEnum):
    """What is made of the last layer: logits of an answer's start and end, or one vector per text."""

    SPAN = "span"
    EMBEDDING = "embedding"


class Gelu(StrEnum):
    """Which of the two definitions of the activation; the values are ONNX's names for them."""

    TANH = "tanh"
    ERF = "none"


@dataclass(frozen=True)
class BertSize:
    """The numbers that tell one BERT from another; the defaults are the uncased English vocabulary's.

    Raises UsageError where the heads do not divide the hidden size.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    positions: int = 512
    types: int = 2

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise UsageError(f"{self.heads} heads do not divide the hidden size {self.hidden}; choose others")

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True)
class Bert:
    """A BERT that reads `sequence_length` tokens at a time.

    Raises UsageError for a sequence longer than the positions it has embeddings for.
    """

    size: BertSize
    sequence_length: int
    head: Head = Head.SPAN
    gelu: Gelu = Gelu.TANH

    def __post_init__(self) -> None:
        if not 1 <= self.sequence_length <= self.size.positions:
            raise UsageError(
                f"sequence length {self.sequence_length} is not within the {self.size.positions} positions"
                " the network has embeddings for"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample's matrix products (MODELS.md 0.3)."""
        tokens, hidden = self.sequence_length, self.size.hidden
        dense = 4 * tokens * hidden**2 + 2 * tokens * hidden * self.size.intermediate
        attention = 2 * tokens**2 * hidden
        span = 2 * tokens * hidden if self.head is Head.SPAN else 0
        return self.size.layers * (dense + attention) + span

    @property
    def parameters(self) -> int:
        """Learned parameters, those of the pooler included."""
        hidden, inner = self.size.hidden, self.size.intermediate
        rows = self.size.vocabulary + self.size.positions + self.size.types
        norm = 2 * hidden
        layer = 4 * (hidden**2 + hidden) + 2 * hidden * inner + inner + hidden + 2 * norm
        span = 2 * hidden + 2 if self.head is Head.SPAN else 0
        return rows * hidden + norm + self.size.layers * layer + hidden**2 + hidden + span

    def shapes(self) -> dict[str, Shape]:
        """Every tensor the network computes with, and its shape; kernels are [inputs, outputs]."""
        size, embeddings = self.size, "bert/embeddings"
        shapes: dict[str, Shape] = {
            f"{embeddings}/word_embeddings": (size.vocabulary, size.hidden),
            f"{embeddings}/position_embeddings": (size.positions, size.hidden),
            f"{embeddings}/token_type_embeddings": (size.types, size.hidden),
            **_normalisation(f"{embeddings}/LayerNorm", size.hidden),
        }
        for index in range(size.layers):
            shapes |= _layer(layer_name(index), size)
        if self.head is Head.SPAN:
            shapes |= {"cls/squad/output_weights": (2, size.hidden), "cls/squad/output_bias": (2,)}
        return shapes

    def unused_shapes(self) -> dict[str, Shape]:
        """The pooler: learned with the rest and counted as such, but no output of ours depends on it."""
        return _dense("bert/pooler/dense", self.size.hidden, self.size.hidden)


def layer_name(index: int) -> str:
    """The scope of an encoder layer's tensors."""
    return f"bert/encoder/layer_{index}"


def _layer(name: str, size: BertSize) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for projection in ("query", "key", "value"):
        shapes |= _dense(f"{name}/attention/self/{projection}", size.hidden, size.hidden)
    return {
        **shapes,
        **_dense(f"{name}/attention/output/dense", size.hidden, size.hidden),
        **_normalisation(f"{name}/attention/output/LayerNorm", size.hidden),
        **_dense(f"{name}/intermediate/dense", size.hidden, size.intermediate),
        **_dense(f"{name}/output/dense", size.intermediate, size.hidden),
        **_normalisation(f"{name}/output/LayerNorm", size.hidden),
    }


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def _normalisation(name: str, features: int) -> dict[str, Shape]:
    return {f"{name}/gamma": (features,), f"{name}/beta": (features,)}


LARGE = Bert(BertSize(layers=24, hidden=1024, heads=16, intermediate=4096), sequence_length=384)
"""MODELS.md 20."""

MINILM = Bert(
    BertSize(layers=6, hidden=384, heads=12, intermediate=1536),
    sequence_length=128,
    head=Head.EMBEDDING,
    gelu=Gelu.ERF,
)
"""all-MiniLM-L6-v2: a small BERT trained by others, whose weights can be had (DATA.md A1)."""
