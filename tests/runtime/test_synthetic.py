from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import FeedError
from runtime.synthetic import synthetic_feed
from runtime.tensors import TensorSpec, check_feed

SPECS = (
    TensorSpec("x", "float32", ("batch", 1000)),
    TensorSpec("half", "float16", ("batch", 4)),
    TensorSpec("brain", "bfloat16", ("batch", 4)),
    TensorSpec("ids", "int64", ("batch", 50)),
    TensorSpec("segment_ids", "int32", ("batch", 50)),
    TensorSpec("flag", "bool", ("batch", 50)),
    TensorSpec("fixed", "float32", (2, "width")),
)


def test_a_feed_fits_the_specs_it_was_made_for() -> None:
    feed = synthetic_feed(SPECS, 3)
    check_feed(feed, SPECS)
    assert feed["x"].shape == (3, 1000)
    assert feed["fixed"].shape == (2, 1)


def test_floats_are_normal_and_whole_numbers_small() -> None:
    feed = synthetic_feed(SPECS, 3)
    assert abs(float(feed["x"].mean())) < 5 / np.sqrt(3000)  # five standard errors
    assert abs(float(feed["x"].std()) - 1) < 5 / np.sqrt(6000)
    assert set(np.unique(feed["ids"])) == set(range(10))
    assert set(np.unique(feed["segment_ids"])) == {0, 1}
    assert set(np.unique(feed["flag"])) == {False, True}


def test_a_mask_hides_nothing() -> None:
    feed = synthetic_feed([TensorSpec("input_mask", "int32", ("batch", 50))], 2)
    np.testing.assert_array_equal(feed["input_mask"], 1)


def test_the_seed_decides() -> None:
    first, again, other = (synthetic_feed(SPECS, 3, seed)["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_text_cannot_be_made_up() -> None:
    with pytest.raises(FeedError, match=r"input word: str\[batch\]; give them with --feeds"):
        synthetic_feed([TensorSpec("word", "str", ("batch",))], 1)
