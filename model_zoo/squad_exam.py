"""What a BERT for SQuAD is judged on: the questions of the development set, in a user's folder.

A question about a long paragraph is several windows (`squad`): a batch has all windows of its questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from model_zoo import wordpiece
from model_zoo.datasets.contract import Sample
from model_zoo.exam_parts import batched, wanted_folder
from model_zoo.spec import Exam, Labels, Question
from model_zoo.squad import Window, best_spans, n_best, windows_of
from model_zoo.wordpiece import Offsets, Reader
from runtime.errors import GraphError, UsageError
from runtime.progress import Progress
from runtime.tensors import Array, Feed

DATA_SET = "squad"
_QUESTIONS = 16
_LOGITS = ("start_logits", "end_logits")


@dataclass(frozen=True)
class _Read:
    """A question as the network reads it, and what its answer is cut out of."""

    windows: tuple[Window, ...]
    context: str
    offsets: Offsets


class _Batch(dict[str, Array]):
    """A feed that knows which questions its rows are windows of."""

    def __init__(self, read: Sequence[_Read]) -> None:
        windows = [window.feed for each in read for window in each.windows]
        super().__init__({name: np.stack([feed[name] for feed in windows]) for name in windows[0]})
        self.read = read


def exam_of(sequence_length: int) -> Exam:
    """For a network of two logits a token."""
    return Exam(
        data="SQuAD 1.1's development set, out of --data: nobody trains on it",
        labels=Labels.REAL,
        metrics=("squad-f1", "squad-exact-match"),
        questions=partial(_questions, sequence_length),
        answers=_answers,
        say=_said,
    )


def _questions(sequence_length: int, folder: Path | None, progress: Progress) -> Iterator[Question]:
    """Raises UnavailableError without a folder or the vocabulary, UsageError for another folder."""
    from model_zoo.datasets import get_data_set, samples

    folder = wanted_folder(folder, get_data_set(DATA_SET).title)
    reader = Reader(wordpiece.uncased_vocabulary(progress))
    for part in batched(samples(DATA_SET, folder), _QUESTIONS):
        yield Question(
            _Batch([_read(reader, sample, sequence_length) for sample in part]),
            [sample.truth for sample in part],
            [sample.raw.question for sample in part],
        )


def _read(reader: Reader, sample: Sample, sequence_length: int) -> _Read:
    context, offsets = reader.with_offsets(sample.raw.context)
    windows = windows_of(reader.ids(sample.raw.question), context, sequence_length)
    return _Read(windows, sample.raw.context, offsets)


def _answers(feed: Feed, outputs: Mapping[str, Array]) -> Sequence[str | None]:
    """The best answer to each question, "" where there is none, None where NaN or infinity is in its windows.

    Raises UsageError for a feed that is not a question's own, GraphError for outputs of another kind.
    """
    if not isinstance(feed, _Batch):
        raise UsageError(
            "answers are cut out of the texts that were asked about; give the question's own feed"
        )
    rows = len(feed["input_ids"])
    if set(outputs) != set(_LOGITS) or any(len(array) != rows for array in outputs.values()):
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        raise GraphError(f"answers want {' and '.join(_LOGITS)} of {rows} windows, the graph gives {shapes}")
    pairs = zip(*(outputs[name] for name in _LOGITS), strict=True)
    return [_answer(read, [next(pairs) for _ in read.windows]) for read in feed.read]


def _answer(read: _Read, logits: Sequence[tuple[Array, Array]]) -> str | None:
    if not np.isfinite(logits).all():
        return None
    spans = [
        span
        for window, (starts, ends) in zip(read.windows, logits, strict=True)
        for span in best_spans(window, starts, ends)
    ]
    answers = n_best(spans, read.context, read.offsets) if spans else ()
    return answers[0].text if answers else ""


def _said(what: str | Sequence[str]) -> str:
    return what if isinstance(what, str) else " / ".join(dict.fromkeys(what))
