"""Provider options and profiles of the TensorRT backends: what is read from text, and what is refused."""

from __future__ import annotations

import pytest

from runtime.backend import SessionOptions
from runtime.errors import FeedError, UsageError
from runtime.tensors import TensorSpec
from runtime.trt_options import BuildSettings, TensorRTOptions, check_dimensions, parse_options
from runtime.trt_profile import InputShapes, SizeRange, check_sizes, make_profile

X = TensorSpec("x", "float32", ("batch", 3, "height"))
FIXED = TensorSpec("fixed", "float32", (2, 3))


def _parse(**given: str) -> TensorRTOptions:
    return parse_options(SessionOptions(provider_options=given), "trt")


def test_nothing_given_is_float32_as_it_is_and_the_librarys_own_choice() -> None:
    assert _parse() == TensorRTOptions(BuildSettings(False, None, None), False, None, {})


def test_every_option_is_read() -> None:
    given = {
        "tf32": "1",
        "builder_optimization_level": "0",
        "workspace_bytes": "1073741824",
        "cuda_graph": "1",
        "cuda_api": "cuda-bindings",
        "profile.batch": "1:8:32",
        "profile.a.b:c": "7",
    }
    assert _parse(**given) == TensorRTOptions(
        build=BuildSettings(True, 0, 2**30),
        cuda_graph=True,
        cuda_api="cuda-bindings",
        ranges={"batch": SizeRange(1, 8, 32), "a.b:c": SizeRange(7, 7, 7)},
    )


def test_what_is_told_of_options_can_be_given_again() -> None:
    given = {"tf32": "1", "builder_optimization_level": "2", "workspace_bytes": "7", "cuda_graph": "0"}
    given |= {"cuda_api": "pycuda", "profile.batch": "1:8:32"}
    assert _parse(**given).told() == given


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("tf23", "1", r"unknown option of backend trt 'tf23': did you mean tf32\? valid: .*profile\.NAME"),
        ("tf32", "yes", "tf32=yes: expected 0 or 1"),
        ("cuda_graph", "", "cuda_graph=: expected 0 or 1"),
        (
            "builder_optimization_level",
            "6",
            "builder_optimization_level=6: expected a whole number from 0 to 5",
        ),
        ("builder_optimization_level", "-1", "expected a whole number from 0 to 5"),
        ("workspace_bytes", "0", "workspace_bytes=0: expected a whole number of bytes, such as 1073741824"),
        ("workspace_bytes", "1G", "workspace_bytes=1G: expected a whole number of bytes"),
        ("cuda_api", "cupy", "unknown cuda_api 'cupy': .*valid: cuda-bindings, pycuda"),
        ("profile.batch", "8:1", "profile.batch=8:1: expected a size, or least:best:most in that order"),
        ("profile.batch", "8:4:32", "profile.batch=8:4:32: expected a size"),
        (
            "profile.batch",
            "0",
            "profile.batch=0: expected a size, .* from 1 up; for example profile.batch=1:8:32",
        ),
        ("profile.batch", "1:x:3", "profile.batch=1:x:3: expected"),
        ("profile.batch", "", "profile.batch=: expected"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(name: str, value: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        _parse(**{name: value})


@pytest.mark.parametrize(
    ("specs", "match"),
    [
        ((X,), r"open dimension of the graph in option profile.NAME 'batches': did you mean batch\?"),
        ((FIXED,), r"profile\.batches: the graph leaves no dimension open; leave that option out"),
    ],
)
def test_a_profile_of_a_dimension_that_is_not_open_is_refused(
    specs: tuple[TensorSpec, ...], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        check_dimensions({"batches": SizeRange(1, 1, 1)}, specs)


def test_a_profile_has_every_input_that_is_open() -> None:
    profile = make_profile((X, FIXED), {"batch": 8, "height": 5}, {"batch": SizeRange(1, 4, 16)})
    assert profile == (InputShapes("x", (1, 3, 1), (4, 3, 5), (16, 3, 5)),)
    check_dimensions({"height": SizeRange(1, 4, 16)}, (X, FIXED))


def test_a_size_of_nothing_is_none_at_least() -> None:
    assert make_profile((X,), {"batch": 0}, {})[0].least == (0, 3, 1)


def test_a_size_that_nobody_gives_is_one() -> None:
    assert make_profile((X,), {}, {}) == (InputShapes("x", (1, 3, 1), (1, 3, 1), (1, 3, 1)),)


@pytest.mark.parametrize("size", [1, 16])
def test_the_ends_of_a_range_belong_to_it(size: int) -> None:
    check_sizes({"batch": size, "height": 1000}, {"batch": SizeRange(1, 4, 16)})


def test_a_size_outside_its_range_is_a_feed_error() -> None:
    with pytest.raises(FeedError, match=r"the feed has batch 17, the engine takes 1 to 16 as profile\.batch"):
        check_sizes({"batch": 17}, {"batch": SizeRange(1, 4, 16)})
