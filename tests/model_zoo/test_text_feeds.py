"""Texts and the feeds made of them; what needs an archive is skipped where it cannot be fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model_zoo import texts
from model_zoo.feeds import LazyFeeds, sentence_feeds, squad_feeds
from model_zoo.samples import uniforms
from model_zoo.spec import FeedSource, Split
from model_zoo.texts import passages, sentences
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Array, TensorSpec, check_feed

Make = Callable[[int], LazyFeeds]
BOTH = pytest.mark.parametrize("split", list(Split))
EACH = pytest.mark.parametrize("make", [squad_feeds, sentence_feeds])


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")


def real(feeds: LazyFeeds) -> LazyFeeds:
    if feeds.synthetic:
        pytest.skip(feeds.origin)
    return feeds


def samples(feeds: FeedSource, count: int, split: Split, batch_size: int = 1) -> dict[str, Array]:
    found = list(islice(feeds.batches(batch_size, split), -(-count // batch_size)))
    return {name: np.concatenate([feed[name] for feed in found])[:count] for name in found[0]}


def squad_file(path: Path, *contexts: str) -> Path:
    paragraphs = [
        {"context": context, "qas": [{"question": "who?"}, {"question": "where?"}]} for context in contexts
    ]
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}))
    return path


# Texts


def test_sentences_end_where_a_capital_follows() -> None:
    text = 'He left at 4:00pm. "Why?" she asked. It cost $3.50 a litre. "Too much." Nobody knows.'
    assert sentences(text) == [
        "He left at 4:00pm.", '"Why?" she asked.', "It cost $3.50 a litre.", '"Too much."', "Nobody knows.",
    ]  # fmt: skip


def test_an_article_is_cut_into_passages_that_lose_nothing() -> None:
    found = [f"Sentence number {number} says {'much ' * 20}here." for number in range(20)]
    cut = list(passages(" ".join(found)))
    assert " ".join(passage.context for passage in cut) == " ".join(found)
    assert all(len(passage.context) >= 500 for passage in cut)
    assert [len(passage.questions) for passage in cut] == [4] * 5
    assert cut[0].questions[1] == "what sentence number 1 says much much much much much much?"


def test_a_short_article_is_one_passage() -> None:
    (passage,) = passages("It rained. Nobody minded!")
    assert passage == texts.Passage("It rained. Nobody minded!", ("what it rained?", "what nobody minded?"))


def test_the_lee_corpus_has_its_published_size() -> None:
    # Lee, Pincombe and Welsh 2005: 50 documents of 51 to 126 words, all 1225 pairs judged
    try:
        documents, judged = texts.documents(), texts.document_similarities()
    except UnavailableError as error:
        pytest.skip(str(error))
    pairs = judged[np.triu_indices(50, k=1)]
    assert (len(documents), judged.shape, pairs.size) == (50, (50, 50), 1225)
    assert pairs.min() > 0
    assert pairs.max() <= 1
    assert np.array_equal(np.diag(judged), np.ones(50))


@pytest.mark.parametrize(
    ("name", "count", "pair"),
    [
        ("wordsim353.tsv", 353, ("tiger", "cat", 7.35)),
        ("simlex999.txt", 999, ("smart", "intelligent", 9.2)),
    ],
)
def test_word_pairs_have_their_published_number_and_ratings(
    name: str, count: int, pair: tuple[str, str, float]
) -> None:
    try:
        pairs = texts.word_pairs(name)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert len(pairs) == count
    assert pair in pairs


def test_no_two_articles_share_a_sentence() -> None:
    try:
        articles = texts.articles()
    except UnavailableError as error:
        pytest.skip(str(error))
    found = [set(sentences(article)) for article in articles]
    assert len(articles) > 250
    assert sum(map(len, found)) == len(set().union(*found))


# Feeds


@EACH
@BOTH
def test_feeds_fit_berts_inputs(make: Make, split: Split) -> None:
    feed = next(make(64).batches(3, split))
    names = ("input_ids", "input_mask", "segment_ids")
    check_feed(feed, [TensorSpec(name, "int32", ("batch", 64)) for name in names])


def test_a_pair_is_question_and_context_between_their_marks() -> None:
    feeds = real(squad_feeds())
    found = samples(feeds, 200, Split.EVALUATION)
    ids, mask, segments = found["input_ids"], found["input_mask"], found["segment_ids"]
    lengths = mask.sum(axis=1)
    assert (ids[:, 0] == 101).all()
    assert ((ids == 102).sum(axis=1) == 2).all()
    assert (ids[np.arange(200), lengths - 1] == 102).all()
    assert (ids[mask == 0] == 0).all()
    assert (np.diff(mask, axis=1) <= 0).all()  # padding only behind
    first_separator = (ids == 102).argmax(axis=1)
    positions = np.arange(384)
    expected = (positions > first_separator[:, None]) & (positions < lengths[:, None])
    assert np.array_equal(segments, expected)
    # Like SQuAD's dev set most pairs leave half of the 384 places empty, and their lengths differ.
    assert 120 < lengths.mean() < 220
    assert lengths.std() > 20


def test_the_origin_does_not_claim_squad() -> None:
    assert real(squad_feeds()).origin.endswith("Lee news articles; not SQuAD")


@EACH
def test_the_splits_share_no_sample(make: Make) -> None:
    feeds = real(make(128))
    found = [{row.tobytes() for row in samples(feeds, 1500, split)["input_ids"]} for split in Split]
    assert min(map(len, found)) > 1000
    assert not found[0] & found[1]


@EACH
def test_the_kth_sample_does_not_depend_on_the_batch_size(make: Make) -> None:
    feeds = make(48)
    alone = samples(feeds, 12, Split.CALIBRATION)
    for batch_size in (5, 12):
        together = samples(feeds, 12, Split.CALIBRATION, batch_size)
        assert all(np.array_equal(alone[name], together[name]) for name in alone)


def test_a_users_squad_file_takes_its_turns_through_the_windows(tmp_path: Path) -> None:
    real(squad_feeds(16))  # for the vocabulary
    long, short = " ".join(["one two three four five"] * 4), "six"
    feeds = squad_feeds(16).with_data(squad_file(tmp_path / "dev.json", long, short))
    found = samples(feeds, 6, Split.CALIBRATION)
    # One passage of 20 tokens, two questions "who ?" and "where ?": room for 16 - 3 - 2 = 11 tokens.
    contexts = found["input_mask"].sum(axis=1) - 5
    assert contexts.tolist() == [11, 11, 9, 9, 11, 11]
    assert feeds.origin == "SQuAD pairs of dev.json"


def test_a_long_question_leaves_room_for_the_context(tmp_path: Path) -> None:
    real(squad_feeds(16))
    path = squad_file(tmp_path / "dev.json", "one two three", "four")
    path.write_text(path.read_text().replace("who?", "who " * 100))
    feed = samples(squad_feeds(16).with_data(path), 1, Split.CALIBRATION)
    # [CLS], 6 question tokens of the (16 - 3) / 2 there is room for, [SEP], 3 context tokens, [SEP]
    assert feed["segment_ids"][0].tolist() == [0] * 8 + [1] * 4 + [0] * 4
    assert feed["input_mask"][0].tolist() == [1] * 12 + [0] * 4


def test_a_users_sentences_are_taken_line_by_line(tmp_path: Path) -> None:
    real(sentence_feeds(8))
    path = tmp_path / "lines.txt"
    path.write_text("hello world\n\nworld\nhello world\nhello hello\n", encoding="utf-8")
    found = samples(sentence_feeds(8).with_data(path), 3, Split.CALIBRATION)
    assert found["input_ids"].tolist() == [
        [101, 7592, 2088, 102, 0, 0, 0, 0],
        [101, 7592, 7592, 102, 0, 0, 0, 0],
        [101, 7592, 2088, 102, 0, 0, 0, 0],  # and again from the first
    ]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"data": [{}]}', b'{"data": 3}', b"\xff\xfe", b"{"])
def test_what_is_no_squad_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dev.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"dev\.json is not a SQuAD file .*give a dev-v1\.1\.json"):
        squad_feeds().with_data(path)


def test_a_squad_file_of_one_passage_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds 1 different texts, expected two or more"):
        squad_feeds().with_data(squad_file(tmp_path / "dev.json", "alone"))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_what_is_no_text_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "lines.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read .*lines\.txt.*one sentence a line"):
        sentence_feeds().with_data(path)


@EACH
def test_a_sequence_too_short_for_text_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="sequence length 7 is below 8: no room for text"):
        make(7)


@pytest.mark.usefixtures("offline")
@EACH
def test_without_the_archives_the_feeds_are_synthetic_and_say_why(make: Make) -> None:
    feeds = make(64)
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive gensim==4.4.0: AIMATRIX_OFFLINE forbids")
    rows = [{row.tobytes() for row in samples(feeds, 50, split)["input_ids"]} for split in Split]
    assert len(rows[0] | rows[1]) == 100


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("sequence_length", [8, 384])
def test_synthetic_tokens_follow_zipf_and_fill_a_quarter_or_more(sequence_length: int) -> None:
    found = samples(squad_feeds(sequence_length), 400, Split.CALIBRATION)
    lengths = found["input_mask"].sum(axis=1)
    assert (lengths >= sequence_length / 4).all()
    assert (lengths <= sequence_length).all()
    assert lengths.max() > 0.95 * sequence_length
    words = found["input_ids"][found["input_ids"] >= 1000]
    # Log-uniform ranks over 29,522 words: the median rank is the square root, 172.
    assert 150 < np.median(words) - 999 < 195
    assert words.max() < 30522
    assert ((found["input_ids"] == 102).sum(axis=1) == 2).all()


@EACH
def test_the_digest_covers_the_sequence_length(make: Make) -> None:
    assert make(64).digest == make(64).digest
    assert make(64).digest != make(65).digest


def test_the_digest_covers_the_texts(tmp_path: Path) -> None:
    real(squad_feeds(16))
    first = squad_feeds(16).with_data(squad_file(tmp_path / "a.json", "one", "two")).digest
    other = squad_feeds(16).with_data(squad_file(tmp_path / "b.json", "one", "three")).digest
    assert first != other


def test_uniforms_are_uniform_and_depend_on_the_key_alone() -> None:
    values = uniforms(10_000, "key", 3)
    assert 0 <= values.min() < values.max() < 1
    assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * 10_000)
    assert np.array_equal(uniforms(5, "key", 3), values[:5])
    assert not np.array_equal(uniforms(5, "key", 4), values[:5])
