"""What every metric has to do, whatever it measures: streams, multisets, broken answers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from model_zoo.metrics import METRICS, Metric, get_measure
from runtime.errors import UnavailableError, UsageError
from tests.model_zoo.metric_cases import MAKERS, case

each_metric = pytest.mark.parametrize("name", sorted(METRICS))


def filled(name: str, samples: int = 12, seed: int = 0) -> Metric:
    metric = METRICS[name].make()
    given = case(name, samples, seed)
    for truth, answer in zip(given.truths, given.answers, strict=True):
        metric.add(truth, answer)
    return metric


def test_there_are_samples_for_every_metric() -> None:
    assert MAKERS.keys() == METRICS.keys()


@each_metric
def test_a_metric_is_found_by_its_name_and_says_where_it_is_from(name: str) -> None:
    measure = get_measure(name)
    assert measure.name == name
    assert all((measure.title, measure.source, measure.truth, measure.answer))


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown metric 'top-2': did you mean top-"):
        get_measure("top-2")


@each_metric
def test_nothing_has_no_value(name: str) -> None:
    assert math.isnan(METRICS[name].make().value())


@each_metric
def test_samples_can_be_added_after_a_value_was_asked_for(name: str) -> None:
    metric = METRICS[name].make()
    given = case(name, 12)
    for truth, answer in zip(given.truths, given.answers, strict=True):
        metric.add(truth, answer)
        metric.value()
    assert metric.samples == 12
    assert metric.value() == filled(name).value()


@each_metric
def test_weights_are_what_taking_a_sample_in_as_often_is(name: str) -> None:
    given = case(name, 12)
    weights = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12))
    expanded = METRICS[name].make()
    for index in np.repeat(np.arange(12), weights):
        expanded.add(given.truths[index], given.answers[index])
    weighted = filled(name).value(weights.astype(np.float64))
    assert weighted == pytest.approx(expanded.value(), abs=1e-12)


@each_metric
def test_where_there_are_scores_they_are_shares_and_the_value_is_their_mean(name: str) -> None:
    metric = filled(name)
    scores = metric.scores()
    if scores is None:
        assert name in {"auc", "bleu", "character-error-rate", "text-f-measure", "voc-map"} | {
            "coco-box-ap", "coco-box-ap50", "coco-mask-ap", "coco-mask-ap50", "coco-keypoint-ap",
            "pck@0.1", "pck@0.05",
        }  # fmt: skip
    else:
        assert scores.shape == (12,)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert metric.value() == pytest.approx(scores.mean())


@each_metric
def test_an_answer_that_could_not_be_read_is_counted_and_is_the_worst_there_is(name: str) -> None:
    given, metric, measure = case(name, 12), METRICS[name].make(), METRICS[name]
    for truth in given.truths:
        metric.add(truth, None)
    assert metric.broken == metric.samples == 12
    assert measure.quality(metric.value()) == 0


@each_metric
def test_answers_that_are_mostly_right_are_much_better_than_zeros(name: str) -> None:
    given, zeros, measure = case(name, 12), METRICS[name].make(), METRICS[name]
    for truth in given.truths:
        zeros.add(truth, given.zero)
    good = filled(name)
    assert good.broken == zeros.broken == 0
    assert measure.quality(good.value()) > 0.5
    assert measure.quality(zeros.value()) < measure.quality(good.value()) - 0.1


@pytest.mark.parametrize("name", ["top-1", "auc", "hr@10", "gauc", "voc-map", "coco-keypoint-ap"])
def test_nan_in_an_answer_is_noticed(name: str) -> None:
    given, metric = case(name, 1), METRICS[name].make()
    answer = given.answers[0]
    if isinstance(answer, float):
        answer = math.nan
    else:
        (answer if isinstance(answer, np.ndarray) else answer.scores)[0] = np.nan
    metric.add(given.truths[0], answer)
    assert metric.broken == 1


@pytest.mark.parametrize(
    ("name", "package"),
    [("bleu", "sacrebleu"), ("coco-box-ap", "pycocotools"), ("coco-mask-ap", "pycocotools")],
)
def test_a_metric_whose_package_is_missing_says_so(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in list(sys.modules):
        if module.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UnavailableError, match=rf"needs the package '{package}.*pip install '\.\[accuracy\]'"
    ):
        METRICS[name].make()
