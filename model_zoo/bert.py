"""BERT-Large for SQuAD, MiniLM for embeddings, and what every BERT of the zoo has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.bert_network import LARGE, MINILM, Bert, Head
from model_zoo.feed_checks import check_numbers
from model_zoo.sentences_exam import exam_of
from model_zoo.spec import Ask, Counts, FeedSource, ModelSpec, PaperRow, Task, Told, Variant
from model_zoo.squad_exam import exam_of as squad_exam
from model_zoo.tasks import EMBEDDING, SPAN
from runtime.errors import unknown_name
from runtime.tensors import Feed

if TYPE_CHECKING:
    from exporters.source import Source


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
