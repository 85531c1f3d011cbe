"""The host's loops over two graphs say what TensorFlow says in one, on every backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from exporters.tensorflow import TensorFlowSource
from model_zoo.gnmt_feeds import sentence_feeds, step_feeds
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.gnmt_sources import Form, source_of
from model_zoo.spec import Split
from model_zoo.translation_search import greedy, search
from runtime.backend import Session, SessionOptions
from runtime.backends import get_backend
from runtime.errors import FeedError
from runtime.tensors import Feed
from tests.model_zoo.gnmt_relative import END, RELATIVE

pytest.importorskip("tensorflow")

WORDS = 14


@dataclass(frozen=True)
class Translator:
    """Both graphs on a backend, and the sentences they are tried on."""

    encoder: Session
    step: Session
    feed: Feed


@pytest.fixture(scope="module")
def sources() -> Mapping[Form, TensorFlowSource]:
    weights = seeded_weights(RELATIVE)
    return {form: source_of(RELATIVE, form, weights) for form in Form}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, sources: Mapping[Form, TensorFlowSource]) -> Path:
    made = tmp_path_factory.mktemp("translator")
    feeds = {Form.ENCODER: sentence_feeds(RELATIVE, WORDS), Form.STEP: step_feeds(RELATIVE, WORDS)}
    for form, given in feeds.items():
        export(sources[form], made / f"{form}.onnx", [next(given.batches(1, Split.CALIBRATION))])
    return made


@pytest.fixture(params=["ort", "openvino", "reference"])
def translator(request: pytest.FixtureRequest, folder: Path) -> Iterator[Translator]:
    backend = get_backend(request.param)
    reason = backend.unavailable()
    if reason:
        pytest.skip(reason)
    feed = dict(next(sentence_feeds(RELATIVE, WORDS).batches(5, Split.EVALUATION)))
    if request.param == "reference":  # its LSTM knows no lengths
        full = np.where(feed["source"] == END, 7, feed["source"]).astype(np.int32)
        feed = {"source": full, "source_length": np.full(5, WORDS, np.int32)}
    options = SessionOptions()
    with (
        backend.open(folder / "encoder.onnx", "cpu", options) as encoder,
        backend.open(folder / "decoder-step.onnx", "cpu", options) as step,
    ):
        yield Translator(encoder, step, feed)


def test_greedy_over_two_graphs_says_the_same(
    translator: Translator, sources: Mapping[Form, TensorFlowSource]
) -> None:
    said = greedy(translator.encoder, translator.step, translator.feed)
    np.testing.assert_array_equal(said, sources[Form.GREEDY].run(translator.feed)["target"])


def test_a_beam_over_two_graphs_finds_the_same(
    translator: Translator, sources: Mapping[Form, TensorFlowSource]
) -> None:
    words, scores = search(translator.encoder, translator.step, translator.feed)
    expected = sources[Form.BEAM].run(translator.feed)
    np.testing.assert_array_equal(words, expected["target"])
    np.testing.assert_allclose(scores, expected["scores"], rtol=1e-4)


def test_sentences_of_another_form_are_refused(translator: Translator) -> None:
    feed = {**translator.feed, "source": translator.feed["source"].astype(np.int64)}
    with pytest.raises(FeedError, match="input 'source' is int64, the graph wants int32"):
        greedy(translator.encoder, translator.step, feed)
