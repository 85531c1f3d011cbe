"""BERT as data (Devlin et al. 2018, "BERT: pre-training of deep bidirectional transformers"), and BERT-Large.

Names of tensors are those of google-research/bert's checkpoints. Batches are not mentioned: every count is
of one sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.feed_checks import check_numbers
from model_zoo.sentences_exam import exam_of
from model_zoo.spec import Ask, Counts, FeedSource, ModelSpec, PaperRow, Task, Told, Variant
from model_zoo.squad_exam import exam_of as squad_exam
from model_zoo.tasks import EMBEDDING, SPAN
from runtime.errors import UsageError, unknown_name
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source

EPSILON = 1e-12
"""Of every layer normalisation."""

MASKED = -10000.0
"""Added to the attention scores of padding."""

Shape = tuple[int, ...]


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


_TASKS: Mapping[Head, Task] = {Head.SPAN: SPAN, Head.EMBEDDING: EMBEDDING}
_RECIPES: Mapping[Head, str] = {
    Head.SPAN: "mean-squared-error+smooth:0.5+shift+feedback",
    Head.EMBEDDING: "min-max+smooth:0.6",
}
"""How they become INT8: MiniLM with 22 dB, where ranges alone give 14; seeded BERT-Base with 27, not 24."""


def model_of(
    name: str, title: str, network: Bert, paper: PaperRow | None, variants: Mapping[str, Variant]
) -> ModelSpec:
    """A BERT for SQuAD as a reference model, with seeded weights unless a file is given."""
    description = f"{title} for SQuAD 1.1, {network.sequence_length} tokens; the pooler is counted, not run"
    reference = replace(variant_of(network, description), exams=(squad_exam(network.sequence_length),))
    return ModelSpec(name, title, paper, {"": reference, **variants})


def variant_of(network: Bert, description: str) -> Variant:
    """One network, in TensorFlow."""
    return Variant(
        description=description,
        build={"tensorflow": partial(build_tensorflow, network)},
        counts={"tensorflow": Counts(network.parameters, network.macs)},
        feeds=partial(feeds_of, network),
        task=_TASKS[network.head],
        calibration_method=_RECIPES[network.head],
        tell=partial(_tell_answers, network) if network.head is Head.SPAN else None,
        check=partial(check, network),
    )


def check(network: Bert, feed: Feed) -> None:
    """Raises FeedError for tokens beyond the vocabulary, and for masks or segments other than 0 and 1."""
    limits = {"input_ids": network.size.vocabulary, "input_mask": 2, "segment_ids": network.size.types}
    for name, limit in limits.items():
        check_numbers(name, feed[name], limit)


def _tell_answers(network: Bert, data: Path | None, ask: Ask) -> Iterator[Told]:
    from model_zoo.bert_answers import tell

    return tell(network.sequence_length, data, ask)


def build_tensorflow(network: Bert, weights: Path | None = None) -> Source:
    """The network in TensorFlow; without a file, seeded weights for SQuAD, MiniLM's for an embedding.

    Raises UsageError for a file that does not fit, UnavailableError where MiniLM's cannot be fetched.
    """
    from model_zoo.bert_tensorflow import tensorflow_source
    from model_zoo.bert_weights import weights_of

    return tensorflow_source(network, weights_of(network, weights))


def feeds_of(network: Bert, framework: str) -> FeedSource:
    """Texts as the network takes them; raises UsageError for an unknown framework."""
    from model_zoo.feeds import sentence_feeds, squad_feeds

    if framework != "tensorflow":
        raise unknown_name("framework of BERT", framework, ("tensorflow",))
    feeds = {Head.SPAN: squad_feeds, Head.EMBEDDING: sentence_feeds}[network.head]
    return feeds(network.sequence_length)


LARGE = Bert(BertSize(layers=24, hidden=1024, heads=16, intermediate=4096), sequence_length=384)
"""MODELS.md 20."""

MINILM = Bert(
    BertSize(layers=6, hidden=384, heads=12, intermediate=1536),
    sequence_length=128,
    head=Head.EMBEDDING,
    gelu=Gelu.ERF,
)
"""all-MiniLM-L6-v2: a small BERT trained by others, whose weights can be had (DATA.md A1)."""

SPEC = model_of(
    "bert",
    "BERT-Large",
    LARGE,
    PaperRow(batch_size=2, flops=5.39e11, seconds=0.056),
    {
        "minilm": replace(
            variant_of(MINILM, "all-MiniLM-L6-v2, trained: one embedding per sentence, 128 tokens"),
            trained="all-MiniLM-L6-v2's own",
            exams=(exam_of(MINILM.sequence_length),),
        )
    },
)
