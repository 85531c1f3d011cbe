"""What a build takes is counted from the file to the first answer, wherever a backend compiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.opening import opened, usable_backend
from runtime.backend import Boundary, BuildFacts, SessionOptions
from runtime.errors import HarnessError, UnavailableError, UsageError
from runtime.null import NullBackend, NullSession
from runtime.session import CheckedSession
from tests.models import CONV_CHAIN

SECONDS = {"open": 2.0, "bind": 3.0}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only opening and binding move on."""
    clock = [100.0]

    def slow(kind: type, method: str) -> None:
        real = getattr(kind, method)

        def call(*arguments: object) -> object:
            clock[0] += SECONDS[method]
            return real(*arguments)

        monkeypatch.setattr(kind, method, call)

    slow(NullBackend, "open")
    slow(CheckedSession, "bind")
    monkeypatch.setattr("bench.opened.time.perf_counter", lambda: clock[0])
    return clock


@pytest.mark.usefixtures("now")
def test_a_build_is_the_opening_and_the_first_bind(tmp_path: Path) -> None:
    graph = CONV_CHAIN.write(tmp_path)
    with opened(NullBackend(), graph, "cpu", SessionOptions(), None) as ready:
        builds = [ready.bind(CONV_CHAIN.feed(size), Boundary.DEVICE).build for size in (1, 3)]
    assert [build.seconds for build in builds] == [5.0, 5.0]  # the opening counts in every cell


def test_what_a_session_holds_counts_in_every_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        """Rises by 100 when opening, of which 80 stay; by 50 when binding."""

        rises = iter([100, 50, 10])

        def rise_bytes(self) -> int:
            return next(self.rises)

        def held_bytes(self) -> int:
            return 80

    monkeypatch.setattr("bench.opened.PeakMemory", Memory)
    graph = CONV_CHAIN.write(tmp_path)
    with opened(NullBackend(), graph, "cpu", SessionOptions(), None) as ready:
        builds = [ready.bind(CONV_CHAIN.feed(size), Boundary.DEVICE).build for size in (1, 3)]
    assert [build.peak_rss_bytes for build in builds] == [80 + 50, 100]


class TellingSession(NullSession):
    """Says that its engine came from a cache."""

    def built(self) -> BuildFacts:
        return BuildFacts(cached=True, engine_bytes=4096)


def test_what_a_session_tells_of_its_engine_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.null.NullSession", TellingSession)
    with opened(NullBackend(), CONV_CHAIN.write(tmp_path), "cpu", SessionOptions(), None) as ready:
        build = ready.bind(CONV_CHAIN.feed(), Boundary.DEVICE).build
    assert (build.cached, build.engine_bytes, build.device_bytes) == (True, 4096, None)


def test_of_a_backend_without_engines_nothing_is_claimed(tmp_path: Path) -> None:
    with opened(NullBackend(), CONV_CHAIN.write(tmp_path), "cpu", SessionOptions(), None) as ready:
        build = ready.bind(CONV_CHAIN.feed(), Boundary.DEVICE).build
    assert (build.cached, build.engine_bytes, build.device_bytes) == (None, None, None)


def test_device_memory_is_what_the_driver_says_is_used_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = iter([1000, 1700])
    monkeypatch.setattr("bench.opened.used_device_bytes", lambda device: next(used))
    with opened(NullBackend(), CONV_CHAIN.write(tmp_path), "cpu", SessionOptions(), None) as ready:
        assert ready.bind(CONV_CHAIN.feed(), Boundary.DEVICE).build.device_bytes == 700


@pytest.mark.parametrize(
    ("backend", "options", "error", "said"),
    [
        ("ort", SessionOptions(provider="QNNExecutionProvider"), UnavailableError, "built without QNN"),
        ("ort", SessionOptions(provider_options={"x": "1"}), UsageError, "takes no provider options"),
        ("openvino", SessionOptions(provider_options={"NUM_STREAM": "1"}), UsageError, "mean NUM_STREAMS"),
        ("openvino", SessionOptions(provider_options={"INFERENCE_PRECISION_HINT": ""}), UsageError, "file"),
    ],
)  # fmt: skip
def test_options_are_refused_before_there_is_a_graph(
    backend: str, options: SessionOptions, error: type[HarnessError], said: str
) -> None:
    pytest.importorskip({"ort": "onnxruntime"}.get(backend, backend))
    usable_backend(backend, ["cpu"])
    with pytest.raises(error, match=said):
        usable_backend(backend, ["cpu"], options)


def test_a_library_of_a_vendor_is_left_to_the_process_of_the_session(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    usable_backend("ort", ["cpu"], SessionOptions(provider="XExecutionProvider", provider_library=tmp_path))


def test_a_backend_that_checks_nothing_is_taken_as_it_is() -> None:
    usable_backend("null", ["cpu"], SessionOptions(provider_options={"x": "1"}))
