from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import FeedError
from runtime.tensors import Array, TensorSpec, batch_size, check_feed, open_dimensions

SPECS = (TensorSpec("ids", "int32", ("batch", 4)), TensorSpec("scale", "float32", ("batch",)))


def _feed(**changes: Array) -> dict[str, Array]:
    return {"ids": np.zeros((2, 4), np.int32), "scale": np.ones(2, np.float32), **changes}


def test_a_feed_that_fits_is_accepted() -> None:
    check_feed(_feed(), SPECS)


@pytest.mark.parametrize(
    ("feed", "match"),
    [
        ({"ids": np.zeros((2, 4), np.int32)}, r"feed has inputs \['ids'\].*missing \['scale'\]"),
        (_feed(other=np.zeros(1)), r"unknown \['other'\]"),
        (_feed(ids=np.zeros((2, 4), np.int64)), "'ids' is int64, the graph wants int32"),
        (_feed(ids=np.zeros((2, 5), np.int32)), r"shape \[2, 5\], the graph wants \['batch', 4\]"),
        (_feed(ids=np.zeros(8, np.int32)), r"shape \[8\], the graph wants \['batch', 4\]"),
        (_feed(scale=np.ones(3, np.float32)), r"shape \[3\], the graph wants \['batch'\] with {'batch': 2}"),
        (_feed(scale=np.array([1, np.nan], np.float32)), "'scale' holds 1 NaN or infinite"),
        (_feed(scale=np.array([np.inf, -np.inf], np.float32)), "'scale' holds 2 NaN or infinite"),
    ],
    ids=["missing", "unknown", "type", "size", "rank", "batch", "nan", "infinity"],
)
def test_a_feed_that_does_not_fit_is_told_why(feed: dict[str, Array], match: str) -> None:
    with pytest.raises(FeedError, match=match):
        check_feed(feed, SPECS)


def test_open_dimensions_are_those_of_the_feed() -> None:
    assert open_dimensions(SPECS, _feed()) == {"batch": 2}


def test_the_batch_size_is_the_first_dimension_of_the_first_array() -> None:
    assert batch_size(_feed()) == 2
    assert batch_size({"x": np.float32(1)}) == 1  # type: ignore[dict-item]  # a scalar has no dimension


def test_a_spec_reads_as_in_a_graph() -> None:
    assert str(SPECS[0]) == "ids: int32[batch,4]"
