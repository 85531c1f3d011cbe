"""Time and peak memory of exporting every Caffe network of the zoo, beside caffe2onnx and MNN's converter.

The export with checks sees two photographs, as users' exports do.

Whole processes, and "inside": without the interpreter's start and imports. The peers check nothing of what
they write, so it is "ours, convert" that they stand beside; "ours, with checks" is the export users get.

caffe2onnx does not run with the packages that it pins (peers.py): protobuf in pure Python costs it most of
its time, and a newer onnx marks its files with a newer opset than it was written for. DSSD takes it 11 GB and
five minutes (CAFFE.md 4).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.performance.peers import interpreter
from tests.performance.trials import Row, Trial, command, python

NETWORKS = (  # model and variant
    ("googlenet", ""),
    ("resnet50", ""),
    ("resnet101", ""),
    ("densenet121", "as-shipped"),  # the peers refuse the `ceil_mode` of the authors' prototxt
    ("ssd", "vgg16"),
    ("ssd", "resnet18"),
    ("ssd", "resnet101"),
    ("dssd", "resnet101"),
    ("faster-rcnn", ""),
)

_ROUNDS = 3
_LONG_SECONDS = 60  # what takes longer is not repeated: the machine's noise is small beside it
_LONGEST_REASON = 100

_SAVE = """
import sys
from itertools import islice
from pathlib import Path
import numpy
from model_zoo.catalog import get_model, get_variant
from model_zoo.spec import Split
variant = get_variant(get_model(sys.argv[1]), sys.argv[2])
source = variant.build["caffe"](None)
Path(sys.argv[3]).write_text(source.prototxt)
Path(sys.argv[4]).write_bytes(source.caffemodel)
for number, feed in enumerate(islice(variant.feeds("caffe").batches(1, Split.EVALUATION), 2)):
    numpy.savez(Path(sys.argv[3]).with_name(f"sample{number}.npz"), **feed)
