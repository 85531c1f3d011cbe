"""PCK by hand, as Yang and Ramanan 2013 define it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from model_zoo.metrics import get_measure
from model_zoo.metrics.objects import FoundPersons, TrueObjects
from runtime.errors import UsageError

BOX = np.array([[10.0, 20.0, 50.0, 120.0]])
"""40 wide and 100 high: a tenth of its larger side is 10 pixels, a twentieth 5."""

POINTS = np.array([[20.0, 30.0], [30.0, 40.0], [40.0, 50.0], [40.0, 110.0]])


def truth(visibility: tuple[int, ...] = (2, 2, 2, 2), box: NDArray[np.float64] = BOX) -> TrueObjects:
    points = np.column_stack([POINTS, visibility])[np.newaxis]
    return TrueObjects(np.ones(1, np.int64), box, np.zeros(1, np.bool_), key_points=points)


def answer(*moves: tuple[float, float]) -> FoundPersons:
    """The true points, each so far away."""
    return FoundPersons(np.ones(1), (POINTS + np.array(moves))[np.newaxis])


MOVED = answer((0, 0), (3, 4), (6, 8), (6, 8.1))
"""0, 5, 10 and just over 10 pixels away."""


def value(name: str, *pairs: tuple[TrueObjects, FoundPersons | None]) -> float:
    metric = get_measure(name).make()
    for each in pairs:
        metric.add(*each)
    return metric.value()


@pytest.mark.parametrize(("name", "expected"), [("pck@0.1", 3 / 4), ("pck@0.05", 2 / 4)])
def test_points_count_within_a_share_of_the_larger_side_border_included(name: str, expected: float) -> None:
    assert value(name, (truth(), MOVED)) == expected


def test_a_box_that_is_wider_than_high_is_measured_by_its_width() -> None:
    wide = np.array([[0.0, 0.0, 200.0, 100.0]])
    assert value("pck@0.05", (truth(box=wide), MOVED)) == 3 / 4


def test_points_without_a_label_do_not_count() -> None:
    """The first is right and not labelled; of the other three two are right, hidden or not."""
    assert value("pck@0.1", (truth((0, 1, 2, 2)), MOVED)) == pytest.approx(2 / 3)


def test_points_are_counted_over_all_images_and_not_image_by_image() -> None:
    pairs = (truth(), MOVED), (truth((2, 0, 0, 0)), MOVED)
    assert value("pck@0.1", *pairs) == pytest.approx((3 + 1) / (4 + 1))


def test_an_answer_that_is_none_loses_all_of_its_points() -> None:
    assert value("pck@0.1", (truth(), MOVED), (truth((2, 2, 0, 0)), None)) == pytest.approx(3 / 6)


def test_images_without_a_labelled_point_leave_nothing_to_count() -> None:
    assert math.isnan(value("pck@0.1", (truth((0, 0, 0, 0)), MOVED)))


def test_several_objects_are_answered_in_their_order() -> None:
    two = TrueObjects(
        np.ones(2, np.int64),
        np.concatenate([BOX, BOX / 10]),
        np.zeros(2, np.bool_),
        key_points=np.tile(np.column_stack([POINTS, [2] * 4]), (2, 1, 1)),
    )
    places = np.tile(MOVED.places, (2, 1, 1))
    assert value("pck@0.1", (two, FoundPersons(np.ones(2), places))) == (3 + 1) / 8


def test_other_points_than_were_asked_for_are_refused() -> None:
    wrong = FoundPersons(np.ones(1), np.zeros((1, 3, 2)))
    with pytest.raises(
        UsageError, match=r"wants places \[1, 4, 2\], one for each .* got \[1, 3, 2\]; answer"
    ):
        value("pck@0.1", (truth(), wrong))


def test_objects_without_key_points_are_refused() -> None:
    bare = TrueObjects(np.ones(1, np.int64), BOX, np.zeros(1, np.bool_))
    with pytest.raises(UsageError, match="wants objects with key points, these have none; give TrueObjects"):
        value("pck@0.1", (bare, MOVED))
