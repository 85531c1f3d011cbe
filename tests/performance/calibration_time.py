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
from tests.performance.trials import Row

_IMAGES = 60
_WARM_UP = 5
_AIMS = {"min-max": 1.15, "percentile": 1.5, "entropy": 1.5, "mean-squared-error": 1.5}


class _Turns:
    """Feeds that go through plain inference each time before calibration gets them; whole nanoseconds."""

    def __init__(self, feeds: list[Feed], plain: Callable[[Feed], object]) -> None:
        self._feeds = feeds
        self._plain = plain
        self.plain_ns: list[int] = []
        self.ours_ns: list[int] = []

    def __iter__(self) -> Iterator[Feed]:
        for feed in self._feeds:
            began = time.perf_counter_ns()
            self._plain(feed)
            handed = time.perf_counter_ns()
            yield feed
            self.plain_ns.append(handed - began)
            self.ours_ns.append(time.perf_counter_ns() - handed)


def run() -> list[Row]:
    """ResNet50 from its seeded weights, image by image, with the threads ONNX Runtime takes by itself."""
    with tempfile.TemporaryDirectory() as folder:
        graph = exported_resnet50(Path(folder))
        specs = inspect(graph).inputs
        feeds = [synthetic_feed(specs, 1, seed) for seed in range(_IMAGES)]
        plain = _plain(graph)
        return [row for method in _AIMS for row in _rows(method, graph, feeds, plain)]


def _plain(graph: Path) -> Callable[[Feed], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.force_spinning_stop", "1"
    )  # its threads leave the cores to ours
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, dict(feed))


def _rows(method: str, graph: Path, feeds: list[Feed], plain: Callable[[Feed], object]) -> Iterator[Row]:
    turns = _Turns(feeds, plain)
    calibrate(graph, turns, method)
    ours, beside = median(turns.ours_ns[_WARM_UP:]), median(turns.plain_ns[_WARM_UP:])
    ratio, aim = ours / beside, _AIMS[method]
    result = f"at most {aim}" if ratio <= aim else f"MORE THAN {aim}"
    figure = f"{ours / 1e6:.1f} ms an image, {turns.ours_ns[0] / 1e6:.0f} the first"
    yield Row(method, figure, f"plain inference, {beside / 1e6:.1f} ms", ratio, result)
