"""Peak memory of calibration over more and more images, beside ONNX Runtime's own (aim: flat within 10 %)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from calibration.observers import OBSERVERS
from tests.performance.trials import Row, Trial, python

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

graph, images, method = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
specs = inspect(graph).inputs
calibrate(graph, (synthetic_feed(specs, 1, seed) for seed in range(images)), method)
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


_FEW, _MANY = 8, 512
_FLAT = 1.1


def run() -> list[Row]:
    """ResNet50 from its seeded weights; ONNX Runtime stops at 32 images (4 GB)."""
    with tempfile.TemporaryDirectory() as folder:
        graph = exported_resnet50(Path(folder))
        rows = []
        for method in OBSERVERS:
            few = python(_OURS, str(graph), str(_FEW), method)
            many = python(_OURS, str(graph), str(_MANY), method)
            ratio = many.peak_rss_bytes / few.peak_rss_bytes
            rows.append(Row(f"{method}, {_FEW} images", _figure(few)))
            rows.append(
                Row(
                    f"{method}, {_MANY} images",
                    _figure(many),
                    f"{_FEW} images",
                    ratio,
                    "flat" if ratio <= _FLAT else "GROWS",
                )
            )
        first = few.peak_rss_bytes
        for images in (_FEW, 32):
            trial = python(_ONNXRUNTIME, str(graph), str(images), str(Path(folder) / "augmented.onnx"))
            ratio = trial.peak_rss_bytes / first
            rows.append(Row(f"onnxruntime entropy, {images} images", _figure(trial), f"ours, {_FEW}", ratio))
    return rows


def _figure(trial: Trial) -> str:
    return f"{trial.peak_rss_bytes / 1e9:.2f} GB, {trial.seconds:.1f} s"


def exported_resnet50(folder: Path) -> Path:
    """Exported by a child: a process starts with its parent's peak memory on its own account."""
    graph = folder / "resnet50.onnx"
    python(_EXPORT, str(graph))
    return graph
