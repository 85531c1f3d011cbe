"""From questions to answers in words, as google-research/bert's run_squad.py goes about it (MODELS.md 20).

A context too long for the network is cut into windows that overlap; of every window the network says how well
each token would start or end the answer, and the best spans of all windows together are the n best answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from model_zoo.wordpiece import Offsets, pack, windows
from runtime.errors import UsageError
from runtime.tensors import Array, Feed

DOCUMENT_STRIDE = 128
LONGEST_QUESTION = 64
N_BEST = 20
LONGEST_ANSWER = 30

_SHORTEST_CONTEXT = 1


@dataclass(frozen=True)
class Window:
    """A stretch of a context as the network reads it.

    feed:   input_ids, input_mask and segment_ids, int32 [sequence_length] each.
    first:  where the context begins in the sequence; its tokens stand there one after the other.
    tokens: which tokens of the context they are.
    own:    of each, whether no other window shows more of the text on both its sides.
    """

    feed: Feed
    first: int
    tokens: range
    own: tuple[bool, ...]


@dataclass(frozen=True)
class Span:
    """Tokens of a context, from the first to the last one, and how good an answer they are."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class Answer:
    """Words of a context, and their share (0..1) among the n best."""

    text: str
    probability: float


def windows_of(question: Sequence[int], context: Sequence[int], sequence_length: int) -> tuple[Window, ...]:
    """[CLS] question [SEP] a stretch of the context [SEP], for stretches 128 tokens apart.

    question, context: token numbers; a question is cut after 64. Raises UsageError for a context without
    tokens, or where the question leaves no room for one.
    """
    asked = question[:LONGEST_QUESTION]
    room = sequence_length - 3 - len(asked)
    if room < _SHORTEST_CONTEXT:
        raise UsageError(
            f"a question of {len(asked)} tokens leaves no room for a context in {sequence_length} of them;"
            " ask a shorter one"
        )
    if not context:
        raise UsageError("the context holds no words that an answer could be made of; give some text")
    cuts = tuple(windows(len(context), room, DOCUMENT_STRIDE))
    return tuple(
        Window(
            feed=pack([asked, context[cut.start : cut.stop]], sequence_length),
            first=len(asked) + 2,
            tokens=cut,
            own=tuple(_best_window(cuts, token) == number for token in cut),
        )
        for number, cut in enumerate(cuts)
    )


def best_spans(window: Window, starts: Array, ends: Array) -> Iterator[Span]:
    """The spans of one window that may be answers: among its 20 best starts and its 20 best ends.

    starts, ends: logits [sequence_length]. A span begins where this window shows the most of the text around,
    lies inside the context, and has at most 30 tokens.
    """
    for start in _best(starts):
        for end in _best(ends):
            first, last = start - window.first, end - window.first
            inside = 0 <= first <= last < len(window.tokens)
            if inside and window.own[first] and last - first < LONGEST_ANSWER:
                score = float(starts[start]) + float(ends[end])
                yield Span(window.tokens[first], window.tokens[last], score)


def n_best(spans: Sequence[Span], context: str, offsets: Offsets) -> tuple[Answer, ...]:
    """The best answers, each text once; () where no span may be one.

    offsets: of each token of the context, where its characters begin and end. The texts are cut out of the
    context by these; run_squad.py finds the same place by comparing characters.
    """
    ordered = sorted(spans, key=lambda span: -span.score)
    texts: dict[str, float] = {}
    for span in ordered:
        texts.setdefault(context[offsets[span.first][0] : offsets[span.last][1]], span.score)
    kept = list(islice(texts.items(), N_BEST))
    powers = [math.exp(score - kept[0][1]) for _, score in kept]
    return tuple(Answer(text, power / sum(powers)) for (text, _), power in zip(kept, powers, strict=True))


def _best(logits: Array) -> list[int]:
    order: list[int] = np.argsort(-logits.astype(np.float64), kind="stable")[:N_BEST].tolist()
    return order


def _best_window(cuts: Sequence[range], token: int) -> int:
    """The window that shows the most on the poorer side of a token, then the longer one, then the first."""

    def shown(number: int) -> float:
        cut = cuts[number]
        return min(token - cut.start, cut.stop - 1 - token) + 0.01 * len(cut)

    return max((number for number, cut in enumerate(cuts) if token in cut), key=shown)
