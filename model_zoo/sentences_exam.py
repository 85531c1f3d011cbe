"""What MiniLM is judged on: whether its embedding of a review tells that the customer recommends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from model_zoo import wordpiece
from model_zoo.exam_parts import batched, refuse_folder
from model_zoo.reviews import REVIEWS, Review, reviews
from model_zoo.sentences_head import Head, read_head
from model_zoo.spec import Exam, Labels, Question, Split
from model_zoo.wordpiece import Tokenize
from runtime.errors import GraphError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

_BATCH = 50


def exam_of(sequence_length: int) -> Exam:
    """For all-MiniLM-L6-v2, to whose FP32 embeddings the head is fitted (`sentences_head`)."""
    return Exam(
        data=f"{REVIEWS} reviews of clothes, recommending or not, by a fixed head, fitted to FP32 embeddings"
        f" of {REVIEWS} others",
        labels=Labels.REAL,
        metrics=("auc",),
        questions=partial(_questions, sequence_length),
        answers=_answers,
        say=_said,
    )


def feed_of(tokenize: Tokenize, asked: Sequence[Review], sequence_length: int) -> Feed:
    """The texts as the network takes them, each cut to fit."""
    packed = [
        wordpiece.pack([tokenize(review.text)[: sequence_length - 2]], sequence_length) for review in asked
    ]
    return {name: np.stack([feed[name] for feed in packed]) for name in packed[0]}


def _questions(sequence_length: int, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where reviews or vocabulary cannot be fetched, or another set is given."""
    refuse_folder(folder, "reviews of clothes")
    tokenize = wordpiece.tokenizer(wordpiece.uncased_vocabulary(progress))
    for part in batched(reviews(progress)[Split.EVALUATION], _BATCH):
        yield Question(
            feed_of(tokenize, part, sequence_length),
            [review.recommended for review in part],
            [review.text for review in part],
        )


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[float]:
    """Logits of a recommendation; raises GraphError for outputs of another kind."""
    head = _head()
    (embeddings,) = outputs.values() if len(outputs) == 1 else (np.empty(0),)
    wanted = len(next(iter(feed.values()))), len(head.weights)
    if embeddings.shape != wanted:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        raise GraphError(f"the head wants one output {list(wanted)}, the graph gives {shapes}")
    logits: list[float] = head.logits(embeddings).tolist()
    return logits


@cache
def _head() -> Head:
    return read_head()


def _said(what: bool | float) -> str:
    if isinstance(what, bool):
        return "recommended" if what else "not recommended"
    return f"recommended by {1 / (1 + np.exp(-what)):.1%}"
