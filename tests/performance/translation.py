"""Words a second of a GNMT: one graph with a loop, and a host that loops over a graph of one step.

The network is narrower than AI Matrix's, so that what surrounds the products shows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from exporters.export import export
from model_zoo.gnmt import Gnmt
from model_zoo.gnmt_feeds import sentence_feeds, step_feeds
from model_zoo.gnmt_seeded import seeded_weights
from model_zoo.gnmt_sources import NEXT, Form, source_of, states
from model_zoo.spec import Split
from model_zoo.translation_search import greedy
from runtime.backend import Session, SessionOptions
from runtime.backends import get_backend
from runtime.stepping import HostStepper, Stepper, stepper
from tests.performance.trials import Row, interleaved

_NETWORK = Gnmt(layers=4, units=256, source_vocabulary=8000, target_vocabulary=8000)
_WORDS, _BATCH, _ROUNDS = 50, 8, 5
_FORMS = (Form.ENCODER, Form.STEP, Form.GREEDY)


def run() -> list[Row]:
    """On every backend that is here, the same sentences; words are those of the target."""
    with tempfile.TemporaryDirectory() as folder:
        graphs = {form: _graph(form, Path(folder)) for form in _FORMS}
        backends = [name for name in ("ort", "openvino") if not get_backend(name).unavailable()]
        return [row for name in backends for row in _rows(name, graphs)]


def _graph(form: Form, folder: Path) -> Path:
    feeds = step_feeds(_NETWORK, _WORDS) if form is Form.STEP else sentence_feeds(_NETWORK, _WORDS)
    source = source_of(_NETWORK, form, seeded_weights(_NETWORK))
    return export(source, folder / f"{form}.onnx", [next(feeds.batches(1, Split.CALIBRATION))]).path


def _rows(name: str, graphs: dict[Form, Path]) -> list[Row]:
    feed = next(sentence_feeds(_NETWORK, _WORDS).batches(_BATCH, Split.EVALUATION))
    backend, options = get_backend(name), SessionOptions()
    encoder, step, whole = (backend.open(graphs[form], "cpu", options) for form in _FORMS)
    with encoder, step, whole:
        sentence = whole.run(feed)["target"].size
        seconds = interleaved(
            {
                "one graph, whole sentences": _seconds(lambda: whole.run(feed), sentence),
                "host loop, whole sentences": _seconds(lambda: greedy(encoder, step, feed), sentence),
                "steps alone, states on the device": _steps(step, stepper),
                "steps alone, states through the host": _steps(step, HostStepper),
            },
            _ROUNDS,
        )
    first = next(iter(seconds.values()))
    return [
        Row(f"{name}: {what}", f"{1 / each:,.0f} words/s", f"{_BATCH} sentences at once", first / each)
        for what, each in seconds.items()
    ]


def _seconds(call: Callable[[], object], words: int) -> Callable[[], float]:
    """Of a word."""

    def measured() -> float:
        started = time.perf_counter()
        call()
        return (time.perf_counter() - started) / words

    return measured


def _steps(session: Session, make: Callable[..., Stepper]) -> Callable[[], float]:
    start = next(step_feeds(_NETWORK, _WORDS).batches(_BATCH, Split.EVALUATION))
    carried = {f"{NEXT}{name}": name for name in states(_NETWORK)}
    decoder, words = make(session, start, carried), start["words"]

    def say() -> None:
        for _ in range(_WORDS):
            decoder.step({"words": words})

    return _seconds(say, _WORDS * _BATCH)
