"""Searches for the smallest set of layers that must stay in float for a network to be good enough.

Knows neither graphs nor data: `good` tells whether the network is with given layers in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Good = Callable[[tuple[str, ...]], bool]
"""From names of layers that stay in float, as the ranking orders them, to the verdict; may be dear."""


def smallest_kept(ranking: Sequence[str], good: Good, drops: int) -> tuple[str, ...] | None:
    """Names out of `ranking` (the most harmful first), in its order; () where none needs to stay in float.

    First the shortest beginning of the ranking that is good: doubled until it is, then bisected. Then each
    of its layers is left out for a try, the least harmful first, at most `drops` of them: what the network
    does without, stays out. None where even all but the last do not suffice: with all of them in float
    nothing would be quantised. What is found is good whatever `good` says of others; it is the smallest
    such beginning if more layers in float never make the network worse.
    """
    if good(()):
        return ()
    count = _shortest(ranking, good)
    return None if count is None else _without_idle(tuple(ranking[:count]), good, drops)


def _shortest(ranking: Sequence[str], good: Good) -> int | None:
    bad, most = 0, len(ranking) - 1
    while bad < most:
        count = min(max(1, 2 * bad), most)
        if good(tuple(ranking[:count])):
            return _bisected(ranking, good, bad, count)
        bad = count
    return None


def _bisected(ranking: Sequence[str], good: Good, bad: int, enough: int) -> int:
    """`enough` is, and `bad` is not; what is returned is."""
    while enough - bad > 1:
        middle = (bad + enough) // 2
        if good(tuple(ranking[:middle])):
            enough = middle
        else:
            bad = middle
    return enough


def _without_idle(kept: tuple[str, ...], good: Good, drops: int) -> tuple[str, ...]:
    # The last one was found to be needed when the beginning was bisected.
    for layer in tuple(reversed(kept[:-1]))[:drops]:
        fewer = tuple(name for name in kept if name != layer)
        if good(fewer):
            kept = fewer
    return kept
