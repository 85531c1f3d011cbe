"""Answers and AUC by hand, by scikit-learn, and by counting pairs."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.probability import PREFERENCE, PROBABILITY, Probability
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array


def _scores(*values: float) -> Array:
    return np.array(values, np.float32)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 1)])
def test_a_probability_answers_which_side_of_a_half_it_is_on(shape: tuple[int, ...]) -> None:
    outputs = {"score": _scores(0.2, 0.5, 0.51, 1.0).reshape(shape)}
    assert PROBABILITY.answers(outputs).tolist() == [[0], [0], [1], [1]]


def test_one_of_several_outputs_and_values_can_be_read() -> None:
    outputs = {"y_hat": np.array([[0.9, 0.1], [0.3, 0.7]], np.float32), "other": np.zeros((2, 5), np.float32)}
    assert Probability(output="y_hat").answers(outputs).tolist() == [[1], [0]]
    assert Probability(output="y_hat", column=1).answers(outputs).tolist() == [[0], [1]]


def test_samples_agree_on_the_same_side() -> None:
    reference, other = {"score": _scores(0.4, 0.6, 0.6)}, {"score": _scores(0.1, 0.7, 0.4)}
    assert PROBABILITY.agreeing(reference, other, 3).tolist() == [1, 1, 0]


def test_a_preference_is_the_higher_score_and_the_first_of_equals() -> None:
    outputs = {"scores": np.array([[0.9, 0.8], [0.2, 0.3], [0.5, 0.5]], np.float32)}
    assert PREFERENCE.answers(outputs).tolist() == [[0], [1], [0]]


@pytest.mark.parametrize(
    ("task", "outputs", "message"),
    [
        (
            PROBABILITY,
            {"a": _scores(1), "b": _scores(1)},
            r"a graph with one output, this one gives \['a', 'b'\]",
        ),
        (Probability(output="c"), {"a": _scores(1)}, r"wants an output 'c', this one gives \['a'\]"),
        (Probability(column=2), {"a": np.zeros((1, 2))}, "reads value 2 of each sample, the graph gives 2"),
        (PROBABILITY, {"a": np.zeros((0, 2))}, r"wants 'a' as \[samples, values\], the graph gives \[0, 2\]"),
        (PREFERENCE, {"a": np.zeros((4, 3))}, "wants two scores of each sample, the graph gives 3"),
    ],
)
def test_other_outputs_are_refused(task: Probability, outputs: dict[str, Array], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        task.answers(outputs)


@pytest.mark.parametrize("task", [PROBABILITY, PREFERENCE])
def test_a_score_that_is_no_number_decides_nothing(task: Probability) -> None:
    with pytest.raises(
        CheckFailed, match="output 'a' holds 1 NaN or infinite values of 2, so it decides nothing"
    ):
        task.answers({"a": np.array([[np.nan, 1]], np.float32)})
