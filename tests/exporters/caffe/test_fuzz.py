"""A seeded share of the fuzz tests (tests/fuzz.py has the long runs), and the inputs that they once found."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import just

from tests.exporters.caffe.mutations import Files, answer, binaries, networks, texts, with_weights
from tests.fuzz import Finding, SlowError, one_round

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.prototxt"))
"""Each beside its caffemodel, or alone where that does not matter."""

share = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@share
@given(texts())
def test_a_damaged_prototxt_ends_in_a_network_or_a_line(files: Files) -> None:
    answer(*files)


@share
@given(networks().map(with_weights))
def test_layers_drawn_by_lot_end_in_a_network_or_a_line(files: Files) -> None:
    answer(*files)


@share
@given(binaries())
def test_a_damaged_caffemodel_ends_in_a_network_or_a_line(files: Files) -> None:
    answer(*files)


@pytest.mark.parametrize("prototxt", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_once_ends_in_a_network_or_a_line(prototxt: Path) -> None:
    caffemodel = prototxt.with_suffix(".caffemodel")
    answer(prototxt.read_text(encoding="utf-8"), caffemodel.read_bytes() if caffemodel.exists() else b"")


def test_the_fuzz_tests_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stumbles over layers of one type is found, and known findings are not found again."""

    def stumbles(text: str, weights: bytes) -> None:
        if "BatchNorm" in text:
            raise ZeroDivisionError

    monkeypatch.setattr("tests.fuzz.answer", stumbles)
    monkeypatch.setattr("tests.fuzz._ROUND", 50)
    found = one_round(texts(), 0, frozenset())
    assert isinstance(found, Finding)
    assert found.place.startswith("ZeroDivisionError at test_fuzz.py:")
    assert "BatchNorm" in found.files[0]
    assert one_round(texts(), 0, frozenset([found.place])) is None


def test_what_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleeps(text: str, weights: bytes) -> None:
        time.sleep(60)

    monkeypatch.setattr("tests.fuzz.answer", sleeps)
    monkeypatch.setattr("tests.fuzz._ROUND", 1)
    monkeypatch.setattr("tests.fuzz._SECONDS", 0.01)
    found = one_round(just(("", b"")), 0, frozenset())
    assert isinstance(found, Finding)
    assert isinstance(found.error, SlowError)