"""
_PROGRAM = """
import os, sys, time
os.dup2(2, 1)  # what is printed is read for the reason of a failure
sys.excepthook = lambda kind, error, _: print(f"{{kind.__name__}}:", *str(error).split(), file=sys.stderr)
{imports}
files = sys.argv[1:]
start = time.perf_counter()
{work}
with open(files[-1] + ".seconds", "w") as told: told.write(str(time.perf_counter() - start))
"""
_OUR_IMPORTS = """
from pathlib import Path
from exporters.caffe.source import CaffeSource
from exporters.export import LARGEST_FILE, export, write
from exporters.passes import optimise
"""
_READ = "source = CaffeSource.from_files(*map(Path, files[:2])); out = Path(files[2])"


@dataclass(frozen=True)
class Contender:
    """A program that makes files[2] of the prototxt files[0] and the caffemodel files[1].

    work: what is timed inside.
    peer: in whose environment it runs; "" is our own.
    """

    imports: str
    work: str
    peer: str = ""
    makes_onnx: bool = True


OURS = "ours, convert"
CONTENDERS: Mapping[str, Contender] = {
    OURS: Contender(_OUR_IMPORTS, f"{_READ}; write(optimise(source.to_onnx()), out, LARGEST_FILE)"),
    "ours, with checks": Contender(
        _OUR_IMPORTS + "import cv2, numpy, onnxruntime",
        f"{_READ}; samples = sorted(out.parent.glob('sample*.npz'));"
        " export(source, out, [dict(numpy.load(sample)) for sample in samples])",
    ),
    "caffe2onnx": Contender(
        "from types import SimpleNamespace; from caffe2onnx.convert import main",
        "main(SimpleNamespace(prototxt=files[0], caffemodel=files[1], onnx=files[2], frozen=None))",
        "caffe2onnx",
    ),
    # NOTE: never its command, which runs pip and reports to its makers; this is the function inside.
    "MNN": Contender(
        "sys.modules['aliyun'] = None; import _tools",
        "_tools.mnnconvert('_ -f CAFFE --prototxt {} --modelFile {} --MNNModel {}'.format(*files).split())",
        "MNN",
        makes_onnx=False,
    ),
}
_CHECK = Contender(
    "import onnx, onnxruntime",
    "onnx.checker.check_model(files[0], full_check=True); onnxruntime.InferenceSession(files[0])",
)


@dataclass
class Outcome:
    """What a contender did with one network; `result` is "ok", or what is wrong with it or its file."""

    trials: list[Trial] = field(default_factory=list)
    inside_seconds: list[float] = field(default_factory=list)
    result: str = ""

    def figures(self) -> tuple[float, float, float]:
        """Seconds of the process and inside, medians; and the most GB."""
        seconds = median(trial.seconds for trial in self.trials)
        peak = max(trial.peak_rss_bytes for trial in self.trials)
        return seconds, median(self.inside_seconds), peak / 1e9


def run(networks: Sequence[tuple[str, str]] = NETWORKS, rounds: int = _ROUNDS) -> list[Row]:
    """The networks one by one, for each its contenders in turns; ratios are to "ours, convert"."""
    rows = [_start(name, rounds) for name, contender in CONTENDERS.items() if not contender.peer]
    for network in networks:
        outcomes, title = _compete(network, rounds), " ".join(network).strip()
        rows += [_row(f"{title}: {name}", outcome, outcomes[OURS]) for name, outcome in outcomes.items()]
    return rows


def _start(name: str, rounds: int) -> Row:
    trials = [python(CONTENDERS[name].imports) for _ in range(rounds)]
    seconds, _, peak = Outcome(trials, [0.0]).figures()
    return Row(f"{name}: start and imports alone", f"{seconds:.2f} s, {peak:.2f} GB")


def _compete(network: tuple[str, str], rounds: int) -> dict[str, Outcome]:
    outcomes = {name: Outcome() for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("net.prototxt", "net.caffemodel")]
        python(_SAVE, *network, *files)
        for turn in range(rounds):
            for name in list(CONTENDERS)[:: 1 if turn % 2 == 0 else -1]:
                done = outcomes[name].trials
                if not turn or (done and done[0].seconds < _LONG_SECONDS):
                    _try(CONTENDERS[name], files, Path(folder) / "out", outcomes[name])
    return outcomes


def _try(contender: Contender, files: Sequence[str], out: Path, outcome: Outcome) -> None:
    told = Path(f"{out}.seconds")
    try:
        trial = _run(contender, *files, str(out))
        if not (out.exists() and told.exists()):
            raise RuntimeError("it ends well, and writes no file")
    except RuntimeError as error:
        outcome.result = f"fails: {_reason(error)}"
    else:
        outcome.trials.append(trial)
        outcome.inside_seconds.append(float(told.read_text()))
        outcome.result = outcome.result or (_judged(out) if contender.makes_onnx else "ok")
    for path in (out, told):
        path.unlink(missing_ok=True)


def _judged(out: Path) -> str:
    """ONNX's checker and ONNX Runtime, both ours."""
    try:
        _run(_CHECK, str(out))
    except RuntimeError as error:
        return f"file, but not valid ONNX: {_reason(error)}"
    return "ok"


def _run(program: Contender, *files: str) -> Trial:
    """Raises RuntimeError with what the program printed where it fails."""
    code = _PROGRAM.format(imports=program.imports, work=program.work)
    return command([str(interpreter(program.peer)), "-c", code, *files])


def _reason(error: RuntimeError) -> str:
    """The last line that a program printed, cut short."""
    return re.sub(r".* ended with -?\d+: ", "", str(error).strip().splitlines()[-1])[:_LONGEST_REASON]


def _row(what: str, outcome: Outcome, ours: Outcome) -> Row:
    if not outcome.trials or not ours.trials:
        return Row(what, "", result=outcome.result)
    seconds, inside, peak = outcome.figures()
    own_seconds, own_inside, own_peak = ours.figures()
    figure = f"{seconds:.2f} s, inside {inside:.2f} s, {peak:.2f} GB"
    beside = f"{OURS}: inside {inside / own_inside:.2f}, GB {peak / own_peak:.2f}"
    return Row(what, figure, beside, seconds / own_seconds, outcome.result)
