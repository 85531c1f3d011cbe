"""Rankings and clicks: closed forms, and sorting."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.probability import CLICK
from model_zoo.ranking import CUT, ranking_scores, ranks
from runtime.errors import CheckFailed, GraphError


def test_a_rank_counts_what_is_not_below_the_right_item() -> None:
    scores = np.array([[5.0, 1, 2, 3], [2.5, 1, 2, 3], [0, 1, 2, 3], [2, 2, 1, 1]])
    assert ranks(scores).tolist() == [0, 1, 3, 1]


def test_one_who_scores_all_alike_has_found_nothing() -> None:
    assert ranking_scores(np.zeros((3, 100))) == {"HR@10": 0, "NDCG@10": 0}


def test_the_best_and_the_last_place_that_count_have_their_closed_forms() -> None:
    others = -np.arange(1.0, 100)
    first, tenth, eleventh = (np.concatenate([[score], others])[np.newaxis] for score in (0, -9.5, -10.5))
    assert ranking_scores(first) == {"HR@10": 1, "NDCG@10": 1}
    assert ranking_scores(tenth) == {"HR@10": 1, "NDCG@10": pytest.approx(1 / np.log2(11))}
    assert ranking_scores(eleventh) == {"HR@10": 0, "NDCG@10": 0}


def test_the_scores_are_those_of_sorting() -> None:
    scores = np.random.default_rng(0).standard_normal((50, 100))
    places = [int(np.flatnonzero(np.argsort(-row) == 0)[0]) for row in scores]
    gains = [1 / np.log2(place + 2) for place in places if place < CUT]
    found = ranking_scores(scores)
    assert found["HR@10"] == pytest.approx(len(gains) / 50)
    assert found["NDCG@10"] == pytest.approx(sum(gains) / 50)
    assert 0 < len(gains) < 50


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 2)])
def test_other_forms_than_a_matrix_are_no_ranking(shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"ranking wants scores as \[users, candidates\], got \[4"):
        ranks(np.zeros(shape))


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
