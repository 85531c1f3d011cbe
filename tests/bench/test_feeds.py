"""Feeds of a user's own graph: what fits is used, what does not is refused in a line."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bench.feeds import ArrayFeeds, SyntheticFeeds, available, check_batch, fixed_batch, read_npz
from model_zoo.spec import Split
from runtime.errors import FeedError, HarnessError, StoreError, UsageError
from runtime.tensors import Array, TensorSpec, check_feed

OPEN = (TensorSpec("x", "float32", ("batch", 3)), TensorSpec("ids", "int32", ("batch",)))
FIXED = (TensorSpec("x", "float32", (4, 3)),)


def arrays(count: int) -> dict[str, Array]:
    return {
        "x": np.arange(3 * count, dtype=np.float32).reshape(count, 3),
        "ids": np.arange(count, dtype=np.int32),
    }


def write(path: Path, **values: Array) -> Path:
    np.savez(path, allow_pickle=True, **values)
    return path


def rows(feeds: ArrayFeeds, batch_size: int, split: Split, count: int) -> list[int]:
    ids = [feed["ids"] for feed in islice(feeds.batches(batch_size, split), count)]
    return [int(each) for each in np.concatenate(ids)]


def test_the_splits_share_no_sample(tmp_path: Path) -> None:
    feeds = read_npz(write(tmp_path / "f.npz", **arrays(6)), OPEN)
    assert set(rows(feeds, 1, Split.CALIBRATION, 6)) == {0, 2, 4}
    assert set(rows(feeds, 1, Split.EVALUATION, 6)) == {1, 3, 5}


def test_the_kth_sample_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    feeds = read_npz(write(tmp_path / "f.npz", **arrays(10)), OPEN)
    assert rows(feeds, 4, Split.EVALUATION, 3) == rows(feeds, 1, Split.EVALUATION, 12)


def test_a_single_sample_serves_both_splits(tmp_path: Path) -> None:
    feeds = read_npz(write(tmp_path / "f.npz", **arrays(1)), OPEN)
    assert rows(feeds, 2, Split.CALIBRATION, 1) == rows(feeds, 2, Split.EVALUATION, 1) == [0, 0]


def test_a_sample_that_comes_round_again_is_not_counted_twice(tmp_path: Path) -> None:
    feeds = read_npz(write(tmp_path / "f.npz", **arrays(5)), OPEN)
    assert available(feeds, Split.CALIBRATION, 64) == 3
    assert available(feeds, Split.EVALUATION, 64) == 2
    assert available(feeds, Split.EVALUATION, 1) == 1
    assert (
        available(
            read_npz(write(tmp_path / "x.npz", x=np.ones((4, 3), np.float32)), FIXED), Split.EVALUATION, 64
        )
        == 4
    )
    assert available(SyntheticFeeds(OPEN, 0), Split.EVALUATION, 64) == 64


def test_batches_fit_the_graph(tmp_path: Path) -> None:
    feeds = read_npz(write(tmp_path / "f.npz", **arrays(5)), OPEN)
    check_feed(next(feeds.batches(7, Split.EVALUATION)), OPEN)


def test_a_fixed_graph_takes_the_arrays_as_they_are(tmp_path: Path) -> None:
    x = np.ones((4, 3), np.float32)
    feeds = read_npz(write(tmp_path / "f.npz", x=x), FIXED)
    np.testing.assert_array_equal(next(feeds.batches(4, Split.EVALUATION))["x"], x)


def test_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    one = read_npz(write(tmp_path / "a.npz", **arrays(2)), OPEN)
    two = read_npz(write(tmp_path / "b.npz", **arrays(3)), OPEN)
    assert one.digest != two.digest
    assert not one.synthetic


NAN = np.array([[1, np.nan, 2]], np.float32)
ONE = {"x": np.ones((1, 3), np.float32), "ids": np.ones(1, np.int32)}
BAD_ARRAYS: list[tuple[str, dict[str, Array], type[HarnessError], str]] = [
    ("unknown name", {**ONE, "y": ONE["x"]}, FeedError, r"unknown \['y'\]"),
    ("missing name", {"x": ONE["x"]}, FeedError, r"missing \['ids'\]"),
    ("dtype", {**ONE, "ids": np.ones(1)}, FeedError, "'ids' is float64, the graph wants int32"),
    (
        "shape",
        {**ONE, "x": np.ones((1, 4), np.float32)},
        FeedError,
        r"\[1, 4\], the graph wants \['batch', 3\]",
    ),
    ("rank", {**ONE, "x": np.ones(3, np.float32)}, FeedError, r"has shape \[3\]"),
    ("rows differ", {**ONE, "x": np.ones((2, 3), np.float32)}, FeedError, "with {'batch': 2}"),
    ("NaN", {**ONE, "x": NAN}, FeedError, "holds 1 NaN or infinite values"),
    ("infinity", {**ONE, "x": np.full((1, 3), np.inf, np.float32)}, FeedError, "holds 3 NaN or infinite"),
    ("no rows", arrays(0), FeedError, "holds no sample"),
    ("pickle", {**ONE, "x": np.array([{"a": 1}], dtype=object)}, UsageError, "not an .npz of plain arrays"),
]


@pytest.mark.parametrize(
    ("values", "kind", "message"), [case[1:] for case in BAD_ARRAYS], ids=[c[0] for c in BAD_ARRAYS]
)
def test_arrays_that_do_not_fit_are_refused_in_a_line(
    tmp_path: Path, values: dict[str, Array], kind: type[HarnessError], message: str
) -> None:
    path = write(tmp_path / "bad.npz", **values)
    with pytest.raises(kind, match=message) as caught:
        read_npz(path, OPEN)
    assert str(caught.value).startswith(f"--feeds {path}")
    assert "\n" not in str(caught.value)


def _truncate(path: Path) -> None:
    path.write_bytes(write(path, **arrays(50)).read_bytes()[:-200])


def _flip_compressed(path: Path) -> None:
    np.savez_compressed(path, allow_pickle=False, **arrays(50))
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)


def _flip(path: Path) -> None:
    content = bytearray(write(path, **arrays(50)).read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)


BAD_FILES: list[tuple[str, Callable[[Path], object]]] = [
    ("text", lambda path: path.write_text("not a zip")),
    ("empty", lambda path: path.write_bytes(b"")),
    ("npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00")),
    ("truncated", _truncate),
    ("flipped", _flip),
    ("flipped and compressed", _flip_compressed),
]


@pytest.mark.parametrize("damage", [case[1] for case in BAD_FILES], ids=[case[0] for case in BAD_FILES])
def test_a_file_that_is_no_npz_is_refused_in_a_line(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    path = tmp_path / "bad.npz"
    damage(path)
    with pytest.raises(UsageError, match=r"not an \.npz of plain arrays \(.*\); write it with numpy\.savez"):
        read_npz(path, OPEN)


def test_a_missing_file_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read --feeds .*none\.npz: No such file"):
        read_npz(tmp_path / "none.npz", OPEN)


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        (OPEN, None),
        (FIXED, 4),
        ((OPEN[0], FIXED[0]), 4),
        ((TensorSpec("x", "float32", ()),), 1),
        ((OPEN[0], TensorSpec("scale", "float32", ())), 1),
    ],
    ids=["open", "fixed", "mixed", "scalar", "open and scalar"],
)
def test_the_graphs_own_batch_size_is_found(specs: tuple[TensorSpec, ...], expected: int | None) -> None:
    assert fixed_batch(specs) == expected


def test_a_batch_size_the_graph_cannot_take_is_refused() -> None:
    check_batch(FIXED, 4)
    check_batch(OPEN, 17)
    with pytest.raises(
        UsageError, match=r"--batch 2, but the graph's inputs fix it: x: float32\[4,3\]; leave"
    ):
        check_batch(FIXED, 2)


def test_synthetic_samples_do_not_depend_on_the_batch_size() -> None:
    feeds = SyntheticFeeds(OPEN, seed=3)
    ones = [feed["x"] for feed in islice(feeds.batches(1, Split.EVALUATION), 6)]
    threes = [feed["x"] for feed in islice(feeds.batches(3, Split.EVALUATION), 2)]
    np.testing.assert_array_equal(np.concatenate(ones), np.concatenate(threes))


def test_synthetic_splits_and_seeds_differ() -> None:
    first = [
        next(SyntheticFeeds(OPEN, seed).batches(1, split))["x"].tobytes()
        for seed in (0, 1)
        for split in Split
    ]
    assert len(set(first)) == 4


@pytest.mark.parametrize("specs", [OPEN, FIXED])
def test_synthetic_feeds_fit_the_graph(specs: tuple[TensorSpec, ...]) -> None:
    check_feed(next(SyntheticFeeds(specs, 0).batches(fixed_batch(specs) or 5, Split.CALIBRATION)), specs)
