"""Clicks: closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.probability import CLICK
from runtime.errors import CheckFailed, GraphError


def test_a_click_is_a_logit_above_zero_and_agrees_row_by_row() -> None:
    logits, others = (np.array(row, np.float32) for row in ([-1, 0, 2, 3], [1, -1, 0.5, -3]))
    assert CLICK.answers({"logit": logits}).tolist() == [[0], [0], [1], [1]]
    assert CLICK.agreeing({"logit": logits}, {"logit": others}, 4).tolist() == [0, 1, 1, 0]


def test_an_agreement_does_not_depend_on_the_batch() -> None:
    generator = np.random.default_rng(0)
    logits, others = generator.standard_normal((2, 256)).astype(np.float32)
    whole = CLICK.agreeing({"logit": logits}, {"logit": others}, 256)
    single = [
        float(CLICK.agreeing({"logit": logits[k : k + 1]}, {"logit": others[k : k + 1]}, 1)[0])
        for k in range(256)
    ]
    assert whole.tolist() == single
    assert 0 < whole.mean() < 1


def test_clicks_are_of_one_output_without_nan() -> None:
    with pytest.raises(GraphError, match=r"click wants a graph with one output, this one gives \['a', 'b'\]"):
        CLICK.answers({"a": np.zeros(2), "b": np.zeros(2)})
    with pytest.raises(CheckFailed, match="output 'a' holds 1 NaN or infinite values of 2"):
        CLICK.answers({"a": np.array([np.nan, 1])})
