"""Seeded weights of a GNMT translate: seen with the formulas in NumPy, which know nothing of their making."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from model_zoo.gnmt import FIRST_WORD, Gnmt
from model_zoo.gnmt_feeds import sentence_feeds
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.spec import Split
from runtime.tensors import Array
from tests.model_zoo.gnmt_relative import END, RELATIVE, Oracle

Translation = tuple[Array, list[int], list[int]]
"""The source, what is said of it, and where each word looks."""


@pytest.fixture(scope="module")
def translations() -> Sequence[Translation]:
    oracle = Oracle(RELATIVE, seeded_weights(RELATIVE))
    feed = next(sentence_feeds(RELATIVE, 50).batches(12, Split.EVALUATION))
    sources = [row[:length] for row, length in zip(feed["source"], feed["source_length"], strict=True)]
    return [(source, *oracle.greedy(source)) for source in sources]


def test_the_attention_looks_at_word_after_word(translations: Sequence[Translation]) -> None:
    for source, said, looked in translations:
        inside = min(len(source), len(said))
        assert looked[:inside] == list(range(inside))


def test_sentences_end_by_themselves_about_where_their_source_does(
    translations: Sequence[Translation],
) -> None:
    differences = np.array([len(said) - 1 - len(source) for source, said, _ in translations])
    assert all(said[-1] == END for _, said, _ in translations)
    assert np.abs(differences).max() <= 5
    assert len(set(differences)) > 2


def test_most_words_are_the_dictionarys_and_some_are_the_contexts(
    translations: Sequence[Translation],
) -> None:
    """Dictionary: the first word of the source's vocabulary is the target's last, and so on."""
    known = RELATIVE.source_vocabulary - FIRST_WORD
    last = RELATIVE.target_vocabulary - 1
    hits = [
        (last - word) % known == (meant - FIRST_WORD) % known
        for source, said, _ in translations
        for meant, word in zip(source, said[:-1], strict=False)
    ]
    assert 0.5 < np.mean(hits) < 0.98


def test_another_sentence_is_another_translation(translations: Sequence[Translation]) -> None:
    assert len({tuple(said) for _, said, _ in translations}) == len(translations)
    assert all(len(set(said)) > len(said) / 2 for _, said, _ in translations)


def test_special_words_are_never_said(translations: Sequence[Translation]) -> None:
    assert not any(word < END for _, said, _ in translations for word in said)


@pytest.mark.parametrize("network", [RELATIVE, Gnmt(2, 16, 30, 42)])
def test_every_tensor_has_its_shape(network: Gnmt) -> None:
    weights = seeded_weights(network)
    assert {name: array.shape for name, array in weights.items()} == dict(network.shapes())
    assert {array.dtype.name for array in weights.values()} == {"float32"}


def test_the_bytes_are_the_same_on_every_machine() -> None:
    """Found on one with AVX-512; the code uses single IEEE operations alone."""
    weights = seeded_weights(RELATIVE)
    digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights)))
    assert digest.hexdigest() == "afd64bf66f10964b36ad318f5731287249cbeee10fb8830e135cb816670b0089"
