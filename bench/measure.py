"""The closed loop: one query after the other, raw samples out. Knows neither models nor statistics."""

from __future__ import annotations

import gc
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

Clock = Callable[[], int]
"""Nanoseconds from any fixed point; never goes back."""

STEADY_WINDOWS = 3
STEADY_TOLERANCE = 0.10
MAX_WINDOWS = 10
"""Steady is three windows in a row within 10 %, looked for in at most ten (perf_analyzer's defaults)."""


@dataclass(frozen=True)
class Limits:
    """When warm-up and measuring end.

    The timed loop ends once `duration_ns` have passed and `min_queries` are done, but never later
    than `max_duration_ns` or `max_queries`; 300,000 queries give a 99 % interval for p99
    (270,336 in the MLPerf inference rules) and bound the memory at 4.8 MB.
    """

    duration_ns: int = 10_000_000_000
    min_queries: int = 50
    max_duration_ns: int = 120_000_000_000
    max_queries: int = 300_000
    window_ns: int = 100_000_000
    window_queries: int = 2
    max_window_queries: int = 10_000
    max_warm_up_ns: int = 30_000_000_000


@dataclass(frozen=True)
class WarmUp:
    """Queries run before the first one counted; `steady` where their time had settled."""

    queries: int
    wall_ns: int
    steady: bool


@dataclass(frozen=True)
class Samples:
    """One measurement: when each query started (from the loop's start) and how long it took."""

    starts_ns: Sequence[int]
    samples_ns: Sequence[int]
    wall_ns: int
    warm_up: WarmUp


def measure(run: Callable[[], None], limits: Limits, clock: Clock = perf_counter_ns) -> Samples:
    """Warm `run` up until it is steady (or the bound is met), then time it query by query."""
    with _collector_off():
        warm_up = _warm_up(run, limits, clock)
        return _timed(run, limits, clock, warm_up)


def _timed(run: Callable[[], None], limits: Limits, clock: Clock, warm_up: WarmUp) -> Samples:
    starts = array("q", bytes(8 * limits.max_queries))
    latencies = array("q", bytes(8 * limits.max_queries))
    began = clock()
    enough = began + limits.duration_ns
    last = began + max(limits.duration_ns, limits.max_duration_ns)
    count = 0
    while True:
        start = clock()
        run()
        stop = clock()
        starts[count] = start - began
        latencies[count] = stop - start
        count += 1
        if count == limits.max_queries or stop >= last or (stop >= enough and count >= limits.min_queries):
            return Samples(starts[:count], latencies[:count], stop - began, warm_up)


def _warm_up(run: Callable[[], None], limits: Limits, clock: Clock) -> WarmUp:
    began = clock()
    medians: deque[float] = deque(maxlen=STEADY_WINDOWS)
    queries, elapsed, steady = 0, 0, False
    for _ in range(MAX_WINDOWS):
        window = _window(run, limits, clock)
        queries += len(window)
        medians.append(median(window))
        elapsed = clock() - began
        steady = len(medians) == STEADY_WINDOWS and max(medians) <= (1 + STEADY_TOLERANCE) * min(medians)
        if steady or elapsed >= limits.max_warm_up_ns:
            break
    return WarmUp(queries, elapsed, steady)


def _window(run: Callable[[], None], limits: Limits, clock: Clock) -> list[int]:
    latencies: list[int] = []
    began = stop = clock()
    while len(latencies) < limits.max_window_queries:
        if stop - began >= limits.window_ns and len(latencies) >= limits.window_queries:
            break
        start = clock()
        run()
        stop = clock()
        latencies.append(stop - start)
    return latencies


@contextmanager
def _collector_off() -> Iterator[None]:
    """A collection in the middle of a query would be counted as the backend's time."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
