"""The ONNX project's cases are all there, called what they are tests of, and fed as its runner feeds them."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from onnx.backend.test.loader import load_model_tests

from bench.conformance_cases import SUITES, Case, Trial, load_cases, read_trial
from runtime.backend import SessionOptions
from runtime.errors import UsageError
from runtime.reference import ReferenceBackend


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {case.name: case for case in load_cases()}


def test_all_that_onnx_loads_is_there_once(cases: dict[str, Case]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {suite: {each.name for each in load_model_tests(kind=suite)} for suite in SUITES}
    ours = {suite: {case.name for case in cases.values() if case.suite == suite} for suite in SUITES}
    assert ours == theirs
    assert len(cases) == sum(map(len, theirs.values())) > 1500


@pytest.mark.parametrize(
    ("name", "operator", "opset"),
    [
        ("test_abs", "Abs", 13),
        ("test_attention_4d", "Attention", 23),
        ("test_attention_4d_expanded", "Attention, expanded", 23),
        ("test_ai_onnx_ml_binarizer", "ai.onnx.ml.Binarizer", 1),
        ("test_single_relu_model", "Relu", 9),
        ("test_operator_add_broadcast", "Add", 6),
        ("test_sequence_model1", "several operators", 12),
    ],
)
def test_a_case_says_what_it_is_a_test_of(
    cases: dict[str, Case], name: str, operator: str, opset: int
) -> None:
    assert (cases[name].operator, cases[name].opset) == (operator, opset)


def test_the_opset_is_that_of_the_model(cases: dict[str, Case]) -> None:
    for case in cases.values():
        if case.source.model is not None and "." not in case.operator:
            imports = {each.domain: each.version for each in case.source.model.opset_import}
            assert case.opset in imports.values()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_identity_sequence", "an input or output of another kind than a tensor (sequence)"),
        ("test_identity_opt", "an input or output of another kind than a tensor (optional)"),
        ("test_isnan", "its feed holds NaN or infinity, which a session refuses"),
        ("test_bernoulli", "its values are random"),
        ("test_training_dropout", "its values are random"),
        ("test_adam", "operator of the domain ai.onnx.preview.training"),
    ],
)
def test_what_a_session_cannot_be_given_says_why(cases: dict[str, Case], name: str, reason: str) -> None:
    assert read_trial(cases[name]) == reason


def test_few_cases_are_left_out_and_none_for_another_reason(cases: dict[str, Case]) -> None:
    reasons = Counter(reason for case in cases.values() if isinstance(reason := read_trial(case), str))
    assert sum(reasons.values()) < 0.1 * len(cases)
    assert {reason.partition(" of the domain")[0] for reason in reasons} == {
        "an input or output of another kind than a tensor (sequence)",
        "an input or output of another kind than a tensor (optional)",
        "its feed holds NaN or infinity, which a session refuses",
        "its values are random",
        "operator",
    }


def test_a_dropout_that_drops_nothing_is_no_matter_of_chance(cases: dict[str, Case]) -> None:
    assert isinstance(read_trial(cases["test_training_dropout_zero_ratio"]), Trial)
    assert isinstance(read_trial(cases["test_dropout_default"]), Trial)


@pytest.mark.parametrize("name", ["test_PReLU_2d", "test_gather_0", "test_strnorm_model_monday_empty_output"])
def test_the_feed_makes_the_reference_evaluator_give_what_is_expected(
    cases: dict[str, Case], name: str, tmp_path: object
) -> None:
    trial = read_trial(cases[name])
    assert isinstance(trial, Trial)
    path = tmp_path / "case.onnx"  # type: ignore[operator]
    path.write_bytes(trial.model.SerializeToString())
    for sample in trial.samples:
        with ReferenceBackend().open(path, "cpu", SessionOptions()) as session:
            outputs = list(session.run(sample.feed).values())
        for got, want in zip(outputs, sample.expected, strict=True):
            if want.dtype.kind == "U":
                np.testing.assert_array_equal(got.astype(np.str_), want)
            else:
                np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-7)


def test_patterns_choose_operators_however_they_are_written_and_expanded_ones_too() -> None:
    assert {case.operator for case in load_cases(["reducel?", "CELU"])} == {
        "ReduceL1", "ReduceL1, expanded", "ReduceL2", "ReduceL2, expanded", "Celu", "Celu, expanded",
    }  # fmt: skip


def test_a_name_chooses_one_case() -> None:
    assert [case.name for case in load_cases(names=["test_abs"])] == ["test_abs"]


def test_a_pattern_or_name_that_matches_nothing_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown operator 'Convv': did you mean Conv"):
        load_cases(["Convv"])
    with pytest.raises(UsageError, match=r"unknown case 'test_ab': did you mean test_a.*lists those of an"):
        load_cases(names=["test_ab"])
    with pytest.raises(UsageError, match=r"unknown case 'test_abs'"):
        load_cases(["Conv"], ["test_abs"])
