"""The search, on networks whose every layer does a known damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from calibration.repair import smallest_kept

LAYERS = tuple(f"layer {number}" for number in range(23))


class Damage:
    """Good is what does no more damage than allowed; counts how often it is asked."""

    def __init__(self, damages: Sequence[float], allowed: float) -> None:
        self.of = dict(zip(LAYERS, damages, strict=False))
        self.allowed = allowed
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, kept: tuple[str, ...]) -> bool:
        self.asked.append(kept)
        return sum(value for name, value in self.of.items() if name not in kept) <= self.allowed


def _shortest_beginning(damage: Damage, ranking: Sequence[str]) -> int | None:
    """By trying every one."""
    good = Damage(tuple(damage.of.values()), damage.allowed)
    return next((count for count in range(len(ranking)) if good(tuple(ranking[:count]))), None)


@pytest.mark.parametrize("seed", range(40))
def test_the_shortest_good_beginning_of_a_ranking_is_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    damages = sorted(random.exponential(size=random.integers(2, 23)) ** 3, reverse=True)
    damage = Damage(damages, float(sum(damages) * random.random()))
    ranking = tuple(damage.of)
    found = smallest_kept(ranking, damage, drops=0)
    shortest = _shortest_beginning(damage, ranking)
    assert found == (None if shortest is None else ranking[:shortest])
    assert len(damage.asked) <= 2 + 2 * np.ceil(np.log2(len(ranking)))


@pytest.mark.parametrize("seed", range(20))
def test_no_layer_can_be_left_out_of_what_is_found_though_the_ranking_is_wrong(seed: int) -> None:
    random = np.random.default_rng(seed)
    damages = [float(value) for value in random.exponential(size=12) ** 3]
    damage = Damage(damages, float(sum(damages) * random.random()))
    found = smallest_kept(tuple(damage.of), damage, drops=12)
    assert found is None or damage(found)
    for name in found or ():
        assert not damage(tuple(other for other in found or () if other != name))


def test_nothing_is_kept_of_a_network_that_is_good_as_it_is() -> None:
    damage = Damage([3.0, 2.0, 1.0], allowed=6.0)
    assert smallest_kept(LAYERS[:3], damage, drops=5) == ()
    assert damage.asked == [()]


@pytest.mark.parametrize("layers", [0, 1, 5])
def test_none_where_not_even_the_last_layer_may_be_quantised(layers: int) -> None:
    damage = Damage([1.0] * layers, allowed=-1.0)
    assert smallest_kept(LAYERS[:layers], damage, drops=5) is None


def test_layers_are_tried_without_the_least_harmful_first_and_as_often_as_allowed() -> None:
    damage = Damage([0.0, 0.0, 0.0, 5.0, 0.0], allowed=1.0)
    assert smallest_kept(LAYERS[:5], damage, drops=2) == (LAYERS[0], LAYERS[3])
    assert damage.asked[-2:] == [(LAYERS[0], LAYERS[1], LAYERS[3]), (LAYERS[0], LAYERS[3])]


def test_what_is_found_is_good_where_more_layers_in_float_can_make_it_worse() -> None:
    verdicts = np.random.default_rng(3)
    table: dict[tuple[str, ...], bool] = {}

    def good(kept: tuple[str, ...]) -> bool:
        return table.setdefault(kept, bool(verdicts.random() < 0.3))

    whimsical: Callable[[tuple[str, ...]], bool] = good
    for _ in range(30):
        table.clear()
        found = smallest_kept(LAYERS, whimsical, drops=9)
        assert found is None or table[found]
