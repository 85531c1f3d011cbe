"""SQuAD 1.1's development set: 10,570 questions about paragraphs of Wikipedia."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo.datasets.contract import DataSet, Part, Sample, Tell, text_of
from runtime.errors import UsageError

_FILE, _VERSION = "dev-v1.1.json", "1.1"


@dataclass(frozen=True)
class Asked:
    """A question, and the text that answers it."""

    question: str
    context: str


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """raw: Asked.     truth: the answers that people gave."""
    read = _read(root / _FILE)
    if read.get("version") != _VERSION:
        tell(f"it says version {read.get('version')!r}, expected {_VERSION!r}", _FILE)
    for article in read["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield from _sample(paragraph["context"], question, tell)


def _sample(context: str, question: Mapping[str, Any], tell: Tell) -> Iterator[Sample]:
    answers = tuple(answer["text"] for answer in question["answers"])
    for answer in question["answers"]:
        start, text = answer["answer_start"], answer["text"]
        if context[start : start + len(text)] != text:
            tell("an answer is not where it is said to be", question["id"])
    if answers:
        yield Sample(Asked(question["question"], context), answers, question["id"])
    else:
        tell("a question has no answer", question["id"])


def _read(path: Path) -> Mapping[str, Any]:
    """The file; raises UsageError unless all that is read of it is there."""
    try:
        read: Mapping[str, Any] = json.loads(text_of(path))
        for article in read["data"]:
            for paragraph in article["paragraphs"]:
                _check_paragraph(paragraph)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a SQuAD file ({type(error).__name__}: {error}); give {_FILE} as it was published"
        ) from error
    return read


def _check_paragraph(paragraph: Mapping[str, Any]) -> None:
    texts = [paragraph["context"]]
    for question in paragraph["qas"]:
        texts += [question["id"], question["question"], *(answer["text"] for answer in question["answers"])]
        for answer in question["answers"]:
            int(answer["answer_start"])
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")


SQUAD = DataSet(
    name="squad",
    title="SQuAD 1.1, development",
    folders=("", "squad", "squad/v1.1"),
    parts=(Part((_FILE,), "paragraphs, questions and answers"),),
    published={"dev-v1.1": 10_570},
    unit="questions",
    metrics=("squad-f1", "squad-exact-match"),
    terms="Rajpurkar et al.; CC BY-SA 4.0",
    samples=_samples,
    amounts=lambda sample: {"answers": len(sample.truth)},
)
