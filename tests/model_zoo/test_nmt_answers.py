"""How words are said, by a network that says the dictionary's own phonemes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model_zoo import pronunciation
from model_zoo.gnmt import END
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Array, Feed


def says_cat(feed: Feed) -> Mapping[str, Array]:
    row = [*pronunciation.spoken(("K", "AE", "T")), END, END]
    return {"target": np.array([row], np.int32)}


def test_words_of_a_file_are_said_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("Cat\ndog\n\ncat\n", encoding="utf-8")
    told = list(pronunciation.tell(tmp_path / "words.txt", says_cat))
    assert [(each.asked, each.answer, each.more) for each in told] == [
        ("cat", "K AE T", ()),
        ("dog", "K AE T", ()),
    ]


def test_a_word_in_other_letters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("cat\nnaïve\n", encoding="utf-8")
    with pytest.raises(UsageError, match="word 'naïve' cannot be spelled"):
        list(pronunciation.tell(tmp_path / "words.txt", says_cat))


def test_held_out_words_come_with_what_the_dictionary_says() -> None:
    try:
        told = list(islice(pronunciation.tell(None, says_cat), 3))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert all(each.more[0].startswith("the dictionary: ") for each in told)
    assert len({each.asked for each in told}) == 3
