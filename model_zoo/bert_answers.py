"""What a BERT for SQuAD answers, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from model_zoo import texts, wordpiece
from model_zoo.finite import finite
from model_zoo.samples import alternate
from model_zoo.spec import Ask, Split, Told
from model_zoo.squad import Answer, Span, best_spans, n_best, windows_of
from runtime.tensors import Array

_SAID = 3
"""Answers that are told of the n best."""


def tell(sequence_length: int, data: Path | None, ask: Ask) -> Iterator[Told]:
    """Every question of a SQuAD file and its answer; without one, of the composed ones (texts.passages).

    Raises UnavailableError where the vocabulary or the texts cannot be fetched, UsageError for a file that is
    none.
    """
    read = wordpiece.Reader(wordpiece.uncased_vocabulary())
    for passage in texts.squad_passages(data) if data is not None else _composed():
        for question in passage.questions:
            answers = answers_of(read, question, passage.context, sequence_length, ask)
            said = [f"{answer.text} ({answer.probability:.0%})" for answer in answers[:_SAID]]
            yield Told(question, said[0] if said else "no answer", tuple(said[1:]))


def answers_of(
    read: wordpiece.Reader, question: str, context: str, sequence_length: int, ask: Ask
) -> tuple[Answer, ...]:
    """The n best answers; raises CheckFailed for logits that are NaN or infinite."""
    context_ids, offsets = read.with_offsets(context)
    spans: list[Span] = []
    for window in windows_of(read.ids(question), context_ids, sequence_length):
        outputs = ask({name: array[np.newaxis] for name, array in window.feed.items()})
        spans += best_spans(window, _logits(outputs, "start_logits"), _logits(outputs, "end_logits"))
    return n_best(spans, context, offsets)


def _logits(outputs: Mapping[str, Array], name: str) -> Array:
    logits: Array = finite(name, outputs[name], "it decides nothing")[0]
    return logits


def _composed() -> Iterator[texts.Passage]:
    for article in alternate(texts.articles(), Split.EVALUATION):
        yield from texts.passages(article)
