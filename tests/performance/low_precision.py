"""INT8 files of ours beside those of ONNX Runtime's `quantize_static` and of NNCF: accuracy and speed.

The same FP32 graph, the same calibration samples, the same samples to judge on; each file runs in our
sessions of both backends, so that only the files differ. Aims: on `ort` 0.97 of the speed of the fastest of
ONNX Runtime's recipes, on `openvino` 0.97 of that of NNCF's, at no less SQNR.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from bench.agreement import AgreementMeter
from bench.artefacts import Artefacts
from bench.measure import Limits, measure
from bench.plan import BenchPlan, CalibrationPlan
from bench.progress import Display
from bench.record import AccuracyRecord
from bench.subject import find_subject
from calibration.precision import Precision
from model_zoo.spec import Split
from runtime.backend import Boundary, Query, Session, SessionOptions
from runtime.backends import get_backend
from runtime.files import home
from runtime.tensors import Array, Feed
from tests.performance.peers import interpreter
from tests.performance.trials import Row, command, interleaved, python

CONTESTANTS = os.environ.get(
    "AIMATRIX_CONTEST",
    "resnet50 resnet101 densenet121 googlenet ssd bert-base bert:minilm crnn crnn:english-g2 nmt:decoder-step"
    " ncf wide-deep din dien gcn",
).split()
"""Models, with a variant behind a colon."""

SAMPLES = 16
"""ONNX Runtime's histograms keep every activation: 1.9 GB of ResNet50 at 16 images."""

EVALUATED = 64
_ROUNDS = 5
_LIMITS = Limits(duration_ns=1_000_000_000, min_queries=3, max_duration_ns=8_000_000_000)
_TRANSFORMERS = frozenset({"bert", "bert-base"})

_ONNXRUNTIME = """
import sys
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
from onnxruntime.quantization import quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

graph, feeds, out, method = sys.argv[1:5]

class Reader(CalibrationDataReader):
    def __init__(self):
        arrays = dict(np.load(feeds))
        count = len(next(iter(arrays.values())))
        self.feeds = ({name: array[i:i + 1] for name, array in arrays.items()} for i in range(count))
    def get_next(self):
        return next(self.feeds, None)

prepared = out + ".prepared.onnx"
quant_pre_process(graph, prepared, skip_symbolic_shape=True)
quantize_static(prepared, out, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod[method])
"""

_NNCF = """
import sys
import numpy as np
import onnx, nncf

graph, feeds, out, kind = sys.argv[1:5]
arrays = dict(np.load(feeds))
count = len(next(iter(arrays.values())))
samples = [{name: array[i:i + 1] for name, array in arrays.items()} for i in range(count)]
options = {"model_type": nncf.ModelType.TRANSFORMER} if kind == "transformer" else {}
quantised = nncf.quantize(onnx.load(graph), nncf.Dataset(samples), subset_size=count, **options)
onnx.save(quantised, out)
"""


@dataclass
class _Contest:
    """One model's files by the name of who wrote them."""

    title: str
    fp32: Path
    files: dict[str, Path]
    artefacts: Artefacts
    feeds: Path
    failures: dict[str, str] = field(default_factory=dict)


def run() -> list[Row]:
    """All contestants, or those that AIMATRIX_CONTEST names."""
    rows: list[Row] = []
    for contestant in CONTESTANTS:
        with tempfile.TemporaryDirectory() as folder:
            contest = _contest(contestant, Path(folder))
            for backend in ("ort", "openvino"):
                rows += _compare(contest, backend)
    return rows


def _contest(contestant: str, folder: Path) -> _Contest:
    model, _, variant = contestant.partition(":")
    plan = BenchPlan("ort", (model,), variant=variant, calibration=CalibrationPlan(samples=SAMPLES))
    artefacts = Artefacts(find_subject(plan, model, None), home(), plan.calibration, Display())
    feeds = folder / "feeds.npz"
    contest = _Contest(contestant, artefacts.base.path, {}, artefacts, feeds)
    contest.files["ours"] = artefacts.at(Precision.INT8).path
    np.savez(feeds, allow_pickle=False, **_feeds(artefacts, Split.CALIBRATION, SAMPLES))
    kind = "transformer" if model in _TRANSFORMERS else "other"
    for method in ("MinMax", "Entropy", "Percentile"):
        _write(contest, f"onnxruntime {method}", "", _ONNXRUNTIME, feeds, method, folder)
    _write(contest, "nncf", "nncf", _NNCF, feeds, kind, folder)
    return contest


