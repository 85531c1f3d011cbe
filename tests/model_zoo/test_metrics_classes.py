"""Accuracy, rankings and AUC against scikit-learn, closed forms and sorting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, ndcg_score, roc_auc_score, top_k_accuracy_score

from model_zoo.metrics import METRICS, Metric
from model_zoo.metrics.top_k import TopK
from model_zoo.ranking import CUT
from model_zoo.tasks import CLASSIFICATION
from runtime.errors import UsageError


def of(metric: Metric, truths: object, answers: object) -> float:
    for truth, answer in zip(truths, answers, strict=True):  # type: ignore[call-overload]
        metric.add(truth, answer)
    return metric.value()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_scikit_learns(k: int) -> None:
    generator = np.random.default_rng(k)
    truths, scores = generator.integers(0, 9, 200), generator.random((200, 9))
    expected = top_k_accuracy_score(truths, scores, k=k, labels=np.arange(9))
    assert of(TopK(k), truths.tolist(), scores) == pytest.approx(expected)


def test_top_1_takes_the_first_of_equal_scores_as_the_task_does() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (300, 5)).astype(np.float32)
    truths = np.random.default_rng(1).integers(0, 5, 300)
    expected = float((CLASSIFICATION.answers({"prob": scores})[:, 0] == truths).mean())
    assert of(METRICS["top-1"].make(), truths.tolist(), scores) == pytest.approx(expected)


def test_a_label_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="the true class is 1000, but the network scores 1000 classes"):
        METRICS["top-1"].make().add(1000, np.zeros(1000))


def test_binary_accuracy_is_scikit_learns() -> None:
    generator = np.random.default_rng(3)
    truths, shares = generator.random(100) < 0.3, generator.random(100)
    expected = accuracy_score(truths, shares > 0.5)
    assert of(METRICS["binary-accuracy"].make(), truths.tolist(), shares) == pytest.approx(expected)


def test_rankings_are_those_of_sorting_and_of_scikit_learn() -> None:
    scores = np.random.default_rng(4).standard_normal((80, 100))
    places = [int(np.flatnonzero(np.argsort(-row) == 0)[0]) for row in scores]
    right_first = np.eye(1, 100).repeat(80, axis=0)
    hits, gains = (of(METRICS[name].make(), [0] * 80, scores) for name in ("hr@10", "ndcg@10"))
    assert hits == pytest.approx(np.mean([place < CUT for place in places]))
    assert 0 < hits < 1
    assert gains == pytest.approx(ndcg_score(right_first, scores, k=10))


@pytest.mark.parametrize(
    ("score", "hits", "gains"), [(0.0, 1, 1), (-9.5, 1, 1 / np.log2(11)), (-10.5, 0, 0), (-10.0, 0, 0)]
)
def test_first_and_last_places_that_count_have_their_closed_forms(
    score: float, hits: float, gains: float
) -> None:
    """The others score -1, -2, ...; one that scores as much as the right one comes before it."""
    scores = [np.concatenate([[score], -np.arange(1.0, 100)])]
    assert of(METRICS["hr@10"].make(), [0], scores) == hits
    assert of(METRICS["ndcg@10"].make(), [0], scores) == pytest.approx(gains)


def test_the_right_candidate_may_stand_anywhere() -> None:
    scores = np.random.default_rng(5).standard_normal((40, 100))
    moved = np.roll(scores, 7, axis=1)
    for name in ("hr@10", "ndcg@10"):
        first, seventh = (
            of(METRICS[name].make(), [place] * 40, rows) for place, rows in ((0, scores), (7, moved))
        )
        assert first == seventh


@pytest.mark.parametrize(("place", "candidates"), [(0, 1), (5, 5), (-1, 5)])
def test_a_place_outside_of_the_candidates_is_refused(place: int, candidates: int) -> None:
    with pytest.raises(UsageError, match=f"got place {place} of {candidates}; give each user's candidates"):
        METRICS["hr@10"].make().add(place, np.zeros(candidates))


@pytest.mark.parametrize("digits", [1, 6])
def test_auc_is_scikit_learns_with_ties_and_with_weights(digits: int) -> None:
    generator = np.random.default_rng(6)
    events = generator.random(300) < 0.4
    scores = np.round(generator.random(300) + 0.3 * events, digits)
    metric = METRICS["auc"].make()
    assert of(metric, events.tolist(), scores) == pytest.approx(roc_auc_score(events, scores))
    weights = generator.multinomial(300, np.full(300, 1 / 300)).astype(np.float64)
    expected = roc_auc_score(events, scores, sample_weight=weights)
    assert metric.value(weights) == pytest.approx(expected)


def test_auc_of_one_kind_only_is_not_defined() -> None:
    assert math.isnan(of(METRICS["auc"].make(), [True, True], [0.1, 0.9]))


def test_gauc_is_the_mean_of_the_users_own_auc_by_their_candidates() -> None:
    generator = np.random.default_rng(7)
    sizes = generator.integers(2, 9, 50)
    taken = [generator.random(size) < 0.5 for size in sizes]
    scores = [generator.random(size) for size in sizes]
    kept = [(t, s) for t, s in zip(taken, scores, strict=True) if 0 < t.sum() < len(t)]
    expected = np.average([roc_auc_score(t, s) for t, s in kept], weights=[len(t) for t, _ in kept])
    metric = METRICS["gauc"].make()
    assert of(metric, taken, scores) == pytest.approx(expected)
    assert metric.scores() is None  # users weigh differently


def test_gauc_of_pairs_is_the_share_of_users_whose_item_scores_strictly_higher() -> None:
    """MODELS.md 2.6."""
    pair, answers = np.array([True, False]), [np.array(row) for row in ([2, 1], [1, 1], [0, 1], [3, 0])]
    metric = METRICS["gauc"].make()
    assert of(metric, [pair] * 4, answers) == 0.5
    scores = metric.scores()
    assert scores is not None
    assert scores.tolist() == [1, 0, 0, 1]


def test_gauc_wants_a_score_for_each_candidate() -> None:
    with pytest.raises(UsageError, match="a user's 2 candidates have 3 scores"):
        METRICS["gauc"].make().add(np.array([True, False]), np.zeros(3))
