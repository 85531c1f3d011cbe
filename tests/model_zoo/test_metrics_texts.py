"""Texts: published cases, sacreBLEU's own corpus score, and ICDAR's rules worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu

from model_zoo.metrics import METRICS, Metric
from model_zoo.metrics.bleu import joined
from model_zoo.metrics.character_error_rate import edits
from model_zoo.metrics.objects import TrueText
from model_zoo.metrics.squad_text import normalised
from tests.model_zoo.metric_cases import case, quadrilateral


def of(name: str, *pairs: tuple[object, object]) -> float:
    metric: Metric = METRICS[name].make()
    for truth, answer in pairs:
        metric.add(truth, answer)
    return metric.value()


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("kitten", "sitting", 3), ("saturday", "sunday", 3), ("intention", "execution", 5), ("", "ab", 2)],
)
def test_edits_are_the_textbooks(one: str, other: str, distance: int) -> None:
    """Jurafsky and Martin, Speech and Language Processing, 2.5, has intention and execution."""
    assert edits(one, other) == edits(other, one) == distance


def test_an_error_rate_is_of_all_characters_together_and_may_exceed_1() -> None:
    assert of("character-error-rate", ("kitten", "sitting"), ("ab", "ab")) == 3 / 8
    assert of("character-error-rate", ("a", "bcd")) == 3


def test_character_accuracy_is_of_places_and_gives_credit_for_a_short_answer() -> None:
    """MODELS.md 2.6: positions that are the same, over the label's length, averaged over samples."""
    assert of("character-accuracy", ("abcd", "abxd"), ("abcd", "ab"), ("ab", "xab")) == pytest.approx(
        (3 / 4 + 2 / 4 + 0) / 3
    )


def test_words_are_right_as_a_whole() -> None:
    assert of("word-accuracy", ("word", "word"), ("word", "Word"), ("word", "wor")) == 1 / 3


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("The  Cat, a dog.", "cat dog"),
        ("Theory of an-other", "theory of another"),
        ("A.", ""),
        ("U.S.", "us"),
    ],
)
def test_squad_drops_articles_punctuation_and_case(text: str, left: str) -> None:
    assert normalised(text) == left


def test_squad_takes_the_best_of_the_answers_people_gave() -> None:
    answers = ("Denver Broncos", "The Denver Broncos", "the Broncos of Denver")
    assert of("squad-exact-match", (answers, "denver broncos!")) == 1
    assert of("squad-exact-match", (answers, "Broncos")) == 0
    assert of("squad-f1", (answers, "Broncos")) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert of("squad-f1", (("gold gold",), "gold silver")) == pytest.approx(0.5)
    assert of("squad-f1", (answers, "Carolina")) == 0


def test_bleu_is_sacrebleus_corpus_score() -> None:
    given = case("bleu", 40)
    expected = sacrebleu.corpus_bleu(given.answers, [given.truths], tokenize="none", force=True)
    found = of("bleu", *zip(given.truths, given.answers, strict=True))
    assert found == pytest.approx(expected.score / 100)
    assert 0.5 < found < 1


def test_bleu_of_a_published_case() -> None:
    """Papineni et al. 2002, example 2: "the" seven times has a modified unigram precision of 2/7."""
    metric = METRICS["bleu"].make()
    metric.add("the cat is on the mat", "the the the the the the the")
    expected = sacrebleu.sentence_bleu(
        "the the the the the the the", ["the cat is on the mat"], tokenize="none", use_effective_order=False
    )
    assert expected.precisions[0] == pytest.approx(100 * 2 / 7)
    assert metric.value() == pytest.approx(expected.score / 100)


def test_pieces_of_words_are_joined_before_they_are_counted() -> None:
    assert joined("low@@ er new@@ est@@ s @@ x") == "lower newests @@ x".replace("@@ ", "")
    assert of("bleu", ("the lower one of them", "the low@@ er one of th@@ em")) == pytest.approx(1)


BOX = quadrilateral(np.array([0.0, 0, 10, 10]))


def text(*boxes: tuple[float, float, float, float], ignored: int = 0) -> TrueText:
    """The last `ignored` ones are don't-care."""
    cared_for = np.arange(len(boxes)) < len(boxes) - ignored
    return TrueText(tuple(quadrilateral(np.array(box)) for box in boxes), cared_for)


def test_half_an_overlap_is_not_enough_and_more_than_half_is() -> None:
    """ICDAR 2015: intersection over union > 0.5."""
    half, more = np.array([0.0, 0, 10, 5]), np.array([0.0, 0, 10, 5.1])
    assert of("text-f-measure", (text((0, 0, 10, 10)), [quadrilateral(half)])) == 0
    assert of("text-f-measure", (text((0, 0, 10, 10)), [quadrilateral(more)])) == 1


def test_a_text_is_found_once_and_f_is_of_all_images_together() -> None:
    twice = (text((0, 0, 10, 10), (50, 50, 60, 60)), [BOX, BOX])
    right = (text((0, 0, 10, 10)), [BOX])
    assert of("text-f-measure", twice, right) == pytest.approx(2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3))


def test_what_lies_inside_of_text_nobody_cares_for_counts_for_nothing() -> None:
    truth = text((0, 0, 10, 10), (20, 20, 40, 40), ignored=1)
    inside, outside = (quadrilateral(np.array(box)) for box in ((25.0, 25, 30, 30), (70.0, 70, 80, 80)))
    assert of("text-f-measure", (truth, [BOX, inside])) == 1
    assert of("text-f-measure", (truth, [BOX, outside])) == pytest.approx(2 / 3)
    assert math.isnan(of("text-f-measure", (text((0, 0, 9, 9), ignored=1), [])))


def test_corners_in_a_crossing_order_are_two_triangles() -> None:
    crossing = BOX[[0, 2, 1, 3]]
    assert of("text-f-measure", (text((0, 0, 10, 10)), [crossing])) == 0  # half of the square is no more


def test_turned_boxes_overlap_by_their_own_sides() -> None:
    """A square and the same square turned by 45 degrees: an octagon, IoU 0.7071 = 1 / sqrt 2."""
    turned = (BOX - 5) @ np.array([(1, 1), (-1, 1)]) / math.sqrt(2) + 5
    assert of("text-f-measure", (text((0, 0, 10, 10)), [turned])) == 1
    upright_overlap = 100 / 200  # of the box around the turned one: would be refused
    assert upright_overlap <= 0.5
