"""Sentences of WMT as numbers of a vocabulary, and numbers as sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_zoo import catalog
from model_zoo.exam_parts import judged
from model_zoo.gnmt import Gnmt
from model_zoo.spec import Exam, Question
from model_zoo.translation_exam import judged_on_wmt
from runtime.errors import UnavailableError, UsageError
from runtime.progress import silent
from runtime.tensors import Array
from tests.model_zoo.dataset_folders import write

NETWORK = Gnmt(layers=2, units=8, source_vocabulary=8, target_vocabulary=9)
GERMAN = ("<unk>", "<s>", "</s>", "Ein", "Sa@@", "tz", ".", "und")
ENGLISH = ("<unk>", "<s>", "</s>", "A", "sen@@", "tence", ".", "and", "long")


def folder_of(root: Path, **others: str) -> Path:
    texts = {
        "newstest2015.tok.bpe.32000.de": "Ein Sa@@ tz .\nEin\n",
        "newstest2015.tok.bpe.32000.en": "A sen@@ tence .\nA\n",
        "newstest2015.tok.de": "Ein Satz .\nEin\n",  # in whole words: not what the network reads
        "newstest2015.tok.en": "A sentence .\nA\n",
        "vocab.bpe.32000.de": "\n".join(GERMAN) + "\n",
        "vocab.bpe.32000.en": "\n".join(ENGLISH) + "\n",
    }
    for name, text in (texts | others).items():
        write(root / name, text)
    return root


def exam() -> Exam:
    variant = catalog.get_variant(catalog.get_model("nmt"), "")
    (found,) = judged_on_wmt(variant, NETWORK).exams
    return found


def asked(folder: Path) -> Question:
    (question,) = exam().questions(folder, silent)
    return question


def said(*sentences: tuple[int, ...]) -> dict[str, Array]:
    target = np.full((len(sentences), max(map(len, sentences)) + 1), 2, np.int32)
    for row, sentence in zip(target, sentences, strict=True):
        row[: len(sentence)] = sentence
    return {"target": target}


def test_sentences_are_numbers_filled_with_the_end(tmp_path: Path) -> None:
    question = asked(folder_of(tmp_path))
    np.testing.assert_array_equal(question.feed["source"], [[3, 4, 5, 6], [3, 2, 2, 2]])
    np.testing.assert_array_equal(question.feed["source_length"], [4, 1])
    assert list(question.asked) == ["Ein Sa@@ tz .", "Ein"]


def test_a_word_that_is_not_known_is_the_unknown_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, **{"newstest2015.tok.bpe.32000.de": "Ein Wort\n.\n"})
    np.testing.assert_array_equal(asked(folder).feed["source"], [[3, 0], [6, 2]])


def test_the_right_words_are_a_bleu_of_one_and_pieces_are_joined(tmp_path: Path) -> None:
    question = asked(folder_of(tmp_path))
    answers = exam().answers(question.feed, said((3, 4, 5, 6), (3,)))
    assert list(answers) == ["A sen@@ tence .", "A"]
    truths = ["A sentence . and on it goes", *question.truths]
    assert judged(["bleu"], truths, [truths[0], *answers]) == {"BLEU": pytest.approx(1)}


def test_of_a_beam_the_best_counts(tmp_path: Path) -> None:
    question = asked(folder_of(tmp_path))
    best, other = said((3, 6), (7,))["target"], said((8, 8), (8,))["target"]
    assert list(exam().answers(question.feed, {"target": np.stack([best, other], -1)})) == ["A .", "and"]


def test_one_vocabulary_serves_both_languages_and_may_have_a_word_more(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for end in (".de", ".en"):
        (folder / f"vocab.bpe.32000{end}").unlink()
    write(folder / "vocab.bpe.32000", "\n".join(ENGLISH) + "\n")
    question = asked(folder)
    np.testing.assert_array_equal(question.feed["source"][0], [0, 0, 0, 6])
    assert list(exam().answers(question.feed, said((8,), (3,)))) == ["long", "A"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"vocab.bpe.32000.de": "<unk>\n<s>\n"},
            r"begins with \['<unk>', '<s>'\], expected <unk>, <s>, </s>",
        ),
        ({"vocab.bpe.32000.en": "\n".join(ENGLISH[:5])}, "has 5 words, the network 9; give the one"),
        ({"vocab.bpe.32000.en": "\n".join([*ENGLISH, "a", "b"])}, "has 11 words, the network 9"),
    ],
)
def test_another_vocabulary_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asked(folder_of(tmp_path, **files))


def test_no_vocabulary_and_no_pieces_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for end in (".de", ".en"):
        (folder / f"newstest2015.tok.bpe.32000{end}").unlink()
    with pytest.raises(
        UsageError, match=r"holds no test in pieces of words: expected newstest2015\.tok\.bpe"
    ):
        asked(folder)
    for end in (".de", ".en"):
        (folder / f"vocab.bpe.32000{end}").unlink()
    with pytest.raises(UsageError, match=r"holds no vocab\.bpe\.32000\.de or vocab\.bpe\.32000"):
        asked(folder)


@pytest.mark.parametrize("form", ["greedy", "beam"])
def test_the_networks_own_exam_asks_for_its_data(form: str) -> None:
    (found,) = catalog.get_variant(catalog.get_model("nmt"), form).exams
    with pytest.raises(UnavailableError, match="cannot be fetched: give the folder it was unpacked in with"):
        next(found.questions(None, silent))


def test_a_copied_feed_is_refused(tmp_path: Path) -> None:
    question = asked(folder_of(tmp_path))
    with pytest.raises(UsageError, match="give the question's own feed"):
        exam().answers(dict(question.feed), said((3,), (3,)))
