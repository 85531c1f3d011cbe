"""bench train through the command line, with a lesson that can be followed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from model_zoo import catalog
from model_zoo.spec import ModelSpec, Training
from model_zoo.weights import read_weights
from tests.model_zoo.test_training import Descent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch) -> list[Descent]:
    """The lessons that are begun: of a variant of resnet50, which has no data otherwise."""
    begun: list[Descent] = []

    def lesson(seed: int, progress: object) -> Descent:
        begun.append(Descent())
        return begun[-1]

    spec = catalog.get_model("resnet50")
    taught = replace(spec.variants[""], training=Training("made-up numbers", lesson))
    model = ModelSpec("resnet50", "ResNet-50", None, {"": spec.variants[""], "taught": taught})
    monkeypatch.setitem(catalog.MODELS, "resnet50", lambda: model)
    return begun


def test_training_says_what_it_reached_and_what_to_do_with_it(
    home: Path, lessons: list[Descent], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--model", "resnet50"]) == 0
    out, err = capsys.readouterr()
    (weights,) = (home / "trained").glob("resnet50-taught-*.npz")
    assert f"try: bench ort --model resnet50 --variant taught --weights {weights}" in out
    assert f"distance {lessons[0].scores()['distance']:.4f}" in out
    assert "epoch 4 of 4: loss" in err
    np.testing.assert_array_equal(read_weights(weights)["layer/w"], lessons[0].w.value)


def test_json_has_the_scores_and_the_digest_of_the_file(
    home: Path, lessons: list[Descent], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "w.npz"
    assert main(["train", "--model", "resnet50", "--epochs", "2", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["scores"] == lessons[0].scores()
    assert said["epochs"] == 2
    assert len(said["sha256"]) == 64


def test_a_run_that_was_killed_goes_on_where_it_stopped(
    home: Path, lessons: list[Descent], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Descent.epoch

    def killed_in_the_third(self: Descent, number: int) -> Iterator[float]:
        if number == 2:
            raise KeyboardInterrupt
        return whole(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(Descent, "epoch", killed_in_the_third)
        assert main(["train", "--model", "resnet50"]) == 130
    capsys.readouterr()
    assert main(["train", "--model", "resnet50"]) == 0
    assert "epoch 2 of 4" not in capsys.readouterr().err
    by_hand = Descent()
    for number in range(4):
        list(by_hand.epoch(number))
    np.testing.assert_array_equal(lessons[1].w.value, by_hand.w.value)
    assert not list((home / "trained").glob(".*resume*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet5"], "unknown model 'resnet5'"),
        (["--model", "resnet50", "--variant", ""], ""),
        (["--model", "faster-rcnn"], "there is no data to train faster-rcnn from; there is for "),
        (["--model", "resnet50", "--out", "w.h5"], "--out w.h5: weights are written as .npz"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(
    arguments: list[str],
    message: str,
    home: Path,
    lessons: list[Descent],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["train", *arguments])
    assert code == (2 if message else 0)
    assert message in capsys.readouterr().err


def test_a_model_without_words_names_those_that_have_some(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--model", "googlenet"]) == 2
    err = capsys.readouterr().err
    assert "googlenet (tensorflow) says nothing in words" in err
    assert "bert" in err


def test_a_photograph_wants_both_its_flags(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--model", "googlenet", "--image", "a.jpg"]) == 2
    assert "with both --image and --out" in capsys.readouterr().err
