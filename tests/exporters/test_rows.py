"""Pairing of rows: worked by hand, and by shuffling what the answer is known of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.rows import compare_rows, rows_of_lists, widths_of_lists
from runtime.tensors import Array

TOLERANCE = 1e-4


def rows(*numbers: float) -> Array:
    """[n, 2]: each number beside a hundred of it."""
    return np.array([[number, 100 * number] for number in numbers], np.float32).reshape(-1, 2)


def test_equal_rows_are_all_in_place() -> None:
    found = compare_rows(rows(3, 2, 1), rows(3, 2, 1), TOLERANCE)
    assert (found.rows, found.unmatched, found.moved, found.absolute) == (3, 0, 0, 0)
    assert found.within_limits


def test_rows_of_lists_are_numbered_and_end_where_the_scores_are_zero() -> None:
    scores = np.array([[[0.9, 0.5, 0], [0, 0, 0]], [[0.7, 0, 0], [0.6, 0, 0]]], np.float32)
    boxes = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    found = rows_of_lists(scores, boxes)
    expected = [[0, 0.9, 0, 1], [0, 0.5, 2, 3], [2, 0.7, 12, 13], [3, 0.6, 18, 19]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
    assert rows_of_lists(np.zeros((2, 3), np.float32), np.zeros((2, 3, 4), np.float32)).shape == (0, 6)


def test_columns_that_go_together_are_measured_by_their_largest() -> None:
    """A mask's corner is as good as 0 everywhere: what it differs by is little beside the mask."""
    reference = np.array([[1, 100, 0.001], [2, 50, 0.002]], np.float32)
    got = reference + np.array([0, 0, 0.001], np.float32)
    assert compare_rows(reference, got, TOLERANCE).unmatched == 4
    together = compare_rows(reference, got, TOLERANCE, (1, 2))
    assert together.unmatched == 0
    assert together.relative == pytest.approx(1e-5, rel=1e-3)
    scores, boxes, masks = np.ones((2, 3)), np.ones((2, 3, 4)), np.ones((2, 3, 5, 6))
    assert widths_of_lists(scores, boxes, masks) == (1, 1, 4, 30)


def test_two_neighbours_that_changed_places_count_as_one_moved_row() -> None:
    found = compare_rows(rows(5, 4, 3, 2, 1), rows(5, 3, 4, 2, 1), TOLERANCE)
    assert (found.unmatched, found.moved, found.tied) == (0, 1, 0)


def test_rows_with_equal_scores_may_stand_in_any_order() -> None:
    """Image, label, score, corner: the second label's first two rows are tied, its last is not."""
    reference = np.array([[0, 1, 0.9, 5], [0, 2, 0.8, 6], [0, 2, 0.79999995, 7], [0, 2, 0.3, 8]], np.float32)
    found = compare_rows(reference, reference[[0, 2, 1, 3]], TOLERANCE)
    assert (found.unmatched, found.tied, found.moved) == (0, 1, 0)
    assert found.within_limits
    found = compare_rows(reference, reference[[0, 1, 3, 2]], TOLERANCE)
    assert (found.tied, found.moved) == (0, 1)
    assert not found.within_limits


def test_a_tie_beside_a_missing_row_is_still_one() -> None:
    reference = np.array([[0.9, 5], [0.8, 6], [0.8, 7], [0.3, 8]], np.float32)
    found = compare_rows(reference, reference[[2, 1, 3]], TOLERANCE)
    assert (found.unmatched, found.tied, found.moved) == (1, 1, 0)


def test_a_row_that_one_answer_lacks_moves_none_behind_it() -> None:
    found = compare_rows(rows(5, 4, 3, 2, 1), rows(5, 3, 2, 1), TOLERANCE)
    assert (found.unmatched, found.moved) == (1, 0)
    assert compare_rows(rows(5, 3, 2, 1), rows(5, 4, 3, 2, 1), TOLERANCE).unmatched == 1


def test_another_row_in_its_place_is_unmatched_on_both_sides() -> None:
    assert compare_rows(rows(3, 2, 1), rows(3, 9, 1), TOLERANCE).unmatched == 2


def test_a_column_is_measured_by_its_own_size() -> None:
    """Half a thousandth of the small column is much, though little beside the large one."""
    reference, got = rows(1.0, 0.5), rows(1.0, 0.5)
    got[1, 0] += 5e-4
    assert compare_rows(reference, got, TOLERANCE).unmatched == 2
    got[1, 0] -= 4.5e-4
    found = compare_rows(reference, got, TOLERANCE)
    assert found.unmatched == 0
    assert found.relative == pytest.approx(5e-5, rel=1e-2)  # a few roundings of float32


def test_nan_pairs_with_nothing() -> None:
    broken = rows(3, 2)
    broken[0] = np.nan
    assert compare_rows(rows(3, 2), broken, TOLERANCE).unmatched == 2
    assert compare_rows(broken, rows(3, 2), TOLERANCE).unmatched >= 2


def test_no_rows_are_equal_to_no_rows() -> None:
    assert compare_rows(rows(), rows(), TOLERANCE).within_limits
    assert not compare_rows(rows(), rows(1), TOLERANCE).within_limits


@pytest.mark.parametrize(("gone", "fits"), [(4, True), (5, False)])
def test_two_rows_in_a_hundred_may_be_gone(gone: int, fits: bool) -> None:
    reference = rows(*range(200, 0, -1))
    assert compare_rows(reference, reference[gone:], TOLERANCE).within_limits is fits


@given(st.permutations(range(12)), st.integers(0, 11))
def test_shuffled_rows_all_pair_and_the_rise_is_what_stays(order: list[int], dropped: int) -> None:
    reference = rows(*range(1, 13))
    found = compare_rows(reference, reference[order], TOLERANCE)
    assert found.unmatched == 0
    assert (found.moved == 0) == (list(order) == sorted(order))
    assert found.moved <= 11
    without = np.delete(reference, dropped, axis=0)
    assert compare_rows(reference, without, TOLERANCE).unmatched == 1
