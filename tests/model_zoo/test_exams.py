"""Exams of models that learn from tables and texts: the same cases for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo import sentences_fit
from model_zoo.exam_parts import batched, column_of, judged, slices
from model_zoo.metrics import METRICS, get_measure
from model_zoo.reviews import reviews
from model_zoo.spec import Split
from runtime.errors import GraphError, UnavailableError, UsageError
from runtime.progress import silent
from runtime.tensors import Array
from tests.model_zoo.exam_cases import asked, exam_of, rows_of, truths_of, variant_of

FETCHED = (
    ("ncf", "movielens-100k"),
    ("din", "movielens-100k"),
    ("dien", "movielens-100k"),
    ("wide-deep", ""),
    ("wide-deep", "strings"),
    ("gcn", "cora-dense"),
    ("gcn", "cora-edges"),
    ("gcn", "citeseer-sparse"),
    ("gcn", "pubmed-edges"),
    ("nmt", "cmudict"),
    ("nmt", "cmudict-beam"),
    ("crnn", "english-g2"),
    ("bert", "minilm"),
)

SAMPLES: Mapping[str, int] = {
    "ncf": 943,
    "din": 20_000,
    "dien": 20_000,
    "wide-deep": 9_660,
    "gcn": 1_000,
    "nmt": 1_000,
    "crnn": 1_000,
    "bert": 1_000,
}
"""A fifth of 100,000 ratings user by user comes to 20,000; the fifth of 48,842 people is drawn by lot."""

EVERY = pytest.mark.parametrize(("model", "variant"), FETCHED)


@pytest.fixture(autouse=True, scope="module")
def _forget_questions() -> Iterator[None]:
    yield
    asked.cache_clear()


# Every exam


@EVERY
def test_there_are_as_many_truths_as_samples_and_each_is_told(model: str, variant: str) -> None:
    exam, questions = asked(model, variant)
    assert sum(len(question.truths) for question in questions) == SAMPLES[model]
    for question in questions:
        assert len(question.asked) == len(question.truths)
        assert len(question.pictures) in (0, len(question.truths))
        assert all(exam.say(truth) for truth in question.truths[:20])
        assert len({len(array) for array in question.feed.values()}) == 1


@EVERY
def test_the_samples_are_the_same_at_every_call(model: str, variant: str) -> None:
    exam, questions = asked(model, variant)
    again = next(exam.questions(None, silent))
    assert list(again.truths) == list(questions[0].truths)
    assert list(again.asked) == list(questions[0].asked)
    for name, array in questions[0].feed.items():
        np.testing.assert_array_equal(again.feed[name], array)


@EVERY
def test_the_feeds_are_those_of_the_variant(model: str, variant: str) -> None:
    checked = variant_of(model, variant)
    expected = next(checked.feeds("tensorflow").batches(1, Split.EVALUATION))
    for question in asked(model, variant)[1]:
        if checked.check is not None:
            checked.check(question.feed)
        for name, array in expected.items():
            assert question.feed[name].shape[1:] == array.shape[1:]
            assert question.feed[name].dtype.kind == array.dtype.kind
        assert set(question.feed) == set(expected)


@EVERY
def test_the_metrics_are_of_the_table_and_perfect_answers_have_their_best(model: str, variant: str) -> None:
    exam, questions = asked(model, variant)
    assert set(exam.metrics) <= set(METRICS)
    answers = [PERFECT[model](truth) for question in questions for truth in question.truths]
    scores = judged(exam.metrics, truths_of(questions), answers)
    for name in exam.metrics:
        assert get_measure(name).quality(scores[get_measure(name).title]) == 1


def _one_hot(truth: int) -> Array:
    scores: Array = (np.arange(100) == truth).astype(np.float32)
    return scores


PERFECT: Mapping[str, Any] = {
    "ncf": _one_hot,
    "din": float,
    "dien": float,
    "wide-deep": float,
    "gcn": _one_hot,
    "nmt": str,
    "crnn": str,
    "bert": float,
}


# What a network that says the same of everything gets


CONSTANT: Mapping[tuple[str, str], tuple[tuple[int, ...], str]] = {
    ("ncf", "movielens-100k"): ((), "logit"),
    ("din", "movielens-100k"): ((), "probability"),
    ("dien", "movielens-100k"): ((2,), "y_hat"),
    ("wide-deep", ""): ((2,), "probabilities"),
}


@pytest.mark.parametrize(("model", "variant"), CONSTANT)
@pytest.mark.parametrize("value", [0.25, 0.75])
def test_constant_outputs_score_what_the_closed_forms_say(model: str, variant: str, value: float) -> None:
    exam, questions = asked(model, variant)
    shape, name = CONSTANT[model, variant]
    answers: list[Any] = []
    for question in questions:
        outputs = {name: np.full((rows_of(question.feed), *shape), value, np.float32)}
        answers += exam.answers(question.feed, outputs)
    truths = truths_of(questions)
    share = float(np.mean([bool(truth) for truth in truths]))
    expected = {"HR@10": 0, "NDCG@10": 0, "AUC": 1 / 2, "accuracy": share if value > 0.5 else 1 - share}
    for title, found in judged(exam.metrics, truths, answers).items():
        assert found == pytest.approx(expected[title], abs=1e-12)


def test_constant_classes_of_papers_score_the_share_of_the_first() -> None:
    exam, (question,) = asked("gcn", "cora-edges")
    answers = exam.answers(question.feed, {"classes": np.zeros((1, 2708, 7), np.float32)})
    share = float(np.mean(np.asarray(question.truths) == 0))
    assert judged(exam.metrics, question.truths, answers) == {"accuracy": pytest.approx(share)}


def test_no_phoneme_at_all_is_every_one_of_them_wrong() -> None:
    exam, questions = asked("nmt", "cmudict")
    answers = [
        text
        for question in questions
        for text in exam.answers(question.feed, {"target": np.full((rows_of(question.feed), 3), 2, np.int32)})
    ]
    assert set(answers) == {""}
    assert judged(exam.metrics, truths_of(questions), answers) == {"word accuracy": 0, "CER": 1}


def test_pronunciations_are_said_in_phonemes_and_counted_by_them() -> None:
    """AE and CH are one symbol each: one of two is wrong, whatever their letters."""
    from model_zoo.pronunciation_exam import as_text

    exam = exam_of("nmt", "cmudict")
    truth, answer = as_text(("CH", "AE")), as_text(("CH", "EH"))
    assert (exam.say(truth), exam.say(answer)) == ("CH AE", "CH EH")
    assert judged(("character-error-rate",), [truth], [answer]) == {"CER": 1 / 2}


# What was held out


def test_ratings_that_are_judged_are_not_learned_from() -> None:
    from model_zoo.behaviour_movielens import ratings

    _, questions = asked("din", "movielens-100k")
    known = ratings()[Split.CALIBRATION].moments
    pairs = set(zip(known.users.tolist(), known.items[:, 0].tolist(), strict=True))
    judged_pairs = {
        pair for q in questions for pair in zip(q.feed["u"].tolist(), q.feed["i"].tolist(), strict=True)
    }
    assert len(judged_pairs) == 20_000
    assert not pairs & judged_pairs


def test_movies_that_are_judged_are_not_learned_from() -> None:
    from model_zoo.interactions import movielens

    _, questions = asked("ncf", "movielens-100k")
    learned = set(zip(*(column.tolist() for column in movielens().training), strict=True))
    for question in questions:
        pairs = zip(question.feed["user"].tolist(), question.feed["item"].tolist(), strict=True)
        assert not learned & set(pairs)


def test_papers_that_are_judged_are_not_learned_from() -> None:
    from model_zoo import citations

    _, (question,) = asked("gcn", "cora-edges")
    found = citations.cora()
    papers = [int(name.removeprefix("paper ")) for name in question.asked]
    assert not set(papers) & set(found.trained.tolist())
    assert found.subjects[papers].tolist() == list(question.truths)


def test_people_are_judged_that_the_lesson_does_not_see() -> None:
    from model_zoo.census import adult

    _, questions = asked("wide-deep", "strings")
    held_out = adult().of(Split.EVALUATION)
    ages = np.concatenate([question.feed["age"] for question in questions])
    np.testing.assert_array_equal(ages, held_out.numbers[:, 0])
    assert truths_of(questions) == held_out.rich.tolist()


def test_words_and_reviews_that_are_judged_are_not_learned_from() -> None:
    from model_zoo.pronunciation import lexicon

    _, questions = asked("nmt", "cmudict")
    words = {word for question in questions for word in question.asked}
    assert len(words) == 1000
    assert not words & {entry.word for entry in lexicon().learned}
    _, questions = asked("bert", "minilm")
    texts = {text for question in questions for text in question.asked}
    assert not texts & {review.text for review in reviews()[Split.CALIBRATION]}


def test_rendered_words_are_shown_as_they_are_and_are_others_than_calibrate() -> None:
    from model_zoo.word_images import font_files, word_images, words

    _, questions = asked("crnn", "english-g2")
    assert all(
        picture.dtype == np.uint8 and picture.shape[2] == 3 for q in questions for picture in q.pictures
    )
    calibrating = word_images(words(), font_files(), Split.CALIBRATION)
    assert not {truth.lower() for truth in truths_of(questions)} & {word.text.lower() for word in calibrating}


# Outputs and folders of other kinds


@pytest.mark.parametrize(
    ("model", "variant", "message"),
    [
        (
            "ncf",
            "movielens-100k",
            r"4100 samples want one output with value 0 of each, the graph gives \{'a'",
        ),
        ("dien", "movielens-100k", r"1024 samples want y_hat with value 0 of each, the graph gives \{'a'"),
        ("wide-deep", "", r"512 samples want one output with value 1 of each"),
        ("gcn", "cora-edges", r"wants one output \[1, 2708, 7\], the graph gives \{'a': \[3\]\}"),
        ("nmt", "cmudict", "translation wants an output target of whole numbers"),
        ("crnn", "english-g2", r"wants one output \[samples, columns, characters\]"),
        ("bert", "minilm", r"the head wants one output \[50, 384\], the graph gives \{'a': \[3\]\}"),
    ],
)
def test_outputs_of_another_network_are_refused(model: str, variant: str, message: str) -> None:
    exam, questions = asked(model, variant)
    with pytest.raises(GraphError, match=message):
        exam.answers(questions[0].feed, {"a": np.zeros(3, np.float32)})


def test_scores_of_a_part_of_the_candidates_are_refused() -> None:
    exam, questions = asked("ncf", "movielens-100k")
    feed = {name: array[:150] for name, array in questions[0].feed.items()}
    with pytest.raises(GraphError, match="150 scores are not 100 of each user"):
        exam.answers(feed, {"logit": np.zeros(150, np.float32)})


def test_words_that_hold_nan_are_not_read_and_the_others_are() -> None:
    exam, questions = asked("crnn", "english-g2")
    scores = np.zeros((50, 79, 97), np.float32)
    scores[:, 10, 5] = 1
    scores[3, 0, 0] = np.nan
    answers = exam.answers(questions[0].feed, {"logits": scores})
    assert answers[3] is None
    assert len(set(answers) - {None}) == 1


@pytest.mark.parametrize(
    ("model", "variant"),
    [("din", "movielens-100k"), ("nmt", "cmudict"), ("crnn", "english-g2"), ("bert", "minilm")],
)
def test_an_exam_without_a_data_set_refuses_a_folder(model: str, variant: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="are what the harness fetches itself; leave --data out"):
        next(exam_of(model, variant).questions(tmp_path, silent))


@pytest.mark.parametrize("variant", ["one-hot", "gather"])
def test_an_exam_that_needs_a_data_set_asks_for_it(variant: str) -> None:
    with pytest.raises(UnavailableError, match=r"MovieLens 1M cannot be fetched: give the folder .* --data"):
        next(exam_of("ncf", variant).questions(None, silent))


def test_a_folder_with_another_network_of_papers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small.content").write_text("a 0 1 x\nb 1 0 y\n", encoding="utf-8")
    (tmp_path / "small.cites").write_text("a b\n", encoding="utf-8")
    with pytest.raises(UsageError, match="has 2 papers, 2 words and 2 classes, the network 2708"):
        next(exam_of("gcn", "cora-edges").questions(tmp_path, silent))
    with pytest.raises(UsageError, match="does not hold Citeseer; give the folder of its authors' text"):
        next(exam_of("gcn", "citeseer-edges").questions(tmp_path, silent))


def test_movielens_ratings_in_a_folder_are_asked_user_by_user(tmp_path: Path) -> None:
    """Users 1 to 3 took films 1 to 5, and 300 more are known; the last of each is the fifth."""
    lines = [f"{user}\t{film}\t5\t{film}" for user in (1, 2, 3) for film in (1, 2, 3, 4, 5)]
    lines += [f"4\t{film}\t5\t{film}" for film in range(1, 300)]
    lines += [f"5\t{film}\t5\t{film}" for film in range(300, 700)]
    (tmp_path / "u.data").write_text("\n".join(lines), encoding="utf-8")
    (question,) = exam_of("ncf", "movielens-100k").questions(tmp_path, silent)
    items = question.feed["item"].reshape(-1, 100)
    assert [int(row[place]) for row, place in zip(items, question.truths, strict=True)][:3] == [4, 4, 4]
    assert question.feed["user"].reshape(-1, 100)[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_people_in_a_folder_are_asked_with_their_incomes(tmp_path: Path) -> None:
    line = (
        "25, Private, 1, 11th, 7, Never-married, Sales, Own-child, Black, Male, 0, 0, 40, United-States, {}."
    )
    text = "|1x3 Cross validator\n" + "\n".join(map(line.format, ("<=50K", ">50K", "<=50K")))
    (tmp_path / "adult.test").write_text(text, encoding="utf-8")
    (question,) = exam_of("wide-deep", "").questions(tmp_path, silent)
    assert question.truths == [False, True, False]
    assert question.feed["numbers"].tolist() == [[25, 0, 0, 7, 40]] * 3
    variant_of("wide-deep", "").check(question.feed)  # type: ignore[misc]


# Parts


def test_items_come_in_batches() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(slices(5, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]


def test_a_column_is_read_of_the_output_that_is_named() -> None:
    outputs = {"a": np.array([[1.0, 2], [3, 4]]), "b": np.zeros(2)}
    assert column_of({"x": np.zeros(2)}, outputs, 1, "a").tolist() == [2, 4]


@pytest.mark.filterwarnings("ignore")
def test_the_head_is_scikit_learns_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((200, 6))
    happened = generator.random(200) < 1 / (1 + np.exp(-embeddings @ np.arange(6) / 4))
    head = sentences_fit.fitted(embeddings, happened)
    expected = linear_model.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(embeddings, happened)
    np.testing.assert_allclose(head.weights, expected.coef_[0], atol=1e-4)
    assert head.bias == pytest.approx(float(expected.intercept_[0]), abs=1e-4)
