"""What works on this machine, and what would make the rest work."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.environment import environment, package_version
from bench.listing import backend_lines, device_lines
from runtime.files import home

_CAN: Mapping[str, tuple[tuple[str, ...], str]] = {
    "export from TensorFlow": (("tensorflow", "tensorflow-cpu"), "pip install '.[export]' in the clone"),
    "convert TensorFlow graphs": (("tf2onnx",), "pip install '.[export]' in the clone"),
    "read Caffe models": (("protobuf",), "pip install '.[export]' in the clone"),
    "check Caffe exports": (
        ("opencv-python-headless", "opencv-python"),
        "pip install '.[export]' in the clone",
    ),
    "judge boxes and key points": (("pycocotools",), "pip install '.[accuracy]' in the clone"),
    "judge lines of text": (("shapely",), "pip install '.[accuracy]' in the clone"),
    "judge translations": (("sacrebleu",), "pip install '.[accuracy]' in the clone"),
    "find INT8 ranges": (("onnxruntime", "onnxruntime-gpu"), "pip install '.[cpu]' in the clone"),
}
"""An ability, the distributions any of which gives it, and what installs one."""


def report_lines() -> Iterator[str]:
    """The report, line by line."""
    yield "machine"
    yield from _indented(_machine_lines())
    yield "backends"
    yield from _indented(backend_lines())
    yield "devices"
    yield from _indented(device_lines())
    yield "abilities"
    yield from _indented(_ability_lines())
    yield "store"
    yield from _indented(_store_lines(home()))


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _machine_lines() -> Iterator[str]:
    here = environment()
    yield f"processor  {here.cpu}, {here.usable_cores} cores usable"
    yield f"features   {', '.join(here.cpu_features) or 'none that matter'}"
    if not any("vnni" in name or name == "amx_int8" for name in here.cpu_features):
        yield "           no VNNI: INT8 will hardly be faster than FP32 on this processor"
    yield f"memory     {here.memory_bytes / 2**30:.1f} GiB"
    yield f"system     {here.system}, Python {here.python}"


def _ability_lines() -> Iterator[str]:
    for ability, (distributions, remedy) in _CAN.items():
        found = [f"{name} {version}" for name in distributions if (version := package_version(name))]
        yield f"{ability:<26} {', '.join(found) if found else f'no: {remedy}'}"


def _store_lines(root: Path) -> Iterator[str]:
    yield f"folder     {root}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            free = shutil.disk_usage(root).free
    except OSError as error:
        yield f"           cannot be written ({error.strerror or error}): set AIMATRIX_HOME"
        return
    held = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    yield f"holds      {held / 2**20:,.0f} MiB; graphs of earlier versions stay, any folder may be deleted"
    yield f"free       {free / 2**30:.1f} GiB"
