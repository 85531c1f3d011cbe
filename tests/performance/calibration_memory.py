"""Peak memory of entropy calibration over more and more images, beside ONNX Runtime's own (aim: flat)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.performance.trials import Row, python

_EXPORT = """
import sys
from pathlib import Path
from exporters.export import export
from model_zoo.catalog import get_model, get_variant

export(get_variant(get_model("resnet50"), "").build["tensorflow"](None), Path(sys.argv[1]), feeds=())
"""
_OURS = """
import sys
from pathlib import Path
from calibration.collect import calibrate
from runtime.graphs import inspect
from runtime.synthetic import synthetic_feed

graph, images = Path(sys.argv[1]), int(sys.argv[2])
specs = inspect(graph).inputs
calibrate(graph, (synthetic_feed(specs, 1, seed) for seed in range(images)), "entropy")
"""
_ONNXRUNTIME = """
import sys
from pathlib import Path
from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator
from runtime.graphs import inspect
from runtime.synthetic import synthetic_feed

class Reader(CalibrationDataReader):
    def __init__(self, specs, images):
        self.feeds = (synthetic_feed(specs, 1, seed) for seed in range(images))
    def get_next(self):
        return next(self.feeds, None)

graph, images, scratch = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
calibrator = create_calibrator(graph, None, scratch, CalibrationMethod.Entropy)
calibrator.collect_data(Reader(inspect(graph).inputs, images))
calibrator.compute_data()
"""


def run() -> list[Row]:
    """ResNet50 from its seeded weights; ONNX Runtime stops at 32 images (4 GB)."""
    with tempfile.TemporaryDirectory() as folder:
        graph = _resnet50(Path(folder))
        rows = []
        first = 0
        for images in (8, 64, 256):
            trial = python(_OURS, str(graph), str(images))
            first = first or trial.peak_rss_bytes
            rows.append(_row(f"ours, {images} images", trial.peak_rss_bytes, trial.seconds, first))
        for images in (8, 32):
            trial = python(_ONNXRUNTIME, str(graph), str(images), str(Path(folder) / "augmented.onnx"))
            rows.append(_row(f"onnxruntime, {images} images", trial.peak_rss_bytes, trial.seconds, first))
    return rows


def _row(what: str, peak: int, seconds: float, first: int) -> Row:
    return Row(what, f"{peak / 1e9:.2f} GB, {seconds:.1f} s", "ours with 8 images", peak / first)


def _resnet50(folder: Path) -> Path:
    """Exported by a child: a process starts with its parent's peak memory on its own account."""
    graph = folder / "resnet50.onnx"
    python(_EXPORT, str(graph))
    return graph
