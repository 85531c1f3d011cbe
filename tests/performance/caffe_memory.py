"""Peak memory of exporting a caffemodel of 1 GB, in multiples of its size (aim: at most 2.5)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.performance.trials import Row, Trial, python

_LAYERS, _WIDTH = 16, 4096

_MAKE = """
import sys
from pathlib import Path
import numpy as np
from exporters.caffe import caffe_pb2
from exporters.caffe.blobs import blob_message

folder, layers, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)
text = f'input: "data" input_shape {{ dim: 1 dim: {width} }}'
with (folder / "net.caffemodel").open("wb") as model:
    for index in range(layers):
        weight = random.standard_normal((width, width), np.float32) / np.float32(width**0.5)
        blobs = [blob_message(weight), blob_message(random.standard_normal(width, np.float32))]
        layer = {"name": f"fc{index}", "type": "InnerProduct", "blobs": blobs}
        model.write(caffe_pb2.NetParameter(layer=[layer]).SerializeToString())
        text += f'''
layer {{ name: "fc{index}" type: "InnerProduct" bottom: "{f"fc{index - 1}" if index else "data"}"
  top: "fc{index}" inner_product_param {{ num_output: {width} }} }}'''
(folder / "net.prototxt").write_text(text)
"""
_WRITE = """
import sys
from pathlib import Path
from exporters.caffe.source import CaffeSource
from exporters.export import LARGEST_FILE, check_file, write
from exporters.passes import optimise

folder = Path(sys.argv[1])
model = optimise(CaffeSource.from_files(folder / "net.prototxt", folder / "net.caffemodel").to_onnx())
write(model, folder / "net.onnx", LARGEST_FILE)
del model
if sys.argv[2] == "check":
    check_file(folder / "net.onnx")
(folder / "net.onnx").unlink()
"""
_EXPORT = """
import os, sys
from pathlib import Path

folder = Path(sys.argv[1])
os.environ["AIMATRIX_HOME"] = str(folder / "home")
from bench.cli import main

flags = ["--prototxt", folder / "net.prototxt", "--caffemodel", folder / "net.caffemodel"]
raise SystemExit(main(["export", *map(str, flags), "--out", str(folder / "bundle")]))
"""
_PARSE = """
import sys
from pathlib import Path
from exporters.caffe import caffe_pb2

net = caffe_pb2.NetParameter.FromString((Path(sys.argv[1]) / "net.caffemodel").read_bytes())
"""


def run() -> list[Row]:
    """Whole processes, imports included; the files are made by a child, whose memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        python(_MAKE, folder, str(_LAYERS), str(_WIDTH))
        size = (Path(folder) / "net.caffemodel").stat().st_size
        return [
            _row("read, convert, optimise, write", python(_WRITE, folder, "write"), size),
            _row("the same, and ONNX's checker on the file", python(_WRITE, folder, "check"), size),
            _row("bench export, OpenCV beside it", python(_EXPORT, folder), size),
            _row("protocol buffers: parse the caffemodel, no more", python(_PARSE, folder), size),
        ]


def _row(what: str, trial: Trial, size: int) -> Row:
    figure = f"{trial.peak_rss_bytes / 1e9:.2f} GB, {trial.seconds:.1f} s"
    return Row(what, figure, f"the caffemodel's {size / 1e9:.2f} GB", trial.peak_rss_bytes / size)