def _feeds(artefacts: Artefacts, split: Split, count: int) -> Feed:
    samples = list(islice(artefacts.feeds.batches(1, split), count))
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def _write(  # noqa: PLR0917 - a program and its arguments
    contest: _Contest, name: str, peer: str, program: str, feeds: Path, option: str, folder: Path
) -> None:
    out = folder / f"{name.replace(' ', '-')}.onnx"
    try:
        command([str(interpreter(peer)), "-c", program, str(contest.fp32), str(feeds), str(out), option])
    except RuntimeError as error:
        contest.failures[name] = str(error).strip().splitlines()[-1][:100]
    else:
        contest.files[name] = out


_OPEN = """
import sys
from itertools import islice
from pathlib import Path
import numpy as np
from runtime.backend import SessionOptions
from runtime.backends import get_backend

feeds = dict(np.load(sys.argv[2]))
with get_backend(sys.argv[3]).open(Path(sys.argv[1]), "cpu", SessionOptions(threads=None)) as session:
    session.run({name: array[:1] for name, array in feeds.items()})
"""


def _runs(contest: _Contest, name: str, backend: str) -> bool:
    """Tried in a process of its own: OpenVINO 2026.4 crashes on ONNX Runtime's DenseNet121."""
    try:
        python(_OPEN, str(contest.files[name]), str(contest.feeds), backend)
    except RuntimeError as error:
        contest.failures[f"{name} on {backend}"] = str(error).strip().splitlines()[-1][-100:]
        return False
    return True


def _compare(contest: _Contest, backend: str) -> Iterator[Row]:
    with ExitStack() as stack:
        open_ = get_backend(backend).open
        options = SessionOptions(threads=None)
        sessions: dict[str, Session] = {"fp32": stack.enter_context(open_(contest.fp32, "cpu", options))}
        for name, path in contest.files.items():
            if _runs(contest, name, backend):
                sessions[name] = stack.enter_context(open_(path, "cpu", options))
        agreements = _agreements(contest, sessions)
        feed = next(contest.artefacts.feeds.batches(1, Split.EVALUATION))
        queries = {name: session.bind(feed, Boundary.DEVICE) for name, session in sessions.items()}
        seconds = interleaved({name: _timed(query) for name, query in queries.items()}, _ROUNDS)
    for name in sessions:
        yield _row(contest, backend, name, seconds, agreements)
    for name, reason in contest.failures.items():
        yield Row(f"{contest.title} {backend}: {name}", "", result=f"fails: {reason}")


def _agreements(contest: _Contest, sessions: Mapping[str, Session]) -> dict[str, AccuracyRecord]:
    meters = {
        name: AgreementMeter(contest.artefacts.subject.task, "fp32 graph on the same backend")
        for name in sessions
    }
    for feed in islice(contest.artefacts.feeds.batches(1, Split.EVALUATION), EVALUATED):
        outputs: dict[str, Mapping[str, Array]] = {n: s.run(feed) for n, s in sessions.items()}
        for name, meter in meters.items():
            meter.add(outputs["fp32"], outputs[name], 1)
    return {name: meter.result(contest.artefacts.feeds) for name, meter in meters.items()}


def _timed(query: Query) -> Callable[[], float]:
    def milliseconds() -> float:
        return float(np.median(measure(query.run, _LIMITS).samples_ns)) / 1e6

    return milliseconds


def _row(
    contest: _Contest,
    backend: str,
    name: str,
    milliseconds: Mapping[str, float],
    agreements: Mapping[str, AccuracyRecord],
) -> Row:
    record = agreements[name]
    agreement = "" if record.agreement is None else f", {record.agreement:.1%} agree"
    sqnr = "" if record.sqnr_db is None else f", {record.sqnr_db:.1f} dB"
    figure = f"{milliseconds[name]:.3g} ms{sqnr}{agreement}"
    return Row(
        f"{contest.title} {backend}: {name}",
        figure,
        "ours (speed)",
        milliseconds["ours"] / milliseconds[name],
    )
