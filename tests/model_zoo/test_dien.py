"""DIEN: counts against MODELS.md 15, and the whole network against its formula in NumPy, step by step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from exporters.export import export
from model_zoo import dien
from model_zoo.behaviour import mask_of
from model_zoo.dien import SPEC
from model_zoo.dien_network import ATTENTION, AUXILIARY, DEPLOYED, WIDTH, Dien
from model_zoo.dien_seeded import seeded_weights, weights_of
from model_zoo.spec import Split
from runtime.costs import node_macs, total_macs
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
    softmax,
)

pytest.importorskip("tensorflow")

SMALL = Dien(users=9, items=50, categories=7)
SMALL_AUXILIARY = replace(SMALL, auxiliary=True)
STEPS = 6


def test_it_counts_what_models_md_counts() -> None:
    sizes = {name: math.prod(shape) for name, shape in AUXILIARY.shapes().items()}
    assert AUXILIARY.parameters == 16_522_119
    assert sum(size for name, size in sizes.items() if "embedding" in name) == 16_427_592
    assert sum(size for name, size in sizes.items() if "embedding" not in name) == 94_527
    net = 2 * WIDTH * 4 + (2 * WIDTH * 100 + 100) + (100 * 50 + 50) + (50 * 2 + 2)
    assert AUXILIARY.parameters - DEPLOYED.parameters == net == 12_740


def test_its_flops_are_those_of_models_md_and_of_the_paper() -> None:
    assert 1024 * AUXILIARY.macs(100) == pytest.approx(5.65e9, rel=1e-3)
    assert 1024 * DEPLOYED.macs(100) == pytest.approx(3.16e9, rel=2e-3)
    assert SPEC.paper is not None
    assert 1024 * SPEC.variants["paper-length"].counts["tensorflow"].macs == pytest.approx(
        SPEC.paper.flops, rel=0.01
    )


def test_answers_are_those_of_the_formula() -> None:
    feed = _feed(SMALL_AUXILIARY)
    outputs = _source(SMALL_AUXILIARY).run(feed)
    expected = _answers(feed, seeded_weights(SMALL_AUXILIARY))
    assert list(outputs) == ["y_hat", "clicked", "not_clicked"]
    for name, array in outputs.items():
        np.testing.assert_allclose(array, expected[name], rtol=3e-5, err_msg=name)


@pytest.mark.parametrize("network", [SMALL, SMALL_AUXILIARY], ids=["deployed", "auxiliary"])
def test_a_small_network_exports_as_one_gru_and_one_scan(network: Dien, tmp_path: Path) -> None:
    feeds = [_feed(network, 1), _feed(network), _feed(network, steps=3)]
    report = export(_source(network), tmp_path / "dien.onnx", feeds)
    assert report.parameters == network.parameters
    model = load(tmp_path / "dien.onnx")
    sizes = {"batch": 1, "history": STEPS}
    assert total_macs(model, sizes) == network.macs(STEPS)
    kinds = [node.op_type for node in onnx.load(tmp_path / "dien.onnx").graph.node]
    assert kinds.count("GRU") == kinds.count("Scan") == 1
    assert {"If", "Loop"}.isdisjoint(kinds)


def test_the_product_of_the_inputs_stands_before_the_scan(tmp_path: Path) -> None:
    export(_source(SMALL), tmp_path / "dien.onnx", [_feed(SMALL, 1)])
    macs = node_macs(load(tmp_path / "dien.onnx"), {"batch": 1, "history": STEPS})
    assert macs["gru2/Scan"] == macs["gru2/MatMul"] == STEPS * WIDTH * 3 * WIDTH
    assert macs["gru1/GRU"] == 2 * macs["gru2/Scan"]


def test_onnxs_own_evaluator_gives_the_same(tmp_path: Path) -> None:
    source, feed = _source(SMALL), _feed(SMALL)
    export(source, tmp_path / "dien.onnx", [_feed(SMALL, 1)])
    (found,) = ReferenceEvaluator(str(tmp_path / "dien.onnx")).run(None, dict(feed))
    np.testing.assert_allclose(np.asarray(found), source.run(feed)["y_hat"], rtol=2e-5)


def test_the_graph_is_the_same_in_every_process(tmp_path: Path) -> None:
    """tf2onnx numbers what it makes, from one call to the next."""
    for name in ("first", "again"):
        export(_source(SMALL), tmp_path / f"{name}.onnx", [_feed(SMALL, 1)])
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


# What ties a sample to its batch (MODELS.md 15)


def test_a_score_depends_on_the_others_in_the_batch() -> None:
    source, feed = _source(SMALL), _feed(SMALL)
    alone = source.run({name: array[:1] for name, array in feed.items()})["y_hat"]
    assert abs(alone - source.run(feed)["y_hat"][:1]).max() > 1e-3


def test_a_score_depends_on_the_padded_length() -> None:
    """All steps are summed: padding adds the embeddings of row 0."""
    source, feed = _source(SMALL), _feed(SMALL)
    longer = {
        name: np.pad(array, [(0, 0), (0, 40)]) if array.ndim == 2 else array for name, array in feed.items()
    }
    assert abs(source.run(longer)["y_hat"] - source.run(feed)["y_hat"]).max() > 1e-4


def test_nothing_behind_the_length_reaches_the_recurrences() -> None:
    """Other items there change the sum alone: with embeddings of zero, nothing."""
    from model_zoo.dien_tensorflow import tensorflow_source

    weights = seeded_weights(SMALL)
    for table in ("mid_embedding_var", "cat_embedding_var"):
        weights[table][40:] = 0
    feed = {**_feed(SMALL), "seq_len": np.array([2, 2, 2, 2], np.int32)}
    feed["mask"] = mask_of(feed["seq_len"], STEPS)
    other = {**feed, "mid_his": feed["mid_his"].copy(), "cat_his": feed["cat_his"].copy()}
    feed["mid_his"][:, 2:], other["mid_his"][:, 2:] = 41, 42
    weights["cat_embedding_var"][:] = 0
    source = tensorflow_source(SMALL, weights)
    np.testing.assert_array_equal(source.run(feed)["y_hat"], source.run(other)["y_hat"])


def test_an_empty_history_gives_numbers() -> None:
    feed = _feed(SMALL)
    feed["seq_len"][:] = 0
    feed["mask"][:] = 0
    assert np.isfinite(_source(SMALL).run(feed)["y_hat"]).all()


# Weights and feeds


def test_seeded_answers_differ_from_user_to_user() -> None:
    network = Dien(users=500, items=5000, categories=100)
    feed = next(dien.feeds_of(network, 20, 4, "tensorflow").batches(256, Split.EVALUATION))
    answers = SPEC.variants[""].task.answers(_source(network).run(feed))  # type: ignore[attr-defined]
    assert 0.15 < np.mean(answers) < 0.85


def test_a_checkpoints_own_names_are_found(tmp_path: Path) -> None:
    weights: dict[str, Any] = seeded_weights(SMALL)
    renamed = {
        "gru1/gates/kernel": "gru1/gru_cell/gates/kernel",
        "gru2/candidate/bias": "gru2/vec_att_gru_cell/candidate/bias",
        "attention/query/kernel": "f11_1/kernel",
        "attention/layer_2/bias": "f2_att1_1/bias",
        "attention/query/alpha": "prelu/prelu_",
        "dice_1/alpha": "dice_1/alphadice_1",
    }
    stored = {renamed.get(name, name): array for name, array in weights.items()}
    np.savez(tmp_path / "dien.npz", **stored)
    read = weights_of(SMALL, tmp_path / "dien.npz")
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_file_without_the_auxiliary_net_is_refused(tmp_path: Path) -> None:
    weights: dict[str, Any] = seeded_weights(SMALL)
    np.savez(tmp_path / "dien.npz", **weights)
    with pytest.raises(UsageError, match=r"lack 10 of the network's tensors: bn1gru/gamma"):
        weights_of(SMALL_AUXILIARY, tmp_path / "dien.npz")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("uid", 9, "'uid' at .*: number 9 is not within 0 to 8"),
        ("mid_his", 50, "'mid_his' at .*: number 50 is not within 0 to 49"),
        ("noclk_cat", -1, "'noclk_cat' at .*: number -1 is not within"),
        ("seq_len", STEPS + 1, "'seq_len' says 7 in row 1; 'mid_his' is padded to 6"),
        ("mask", 0.5, "'mask' holds 0.5 in row 1, step 0"),
    ],
)
def test_a_feed_beyond_the_tables_is_refused(name: str, value: float, message: str) -> None:
    feed = _feed(SMALL_AUXILIARY)
    dien.check(SMALL_AUXILIARY, feed)
    feed[name][1] = value
    with pytest.raises(FeedError, match=message):
        dien.check(SMALL_AUXILIARY, feed)


@pytest.mark.parametrize("name", SPEC.variants)
def test_feeds_pass_the_variants_own_check(name: str) -> None:
    variant = SPEC.variants[name]
    feed = next(variant.feeds("tensorflow").batches(8, Split.EVALUATION))
    assert feed["mid_his"].shape == (8, variant.sizes["history"])
    assert variant.check is not None
    variant.check(feed)
    if name == "paper-length":
        assert feed["seq_len"].min() >= 1000


def test_the_category_of_a_made_up_item_is_always_the_same() -> None:
    feed = next(SPEC.variants["auxiliary"].feeds("tensorflow").batches(32, Split.CALIBRATION))
    pairs = [("mid", "cat"), ("mid_his", "cat_his"), ("noclk_mid", "noclk_cat")]
    found = {pair for ids, of in pairs for pair in zip(feed[ids].flat, feed[of].flat, strict=True)}
    assert len({item for item, _ in found}) == len(found)
    assert (0, 0) in found


def test_another_framework_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown framework of dien 'caffe'"):
        SPEC.variants[""].feeds("caffe")


def _source(network: Dien) -> Any:
    return dien.build(network, None)


def _feed(network: Dien, samples: int = 4, steps: int = STEPS) -> Feed:
    generator = np.random.default_rng(0)
    lengths = np.array([steps, 3, 1, 2], np.int32)[:samples]
    tables = {"uid": 9, "mid": 50, "cat": 7}
    feed = {name: generator.integers(0, rows, samples).astype(np.int32) for name, rows in tables.items()}
    feed |= {
        f"{name}_his": generator.integers(0, tables[name], (samples, steps)).astype(np.int32)
        for name in ("mid", "cat")
    }
    feed |= {"seq_len": lengths}
    if network.auxiliary:
        shape = (samples, steps, 5)
        for name in ("mid", "cat"):
            feed[f"noclk_{name}"] = generator.integers(0, tables[name], shape).astype(np.int32)
    return {**feed, "mask": mask_of(lengths, steps)}


# The formula


def _answers(feed: Feed, weights: Weights) -> dict[str, Array]:
    rows = range(len(feed["uid"]))
    features, clicked, not_clicked = zip(*(_sample(feed, row, weights) for row in rows), strict=True)
    x = batch_norm(np.array(features), "bn1", weights)
    for layer in ("1", "2"):
        x = _dice(dense(x, f"f{layer}", weights), weights[f"dice_{layer}/alpha"])
    y_hat = [softmax(row) + 1e-8 for row in dense(x, "f3", weights)]
    return {"y_hat": np.array(y_hat), "clicked": np.array(clicked), "not_clicked": np.array(not_clicked)}


def _sample(feed: Feed, row: int, weights: Weights) -> tuple[Vector, list[float], list[float]]:
    """What the tail reads of one sample, and the auxiliary net's answers."""
    item = _item(feed["mid"][row], feed["cat"][row], weights)
    pairs = zip(feed["mid_his"][row], feed["cat_his"][row], strict=True)
    history = [_item(number, category, weights) for number, category in pairs]
    length = int(feed["seq_len"][row])
    states, state = [], np.zeros(WIDTH)
    for step, x in enumerate(history):
        state = _gru(x, state, 0.0, "gru1", weights)
        states.append(state if step < length else np.zeros(WIDTH))
    query = dense(item, "attention/query", weights)
    query = np.where(query > 0, query, weights["attention/query/alpha"] * query)
    scores = [attention_score(query, state, ATTENTION, weights) for state in states]
    last = np.zeros(WIDTH)
    for step, share in enumerate(masked_shares(scores, length)[:length]):
        last = _gru(states[step], last, float(share), "gru2", weights)
    summed = np.sum(history, axis=0)
    user = weights["uid_embedding_var"][feed["uid"][row]].astype(np.float64)
    others = zip(feed["noclk_mid"][row, 1:, 0], feed["noclk_cat"][row, 1:, 0], strict=True)
    clicked = [_follows(*pair, weights) for pair in zip(states, history[1:], strict=False)]
    not_clicked = [_follows(states[step], _item(*pair, weights), weights) for step, pair in enumerate(others)]
    return np.concatenate([user, item, summed, item * summed, last]), clicked, not_clicked


def _item(number: int, category: int, weights: Weights) -> Vector:
    own = weights["mid_embedding_var"][number], weights["cat_embedding_var"][category]
    return np.concatenate(own).astype(np.float64)


def _gru(x: Vector, state: Vector, attention: float, name: str, weights: Weights) -> Vector:
    gates = sigmoid(dense(np.concatenate([x, state]), f"{name}/gates", weights))
    reset, update = gates[:WIDTH], (1 - attention) * gates[WIDTH:]
    new = np.tanh(dense(np.concatenate([x, reset * state]), f"{name}/candidate", weights))
    return update * state + (1 - update) * new


def _dice(x: Vector, alpha: Array) -> Vector:
    distance = x - x.mean(axis=0)
    deviation = np.sqrt((distance**2 + 1e-9).mean(axis=0))
    large = sigmoid(distance / (deviation + 1e-9))
    return alpha * (1 - large) * x + large * x


def _follows(state: Vector, item: Vector, weights: Weights) -> float:
    x = batch_norm(np.concatenate([state, item]), "bn1gru", weights)
    for name in ("f1gru", "f2gru"):
        x = sigmoid(dense(x, name, weights))
    return float(softmax(dense(x, "f3gru", weights))[0] + 1e-8)
