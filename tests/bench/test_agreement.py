"""Agreement against its definitions, computed the long way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import spatial, stats

from bench.agreement import AgreementMeter
from bench.feeds import SyntheticFeeds
from bench.record import AccuracyRecord
from model_zoo.spec import Task
from runtime.tensors import Array

FEEDS = SyntheticFeeds((), seed=0)


class TopOne:
    name = "classification"
    agreement = "top-1 agreement"
    numeric = True

    def agreeing(self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int) -> Array:
        assert len(outputs["logits"]) == samples
        return np.asarray(reference["logits"].argmax(axis=1) == outputs["logits"].argmax(axis=1))


def judge(pairs: list[tuple[dict[str, Array], dict[str, Array]]], task: Task | None = None) -> AccuracyRecord:
    meter = AgreementMeter(task, "fp32 graph elsewhere")
    for want, got in pairs:
        meter.add(want, got, len(next(iter(want.values()))))
    return meter.result(FEEDS)


@pytest.fixture
def logits() -> tuple[Array, Array]:
    generator = np.random.default_rng(5)
    want = generator.normal(size=(32, 10)).astype(np.float32)
    return want, want + generator.normal(scale=0.4, size=want.shape).astype(np.float32)


def test_agreement_is_the_share_of_equal_answers(logits: tuple[Array, Array]) -> None:
    want, got = logits
    found = judge([({"logits": want}, {"logits": got})], TopOne())
    same = int((want.argmax(1) == got.argmax(1)).sum())
    assert 0 < same < 32
    assert found.agreement == same / 32
    expected = stats.binomtest(same, 32).proportion_ci(method="wilson")
    assert found.agreement_ci95 == pytest.approx((expected.low, expected.high))
    assert found.agreement_name == "top-1 agreement"


def test_cosine_is_scipys_per_sample(logits: tuple[Array, Array]) -> None:
    want, got = logits
    found = judge([({"logits": want}, {"logits": got})])
    cosines = [1 - spatial.distance.cosine(a, b) for a, b in zip(want, got, strict=True)]
    assert found.cosine is not None
    assert found.cosine.mean == pytest.approx(np.mean(cosines))
    assert found.cosine.min == pytest.approx(np.min(cosines))


def test_sqnr_of_a_tenth_of_noise_is_twenty_decibels() -> None:
    want = np.ones((4, 8), np.float64)
    found = judge([({"y": want}, {"y": want * 1.1})])
    assert found.sqnr_db == pytest.approx(20.0)
    assert found.max_abs_error == pytest.approx(0.1)


def test_batches_add_up_to_the_same_as_one(logits: tuple[Array, Array]) -> None:
    want, got = logits
    whole = judge([({"logits": want}, {"logits": got})], TopOne())
    parts = judge(
        [({"logits": want[i : i + 8]}, {"logits": got[i : i + 8]}) for i in range(0, 32, 8)], TopOne()
    )
    assert parts.samples == whole.samples == 32
    assert parts.agreement == whole.agreement
    assert parts.sqnr_db == pytest.approx(whole.sqnr_db)


def test_several_outputs_count_as_one_vector() -> None:
    want = {"start": np.array([[3.0, 0.0]]), "end": np.array([[0.0, 4.0]])}
    got = {"start": np.array([[3.0, 0.0]]), "end": np.array([[4.0, 0.0]])}
    found = judge([(want, got)])
    assert found.cosine is not None
    assert found.cosine.mean == pytest.approx(9 / 25)


def test_identical_outputs_have_no_noise_to_measure() -> None:
    same = {"y": np.arange(6.0).reshape(2, 3) + 1}
    found = judge([(same, same)])
    assert found.sqnr_db is None
    assert found.max_abs_error == 0
    assert found.cosine is not None
    assert found.cosine.min == pytest.approx(1.0)


def test_outputs_of_zeros_have_no_direction() -> None:
    zeros = {"y": np.zeros((2, 3))}
    found = judge([(zeros, zeros)])
    assert (found.cosine, found.sqnr_db) == (None, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_never_agrees_and_is_counted(bad: float) -> None:
    want = np.array([[1.0, 2.0], [2.0, 1.0]], np.float32)
    got = want.copy()
    got[0, 1] = bad
    found = judge([({"logits": want}, {"logits": got})], TopOne())
    assert found.non_finite_samples == 1
    assert found.agreement == 0.5
    assert found.max_abs_error == 0.0


def test_an_output_without_a_batch_dimension_is_one_sample() -> None:
    found = judge(
        [({"y": np.ones((2, 3)), "scalar": np.array(2.0)}, {"y": np.ones((2, 3)), "scalar": np.array(2.0)})]
    )
    assert found.samples == 1


def test_an_unknown_task_has_no_agreement(logits: tuple[Array, Array]) -> None:
    want, got = logits
    found = judge([({"logits": want}, {"logits": got})])
    assert (found.agreement, found.agreement_ci95, found.agreement_name) == (None, None, None)


class Boxes:
    """A task whose outputs come in any number; samples agree where both name them, else in part."""

    name = "detection"
    agreement = "detection agreement"
    numeric = False

    def agreeing(self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int) -> Array:
        same = [(reference["rows"] == k).any() == (outputs["rows"] == k).any() for k in range(samples)]
        return np.where(same, 1.0, 0.25)


def test_outputs_that_cannot_be_subtracted_are_judged_by_the_task_alone() -> None:
    meter = AgreementMeter(Boxes(), "fp32 graph elsewhere")
    meter.add({"rows": np.array([0, 0, 1, 3])}, {"rows": np.array([0, 2, 3])}, 4)
    meter.add({"rows": np.array([0])}, {"rows": np.array([0, 0])}, 2)
    found = meter.result(FEEDS)
    assert (found.samples, found.agreement) == (6, (4 + 2 * 0.25) / 6)
    assert (found.cosine, found.sqnr_db, found.max_abs_error) == (None, None, None)
