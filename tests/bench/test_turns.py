"""Queries that take turns, by a clock that only they move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.turns import LEAST_TURNS, MOST_TURNS, WARM_UP_TURNS, medians_in_turns


class Clock:
    """Nanoseconds that only queries spend."""

    def __init__(self) -> None:
        self.now = 0
        self.ran: list[str] = []

    def __call__(self) -> int:
        return self.now

    def query(self, name: str, *latencies: int) -> Callable[[], int]:
        left = list(latencies)

        def call() -> int:
            self.ran.append(name)
            latency = left.pop(0) if len(left) > 1 else left[0]
            self.now += latency
            return latency

        return call


def test_queries_take_turns_and_warm_up_does_not_count() -> None:
    clock = Clock()
    slow_at_first = clock.query("a", *([900] * WARM_UP_TURNS), 3, 5, 4, 100, 2)
    assert medians_in_turns([slow_at_first, clock.query("b", 10)], 1, clock) == (4, 10)
    assert clock.ran == ["a", "b"] * (WARM_UP_TURNS + LEAST_TURNS)


@pytest.mark.parametrize(("duration", "turns"), [(70, 7), (10**9, MOST_TURNS)])
def test_turns_go_on_for_as_long_as_asked_but_not_forever(duration: int, turns: int) -> None:
    clock = Clock()
    medians_in_turns([clock.query("a", 10)], duration, clock)
    assert len(clock.ran) == WARM_UP_TURNS + turns
