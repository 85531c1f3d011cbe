"""Real English texts: the Lee news corpora and human judgements of similarity, as shipped with gensim.

Lee, Pincombe and Welsh 2005, "An empirical evaluation of models of text document similarity".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from runtime.errors import UsageError
from runtime.progress import Progress, silent

_FOLDER = "gensim/test/test_data"
_SENTENCE_END = re.compile(r"""(?<=[.!?])\s+(?=["'A-Z])|(?<=[.!?]")\s+(?=["'A-Z])""")
_PARAGRAPH_CHARACTERS = 500  # SQuAD left out shorter ones (Rajpurkar et al. 2016, §3.1)
_QUESTION_WORDS = 10  # with the "what" before it, as long as SQuAD's questions are on average


@dataclass(frozen=True)
class Passage:
    """A context and the questions asked about it."""

    context: str
    questions: tuple[str, ...]


def articles(progress: Progress = silent) -> tuple[str, ...]:
    """The news articles of Lee's background corpus, without those that repeat a sentence of an earlier one.

    Raises UnavailableError where the archive cannot be fetched.
    """
    seen: set[str] = set()
    kept = []
    for article in _lines("lee_background.cor", progress):
        found = sentences(article)
        if seen.isdisjoint(found):
            kept.append(article)
        seen.update(found)
    return tuple(kept)


def documents() -> tuple[str, ...]:
    """The 50 short documents of the Lee corpus that people judged (`document_similarities`)."""
    return tuple(_lines("lee.cor"))


def document_similarities() -> NDArray[np.float64]:
    """[50, 50], upper triangle: how alike people found two of `documents`, 0 to 1; 1225 pairs."""
    rows = [[float(cell) for cell in line.split()] for line in _lines("similarities0-1.txt")]
    return np.array(rows)


def word_pairs(name: str) -> tuple[tuple[str, str, float], ...]:
    """Two words and how alike people found them, 0 to 10: "wordsim353.tsv" or "simlex999.txt"."""
    rows = (line.split("\t") for line in _lines(name) if not line.startswith("#"))
    return tuple((first, second, float(judged)) for first, second, judged in rows)


def sentences(text: str) -> list[str]:
    """The sentences of an English text, by punctuation and the capital letter that follows."""
    return _SENTENCE_END.split(text)


def passages(article: str) -> Iterator[Passage]:
    """Cut an article into paragraphs as long as SQuAD's, and compose a question from each sentence.

    There is no SQuAD among the archives. A composed question is the beginning of a sentence of the context
    after "what": it shares words with the place where an answer would be, as real questions do, but nobody
    asked it and no answer is known.
    """
    found = sentences(article)
    paragraph: list[str] = []
    for number, sentence in enumerate(found):
        paragraph.append(sentence)
        rest = sum(map(len, found[number + 1 :]))
        if len(" ".join(paragraph)) >= _PARAGRAPH_CHARACTERS and rest >= _PARAGRAPH_CHARACTERS:
            yield _passage(paragraph)
            paragraph = []
    yield _passage(paragraph)


def squad_passages(path: Path) -> tuple[Passage, ...]:
    """The contexts and questions of a SQuAD 1.1 or 2.0 JSON file; raises UsageError for any other file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["data"]
        return tuple(
            Passage(paragraph["context"], tuple(question["question"] for question in paragraph["qas"]))
            for article in data
            for paragraph in article["paragraphs"]
            if paragraph["qas"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a SQuAD file ({type(error).__name__}: {error}); give a dev-v1.1.json"
        ) from error


def text_lines(path: Path) -> tuple[str, ...]:
    """The lines of a UTF-8 text file that are not empty; raises UsageError for any other file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; give UTF-8 text, one sentence a line") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _passage(paragraph: list[str]) -> Passage:
    return Passage(" ".join(paragraph), tuple(map(_question, paragraph)))


def _question(sentence: str) -> str:
    beginning = " ".join(sentence.split()[:_QUESTION_WORDS])
    return f"what {beginning.strip(' .,;:!?').lower()}?"


def _lines(name: str, progress: Progress = silent) -> Iterator[str]:
    path = archives.fetch("texts", progress) / _FOLDER / name
    # lee.cor holds a few Latin-1 quotation marks
    return (line.strip() for line in path.read_text(encoding="latin-1").splitlines() if line.strip())
