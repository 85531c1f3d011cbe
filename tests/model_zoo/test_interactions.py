"""Who took what: order, numbering, and the split that holds the last item of each user out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo.interactions import CANDIDATES, Interactions, LeaveLastOut, movielens, read_interactions
from model_zoo.spec import Split
from runtime.errors import StoreError, UnavailableError, UsageError
from runtime.tensors import Array


def taken(users: int = 60, items: int = 300, each: int = 12) -> Interactions:
    """Every user takes other items of all, in an order of time that is not theirs."""
    generator = np.random.default_rng(0)
    item = np.concatenate([generator.permutation(items)[:each] for _ in range(users)])
    return Interactions.from_columns(np.repeat(np.arange(users), each), item, np.arange(len(item)))


def test_interactions_are_numbered_from_zero_and_in_the_order_of_time() -> None:
    found = Interactions.from_columns(
        np.array([7, 3, 7, 3]), np.array([20, 10, 10, 30]), np.array([5, 2, 1, 2])
    )
    assert found.users.tolist() == [0, 0, 1, 1]
    assert found.items.tolist() == [0, 2, 0, 1]
    assert (found.user_count, found.item_count) == (2, 3)


def test_an_item_taken_twice_counts_once_at_its_first_time() -> None:
    found = Interactions.from_columns(np.zeros(3, int), np.array([4, 9, 4]), np.array([1, 2, 3]))
    assert found.items.tolist() == [0, 1]


def test_the_last_item_is_held_out_and_never_learned_from() -> None:
    interactions = taken()
    rated = LeaveLastOut(interactions)
    learned = set(zip(*(array.tolist() for array in rated.training), strict=True))
    assert len(learned) == len(interactions.users) - len(rated.users)
    for user in rated.users:
        own = interactions.items[interactions.users == user].tolist()
        evaluation, calibration = (
            rated.candidates(int(user), split) for split in (Split.EVALUATION, Split.CALIBRATION)
        )
        assert evaluation[0] == own[-1]
        assert calibration[0] == own[-2]
        assert (user, own[-1]) not in learned
        assert (user, own[-2]) in learned


def test_candidates_are_a_hundred_different_items_of_which_the_user_took_the_first() -> None:
    interactions = taken()
    rated = LeaveLastOut(interactions)
    for user in rated.users:
        own = set(interactions.items[interactions.users == user].tolist())
        both = [rated.candidates(int(user), split).tolist() for split in Split]
        assert [len(set(each)) for each in both] == [CANDIDATES, CANDIDATES]
        assert all(own.isdisjoint(each[1:]) for each in both)
        assert set(both[0]).isdisjoint(both[1])


def test_a_users_candidates_do_not_depend_on_who_is_asked_for_before() -> None:
    rated, again = LeaveLastOut(taken()), LeaveLastOut(taken())
    again.candidates(4, Split.CALIBRATION)
    np.testing.assert_array_equal(
        rated.all_candidates(Split.EVALUATION)[2], again.candidates(2, Split.EVALUATION)
    )


def test_a_user_of_one_item_is_learned_from_and_not_judged() -> None:
    more = taken()
    lonely = Interactions(
        np.append(more.users, np.int32(more.user_count)), np.append(more.items, np.int32(0))
    )
    rated = LeaveLastOut(lonely)
    assert more.user_count not in rated.users
    assert more.user_count in rated.training[0]


def test_too_few_items_are_refused() -> None:
    few = Interactions(np.zeros(4, np.int32), np.arange(4, dtype=np.int32))
    with pytest.raises(UsageError, match=r"4 interactions of 1 users with 4 items: .* 198 items never taken"):
        LeaveLastOut(few)


@pytest.mark.parametrize("line", ["1::20::5::900", "1\t20\t5\t900", "1,20,5,900", " 1 20 5 900 "])
def test_a_file_of_movielens_is_read(line: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text(f"{line}\n\n2::30::1::800\n")
    found = read_interactions(path)
    assert (found.users.tolist(), found.items.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize("line", ["userId,movieId,rating,timestamp", "1::2::3", "1::2::3::4::5"])
def test_a_line_of_another_form_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text(f"1::2::3::4\n{line}\n")
    with pytest.raises(
        UsageError, match=rf"ratings.dat, line 2, is '{line}': expected user item rating time"
    ):
        read_interactions(path)


def test_files_that_hold_nothing_or_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_text("\n")
    with pytest.raises(UsageError, match="holds no ratings: expected user item rating time"):
        read_interactions(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not text: give a file of ratings"):
        read_interactions(path)
    with pytest.raises(StoreError, match=r"cannot read .*none: No such file or directory"):
        read_interactions(tmp_path / "none")


@pytest.fixture(scope="module")
def rated() -> LeaveLastOut:
    try:
        return movielens()
    except UnavailableError as error:
        pytest.skip(str(error))


def test_movielens_has_its_published_size(rated: LeaveLastOut) -> None:
    """GroupLens: 100,000 ratings of 1682 movies by 943 users, of each at least 20."""
    interactions = rated.interactions
    assert (len(interactions.users), interactions.user_count, interactions.item_count) == (100_000, 943, 1682)
    assert np.bincount(interactions.users).min() == 20
    assert len(rated.training[0]) == 100_000 - 943


def test_popularity_ranks_as_published(rated: LeaveLastOut) -> None:
    """DATA.md C: HR@10 of how often a movie was rated is .41, and a random order's is .10."""
    from model_zoo.exam_parts import judged

    popularity: Array = np.bincount(rated.training[1], minlength=1682)
    candidates = rated.all_candidates(Split.EVALUATION)
    lots = np.random.default_rng(0).random(candidates.shape)
    for scores, share in ((popularity[candidates], 0.41), (lots, 0.1)):
        found = judged(("hr@10",), [0] * len(candidates), scores)
        assert found["HR@10"] == pytest.approx(share, abs=0.03)
