"""CTC's best path against hand-worked columns and TensorFlow's own decoder."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.text_recognition import BEST_PATH, BestPath, texts
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array

ALPHABET = "abc"


def scores(*paths: str) -> Array:
    """[samples, columns, 4]: the best character in every column is the one written, "-" the blank."""
    best = np.array([[(ALPHABET + "-").index(letter) for letter in path] for path in paths])
    columns: Array = np.eye(4, dtype=np.float32)[best]
    return columns


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a--b-c", "abc"),
        ("aaabbb", "ab"),
        ("aa-aab", "aab"),
        ("------", ""),
        ("-----c", "c"),
        ("c-----", "c"),
        ("abcabc", "abcabc"),
    ],
)
def test_repeats_are_one_and_then_blanks_are_dropped(path: str, text: str) -> None:
    assert texts(BEST_PATH.answers({"logits": scores(path)}), ALPHABET) == (text,)


def test_rows_are_padded_behind_the_text() -> None:
    answers = BEST_PATH.answers({"logits": scores("a-b-", "----", "cccc")})
    assert answers.tolist() == [[0, 1, -1, -1], [-1, -1, -1, -1], [2, -1, -1, -1]]
    assert answers.dtype == np.int64


def test_the_text_is_what_tensorflows_greedy_decoder_reads() -> None:
    tf = pytest.importorskip("tensorflow")
    logits = np.random.default_rng(0).normal(0, 3, (20, 25, 37)).astype(np.float32)
    logits[..., -1] += 3
    (found,), _ = tf.nn.ctc_greedy_decoder(logits.transpose(1, 0, 2), np.full(20, 25, np.int32))
    expected = tf.sparse.to_dense(found, default_value=-1).numpy()
    answers = BEST_PATH.answers({"logits": logits})
    np.testing.assert_array_equal(answers[:, : expected.shape[1]], expected)
    assert (answers[:, expected.shape[1] :] == -1).all()


def test_the_blank_may_be_the_first_of_the_characters() -> None:
    first = BestPath(blank=0, characters="-abc")
    columns = np.roll(scores("aa-a", "-bb-", "cabb"), 1, axis=-1)
    answers = first.answers({"logits": columns})
    assert answers.tolist() == [[1, 1, -1, -1], [2, -1, -1, -1], [3, 1, 2, -1]]
    assert texts(answers, first.characters) == ("aa", "b", "cab")


def test_samples_agree_when_their_words_are_equal_whatever_the_columns() -> None:
    reference, outputs = scores("aa-b", "a--b", "a-b-"), scores("a--b", "aabb", "ab-b")
    assert BEST_PATH.agreeing({"y": reference}, {"y": outputs}, 3).tolist() == [1, 1, 0]
    assert BEST_PATH.agreement == "word agreement"


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 0), (2, 3, 4, 1)])
def test_anything_but_columns_of_characters_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"wants one output \[samples, columns, characters\], the graph"):
        BEST_PATH.answers({"logits": np.zeros(shape, np.float32)})


def test_two_outputs_are_refused() -> None:
    with pytest.raises(GraphError, match=r"the graph gives \{'a': \[1, 2, 4\], 'b': \[1, 2, 4\]\}"):
        BEST_PATH.answers({"a": scores("ab"), "b": scores("ab")})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_reads_nothing(bad: float) -> None:
    broken = scores("abc")
    broken[0, 1, 2] = bad
    with pytest.raises(CheckFailed, match=r"output 'logits' holds 1 NaN or infinite values of 12"):
        BEST_PATH.answers({"logits": broken})
