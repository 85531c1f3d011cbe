"""Asks TensorRT's ONNX parser about a graph, in a process of its own: on a broken file it may crash.

Both packages have the parser, and TensorRT-RTX's needs no GPU. This module is also that process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from runtime.errors import UnavailableError
from runtime.trt_library import FLAVOURS, missing
from runtime.trt_plan import refusals

PARSED = "parsed"
"""The answer for a graph that the parser takes."""

_LIMIT_SECONDS = 600.0
"""Parsing reads the file and its weights once: seconds for a few gigabytes."""


def installed() -> tuple[str, ...]:
    """The packages with a parser that this environment has, working or not."""
    return tuple(flavour for flavour in FLAVOURS if importlib.util.find_spec(flavour) is not None)


def ask(graph: Path, flavour: str, limit_seconds: float = _LIMIT_SECONDS) -> tuple[str, str] | None:
    """Package with version, and PARSED or the reasons why it does not take `graph`.

    None where the package cannot be asked: its libraries do not load, or it wants a GPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        end = _ended(flavour, graph, answer, limit_seconds)
        told = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    if "missing" in told:
        return None
    return told.get("package", flavour), told.get("said", f"the parser {end}")


def _ended(flavour: str, graph: Path, answer: Path, limit_seconds: float) -> str:
    """Run the process; how it came to its end, for the case that it has not answered."""
    # NOTE: -P, or a `runtime` in the user's folder would be taken for this one.
    command = [sys.executable, "-P", "-m", "runtime.trt_parser", flavour, str(graph), str(answer)]
    ours = str(Path(__file__).resolve().parent.parent)
    paths = [ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit_seconds,
            check=False,
        )
    except OSError as error:
        return f"could not be started: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        return f"gave no answer within {limit_seconds:g} s"
    code = done.returncode
    return f"crashed (signal {-code})" if code < 0 else f"ended with exit code {code} and no answer"


def _answer(flavour: str, graph: Path, answer: Path) -> None:
    """What the process does; the version is written first, for the case that the parser crashes."""
    reason = missing(flavour)
    if reason:
        _write(answer, missing=reason)
        return
    package = f"{flavour} {importlib.import_module(flavour).__version__}"
    _write(answer, package=package)
    try:
        _write(answer, package=package, said="; ".join(refusals(graph, flavour)) or PARSED)
    except UnavailableError as error:
        _write(answer, missing=str(error))


def _write(answer: Path, **told: str) -> None:
    answer.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    _answer(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
