"""The model "nmt": its variants, its feeds, and what it refuses of a user's own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model_zoo.gnmt_feeds import check_sentences, check_step, sentence_feeds, step_feeds
from model_zoo.gnmt_sources import Form
from model_zoo.nmt import NETWORK, SPEC, build
from model_zoo.samples import LazyFeeds
from model_zoo.spec import Split, Variant
from model_zoo.translation import TRANSLATION
from runtime.errors import FeedError, UsageError
from runtime.tensors import Array
from tests.model_zoo.gnmt_relative import END, RELATIVE

# Variants


def test_the_reference_is_greedy() -> None:
    """AI Matrix's settings name a beam and leave the mode at greedy (MODELS.md 19)."""
    assert SPEC.reference == "greedy"
    assert list(SPEC.variants)[:4] == ["encoder", "decoder-step", "greedy", "beam"]
    assert all(variant.counts["tensorflow"].parameters == 210_880_513 for variant in _full().values())


def test_macs_are_those_of_50_words_each_way() -> None:
    """MODELS.md 19: B=128 and 50 words are 1.74e12 FLOPs."""
    counts = {form: variant.counts["tensorflow"].macs for form, variant in _full().items()}
    read, say = 50 * 47_185_920, 88_805_376 + 2048 * 50
    assert counts == {
        "encoder": read,
        "decoder-step": say,
        "greedy": read + 50 * say,
        "beam": read + 10 * 50 * say,
    }
    assert 2 * 128 * counts["greedy"] == pytest.approx(1.74e12, rel=2e-3)
    assert SPEC.variants["greedy"].sizes == {"source": 50, "target_1": 50}
    assert SPEC.variants["decoder-step"].sizes == {"source": 50}


def test_only_the_small_network_can_be_taught_here() -> None:
    taught = [name for name, variant in SPEC.variants.items() if variant.training is not None]
    assert taught == ["cmudict"]


@pytest.mark.parametrize("variant", SPEC.variants)
def test_feeds_are_for_tensorflow_only(variant: str) -> None:
    with pytest.raises(UsageError, match="unknown framework of nmt 'caffe'"):
        SPEC.variants[variant].feeds("caffe")


# Feeds


def test_sentences_are_filled_and_as_long_as_news() -> None:
    feed = next(sentence_feeds(NETWORK, 50).batches(400, Split.EVALUATION))
    length, source = feed["source_length"], feed["source"]
    assert source.dtype == length.dtype == np.int32
    assert source.shape == (400, 50)
    assert 4 <= length.min() < 8
    assert length.max() == 50
    assert length.mean() == pytest.approx(23, abs=2)
    inside = np.arange(50) < length[:, np.newaxis]
    assert (source[~inside] == END).all()
    assert (source[inside] > END).all()


def test_words_follow_zipfs_law() -> None:
    """Log-uniform ranks: as many words among the first 191 as among the other 36,354, within 4 deviations."""
    feed = next(sentence_feeds(NETWORK, 50).batches(200, Split.CALIBRATION))
    words = feed["source"][np.arange(50) < feed["source_length"][:, np.newaxis]]
    root = (NETWORK.source_vocabulary - 3) ** 0.5
    assert np.mean(words - 2 < root) == pytest.approx(0.5, abs=2 / len(words) ** 0.5)


@pytest.mark.parametrize("feeds", [sentence_feeds(RELATIVE, 9), step_feeds(RELATIVE, 9)])
def test_feeds_say_that_they_are_made_up_and_pass_their_own_check(feeds: LazyFeeds) -> None:
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): ")
    feed = next(feeds.batches(20, Split.EVALUATION))
    check = check_step if "words" in feed else check_sentences
    check(RELATIVE, feed)


def test_sentences_of_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sentences are not read from text, as no vocabulary is part of"):
        sentence_feeds(RELATIVE, 9).with_data(tmp_path / "sentences.txt")


# What is refused


def sentence(**changes: object) -> dict[str, Array]:
    given: dict[str, object] = {"source": [[5, 6, 7, 2], [5, 2, 2, 2]], "source_length": [3, 1], **changes}
    return {name: np.array(values, np.int32) for name, values in given.items()}


def test_a_sound_sentence_is_taken() -> None:
    check_sentences(RELATIVE, sentence())
    check_sentences(RELATIVE, sentence(source_length=[4, 2]))  # with `</s>`: unusual, and no nonsense


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"source": [[5, 6, 300, 2], [5, 2, 2, 2]]},
            "has word 300 in row 0; the vocabulary has 0 to 299",
        ),
        ({"source": [[5, 6, 7, 2], [-1, 2, 2, 2]]}, "'source' has word -1 in row 1"),
        ({"source_length": [3, 0]}, "'source_length' is 0 in row 1; expected 1 to 4"),
        ({"source_length": [5, 1]}, "'source_length' is 5 in row 0; expected 1 to 4"),
        (
            {"source_length": [2, 1]},
            "word 7 at place 2 of row 0, behind the sentence's length 2; fill it with 2",
        ),
    ],
)
def test_nonsense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(FeedError, match=message):
        check_sentences(RELATIVE, sentence(**changes))


def test_nonsense_is_refused_of_a_step() -> None:
    feed = dict(next(step_feeds(RELATIVE, 9).batches(2, Split.EVALUATION)))
    with pytest.raises(FeedError, match="'words' has word 400 in row 0; the vocabulary has 0 to 399"):
        check_step(RELATIVE, {**feed, "words": np.array([400, 3], np.int32)})
    with pytest.raises(FeedError, match="'source_length' is 10 in row 1; expected 1 to 9"):
        check_step(RELATIVE, {**feed, "source_length": np.array([9, 10], np.int32)})


def test_the_variants_check_what_they_are_fed() -> None:
    feed = {"source": np.full((1, 50), 40_000, np.int32), "source_length": np.array([50], np.int32)}
    for form in (Form.ENCODER, Form.GREEDY, Form.BEAM):
        check = SPEC.variants[form].check
        assert check is not None
        with pytest.raises(FeedError, match="the vocabulary has 0 to 36547"):
            check(feed)


# At full size


@pytest.mark.heavy
def test_the_full_network_translates_sentence_by_sentence() -> None:
    """Were it to answer all alike, or never to end, agreement between precisions would mean nothing."""
    variant = SPEC.variants["greedy"]
    batches = islice(variant.feeds("tensorflow").batches(4, Split.EVALUATION), 1)
    source = build(NETWORK, Form.GREEDY)
    for feed in batches:
        said = TRANSLATION.sentences(source.run(feed))
        assert len({row.tobytes() for row in said}) == 4
        for row, length in zip(said, feed["source_length"], strict=True):
            assert row[-1] == END
            assert abs(len(row) - 1 - length) <= 6


def _full() -> dict[str, Variant]:
    return {form.value: SPEC.variants[form] for form in Form}
