"""Time and peak memory of exporting every Caffe network of the zoo, beside caffe2onnx and MNN's converter.

The export with checks sees two photographs, as users' exports do.

The peers check nothing of what they write, so it is "ours, convert" that they stand beside; "ours, with
checks" is the export users get.

caffe2onnx does not run with the packages that it pins (peers.py): protobuf in pure Python costs it most of
its time, and a newer onnx marks its files with a newer opset than it was written for. DSSD takes it 11 GB and
five minutes (CAFFE.md 4).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.performance.contest import ROUNDS, Contender, compete, rows, starts
from tests.performance.trials import Row, python

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
_OUR_IMPORTS = """
from pathlib import Path
from exporters.caffe.source import CaffeSource
from exporters.export import LARGEST_FILE, export, write
from exporters.passes import optimise
"""
_READ = "source = CaffeSource.from_files(*map(Path, files[:2])); out = Path(files[2])"


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


def run(networks: Sequence[tuple[str, str]] = NETWORKS, rounds: int = ROUNDS) -> list[Row]:
    """The networks one by one, for each its contenders in turns; ratios are to "ours, convert"."""
    table = starts(CONTENDERS, rounds)
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / name) for name in ("net.prototxt", "net.caffemodel")]
            python(_SAVE, *network, *files)
            outcomes = compete(CONTENDERS, files, Path(folder) / "out", rounds)
        table += rows(" ".join(network).strip(), outcomes, OURS)
    return table
