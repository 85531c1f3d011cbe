"""Ranges in the formats of others: TensorRT's calibration cache, and ONNX Runtime's table.

Both know a tensor by its name in the FP32 graph, and of its range only the magnitude: they are symmetric.
Neither can be read back as ranges, which know more.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from calibration.ranges import Ranges
from runtime.errors import CalibrationError, UnavailableError, UsageError, unknown_name
from runtime.files import replacing_file

TENSORRT_VERSION = "10.13.0"
"""The release a cache is written for unless the caller says; TensorRT 11 has no calibrators to read one."""


def write_ranges(
    ranges: Ranges, path: Path, kind: str | None = None, tensorrt: str = TENSORRT_VERSION
) -> None:
    """Write `ranges` in one of FORMATS, or in the one that the suffix of `path` stands for.

    tensorrt: the release that will read a TensorRT cache, which it refuses from another.
    Raises UsageError (unknown format or version), CalibrationError (a name that the format cannot hold),
    StoreError, UnavailableError (ONNX Runtime is not installed).
    """
    if kind is not None and kind not in FORMATS:
        raise unknown_name("format of ranges", kind, FORMATS)
    chosen = kind or _SUFFIXES.get(path.suffix)
    if chosen is None:
        raise UsageError(
            f"--out {path}: its suffix stands for no format; end it in {', '.join(_SUFFIXES)},"
            " or give --format"
        )
    FORMATS[chosen](ranges, path, tensorrt)


def _write_json(ranges: Ranges, path: Path, tensorrt: str) -> None:
    ranges.save(path)


def _write_tensorrt(ranges: Ranges, path: Path, tensorrt: str) -> None:
    """A line a tensor: its name and its scale, a float32 as eight hexadecimal digits, big-endian.

    Source: TensorRT's samples (int8 calibration cache of IInt8EntropyCalibrator2 and IInt8MinMaxCalibrator).
    """
    calibrator = "MinMaxCalibration" if ranges.method == "min-max" else "EntropyCalibration2"
    lines = [f"TRT-{_tensorrt_number(tensorrt)}-{calibrator}"]
    for name, found in ranges.tensors.items():
        if not name.isprintable():
            raise CalibrationError(
                f"tensor {name!r} cannot be named in a TensorRT cache, which has a line a tensor; rename it"
            )
        lines.append(f"{name}: {np.asarray(found.scale, '>f4').tobytes().hex()}")
    with replacing_file(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _tensorrt_number(version: str) -> int:
    """TensorRT's own number of a release: 8.6.1 is 8601, 10.13.0 is 101300 (NvInferVersion.h)."""
    try:
        major, minor, patch = (int(part) for part in f"{version}.0.0".split(".")[:3])
    except ValueError:
        raise UsageError(f"--tensorrt-version {version}: write it as {TENSORRT_VERSION}") from None
    if major > 10:
        raise UsageError(
            f"--tensorrt-version {version}: TensorRT 11 reads no calibration cache; give it the INT8 graph"
            " (`bench export --precision int8`)"
        )
    return major * 10_000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch


def _write_onnxruntime(ranges: Ranges, path: Path, tensorrt: str) -> None:
    """Written by ONNX Runtime itself, which has three forms of it; the suffix chooses."""
    try:
        from onnxruntime.quantization.calibrate import TensorData
        from onnxruntime.quantization.quant_utils import write_calibration_table
    except ImportError as error:
        raise UnavailableError(
            "ONNX Runtime writes its own table, and is not installed; pip install '.[cpu]' in the clone"
        ) from error
    forms = (".flatbuffers", ".json", ".cache")
    if path.suffix not in forms:
        raise UsageError(f"--out {path}: ONNX Runtime's table ends in {', '.join(forms)}; give one of them")
    table = {
        name: TensorData(lowest=np.float32(-found.amax), highest=np.float32(found.amax))
        for name, found in ranges.tensors.items()
    }
    with tempfile.TemporaryDirectory(prefix="ranges-") as folder, replacing_file(path) as temporary:
        write_calibration_table(table, folder)
        shutil.copyfile(Path(folder) / f"calibration{path.suffix}", temporary)


FORMATS: Mapping[str, Callable[[Ranges, Path, str], None]] = {
    "json": _write_json,
    "tensorrt": _write_tensorrt,
    "onnxruntime": _write_onnxruntime,
}

_SUFFIXES = {".json": "json", ".cache": "tensorrt", ".flatbuffers": "onnxruntime"}
