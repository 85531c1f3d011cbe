"""DIN: counts against MODELS.md 14, and every graph against its formula in NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.export import export
from exporters.source import Source
from model_zoo import din
from model_zoo.behaviour import Catalogue
from model_zoo.din import SPEC
from model_zoo.din_network import AS_RUN, ATTENTION, INPUTS, LARGE, MOVIELENS, OUTPUTS, TAIL, Candidates, Din
from model_zoo.din_seeded import seeded_weights
from model_zoo.layers import Shape
from model_zoo.spec import Split
from runtime.costs import total_macs
from runtime.errors import FeedError, UsageError
from runtime.graphs import load
from runtime.tensors import Array, Feed
from tests.model_zoo.behaviour_formulas import (
    Vector,
    Weights,
    attention_score,
    batch_norm,
    dense,
    masked_shares,
    sigmoid,
)

pytest.importorskip("tensorflow")

SMALL = Din(items=50, categories=7, users=9, embedding=4)
STEPS = 6
FORMS = [
    *(replace(SMALL, candidates=candidates) for candidates in Candidates),
    replace(SMALL, user_read=True),
]
every_form = pytest.mark.parametrize("network", FORMS, ids=["first", "one", "two", "with-user"])


def test_it_counts_what_models_md_counts() -> None:
    tables = ("item_emb_w", "item_b", "cate_emb_w", "user_emb_w")
    sizes = {name: math.prod(shape) for name, shape in _shapes(AS_RUN).items()}
    assert AS_RUN.parameters == sum(sizes.values()) == 28_860_123
    assert sum(sizes[name] for name in tables) == 28_773_913
    assert sum(size for name, size in sizes.items() if name not in tables) == 86_210
    assert sum(math.prod(shape) for shape in AS_RUN.shapes().values()) == 4_232_539


def test_its_flops_are_the_papers_at_the_papers_length() -> None:
    for steps in (1, 88, 100):
        assert 2 * 512 * AS_RUN.macs(steps) == pytest.approx(4.539e7 * steps + 4.107e7, rel=1e-3)
    assert SPEC.paper is not None
    assert 2 * 512 * AS_RUN.macs(88) == pytest.approx(SPEC.paper.flops, rel=0.01)


def test_the_second_candidate_costs_its_own_layers_alone() -> None:
    two = replace(AS_RUN, candidates=Candidates.TWO)
    assert two.macs(100) - AS_RUN.macs(100) == 256 * 80 + 80 * 40 + 40
    assert two.parameters == AS_RUN.parameters


@every_form
def test_scores_are_those_of_the_formula(network: Din) -> None:
    feed = _feed(network)
    ((name, scores),) = _source(network).run(feed).items()
    assert name == OUTPUTS[network.candidates]
    expected = np.array([_scores(network, feed, row) for row in range(len(feed["sl"]))])
    np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=2e-5)
    assert scores.shape == {"first": (5, 1, 1), "one": (5, 1), "two": (5, 2)}[network.candidates]


@every_form
def test_a_small_network_exports_with_both_dimensions_open(network: Din, tmp_path: Path) -> None:
    report = export(_source(network), tmp_path / "din.onnx", [_feed(network), _feed(network, steps=3)])
    assert report.parameters == network.parameters
    model = load(tmp_path / "din.onnx")
    assert total_macs(model, {"batch": 1, "history": STEPS}) == network.macs(STEPS)
    kinds = {node.op_type for node in onnx.load(tmp_path / "din.onnx").graph.node}
    assert kinds.isdisjoint({"If", "Loop", "Scan", "Tile", "Transpose"})


def test_the_table_of_users_is_not_in_the_graph(tmp_path: Path) -> None:
    export(_source(SMALL), tmp_path / "din.onnx", [_feed(SMALL)])
    assert not [
        each.name for each in onnx.load(tmp_path / "din.onnx").graph.initializer if "user" in each.name
    ]


def test_an_empty_history_is_the_mean_of_its_padding() -> None:
    """Softmax over scores that are all the same: 1 / steps for each, whatever the steps are."""
    feed = _feed(SMALL)
    feed["sl"][:] = 0
    feed["hist_i"][:] = 7
    shorter = {**feed, "hist_i": feed["hist_i"][:, :2]}
    source = _source(SMALL)
    np.testing.assert_allclose(source.run(feed)["score"], source.run(shorter)["score"], rtol=1e-5)


@every_form
def test_seeded_answers_differ_from_user_to_user(network: Din) -> None:
    full = replace(network, items=5000, categories=100, users=500, embedding=64)
    feeds = din.feeds_of(full, 20, "tensorflow")
    feed = next(feeds.batches(256, Split.EVALUATION))
    outputs = _source(full).run(feed)
    task = SPEC.variants["evaluation" if network.candidates is Candidates.TWO else "as-run"].task
    assert 0.1 < np.mean(task.answers(outputs)) < 0.9  # type: ignore[attr-defined]
    assert float(np.std(next(iter(outputs.values())))) > 0.1


def test_a_mirrored_layer_lets_the_mean_of_sigmoids_cancel_out() -> None:
    weights = dict(seeded_weights(SMALL))
    for name in (*ATTENTION[1:], *TAIL[1:]):
        first, second = np.split(weights[f"{name}/kernel"], 2)
        np.testing.assert_array_equal(first, -second)


def test_weights_come_back_out_of_a_file(tmp_path: Path) -> None:
    weights: dict[str, Any] = {f"model/{name}": array for name, array in seeded_weights(SMALL)}
    weights["model/f3/bias"] += 1
    np.savez(tmp_path / "din.npz", **weights)
    table = Catalogue(SMALL.items, SMALL.categories).category_of_items
    read = din.build(SMALL, table, tmp_path / "din.npz").run(_feed(SMALL))["score"]
    np.testing.assert_allclose(
        np.log(read / (1 - read)), _logits(_source(SMALL).run(_feed(SMALL))["score"]) + 1, rtol=1e-4
    )


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(seeded_weights(replace(SMALL, items=51)))
    np.savez(tmp_path / "din.npz", **weights)
    with pytest.raises(UsageError, match=r"item_emb_w is \[51, 4\], expected \[50, 4\]"):
        din.build(SMALL, Catalogue(50, 7).category_of_items, tmp_path / "din.npz")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hist_i", 50, "input 'hist_i' at .*: item 50 is not within"),
        ("i", 50, "input 'i' at .*: item 50 is not within 0 to 49"),
        ("u", 9, "input 'u' at .*: user 9 is not within 0 to 8"),
        ("sl", 7, "input 'sl' says 7 in row 1; 'hist_i' is padded to 6"),
    ],
)
def test_a_feed_beyond_the_tables_is_refused(name: str, value: int, message: str) -> None:
    network = replace(SMALL, user_read=True)
    feed = _feed(network)
    din.check(network, feed)
    feed[name][1] = value
    with pytest.raises(FeedError, match=message):
        din.check(network, feed)


@pytest.mark.parametrize("name", SPEC.variants)
def test_feeds_pass_the_variants_own_check(name: str) -> None:
    variant = SPEC.variants[name]
    feed = next(variant.feeds("tensorflow").batches(8, Split.EVALUATION))
    assert feed["hist_i"].shape == (8, variant.sizes["history"])
    assert variant.check is not None
    variant.check(feed)


def test_another_framework_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown framework of din 'caffe'"):
        SPEC.variants["as-run"].feeds("caffe")


@pytest.mark.heavy
def test_a_table_of_gigabytes_is_in_memory_once() -> None:
    import subprocess
    import sys

    code = (
        "import resource; from model_zoo.din import SPEC; SPEC.variants['large'].build['tensorflow'](None);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    peak = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert peak < 1.5 * 4 * LARGE.items * LARGE.embedding


def _shapes(network: Din) -> Mapping[str, Shape]:
    return network.shapes() | network.unused_shapes()


def _source(network: Din) -> Source:
    return din.build(network, Catalogue(network.items, network.categories).category_of_items, None)


def _feed(network: Din, steps: int = STEPS) -> Feed:
    generator = np.random.default_rng(0)
    read = (*INPUTS[network.candidates], *(("u",) if network.user_read else ()))
    return {
        "hist_i": generator.integers(0, 50, (5, steps)).astype(np.int32),
        "sl": np.array([steps, 3, 1, 2, 0], np.int32),
        **{name: generator.integers(0, 9, 5).astype(np.int32) for name in read},
    }


def _scores(network: Din, feed: Feed, row: int) -> list[float]:
    weights = dict(seeded_weights(network))
    categories = Catalogue(network.items, network.categories).category_of_items()

    def item(number: int) -> Vector:
        own = weights["item_emb_w"][number], weights["cate_emb_w"][categories[number]]
        return np.concatenate(own).astype(np.float64)

    candidates = [int(feed[name][row]) for name in INPUTS[network.candidates]] or [0]
    keys = [item(number) for number in feed["hist_i"][row]]
    scaled = math.sqrt(network.width)
    scores = [attention_score(item(candidates[0]), key, ATTENTION, weights) / scaled for key in keys]
    shares = masked_shares(scores, int(feed["sl"][row]))
    user = np.sum([share * key for share, key in zip(shares, keys, strict=True)], axis=0)
    user = dense(batch_norm(user, network.history_norm, weights), "hist_fcn", weights)
    if network.user_read:
        user = user + weights["user_emb_w"][feed["u"][row]]
    return [_score(user, item(number), float(weights["item_b"][number]), weights) for number in candidates]


def _score(user: Vector, item: Vector, bias: float, weights: Weights) -> float:
    x = batch_norm(np.concatenate([user, item]), "b1", weights)
    for name in ("f1", "f2"):
        x = sigmoid(dense(x, name, weights))
    return float(sigmoid(dense(x, "f3", weights) + bias)[0])


def _logits(scores: Array) -> Array:
    return np.asarray(np.log(scores / (1 - scores)))


def test_movielens_reads_the_user_whom_the_reference_leaves_out() -> None:
    assert MOVIELENS.user_read
    assert not AS_RUN.user_read
    assert MOVIELENS.unused_shapes() == {}
