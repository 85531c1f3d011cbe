"""CMU's dictionary as sentences of letters and phonemes, and a network that learns it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_zoo.gnmt import Gnmt
from model_zoo.pronunciation import (
    LETTERS,
    NETWORK,
    PHONEMES,
    Entry,
    Lexicon,
    filled,
    letter_feeds,
    lexicon,
    read_lexicon,
    said,
    spelled,
    spoken,
)
from model_zoo.pronunciation_lesson import PronunciationLesson, pronunciation_scores
from model_zoo.spec import Split
from model_zoo.training import restore, teach, weights_of
from runtime.errors import UnavailableError, UsageError

TEXT = """\
'bout B AW1 T
a AH0
a(2) EY1
abbe AE1 B IY0 # foreign french
bee B IY1
b.s. B IY1 EH1 S
"""


@pytest.fixture(scope="module")
def dictionary() -> Lexicon:
    try:
        return lexicon()
    except UnavailableError as error:
        pytest.skip(str(error))


# The dictionary


def test_first_pronunciations_are_read_without_stress_and_comments() -> None:
    assert read_lexicon(TEXT).entries == (
        Entry("'bout", ("B", "AW", "T")),
        Entry("a", ("AH",)),
        Entry("abbe", ("AE", "B", "IY")),
        Entry("bee", ("B", "IY")),
    )


def test_words_are_numbered_behind_the_special_ones() -> None:
    assert spelled("'bz").tolist() == [3, 5, 29]
    assert spoken(("AA", "ZH")).tolist() == [3, 41]
    assert said([3, 41, 2, 7]) == ("AA", "ZH")
    assert said([1, 3]) == ("?", "AA")
    assert filled([spelled("a"), spelled("bee")], 4).tolist() == [[4, 2, 2, 2], [5, 8, 8, 2]]
    assert (NETWORK.source_vocabulary, NETWORK.target_vocabulary) == (3 + len(LETTERS), 3 + len(PHONEMES))


@pytest.mark.parametrize("word", ["b3", "x" * 21, ""])
def test_other_letters_and_too_many_are_refused(word: str) -> None:
    found = ": it has '3'" if word == "b3" else "; give words in these letters"
    with pytest.raises(UsageError, match=f"word '{word}' cannot be spelled with 1 to 20 of .*{found}"):
        spelled(word)


def test_the_dictionary_has_the_words_of_data_md(dictionary: Lexicon) -> None:
    """DATA.md B9 counts 124,926 with a rule of its own."""
    assert len(dictionary.entries) == pytest.approx(124_926, abs=10)
    phonemes = {phoneme for entry in dictionary.entries for phoneme in entry.phonemes}
    assert phonemes == set(PHONEMES)
    assert list(PHONEMES) == sorted(PHONEMES)


def test_what_is_held_out_is_not_learned(dictionary: Lexicon) -> None:
    held_out, learned = ({entry.word for entry in part} for part in (dictionary.held_out, dictionary.learned))
    assert len(held_out) == 1000
    assert len(learned) == len(dictionary.entries) - 1000
    assert not held_out & learned


def test_feeds_judge_on_the_words_that_are_held_out(dictionary: Lexicon) -> None:
    feeds = letter_feeds()
    feed = next(feeds.batches(3, Split.EVALUATION))
    assert not feeds.synthetic
    assert feeds.origin == f"1000 of {len(dictionary.entries)} words of CMU's dictionary"
    for row, length, entry in zip(feed["source"], feed["source_length"], dictionary.held_out, strict=False):
        assert row[:length].tolist() == spelled(entry.word).tolist()
    assert feed["source"].shape == (3, 20)


def test_without_the_archive_feeds_are_made_up_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> Lexicon:
        raise UnavailableError("no archive cmudict")

    monkeypatch.setattr("model_zoo.pronunciation.lexicon", unavailable)
    feeds = letter_feeds()
    assert feeds.synthetic
    assert feeds.origin == "synthetic (seed 0): no archive cmudict"
    feed = next(feeds.batches(9, Split.EVALUATION))
    assert feed["source"].max() < NETWORK.source_vocabulary


def test_words_of_a_users_own_are_fed(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("Bee\n\nabbe\nbee\n", encoding="utf-8")
    feeds = letter_feeds().with_data(path)
    assert feeds.origin == "words of words.txt"
    assert next(feeds.batches(1, Split.CALIBRATION))["source"][0, :4].tolist() == [5, 8, 8, 2]
    assert next(feeds.batches(1, Split.EVALUATION))["source"][0, :4].tolist() == [4, 5, 5, 8]
    path.write_text("bee\nc3po\n", encoding="utf-8")
    with pytest.raises(UsageError, match="word 'c3po' cannot be spelled"):
        letter_feeds().with_data(path)
    path.write_text("bee\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"words\.txt holds 1 different words, expected two or more"):
        letter_feeds().with_data(path)


# Scores


def test_scores_are_words_right_and_phonemes_wrong() -> None:
    expected = [("B", "IY"), ("AE", "B", "IY")]
    scores = pronunciation_scores(expected, [("B", "IY"), ("AE", "P")])
    assert scores == {"word accuracy": 1 / 2, "PER": 2 / 5}


# Learning


def cipher(count: int = 600) -> Lexicon:
    """Words that are said letter by letter, each letter always alike."""
    generator = np.random.Generator(np.random.Philox(7))
    words = {
        "".join("abcdefgh"[index] for index in generator.integers(0, 8, generator.integers(2, 5)))
        for _ in range(count)
    }
    said_alike = dict(zip("abcdefgh", PHONEMES, strict=False))
    entries = (Entry(word, tuple(said_alike[letter] for letter in word)) for word in sorted(words))
    return Lexicon(tuple(entries))


SMALL = Gnmt(2, 24, NETWORK.source_vocabulary, NETWORK.target_vocabulary)


def test_a_small_network_learns_a_cipher_it_was_not_told() -> None:
    pytest.importorskip("tensorflow")
    lesson = PronunciationLesson.of(replace(SMALL, units=48), cipher(2000), seed=0)
    before = lesson.scores()
    losses = [loss for number in range(16) for loss in lesson.epoch(number)]
    after = lesson.scores()
    assert losses[0] == pytest.approx(np.log(42), rel=0.25)
    assert before["word accuracy"] < 0.05
    assert after["word accuracy"] > 0.8
    assert after["PER"] < 0.1
    assert len(losses) == 16 * lesson.steps


def test_a_lesson_that_is_broken_off_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    whole, first, second = (PronunciationLesson.of(SMALL, cipher(), seed=3) for _ in range(3))
    list(teach(whole, "cipher", 2, tmp_path / "whole.npz"))
    list(teach(first, "cipher", 1, tmp_path / "broken.npz"))
    assert [report.epoch for report in teach(second, "cipher", 2, tmp_path / "broken.npz")] == [2]
    for name, array in weights_of(whole).items():
        np.testing.assert_array_equal(array, weights_of(second)[name])
    assert restore(first, "another", tmp_path / "broken.npz") == 0


@pytest.mark.heavy
def test_the_dictionary_is_learned_as_well_as_in_data_md() -> None:
    """DATA.md C: 53.4 % of words and 12.1 % of phonemes wrong after 170 s; 58.4 % and 10.8 % after 242 s."""
    pytest.importorskip("tensorflow")
    try:
        lesson = PronunciationLesson.from_dictionary(0)
    except UnavailableError as error:
        pytest.skip(str(error))
    for number in range(lesson.epochs):
        for _ in lesson.epoch(number):
            pass
    scores = lesson.scores()
    assert scores["word accuracy"] > 0.534
    assert scores["PER"] < 0.121
