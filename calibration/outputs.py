"""What the outputs of a network lose where one of its layers alone is INT8, for each of its layers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calibration.prepare import Quantisable
from calibration.switched import CHOSEN, NO_LAYER, write_switched
from runtime.errors import UnavailableError
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed


def output_damages(
    quantisable: Quantisable, feeds: Sequence[Feed], progress: Progress = silent
) -> dict[str, float]:
    """By layer: the energy of the noise over that of the signal, over all feeds, the mean over outputs.

    Layers are missing where the outputs cannot be compared (calibration.choices). Raises as
    calibration.sensitivity.measure_sensitivity.
    """
    with tempfile.TemporaryDirectory(prefix="sensitivity-") as folder:
        places = write_switched(quantisable, Path(folder) / "switched.onnx")
        if not places:
            return {}
        session = open_session(Path(folder) / "switched.onnx")
        signal: Array = np.zeros(())
        noise: dict[str, Array] = dict.fromkeys(places, np.zeros(()))
        runs = [(feed, name) for feed in feeds for name in (None, *places)]
        wanted: list[Array] = []
        for feed, name in progress(runs, "one layer at a time in int8", len(runs)):
            outputs = _run(session, feed, NO_LAYER if name is None else places[name])
            if name is None:
                wanted = outputs
                signal = signal + np.array([_energy(each) for each in outputs])
            else:
                found = zip(wanted, outputs, strict=True)
                noise[name] = noise[name] + np.array([_energy(want - got) for want, got in found])
    return {name: float(np.mean(_shares(each, signal))) for name, each in noise.items()}


def _run(session: Any, feed: Feed, place: int) -> list[Array]:
    results = session.run(None, {**feed, CHOSEN: np.asarray(place, np.int64)})
    return [np.asarray(result, np.float64) for result in results]


def _energy(values: Array) -> float:
    return float(np.vdot(values, values))


def _shares(noise: Array, signal: Array) -> Array:
    """Noise where there is no signal counts as infinitely much of it."""
    without = np.where(noise > 0, np.inf, 0.0)
    return np.divide(noise, signal, out=without, where=signal > 0)


def open_session(path: Path) -> Any:
    """ONNX Runtime on the processor, Q/DQ as written; raises UnavailableError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError(
            "sensitivity runs the FP32 graph beside INT8 on onnxruntime, which is not installed;"
            " pip install '.[cpu]' in the clone"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # No integer kernels, which would round the compared values once more.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
