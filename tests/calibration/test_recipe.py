"""The one line that says how a network is made INT8."""

from __future__ import annotations

import pytest

from calibration.recipe import Recipe
from runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("entropy", Recipe("entropy")),
        ("percentile", Recipe("percentile:99.99")),
        ("min-max+feedback", Recipe("min-max", feedback=True)),
        ("min-max+smooth", Recipe("min-max", smooth=0.5)),
        ("min-max+equalise:0.75+smooth:0.6+feedback", Recipe("min-max", 0.75, 0.6, feedback=True)),
        ("min-max+shift", Recipe("min-max", shift=True)),
        ("min-max+equalise:0.5+centre", Recipe("min-max", equalise=0.5, centre=True)),
        ("min-max+feedback+correct", Recipe("min-max", feedback=True, correct=True)),
    ],
)
def test_it_is_read_and_written(text: str, recipe: Recipe) -> None:
    assert Recipe.parse(text) == recipe
    assert Recipe.parse(str(recipe)) == recipe


def test_only_what_rescales_changes_the_graph() -> None:
    assert not Recipe.parse("min-max+feedback").changes_graph
    for each in ("equalise", "smooth", "centre", "shift"):
        assert Recipe.parse(f"min-max+{each}").changes_graph


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "maximum",
            r"unknown calibration method 'maximum': valid: entropy, mean-squared-error, min-max",
        ),
        ("min-max+smoothe", r"unknown pass of the calibration method 'min-max\+smoothe' 'smoothe'"),
        ("min-max+smooth:2", r"smooth takes a strength above 0, at most 1, got '2'; write smooth:0.5"),
        ("min-max+smooth+smooth", r"has smooth twice; give it once"),
        ("min-max+feedback:1", r"feedback takes no strength; write feedback"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe.parse(text)
