"""Time and peak memory of exporting ResNet50, beside tf2onnx's command line on the same SavedModel."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.performance.trials import Row, Trial, command, python

_ROUNDS = 3
_SAVE = """
import sys
import tensorflow
from model_zoo.catalog import get_model, get_variant

source = get_variant(get_model("resnet50"), "").build["tensorflow"](None)
specs = [tensorflow.TensorSpec((None, *spec.shape[1:]), spec.dtype, spec.name) for spec in source.inputs]
function = tensorflow.function(lambda images: {"logits": source.function(images)[0]}, input_signature=specs)
module = tensorflow.Module()
module.tracked = list(function.get_concrete_function().graph.variables)
tensorflow.saved_model.save(module, sys.argv[1], signatures=function)
"""
_OURS = """
import sys
from pathlib import Path
from exporters.export import export
from exporters.tensorflow import TensorFlowSource

export(TensorFlowSource.from_saved_model(Path(sys.argv[1])), Path(sys.argv[2]), feeds=())
"""
_IMPORTS = "import tensorflow, tf2onnx, onnxruntime"


def run() -> list[Row]:
    """Whole processes; "imports alone" is the share neither can avoid."""
    with tempfile.TemporaryDirectory() as folder:
        saved = str(Path(folder) / "saved_model")
        python(_SAVE, saved)
        ours, theirs, imports = [], [], []
        for turn in range(_ROUNDS):
            ours.append(python(_OURS, saved, str(Path(folder) / f"ours{turn}.onnx")))
            theirs.append(_tf2onnx(saved, Path(folder) / f"theirs{turn}.onnx"))
            imports.append(python(_IMPORTS))
    return [
        _row("ours: convert, pass, check, parity with TensorFlow", ours, theirs),
        _row("tf2onnx's command line: convert", theirs, theirs),
        _row("imports alone", imports, theirs),
    ]


def _tf2onnx(saved: str, out: Path) -> Trial:
    arguments = ["-m", "tf2onnx.convert", "--saved-model", saved, "--opset", "18", "--output", str(out)]
    return command([sys.executable, *arguments])


def _row(what: str, trials: list[Trial], beside: list[Trial]) -> Row:
    seconds = median(trial.seconds for trial in trials)
    memory = max(trial.peak_rss_bytes for trial in trials)
    theirs = median(trial.seconds for trial in beside)
    return Row(what, f"{seconds:.1f} s, {memory / 1e9:.2f} GB", "tf2onnx's command line", seconds / theirs)
