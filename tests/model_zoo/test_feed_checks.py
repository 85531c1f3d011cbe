"""Numbers that stand for nothing are refused, with the place of the first."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.feed_checks import check_numbers
from runtime.errors import FeedError


def test_numbers_within_the_table_pass() -> None:
    check_numbers("ids", np.array([[0, 4], [2, 3]], np.int32), 5)
    check_numbers("ids", np.zeros((0, 3), np.int32), 5)
    check_numbers("length", np.array([1, 5]), 6, "length", least=1)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([[0, 5], [2, 3]], r"input 'ids' at \[0, 1\]: item 5 is not within 0 to 4; mend it"),
        ([[0, 1], [-1, 9]], r"input 'ids' at \[1, 0\]: item -1 is not within 0 to 4; mend this and 1 others"),
    ],
)
def test_the_first_number_of_no_row_is_named(numbers: list[list[int]], message: str) -> None:
    with pytest.raises(FeedError, match=message):
        check_numbers("ids", np.array(numbers, np.int32), 5, "item")
