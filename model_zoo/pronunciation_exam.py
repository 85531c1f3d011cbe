"""What a GNMT of letters is judged on: the words of CMU's dictionary that its lesson holds out.

A pronunciation is a text with one character a phoneme, so that edits are of phonemes: the character error
rate is the phoneme error rate (PER).
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from model_zoo.exam_parts import batched, refuse_folder
from model_zoo.pronunciation import DATA, MOST_LETTERS, PHONEMES, filled, lexicon, said, spelled
from model_zoo.spec import Exam, Labels, Question
from model_zoo.translation import TRANSLATION
from runtime.progress import Progress
from runtime.tensors import Array, Feed

_BATCH = 250
_CHARACTERS = dict(zip(PHONEMES, string.ascii_letters, strict=False))
_PHONEMES = {character: phoneme for phoneme, character in _CHARACTERS.items()}
_OTHER = "?"
"""What `pronunciation.said` has for words that are no phonemes."""


def exam() -> Exam:
    """For forms of the network whose outputs are whole pronunciations."""
    return Exam(
        data=DATA,
        labels=Labels.REAL,
        metrics=("word-accuracy", "character-error-rate"),
        questions=_questions,
        answers=_answers,
        say=_said,
    )


def as_text(phonemes: Sequence[str]) -> str:
    """One character a phoneme."""
    return "".join(_CHARACTERS.get(phoneme, _OTHER) for phoneme in phonemes)


def _questions(folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError where the dictionary cannot be fetched, or another set is given."""
    refuse_folder(folder, "words of CMU's pronouncing dictionary")
    for part in batched(lexicon(progress).held_out, _BATCH):
        letters = [spelled(entry.word) for entry in part]
        yield Question(
            {
                "source": filled(letters, MOST_LETTERS),
                "source_length": np.array([len(word) for word in letters], np.int32),
            },
            [as_text(entry.phonemes) for entry in part],
            [entry.word for entry in part],
        )


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[str]:
    """Raises GraphError for outputs of another kind."""
    return [as_text(said(sentence)) for sentence in TRANSLATION.sentences(outputs)]


def _said(what: str) -> str:
    return " ".join(_PHONEMES.get(character, _OTHER) for character in what)
