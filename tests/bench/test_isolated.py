"""What misbehaves in a worker is named and survived, and what is measured there is what would be here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import pipeline
from bench.measure import Limits
from bench.opening import opened
from bench.pipeline import Failure
from bench.plan import BenchPlan
from bench.progress import Display
from bench.record import Record
from bench.sensitivity import SensitivityPlan, analyse
from calibration.precision import Precision
from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from runtime.errors import CheckFailed, CrashedError, FeedError, TimedOutError
from tests import planted_backends as planted
from tests.bench.factories import write_tiny_model
from tests.models import CONV_CHAIN

QUICK = Limits(duration_ns=1_000_000, min_queries=20, window_ns=1, window_queries=1)


@pytest.fixture
def plan(tmp_path: Path) -> BenchPlan:
    """Two cells of a tiny graph in worker processes."""
    path = write_tiny_model(tmp_path / "tiny.onnx")
    return BenchPlan(
        "planted", (str(path),), precisions=(Precision.FP32, Precision.FP16), limits=QUICK, limit_seconds=60
    )


@pytest.fixture
def outcomes(
    plan: BenchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Record | Failure]]:
    def run(backend: object, limit_seconds: float = 60) -> list[Record | Failure]:
        real = get_backend
        monkeypatch.setattr(
            "bench.opening.get_backend", lambda name: backend if name == "planted" else real(name)
        )
        return list(pipeline.run(replace(plan, limit_seconds=limit_seconds), tmp_path, Display()))

    return run


@pytest.mark.parametrize("when", ["opening", "running"])
@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        (planted.abort, CrashedError, "crashed (SIGABRT); its last words: kernel panic: tile 7 is on fire"),
        (planted.be_killed, CrashedError, "was killed (SIGKILL), as the kernel does where memory runs out"),
        (planted.raise_something, CrashedError, "its last words: RuntimeError: vendor error 17"),
        (planted.hang, TimedOutError, "no answer within 4 s"),
    ],
)
def test_each_cell_of_a_misbehaving_backend_fails_by_itself(
    outcomes: Callable[..., list[Record | Failure]], what: object, kind: type, said: str, when: str
) -> None:
    found = outcomes(planted.planted(**{when: what}), limit_seconds=4)  # type: ignore[arg-type]
    errors = [each.error for each in found if isinstance(each, Failure)]
    assert [type(error) for error in errors] == [kind, kind]
    step = {"opening": "opening", "running": "first query"}[when]
    for error in errors:
        assert "backend planted with" in str(error)
        assert f"{step}: " in str(error)
        assert said in str(error)


def test_a_leak_is_named(outcomes: Callable[..., list[Record | Failure]]) -> None:
    first, _ = outcomes(planted.planted(running=planted.leak))
    assert isinstance(first, Record)
    (message,) = [each.message for each in first.warnings if each.kind == "memory-grows"]
    grown, queries = (int(word) for word in message.split() if word.isdigit())
    # 20 measured and those of the warm-up, 8 MiB each; the allocator rounds by pages
    assert grown == pytest.approx(queries * planted.LEAKED_BYTES / 2**20, rel=0.05)


def test_wrong_answers_are_no_measurement(outcomes: Callable[..., list[Record | Failure]]) -> None:
    first, _ = outcomes(planted.LyingBackend())
    assert isinstance(first, Failure)
    assert isinstance(first.error, CheckFailed)
    assert "its answers are not those of the fp32 graph on ort, cpu: SQNR 0.0 dB" in str(first.error)


def test_a_worker_gives_the_same_answers_and_facts(tmp_path: Path) -> None:
    graph, feed = CONV_CHAIN.write(tmp_path), CONV_CHAIN.feed(3)
    backend = get_backend("ort")
    with (
        opened(backend, graph, "cpu", SessionOptions(), None) as here,
        opened(backend, graph, "cpu", SessionOptions(), 60) as apart,
    ):
        for name, array in here.run(feed).items():
            np.testing.assert_array_equal(apart.run(feed)[name], array)
        query = apart.bind(feed, Boundary.DEVICE)
        assert apart.executed() == here.executed()
        assert query.build.seconds > 0
        assert query.build.peak_rss_bytes > 0
        measurement = query.measure(QUICK)
        assert len(measurement.samples.samples_ns) >= QUICK.min_queries
        with pytest.raises(FeedError, match="the graph wants"):
            apart.run({})


def _nap() -> None:
    time.sleep(0.02)


def test_one_query_is_timed_where_it_runs(tmp_path: Path) -> None:
    graph, backend = CONV_CHAIN.write(tmp_path), planted.planted(running=_nap)
    for limit in (None, 60):
        with opened(backend, graph, "cpu", SessionOptions(), limit) as ready:
            assert 20_000_000 <= ready.bind(CONV_CHAIN.feed(), Boundary.DEVICE).once() < 10_000_000_000


def test_a_crash_ends_the_search_for_a_mixed_graph_in_one_line(
    plan: BenchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.opening.get_backend", lambda _: planted.planted(running=planted.abort))
    network = replace(plan, precisions=(), evaluation_samples=2)
    with pytest.raises(CrashedError, match=r"backend planted with .*: first query: .* crashed \(SIGABRT\)"):
        analyse(SensitivityPlan(network, samples=2, output_samples=0), tmp_path, Display())


def test_a_backend_that_crashes_when_closed_says_so(tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    with (
        pytest.raises(CrashedError, match=r"closing: its process crashed \(SIGABRT\)"),
        opened(planted.CrashesAtTheEnd(), graph, "cpu", SessionOptions(), 60),
    ):
        pass
