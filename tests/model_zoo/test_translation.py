"""The tasks of a network that translates: agreement in closed form, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.translation import NEXT_WORD, READING, TRANSLATION
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array


def target(*rows: list[int]) -> dict[str, Array]:
    return {"target": np.array(rows, np.int32)}


def test_agreement_is_the_share_of_equal_words_in_place() -> None:
    reference = target([5, 6, 7, 2], [5, 6, 7, 2], [5, 6, 7, 2], [5, 6, 7, 2])
    outputs = target([5, 6, 7, 2], [5, 9, 7, 2], [5, 6, 2, 2], [6, 7, 2, 2])
    assert TRANSLATION.agreeing(reference, outputs, 4).tolist() == [1, 3 / 4, 2 / 4, 0]


def test_what_stands_behind_the_end_does_not_count() -> None:
    assert TRANSLATION.agreeing(target([5, 2, 2]), target([5, 2, 9]), 1).tolist() == [1]
    shorter, longer = target([5, 2]), target([5, 2, 2, 2])
    assert TRANSLATION.agreeing(shorter, longer, 1).tolist() == [1]


def test_a_sentence_without_an_end_is_all_of_its_words() -> None:
    assert TRANSLATION.agreeing(target([5, 6, 7]), target([5, 6, 2]), 1).tolist() == [2 / 3]


def test_of_a_beam_the_best_sentence_counts() -> None:
    beams = np.array([[[5, 8], [6, 9], [2, 2]]], np.int32)
    outputs = {"target": beams, "scores": np.zeros((1, 2), np.float32)}
    assert [row.tolist() for row in TRANSLATION.sentences(outputs)] == [[5, 6, 2]]
    assert TRANSLATION.agreeing(target([5, 6, 2]), outputs, 1).tolist() == [1]


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ({"logits": np.zeros((2, 3), np.float32)}, r"\{'logits': 'float32\[2, 3\]'\}"),
        ({"target": np.zeros((2, 3), np.float32)}, r"\{'target': 'float32\[2, 3\]'\}"),
        ({"target": np.zeros(2, np.int32)}, r"\{'target': 'int32\[2\]'\}"),
    ],
)
def test_other_outputs_are_no_translation(outputs: dict[str, Array], found: str) -> None:
    with pytest.raises(GraphError, match=f"wants an output target of whole numbers.* gives {found}"):
        TRANSLATION.agreeing(outputs, outputs, 2)


def test_the_next_word_is_the_likeliest() -> None:
    outputs = {
        "logits": np.array([[0, 3, 1], [4, 4, 0]], np.float32),
        "next_attention": np.zeros((2, 8), np.float32),
    }
    assert NEXT_WORD.answers(outputs).tolist() == [[1], [0]]


def test_a_step_without_logits_is_refused() -> None:
    with pytest.raises(GraphError, match=r"next word wants an output logits .* gives \{'words': \[2\]\}"):
        NEXT_WORD.answers({"words": np.zeros(2, np.int32)})


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(CheckFailed, match="output 'logits' holds 1 NaN or infinite values of 3"):
        NEXT_WORD.answers({"logits": np.array([[0, np.nan, 1]], np.float32)})


def reading(*, flipped: bool = False) -> dict[str, Array]:
    values = np.random.default_rng(0).standard_normal((2, 6, 16)).astype(np.float32)
    hidden, other = (-values if flipped else values) * 0.3
    return {"memory": np.ones((6, 4, 16), np.float32), "hidden_0": hidden, "hidden_1": other}


def test_a_reading_is_that_of_all_states_and_of_nothing_else() -> None:
    outputs = reading()
    answers = READING.answers(outputs)
    assert answers.shape == (6, 1)
    assert len(np.unique(answers)) > 2
    np.testing.assert_array_equal(READING.answers({**outputs, "memory": outputs["memory"] * 2}), answers)
    assert READING.agreeing(outputs, {**outputs, "hidden_1": -outputs["hidden_1"]}, 6).mean() < 1
    assert READING.agreeing(outputs, reading(flipped=True), 6).tolist() == [0] * 6


def test_a_reading_refuses_outputs_that_are_none() -> None:
    with pytest.raises(GraphError, match=r"reading wants an output hidden_0 \[samples, values\]"):
        READING.answers({"memory": np.ones((6, 4, 16), np.float32)})
    broken = {**reading(), "memory": np.full((6, 4, 16), np.inf, np.float32)}
    with pytest.raises(CheckFailed, match="output 'memory' holds 384 NaN or infinite values"):
        READING.answers(broken)
