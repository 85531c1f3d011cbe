"""Time of calibration beside plain FP32 inference on the same images (aims: min-max 1.15x, entropy 1.5x)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from calibration.collect import calibrate
from runtime.graphs import inspect
from runtime.synthetic import synthetic_feed
from runtime.tensors import Feed
from tests.performance.calibration_memory import exported_resnet50
from tests.performance.trials import Row, interleaved

_IMAGES = 40
_WARM_UP = 6
_ROUNDS = 3
_AIMS = {"min-max": 1.15, "percentile": 1.5, "entropy": 1.5, "mean-squared-error": 1.5}


class _Watched:
    """Feeds that remember when they were asked for; calibration has others in work meanwhile."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = feeds
        self._asked: list[int] = []

    def __iter__(self) -> Iterator[Feed]:
        for feed in self._feeds:
            self._asked.append(time.perf_counter_ns())
            yield feed
        self._asked.append(time.perf_counter_ns())

    @property
    def first_ms(self) -> float:
        """Until the second was asked for: sessions are opened."""
        return (self._asked[1] - self._asked[0]) / 1e6

    @property
    def each_ms(self) -> float:
        """The mean of those after the warm-up."""
        return (self._asked[-1] - self._asked[_WARM_UP]) / (len(self._feeds) - _WARM_UP) / 1e6


def run() -> list[Row]:
    """ResNet50 from its seeded weights, image by image, with the threads ONNX Runtime takes by itself."""
    with tempfile.TemporaryDirectory() as folder:
        graph = exported_resnet50(Path(folder))
        specs = inspect(graph).inputs
        feeds = [synthetic_feed(specs, 1, seed) for seed in range(_IMAGES)]
        plain = _plain(graph)
        return [_row(method, graph, feeds, plain) for method in _AIMS]


def _plain(graph: Path) -> Callable[[Feed], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # its threads leave the cores to ours
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))


def _row(method: str, graph: Path, feeds: list[Feed], plain: Callable[[Feed], object]) -> Row:
    opened: list[float] = []

    def ours_ms() -> float:
        watched = _Watched(feeds)
        calibrate(graph, watched, method)
        opened.append(watched.first_ms)
        return watched.each_ms

    def plain_ms() -> float:
        began = time.perf_counter_ns()
        for feed in feeds:
            plain(feed)
        return (time.perf_counter_ns() - began) / len(feeds) / 1e6

    took = interleaved({"ours": ours_ms, "plain": plain_ms}, _ROUNDS)
    ratio, aim = took["ours"] / took["plain"], _AIMS[method]
    result = f"at most {aim}" if ratio <= aim else f"MORE THAN {aim}"
    figure = f"{took['ours']:.1f} ms an image, {median(opened):.0f} the first"
    return Row(method, figure, f"plain inference, {took['plain']:.1f} ms", ratio, result)
