"""Windows, n best answers and their words: google-research/bert's rules, restated from its description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_zoo import wordpiece
from model_zoo.bert_answers import answers_of, tell
from model_zoo.squad import Span, best_spans, n_best, windows_of
from runtime.errors import CheckFailed, UnavailableError, UsageError
from runtime.tensors import Array, Feed

LENGTH = 384


@pytest.fixture(scope="module")
def read() -> wordpiece.Reader:
    try:
        return wordpiece.Reader(wordpiece.uncased_vocabulary())
    except UnavailableError as error:
        pytest.skip(str(error))


def test_a_short_context_is_one_window() -> None:
    (window,) = windows_of([7, 8], [1, 2, 3], 12)
    assert window.feed["input_ids"].tolist() == [101, 7, 8, 102, 1, 2, 3, 102, 0, 0, 0, 0]
    assert window.feed["segment_ids"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert window.first == 4
    assert window.own == (True, True, True)


def test_a_long_context_is_cut_128_tokens_apart_and_every_token_is_owned_once() -> None:
    """run_squad.py's rule of the maximum context leaves each token to one of its windows."""
    context = list(range(1000, 1900))
    found = windows_of([5] * 10, context, LENGTH)
    assert [window.tokens.start for window in found] == [0, 128, 256, 384, 512, 640]
    assert all(len(window.tokens) == LENGTH - 13 for window in found[:-1])
    owners = [token for window in found for token, own in zip(window.tokens, window.own, strict=True) if own]
    assert sorted(owners) == list(range(900))


def test_a_token_belongs_to_the_window_that_shows_most_around_it() -> None:
    """run_squad.py: four words before and behind are better than one before and five behind."""
    found = windows_of([5] * 10, list(range(900)), LENGTH)
    token = 300
    (owner,) = [w for w in found if token in w.tokens and w.own[token - w.tokens.start]]
    poorer = {
        w.tokens.start: min(token - w.tokens.start, w.tokens.stop - 1 - token)
        for w in found
        if token in w.tokens
    }
    assert poorer[owner.tokens.start] == max(poorer.values())


def test_a_question_is_cut_after_64_tokens() -> None:
    (window,) = windows_of([5] * 100, [1], LENGTH)
    assert window.first == 66


def test_no_room_and_no_context_are_said() -> None:
    with pytest.raises(UsageError, match="a question of 9 tokens leaves no room for a context in 12 of them"):
        windows_of([5] * 9, [1, 2], 12)
    with pytest.raises(UsageError, match="the context holds no words"):
        windows_of([5], [], 12)


def spans_by_brute_force(
    window: object, starts: Array, ends: Array, first: int, count: int
) -> set[tuple[int, int]]:
    best_starts, best_ends = (set(np.argsort(-x)[:20].tolist()) for x in (starts, ends))
    return {
        (start - first, end - first)
        for start in range(len(starts))
        for end in range(start, min(start + 30, len(ends)))
        if start in best_starts and end in best_ends and first <= start and end < first + count
    }


def test_spans_lie_in_the_context_are_short_and_among_the_best_20() -> None:
    random = np.random.default_rng(0)
    (window,) = windows_of([5] * 10, list(range(60)), 100)
    starts, ends = random.standard_normal((2, 100)).astype(np.float32)
    found = list(best_spans(window, starts, ends))
    assert {(span.first, span.last) for span in found} == spans_by_brute_force(window, starts, ends, 12, 60)
    for span in found:
        assert span.score == pytest.approx(float(starts[span.first + 12] + ends[span.last + 12]))


def test_a_span_that_begins_where_another_window_shows_more_is_left_to_that() -> None:
    first, *_ = windows_of([5] * 10, list(range(900)), LENGTH)
    logits = np.zeros(LENGTH, np.float32)
    logits[first.first + 360] = 9  # token 360 stands at the end of the first window
    assert not [span for span in best_spans(first, logits, logits) if span.first == 360]


def test_answers_are_words_of_the_context_each_once_with_shares_that_sum_to_one() -> None:
    context = "Ada wrote it. Ada did."
    offsets = [(0, 3), (4, 9), (10, 12), (12, 13), (14, 17), (18, 21), (21, 22)]
    spans = [Span(0, 0, 2.0), Span(1, 2, 1.0), Span(4, 4, 3.0)]
    answers = n_best(spans, context, offsets)
    assert [answer.text for answer in answers] == ["Ada", "wrote it"]
    assert answers[0].probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert sum(answer.probability for answer in answers) == pytest.approx(1)
    assert n_best([], context, offsets) == ()


def asked_for(word: str, read: wordpiece.Reader) -> object:
    """A network that has found `word`: logits are high where its first and last token stand."""
    ids = read.ids(word)

    def ask(feed: Feed) -> Mapping[str, Array]:
        tokens = feed["input_ids"][0].tolist()
        logits = {name: np.full((1, len(tokens)), -9, np.float32) for name in ("start_logits", "end_logits")}
        second = feed["segment_ids"][0].tolist().index(1)
        for start in range(second, len(tokens) - len(ids)):
            if tokens[start : start + len(ids)] == ids:
                logits["start_logits"][0, start] = logits["end_logits"][0, start + len(ids) - 1] = 9
        return logits

    return ask


def test_the_answer_has_the_letters_of_the_context_not_of_the_tokens(read: wordpiece.Reader) -> None:
    """ "naïve" is "naive" to the uncased vocabulary, and Zürich two tokens."""
    context = "In Zürich, a naïve Frenchman met Niels-Bohr."
    for word in ("Zürich", "naïve Frenchman", "Niels-Bohr"):
        answers = answers_of(read, "who?", context, LENGTH, asked_for(word, read))  # type: ignore[arg-type]
        assert answers[0].text == word


def test_an_answer_far_down_a_long_context_is_found(read: wordpiece.Reader) -> None:
    context = "Nothing to see here. " * 200 + "The capital is Reykjavik today. " + "Nothing again. " * 50
    answers = answers_of(read, "which capital?", context, LENGTH, asked_for("Reykjavik", read))  # type: ignore[arg-type]
    assert answers[0].text == "Reykjavik"


def test_every_question_of_a_file_is_told(tmp_path: Path, read: wordpiece.Reader) -> None:
    path = tmp_path / "dev.json"
    paragraph = {
        "context": "Ada wrote the first program.",
        "qas": [{"question": "Who wrote it?"}, {"question": "What?"}],
    }
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), encoding="utf-8")
    told = list(tell(LENGTH, path, asked_for("Ada", read)))  # type: ignore[arg-type]
    assert [each.asked for each in told] == ["Who wrote it?", "What?"]
    assert told[0].answer.startswith("Ada (")
    assert len(told[0].more) == 2


def test_logits_that_are_no_numbers_are_no_answer(read: wordpiece.Reader) -> None:
    def ask(feed: Feed) -> Mapping[str, Array]:
        nothing = np.full(feed["input_ids"].shape, np.nan, np.float32)
        return {"start_logits": nothing, "end_logits": nothing}

    with pytest.raises(CheckFailed, match="it decides nothing"):
        answers_of(read, "who?", "somebody", LENGTH, ask)
