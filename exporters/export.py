"""Any source model in, a checked ONNX file out."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from exporters.parity import RANDOM_BATCH, Parity, check_parity
from exporters.passes import optimise
from exporters.skeleton import skeleton_of
from exporters.source import Source
from exporters.wire import WireError
from exporters.writing import write_file
from runtime.errors import ExportError
from runtime.files import replacing_file
from runtime.memory import check_memory, estimate
from runtime.progress import Progress, silent
from runtime.tensors import Feed

LARGEST_FILE = (1 << 31) - (1 << 24)
"""Bytes of weights up to which they lie in the ONNX file itself: a protobuf may have 2 GiB, and the
nodes need some of it."""

_STAGES = 4

_INVALID = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote, and how far it is from its source. `seconds` is wall time."""

    path: Path
    parity: Parity
    parameters: int
    seconds: float


def export(source: Source, out: Path, feeds: Iterable[Feed], progress: Progress = silent) -> ExportReport:
    """Write `source` to `out` as ONNX at the zoo's opset, checked against the source itself on `feeds`.

    Weights beyond 2 GiB go to `<out>.data` beside it. Nothing is written unless every check passes.
    Raises ExportError (no ONNX for it, or not valid ONNX), CheckFailed (another function than the
    source's), FeedError (a feed does not fit), StoreError (the disk), UnsupportedError (too little memory).
    """
    started = time.perf_counter()
    with replacing_file(out) as temporary, tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as folder:
        path = Path(folder) / out.name
        deque(progress(_write_checked(source, path), f"exporting {out.name}", _STAGES), maxlen=0)
        parity = check_parity(source, path, feeds, progress)
        path.replace(temporary)
        for data in Path(folder).iterdir():
            data.replace(out.parent / data.name)
    return ExportReport(out, parity, source.parameters, time.perf_counter() - started)


def _write_checked(source: Source, path: Path) -> Iterator[str]:
    """Do the stages one by one, and say each when it is done."""
    model = source.to_onnx()
    yield "converted"
    model = optimise(model)
    yield "optimised"
    check_memory(estimate(model), RANDOM_BATCH, "to compare the graph with its source", any_batch=False)
    write(model, path, LARGEST_FILE)
    del model
    yield "written"
    check_file(path)
    yield "checked"


def write(model: ir.Model, path: Path, largest_file: int) -> None:
    """Save `model`; weights of more than `largest_file` bytes together go to `<path>.data`."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    if sum(tensor.nbytes for tensor in tensors if tensor is not None) > largest_file:
        ir.save(model, path, external_data=f"{path.name}.data")
    else:
        write_file(model, path)


def check_file(path: Path) -> None:
    """ONNX's own checker with strict shape inference; raises ExportError with what it says.

    It sees the weights as data outside of its file, since it would copy them; a file of its own must lie
    beside `path` for that.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".onnx") as file:
            file.write(skeleton_of(path))
            file.flush()
            onnx.checker.check_model(file.name, full_check=True)
    except (*_INVALID, WireError, DecodeError) as error:
        raise ExportError(
            f"the exported graph is not valid ONNX: {' '.join(str(error).split())[:300]};"
            " this is a defect of the exporter or of the graph it was given"
        ) from error
