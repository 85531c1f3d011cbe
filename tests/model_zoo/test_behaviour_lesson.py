"""Lessons on made-up ratings that a rule decides, and, heavy, on MovieLens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from model_zoo import behaviour_lesson, behaviour_movielens, dien, din
from model_zoo.behaviour import Moments
from model_zoo.behaviour_lesson import LikeLesson, first_weights
from model_zoo.behaviour_movielens import FILMS, GENRES, STEPS, USERS, Ratings
from model_zoo.spec import Split
from model_zoo.training import teach, weights_of
from runtime.errors import UnavailableError
from runtime.progress import silent

pytest.importorskip("tensorflow")

BOTH = pytest.mark.parametrize("model", [din, dien], ids=["din", "dien"])


def _ratings(count: int) -> Ratings:
    """Films of even number are liked, whatever was before."""
    generator = np.random.default_rng(count)
    films = generator.integers(1, 30, (count, 1)).astype(np.int32)
    lengths = generator.integers(0, STEPS + 1, count).astype(np.int32)
    histories = generator.integers(1, 30, (count, STEPS)).astype(np.int32)
    histories *= np.arange(STEPS) < lengths[:, np.newaxis]
    users = generator.integers(1, USERS, count).astype(np.int32)
    return Ratings(Moments(users, films, histories, lengths), films[:, 0] % 2 == 0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: Mapping[Split, Ratings] = {Split.CALIBRATION: _ratings(3000), Split.EVALUATION: _ratings(700)}
    genres = (np.arange(FILMS) % GENRES).astype(np.int32)
    monkeypatch.setattr(behaviour_lesson, "ratings", lambda progress: parts)
    for module in ("din_lesson", "dien_lesson"):
        monkeypatch.setattr(f"model_zoo.{module}.genre_of_films", lambda progress: genres)


@BOTH
@pytest.mark.usefixtures("made_up")
def test_a_rule_is_learned_and_an_interrupted_lesson_ends_the_same(model: object, tmp_path: Path) -> None:
    whole, halted, resumed = (_lesson(model) for _ in range(3))
    reports = list(teach(whole, "key", 3, tmp_path / "whole.npz"))
    assert reports[-1].loss < reports[0].loss
    next(teach(halted, "key", 3, tmp_path / "halted.npz"))
    assert [report.epoch for report in teach(resumed, "key", 3, tmp_path / "halted.npz")] == [2, 3]
    again = weights_of(resumed)
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    scores = whole.scores()
    assert scores["AUC"] > 0.9
    assert scores["AUC of the films' mean"] == 1


@BOTH
@pytest.mark.usefixtures("made_up")
def test_statistics_stay_as_they_are_and_another_seed_begins_elsewhere(model: object) -> None:
    lesson = _lesson(model)
    next(lesson.epoch(0))
    for name, variable in lesson.weights.items():
        if name.endswith("moving_variance"):
            np.testing.assert_array_equal(variable.numpy(), 1)
    kernels = [first_weights({"f1/kernel": (8, 3)}, seed)["f1/kernel"] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_gates_begin_open_and_norms_neutral() -> None:
    shapes = {"gru1/gates/bias": (4,), "gru1/candidate/bias": (4,), "bn1/gamma": (4,), "dice_1/alpha": (4,)}
    assert [float(array[0]) for array in first_weights(shapes, 0).values()] == [1, 0, 1, np.float32(0.1)]


@pytest.mark.heavy
@BOTH
def test_movielens_is_learned_beyond_what_films_alone_tell(model: object, tmp_path: Path) -> None:
    """DATA.md C: 0.7708 for DIN, 0.7796 for DIEN, 0.7257 for the films' mean."""
    try:
        behaviour_movielens.ratings()
    except UnavailableError as error:
        pytest.skip(str(error))
    lesson = _lesson(model)
    list(teach(lesson, "key", lesson.epochs, tmp_path / "lesson.npz"))
    scores = lesson.scores()
    assert scores["AUC"] > 0.7796
    assert scores["AUC of the films' mean"] == pytest.approx(0.7257, abs=1e-3)


def _lesson(model: object) -> LikeLesson:
    lesson = model.lesson(0, silent)  # type: ignore[attr-defined]
    assert isinstance(lesson, LikeLesson)
    return lesson
