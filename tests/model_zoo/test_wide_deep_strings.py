"""Wide & Deep that reads words: tables in the graph against TensorFlow's hashes, and the words it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from exporters.export import export
from exporters.parity import open_graph
from model_zoo.census import OCCUPATIONS, VOCABULARIES, People
from model_zoo.spec import Split
from model_zoo.wide_deep import SPEC, build, build_strings
from model_zoo.wide_deep_feeds import numbered, string_feeds, worded
from model_zoo.wide_deep_seeded import weights_of
from model_zoo.wide_deep_strings import check, crossed_buckets, occupation_buckets, tensorflow_source
from runtime.errors import FeedError
from runtime.graphs import inspect
from runtime.tensors import Feed, TensorSpec, check_feed
from tests.model_zoo.test_wide_deep import people


def words_missing(known: People) -> People:
    """Of every column a word that is missing, and of two one that nobody knows."""
    for row, column in enumerate(known.words.values()):
        column[row] = ""
    known.words["workclass"][7] = "Pirate"
    known.words["relationship"][8] = "Friend"
    return known


def first(feed: Feed) -> Feed:
    return {name: array[:1] for name, array in feed.items()}


def test_tables_hold_a_bucket_for_every_combination_and_none_behind_the_last_word() -> None:
    pairs = crossed_buckets([()]).reshape(17, 16)
    triples = crossed_buckets([(age,) for age in range(11)]).reshape(11, 17, 16)
    assert (occupation_buckets() == 1000).tolist() == [False] * 15 + [True]
    for table in (pairs, *triples):
        assert (table[-1] == 1000).all()
        assert (table[:, -1] == 1000).all()
        assert table[:-1, :-1].max() < 1000
        assert table[:-1, :-1].min() >= 0
    assert len({table.tobytes() for table in triples}) == 11


def test_words_and_their_ids_give_the_same_answers() -> None:
    """Both in TensorFlow, which hashes words by itself; the ids are ours."""
    pytest.importorskip("tensorflow")
    known = words_missing(people())
    by_words = tensorflow_source(weights_of(None)).function(*worded(known).values())[0].numpy()
    by_ids = build(None).run(numbered(known))["probabilities"]
    np.testing.assert_allclose(by_words, by_ids, atol=1e-6)


def test_the_graph_answers_as_tensorflow_does_with_every_word_and_without(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    source, feed = build_strings(None), worded(words_missing(people(1000)))
    check(feed)
    check_feed(feed, source.inputs)
    report = export(source, tmp_path / "model.onnx", [first(feed), feed])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == report.parameters == 28_926
    assert facts.macs == SPEC.variants["strings"].counts["tensorflow"].macs
    assert facts.inputs == source.inputs
    assert facts.inputs[5] == TensorSpec("education", "str", ("batch",))
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.domain for node in graph.node if node.op_type == "LabelEncoder"] == ["ai.onnx.ml"] * 5
    expected = build(None).run(numbered(words_missing(people(1000))))["probabilities"]
    found = open_graph(tmp_path / "model.onnx")(feed)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"), [("education", VOCABULARIES["education"]), ("occupation", OCCUPATIONS)]
)
def test_a_word_whose_hash_the_graph_does_not_hold_is_refused(name: str, words: tuple[str, ...]) -> None:
    feed = worded(people())
    feed[name] = feed[name].astype("U20")
    feed[name][5] = "Pirate"
    with pytest.raises(
        FeedError,
        match=rf"input '{name}' is 'Pirate' in row 5, expected one of {words[0] if words[0] != '?' else '.'}",
    ):
        check(feed)


def test_feeds_are_of_the_same_people_as_those_of_the_ids() -> None:
    feeds = string_feeds()
    feed = next(feeds.batches(3, Split.EVALUATION))
    numbers = SPEC.variants[""].feeds("tensorflow")
    np.testing.assert_array_equal(
        feed["capital_gain"], next(numbers.batches(3, Split.EVALUATION))["numbers"][:, 1]
    )
    assert {array.dtype.kind for array in feed.values()} == {"f", "U"}
    assert feeds.digest != numbers.digest
