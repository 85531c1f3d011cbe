"""What a GNMT of German and English is judged on: a WMT news test in pieces of words, in a user's folder.

The folder is as tensorflow/nmt's wmt16_en_de.sh leaves it: newstest2015.tok.bpe.32000.de and .en, and
vocab.bpe.32000 with a word a line (or one file for each language, which end in .de and .en).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo.exam_parts import batched, wanted_folder
from model_zoo.gnmt import END, UNKNOWN, Gnmt
from model_zoo.gnmt_sources import SENTENCES
from model_zoo.spec import Exam, Labels, Question, Variant
from model_zoo.translation import TRANSLATION
from runtime.errors import UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "wmt"
_BATCH = 32
_IN_PIECES = ".bpe."
_FIRST = ("<unk>", "<s>", "</s>")
_SOURCE, _LENGTH = (spec.name for spec in SENTENCES)


class SpokenFeed(dict[str, Array]):
    """A feed that knows the words of the language it is to be translated to."""

    def __init__(self, arrays: Feed, words: Sequence[str]) -> None:
        super().__init__(arrays)
        self.words = words


def judged_on_wmt(variant: Variant, network: Gnmt) -> Variant:
    """The same with this exam, for forms of the network whose outputs are whole translations."""
    exam = Exam(
        data="a WMT news test, German to English, out of --data",
        labels=Labels.REAL,
        metrics=("bleu",),
        questions=partial(_questions, network),
        answers=_answers,
    )
    return replace(variant, exams=(exam,))


def _questions(network: Gnmt, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError without a folder, UsageError for one without vocabulary or pieces of words."""
    from model_zoo.datasets import get_data_set, samples

    data_set = get_data_set(DATA_SET)
    folder = wanted_folder(folder, data_set.title)
    pairs = (sample for sample in samples(DATA_SET, folder) if _IN_PIECES in sample.name)
    root = data_set.root(folder) or folder
    known = {word: number for number, word in enumerate(_vocabulary(root, ".de", network.source_vocabulary))}
    words = _vocabulary(root, ".en", network.target_vocabulary)
    asked = False
    for part in batched(pairs, _BATCH):
        asked = True
        numbers = [[known.get(word, UNKNOWN) for word in sample.raw.split()] for sample in part]
        yield Question(
            SpokenFeed(_fed(numbers), words),
            [sample.truth for sample in part],
            [sample.raw for sample in part],
        )
    if not asked:
        raise UsageError(
            f"{root} holds no test in pieces of words: expected newstest2015.tok.bpe.32000.de and .en, which"
            " tensorflow/nmt's wmt16_en_de.sh makes"
        )


def _vocabulary(root: Path, end: str, size: int) -> list[str]:
    """The words of a language; a network may have one less than its file (MODELS.md 19)."""
    from model_zoo.datasets.contract import first_of, text_of

    path = first_of(root, f"vocab*{end}", "vocab*")
    if path is None:
        raise UsageError(f"{root} holds no vocab.bpe.32000{end} or vocab.bpe.32000, a word a line; add it")
    words = text_of(path).removesuffix("\n").split("\n")
    if tuple(words[: len(_FIRST)]) != _FIRST:
        raise UsageError(
            f"{path} begins with {words[: len(_FIRST)]}, expected {', '.join(_FIRST)}; fetch it again"
        )
    if not 0 <= len(words) - size <= 1:
        raise UsageError(
            f"{path} has {len(words):,} words, the network {size:,}; give the one it was trained with"
        )
    return words[:size]


def _fed(sentences: Sequence[Sequence[int]]) -> Feed:
    """Filled with `</s>` as far as the longest goes."""
    lengths = np.array([len(sentence) for sentence in sentences], np.int32)
    source = np.full((len(sentences), int(lengths.max())), END, np.int32)
    for row, sentence in zip(source, sentences, strict=True):
        row[: len(sentence)] = sentence
    return {_SOURCE: source, _LENGTH: lengths}


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[str]:
    """Raises UsageError for a feed that is not a question's own, GraphError for other outputs."""
    if not isinstance(feed, SpokenFeed):
        raise UsageError("numbers are words of a vocabulary; give the question's own feed")
    return [
        " ".join(feed.words[number] for number in sentence if number != END)
        for sentence in TRANSLATION.sentences(outputs)
    ]
