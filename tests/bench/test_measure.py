"""The loop, made exact by a clock that only moves when a query runs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from itertools import chain, repeat

import pytest

from bench.measure import Limits, measure


class FakeClock:
    """Time that passes only inside `query`; each query takes the next of `durations`."""

    def __init__(self, durations: Iterable[int], between: int = 0) -> None:
        self.now = 1_000
        self.queries = 0
        self._durations = iter(durations)
        self._between = between

    def __call__(self) -> int:
        return self.now

    def query(self) -> None:
        self.queries += 1
        self.now += next(self._durations)


NO_WARM_UP = Limits(
    duration_ns=1_000, min_queries=1, max_duration_ns=1_000, max_queries=1_000, window_ns=10, window_queries=1
)


def test_every_sample_is_the_duration_of_its_query() -> None:
    clock = FakeClock(chain(repeat(10, 3), [300, 200, 400, 150], repeat(10)))
    samples = measure(clock.query, NO_WARM_UP, clock)
    assert list(samples.samples_ns) == [300, 200, 400, 150]
    assert list(samples.starts_ns) == [0, 300, 500, 900]
    assert samples.wall_ns == 1_050


def test_warm_up_queries_are_counted_apart() -> None:
    clock = FakeClock(repeat(10))
    samples = measure(clock.query, NO_WARM_UP, clock)
    assert samples.warm_up.queries == 3
    assert samples.warm_up.wall_ns == 30
    assert samples.warm_up.steady
    assert clock.queries == 3 + len(samples.samples_ns)


def test_warm_up_goes_on_until_three_windows_agree_within_ten_percent() -> None:
    clock = FakeClock(chain([100, 50, 40, 30, 29, 28], repeat(28)))
    samples = measure(clock.query, NO_WARM_UP, clock)
    assert samples.warm_up.queries == 6  # 30, 29 and 28 are the first three within 10 %
    assert samples.warm_up.steady


def test_warm_up_gives_up_after_ten_windows_and_says_so() -> None:
    clock = FakeClock(chain.from_iterable(repeat((20, 40))))
    samples = measure(clock.query, NO_WARM_UP, clock)
    assert samples.warm_up.queries == 10
    assert not samples.warm_up.steady


def test_warm_up_of_a_very_slow_query_is_bounded_in_time() -> None:
    clock = FakeClock(repeat(40_000_000_000))
    limits = Limits(duration_ns=1, min_queries=1, max_duration_ns=1)
    samples = measure(clock.query, limits, clock)
    assert samples.warm_up.queries == limits.window_queries
    assert not samples.warm_up.steady


def test_a_window_of_very_fast_queries_is_bounded_in_number() -> None:
    clock = FakeClock(repeat(1))
    limits = Limits(duration_ns=1, min_queries=1, max_queries=10, max_window_queries=7)
    assert measure(clock.query, limits, clock).warm_up.queries == 21


@pytest.mark.parametrize(
    ("limits", "queries"),
    [
        (Limits(duration_ns=1_000, min_queries=5), 10),
        (Limits(duration_ns=1_000, min_queries=50), 50),
        (Limits(duration_ns=1_000, min_queries=50, max_duration_ns=2_000), 20),
        (Limits(duration_ns=3_000, min_queries=5, max_duration_ns=2_000), 30),
        (Limits(duration_ns=1_000, min_queries=5, max_queries=7), 7),
    ],
    ids=["duration", "at-least", "not-longer", "as-long-as-asked", "at-most"],
)
def test_the_loop_ends_when_its_limits_say(limits: Limits, queries: int) -> None:
    clock = FakeClock(repeat(100))
    assert len(measure(clock.query, limits, clock).samples_ns) == queries


def test_time_between_queries_is_in_the_wall_time_but_in_no_sample() -> None:
    clock = FakeClock(repeat(100))
    ticks = iter(range(10**9))

    def ticking() -> int:
        return clock.now + next(ticks)

    samples = measure(clock.query, Limits(duration_ns=1_000, min_queries=5, max_queries=5), ticking)
    assert set(samples.samples_ns) == {101}
    assert samples.wall_ns == 5 * 100 + 10


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_off_while_timing_and_as_it_was_afterwards(was_on: bool) -> None:
    states: list[bool] = []
    clock = FakeClock(repeat(100))

    def query() -> None:
        states.append(gc.isenabled())
        clock.query()

    with _collector(was_on):
        measure(query, NO_WARM_UP, clock)
        assert gc.isenabled() is was_on
    assert not any(states)


def test_a_failing_query_leaves_the_collector_on() -> None:
    def query() -> None:
        raise ValueError("out of memory on the device")

    with pytest.raises(ValueError, match="out of memory"):
        measure(query, NO_WARM_UP, FakeClock([]))
    assert gc.isenabled()


class _collector:  # noqa: N801 - reads as a keyword where it is used
    def __init__(self, on: bool) -> None:
        self._set: Callable[[], None] = gc.enable if on else gc.disable

    def __enter__(self) -> None:
        self._set()

    def __exit__(self, *_: object) -> None:
        gc.enable()
