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
    queries: Sequence[Callable[[], int]], duration_ns: int, clock: Clock = perf_counter_ns
) -> tuple[int, ...]:
    """The median latency of each query, in nanoseconds, which it returns itself.

    Every turn runs each query once. Turns go on for `duration_ns`, but for LEAST_TURNS at least and
    MOST_TURNS at most; the first WARM_UP_TURNS do not count.
    """
    for _ in range(WARM_UP_TURNS):
        _turn(queries)
    turns: list[list[int]] = []
    began = clock()
    while len(turns) < LEAST_TURNS or (len(turns) < MOST_TURNS and clock() - began < duration_ns):
        turns.append(_turn(queries))
    return tuple(round(median(latencies)) for latencies in zip(*turns, strict=True))


def _turn(queries: Sequence[Callable[[], int]]) -> list[int]:
    return [query() for query in queries]
