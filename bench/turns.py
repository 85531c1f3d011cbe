"""Times several queries in turns, so that whatever slows a machine down for a while slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns

from bench.measure import Clock

WARM_UP_TURNS = 2
LEAST_TURNS = 5
MOST_TURNS = 200


def medians_in_turns(
    queries: Sequence[Callable[[], None]], duration_ns: int, clock: Clock = perf_counter_ns
) -> tuple[int, ...]:
    """The median latency of each query, in nanoseconds.

    Every turn runs each query once. Turns go on for `duration_ns`, but for LEAST_TURNS at least and
    MOST_TURNS at most; the first WARM_UP_TURNS do not count.
    """
    latencies: list[list[int]] = [[] for _ in queries]
    for _ in range(WARM_UP_TURNS):
        _turn(queries, clock)
    began = clock()
    for turn in range(MOST_TURNS):
        if turn >= LEAST_TURNS and clock() - began >= duration_ns:
            break
        for found, latency in zip(latencies, _turn(queries, clock), strict=True):
            found.append(latency)
    return tuple(round(median(found)) for found in latencies)


def _turn(queries: Sequence[Callable[[], None]], clock: Clock) -> list[int]:
    latencies = []
    for run in queries:
        start = clock()
        run()
        latencies.append(clock() - start)
    return latencies
