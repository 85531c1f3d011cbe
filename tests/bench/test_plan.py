"""A plan expands to the product of its values, in an order that opens a graph once."""

from __future__ import annotations

from itertools import groupby

import pytest

from bench.plan import BenchPlan, Cell, read_provider_options
from calibration.precision import Precision
from runtime.backend import SessionOptions
from runtime.errors import UsageError


def test_values_given_several_times_mean_the_product() -> None:
    plan = BenchPlan(
        "ort",
        ("resnet50", "bert"),
        precisions=(Precision.FP32, Precision.INT8),
        devices=("cpu", "cuda:0"),
        batch_sizes=(1, 8),
    )
    assert len(plan.subjects()) == 2
    assert len(plan.cells()) == 8
    assert plan.size == 16


def test_each_graph_and_device_comes_up_once() -> None:
    plan = BenchPlan(
        "ort",
        ("m",),
        precisions=(Precision.FP32, Precision.INT8),
        devices=("cpu", "gpu"),
        batch_sizes=(1, 2, 4),
    )
    opened = [key for key, _ in groupby(plan.cells(), lambda cell: (cell.precision, cell.device))]
    assert len(opened) == len(set(opened)) == 4


def test_a_value_given_twice_is_measured_once() -> None:
    plan = BenchPlan("ort", ("m", "m"), precisions=(Precision.FP32, Precision.FP32), batch_sizes=(2, 2))
    assert plan.subjects() == (("m", None),)
    assert plan.cells() == (Cell(Precision.FP32, "cpu", 2),)


def test_both_frameworks_of_a_model_are_two_subjects() -> None:
    plan = BenchPlan("ort", ("resnet50",), frameworks=("tensorflow", "caffe"))
    assert plan.subjects() == (("resnet50", "tensorflow"), ("resnet50", "caffe"))


@pytest.mark.parametrize("scenario", ["multi-stream", "server", "offline"])
def test_only_single_stream_is_measured(scenario: str) -> None:
    with pytest.raises(UsageError, match=f"--scenario {scenario} is not measured yet, only single-stream"):
        BenchPlan("ort", ("m",), scenario=scenario)


def test_a_plan_without_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="no model given; name one with --model"):
        BenchPlan("ort", ())


def test_provider_options_are_names_and_values() -> None:
    assert read_provider_options(["device_id=1", "path=a=b", "empty="]) == {
        "device_id": "1",
        "path": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["device_id"], "--provider-option device_id is no NAME=VALUE; write it as device_id=0"),
        (["=1"], "is no NAME=VALUE"),
        (["a=1", "a=2"], "--provider-option a=2 is given twice"),
    ],
)
def test_other_provider_options_are_refused(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_provider_options(texts)


def test_a_provider_is_for_onnxruntime() -> None:
    with pytest.raises(UsageError, match="--provider tensorrt is one of ONNX Runtime's"):
        BenchPlan("openvino", ("bert",), session=SessionOptions(provider="tensorrt"))
