"""What a worker process costs a measurement: its figures beside those of this process (aim: nothing)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import numpy as np

from bench.measure import Limits
from bench.opened import ReadyQuery
from bench.opening import opened
from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from runtime.isolation import LIMIT_SECONDS
from runtime.tensors import Feed
from tests.models import CONV_CHAIN
from tests.performance.harness_cost import identity
from tests.performance.trials import Row, interleaved

_ROUNDS = 15
_LIMITS = Limits(duration_ns=200_000_000, min_queries=100, max_warm_up_ns=1)


def run() -> list[Row]:
    """A graph of one Identity, whose call is as cheap as it can be, and one of convolutions."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = identity(Path(folder) / "identity.onnx")
        return [
            *_rows("one Identity", tiny, {"x": np.zeros((1, 8), np.float32)}),
            *_rows("convolutions", CONV_CHAIN.write(Path(folder)), CONV_CHAIN.feed(64)),
        ]


def _rows(what: str, graph: Path, feed: Feed) -> Iterator[Row]:
    backend, options = get_backend("ort"), SessionOptions(threads=1)
    with ExitStack() as stack:
        here, apart = (
            stack.enter_context(opened(backend, graph, "cpu", options, limit)).bind(feed, Boundary.DEVICE)
            for limit in (None, LIMIT_SECONDS)
        )
        medians = interleaved({"here": _Median(here), "apart": _Median(apart)}, _ROUNDS)
    for name, nanoseconds in medians.items():
        place = "in this process" if name == "here" else "in a worker"
        yield Row(f"{what}, {place}", f"p50 {nanoseconds / 1000:.2f} µs", "", nanoseconds / medians["here"])


class _Median:
    def __init__(self, query: ReadyQuery) -> None:
        self._query = query

    def __call__(self) -> float:
        return float(median(self._query.measure(_LIMITS).samples.samples_ns))
