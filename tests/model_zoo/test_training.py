"""Training that is broken off ends where it would have ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_zoo.training import keep, restore, teach, weights_of, write_arrays
from runtime.errors import CheckFailed, StoreError
from runtime.tensors import Array


class Variable:
    """As much of a TensorFlow variable as training needs."""

    def __init__(self, value: float) -> None:
        self.value = np.array([value], np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def numpy(self) -> Array:
        return self.value.copy()

    def assign(self, value: Array) -> None:
        self.value = np.array(value)


class Descent:
    """Gradient descent with momentum on (w - 3)**2: it can be followed by hand."""

    epochs, steps = 4, 2

    def __init__(self, rate: float = 0.1) -> None:
        self.w, self.momentum, self.rate = Variable(0), Variable(0), rate
        self.weights = {"layer/w": self.w}
        self.state = (self.momentum,)

    def epoch(self, number: int) -> Iterator[float]:
        for _ in range(self.steps):
            with np.errstate(over="ignore", invalid="ignore"):
                gradient = 2 * (self.w.value - 3)
                self.momentum.assign(0.5 * self.momentum.value + gradient)
                self.w.assign(self.w.value - self.rate * self.momentum.value)
                loss = float(((self.w.value - 3) ** 2)[0])
            yield loss

    def scores(self) -> dict[str, float]:
        return {"distance": float(abs(self.w.value - 3)[0])}


def test_every_epoch_is_reported_with_its_mean_loss(tmp_path: Path) -> None:
    reports = list(teach(Descent(), "key", 2, tmp_path / "resume.npz"))
    by_hand = Descent()
    means = [np.mean(list(by_hand.epoch(number))) for number in range(2)]
    assert [report.epoch for report in reports] == [1, 2]
    assert [report.loss for report in reports] == pytest.approx(means)


def test_what_is_broken_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, first, second = Descent(), Descent(), Descent()
    list(teach(whole, "key", 4, tmp_path / "whole.npz"))
    broken = teach(first, "key", 4, tmp_path / "resume.npz")
    next(broken), next(broken)
    reports = list(teach(second, "key", 4, tmp_path / "resume.npz"))
    assert [report.epoch for report in reports] == [3, 4]
    np.testing.assert_array_equal(weights_of(second)["layer/w"], weights_of(whole)["layer/w"])


def test_another_lesson_begins_anew(tmp_path: Path) -> None:
    resume = tmp_path / "resume.npz"
    keep(Descent(), "one", 3, resume)
    assert restore(Descent(), "one", resume) == 3
    assert restore(Descent(), "other", resume) == 0


@pytest.mark.parametrize("bytes_left", [0, 10, 400])
def test_a_damaged_file_begins_anew(tmp_path: Path, bytes_left: int) -> None:
    resume = tmp_path / "resume.npz"
    keep(Descent(), "key", 3, resume)
    resume.write_bytes(resume.read_bytes()[:bytes_left])
    assert restore(Descent(), "key", resume) == 0


def test_a_file_of_other_shapes_begins_anew_and_changes_nothing(tmp_path: Path) -> None:
    resume = tmp_path / "resume.npz"
    grown = Descent()
    grown.momentum.assign(np.zeros(2, np.float32))
    grown.w.assign(np.full(1, 7, np.float32))
    keep(grown, "key", 3, resume)
    lesson = Descent()
    assert restore(lesson, "key", resume) == 0
    assert lesson.w.value.tolist() == [0]


def test_a_loss_that_is_no_number_ends_the_lesson_and_is_not_kept(tmp_path: Path) -> None:
    resume = tmp_path / "resume.npz"
    with pytest.raises(CheckFailed, match=r"training diverged: the loss of epoch 1 is (inf|nan)"):
        list(teach(Descent(rate=1e30), "key", 2, resume))
    assert not resume.exists()


def test_weights_that_cannot_be_written_are_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot write"):
        write_arrays(tmp_path / "file" / "w.npz", {"w": np.zeros(1)})
