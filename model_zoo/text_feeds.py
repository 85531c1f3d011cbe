"""Texts as the feeds of BERT: question and context for SQuAD's task, sentences for an embedding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeVar

from model_zoo import texts, wordpiece
from model_zoo.samples import LazyFeeds, Samples, alternate, digest_of, uniforms
from model_zoo.spec import Split
from model_zoo.squad import DOCUMENT_STRIDE, LONGEST_QUESTION
from model_zoo.texts import Passage
from model_zoo.wordpiece import Tokenize
from runtime import files
from runtime.errors import UnavailableError, UsageError
from runtime.progress import Progress
from runtime.tensors import Feed

_SHORTEST_SEQUENCE = 8
_FIRST_WORD = 1000  # of the uncased vocabulary; before it come special tokens and single characters

T = TypeVar("T")
Pair = tuple[str, str]
"""A question and its context."""


def squad_feeds(sequence_length: int = 384) -> LazyFeeds:
    """Question and context pairs: int32 input_ids, input_mask, segment_ids [batch, sequence_length].

    [CLS] question [SEP] context [SEP] and padding, through the uncased vocabulary; questions of at most 64
    tokens, the windows of a long context 128 tokens apart. The pairs are composed from news articles (see
    `texts.passages`); `with_data` takes a SQuAD JSON file instead. Without the archives: seeded numbers.
    Raises UsageError for a sequence length below 8.
    """

    def find(progress: Progress) -> Samples:
        articles = texts.articles(progress)
        passages: dict[Split, Sequence[Passage]] = {
            split: [passage for article in alternate(articles, split) for passage in texts.passages(article)]
            for split in Split
        }
        origin = f"question and context pairs composed from {len(articles)} Lee news articles; not SQuAD"
        return _pairs(origin, passages, sequence_length, progress)

    return LazyFeeds(
        _or_synthetic(find, _checked(sequence_length), parts=2),
        over=lambda path: squad_file_feeds(path, sequence_length),
    )


def squad_file_feeds(path: Path, sequence_length: int = 384) -> LazyFeeds:
    """As squad_feeds, over a user's SQuAD JSON file; every other passage is for calibration.

    Raises UsageError at once for a file that is none, or holds fewer than two passages.
    """
    passages = _split(texts.squad_passages(path), path)

    def find(progress: Progress) -> Samples:
        return _pairs(f"SQuAD pairs of {path.name}", passages, sequence_length, progress)

    return LazyFeeds(find, over=lambda other: squad_file_feeds(other, sequence_length))


def sentence_feeds(sequence_length: int = 128) -> LazyFeeds:
    """Sentences of news articles: the inputs of squad_feeds, with [CLS] sentence [SEP] and padding.

    `with_data` takes a UTF-8 text file, one sentence a line. Raises UsageError for a sequence length below 8.
    """

    def find(progress: Progress) -> Samples:
        articles = texts.articles(progress)
        sentences: dict[Split, Sequence[str]] = {
            split: _unique_sentences(alternate(articles, split)) for split in Split
        }
        origin = f"{sum(map(len, sentences.values()))} sentences of {len(articles)} Lee news articles"
        return _sentences(origin, sentences, sequence_length, progress)

    return LazyFeeds(
        _or_synthetic(find, _checked(sequence_length), parts=1),
        over=lambda path: sentence_file_feeds(path, sequence_length),
    )


def sentence_file_feeds(path: Path, sequence_length: int = 128) -> LazyFeeds:
    """As sentence_feeds, over the lines of a user's text file; every other line is for calibration.

    Raises UsageError at once for a file that is not text, or holds fewer than two different lines.
    """
    sentences = _split(tuple(dict.fromkeys(texts.text_lines(path))), path)

    def find(progress: Progress) -> Samples:
        return _sentences(f"lines of {path.name}", sentences, sequence_length, progress)

    return LazyFeeds(find, over=lambda other: sentence_file_feeds(other, sequence_length))


@dataclass(frozen=True)
class _PairSample:
    """The k-th pair; each round over the pairs takes the next window of a context too long for one."""

    tokenize: Tokenize
    sequence_length: int
    pairs: dict[Split, list[Pair]]

    def __call__(self, split: Split, k: int) -> Feed:
        pairs = self.pairs[split]
        question_text, context_text = pairs[k % len(pairs)]
        longest = min(LONGEST_QUESTION, (self.sequence_length - 3) // 2)
        question = self.tokenize(question_text)[:longest]
        context = self.tokenize(context_text)
        room = self.sequence_length - 3 - len(question)
        cuts = list(wordpiece.windows(len(context), room, DOCUMENT_STRIDE))
        cut = cuts[k // len(pairs) % len(cuts)]
        return wordpiece.pack([question, context[cut.start : cut.stop]], self.sequence_length)


@dataclass(frozen=True)
class _SentenceSample:
    """The k-th sentence, cut to fit; after the last comes the first again."""

    tokenize: Tokenize
    sequence_length: int
    sentences: dict[Split, Sequence[str]]

    def __call__(self, split: Split, k: int) -> Feed:
        sentences = self.sentences[split]
        ids = self.tokenize(sentences[k % len(sentences)])[: self.sequence_length - 2]
        return wordpiece.pack([ids], self.sequence_length)


def _pairs(
    origin: str, passages: dict[Split, Sequence[Passage]], sequence_length: int, progress: Progress
) -> Samples:
    vocabulary = wordpiece.uncased_vocabulary(progress)
    pairs = {split: _in_rounds(passages[split]) for split in Split}
    return Samples(
        origin=origin,
        synthetic=False,
        digest=digest_of("pairs", pairs, files.sha256_of_file(vocabulary), sequence_length),
        sample=_PairSample(wordpiece.tokenizer(vocabulary), sequence_length, pairs),
    )


def _sentences(
    origin: str, sentences: dict[Split, Sequence[str]], sequence_length: int, progress: Progress
) -> Samples:
    vocabulary = wordpiece.uncased_vocabulary(progress)
    return Samples(
        origin=origin,
        synthetic=False,
        digest=digest_of("sentences", sentences, files.sha256_of_file(vocabulary), sequence_length),
        sample=_SentenceSample(wordpiece.tokenizer(vocabulary), sequence_length, sentences),
    )


def _in_rounds(passages: Sequence[Passage]) -> list[Pair]:
    """The first question of every passage, then the second, ...: neighbours differ in their context."""
    asked = ([(question, passage.context) for question in passage.questions] for passage in passages)
    return [pair for pair in chain.from_iterable(zip_longest(*asked)) if pair is not None]


def _unique_sentences(articles: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentence for article in articles for sentence in texts.sentences(article)))


def _split(items: Sequence[T], path: Path) -> dict[Split, Sequence[T]]:
    if len(items) < len(Split):
        raise UsageError(
            f"{path} holds {len(items)} different texts, expected two or more: half find the ranges, half"
            " judge the result"
        )
    return {split: alternate(items, split) for split in Split}


def _checked(sequence_length: int) -> int:
    if sequence_length < _SHORTEST_SEQUENCE:
        raise UsageError(f"sequence length {sequence_length} is below {_SHORTEST_SEQUENCE}: no room for text")
    return sequence_length


def _or_synthetic(
    find: Callable[[Progress], Samples], sequence_length: int, parts: int
) -> Callable[[Progress], Samples]:
    """`find`, or where an archive is missing seeded token numbers whose origin says why."""

    def find_or_make(progress: Progress) -> Samples:
        try:
            return find(progress)
        except UnavailableError as error:
            return Samples(
                origin=f"synthetic (seed 0): {error}",
                synthetic=True,
                digest=digest_of("synthetic tokens", sequence_length, parts),
                sample=partial(_synthetic_sample, sequence_length, parts),
            )

    return find_or_make


def _synthetic_sample(sequence_length: int, parts: int, split: Split, k: int) -> Feed:
    """Token numbers with the log-uniform ranks of Zipf's law, in a quarter to the whole of the sequence."""
    room = sequence_length - 1 - parts
    values = uniforms(1 + room, "tokens", split.value, k)
    used = round(room * (0.25 + 0.75 * float(values[0])))
    ranks = (wordpiece.VOCABULARY_SIZE - _FIRST_WORD) ** values[1 : 1 + used]
    ids = [_FIRST_WORD - 1 + int(rank) for rank in ranks]
    question = max(1, used // 10) if parts == 2 else 0
    return wordpiece.pack([ids[:question], ids[question:]][-parts:], sequence_length)
