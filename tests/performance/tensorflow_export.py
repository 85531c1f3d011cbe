"""Time and peak memory of exporting every TensorFlow network of the zoo, beside tf2onnx's command line.

All read the same SavedModel. tf2onnx checks nothing of what it writes, so it stands beside "ours, convert";
"ours, with checks" is the export users get, on two real samples. Both take seconds to import TensorFlow,
which "inside" leaves out.
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
    ("densenet121", ""),
    ("ssd", "vgg16"),
    ("ssd", "resnet101"),
    ("cpn", ""),
    ("crnn", ""),
    ("seglink", ""),
    ("mask-rcnn", ""),
    ("bert-base", ""),
)

_SAVE = """
import sys
from itertools import islice
from pathlib import Path
import numpy
import tensorflow
from model_zoo.catalog import get_model, get_variant
from model_zoo.spec import Split

variant = get_variant(get_model(sys.argv[1]), sys.argv[2])
source = variant.build["tensorflow"](None)
specs = [tensorflow.TensorSpec((None, *spec.shape[1:]), spec.dtype, spec.name) for spec in source.inputs]
function = tensorflow.function(
    lambda *tensors: dict(zip(source.output_names, source.function(*tensors))), input_signature=specs
)
module = tensorflow.Module()
module.tracked = list(function.get_concrete_function().graph.variables)
tensorflow.saved_model.save(module, sys.argv[3], signatures=function)
for number, feed in enumerate(islice(variant.feeds("tensorflow").batches(1, Split.EVALUATION), 2)):
    numpy.savez(Path(sys.argv[3]).with_name(f"sample{number}.npz"), **feed)
weights = sum(variable.numpy().nbytes for variable in module.tracked)
Path(sys.argv[3]).with_name("bytes").write_text(str(weights))
"""
_OUR_IMPORTS = """
from pathlib import Path
import numpy, onnxruntime, tensorflow, tf2onnx
from exporters.export import LARGEST_FILE, export, write
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
"""
_READ = "source = TensorFlowSource.from_saved_model(Path(files[0])); out = Path(files[1])"

TF2ONNX = "tf2onnx"
CONTENDERS: Mapping[str, Contender] = {
    "ours, convert": Contender(
        _OUR_IMPORTS, f"{_READ}; write(optimise(source.to_onnx()), out, LARGEST_FILE)"
    ),
    "ours, with checks": Contender(
        _OUR_IMPORTS,
        f"{_READ}; samples = sorted(out.parent.glob('sample*.npz'));"
        " export(source, out, [dict(numpy.load(sample)) for sample in samples])",
    ),
    TF2ONNX: Contender(
        "import onnxruntime, tensorflow; from tf2onnx.convert import main",
        "sys.argv = ['convert', '--saved-model', files[0], '--opset', '18', '--output', files[1]]; main()",
    ),
}


def run(networks: Sequence[tuple[str, str]] = NETWORKS, rounds: int = ROUNDS) -> list[Row]:
    """The networks one by one, for each its contenders in turns; ratios are to tf2onnx."""
    table = starts(CONTENDERS, rounds)
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "saved_model"
            python(_SAVE, *network, str(saved))
            outcomes = compete(CONTENDERS, [str(saved)], Path(folder) / "out", rounds)
            weights = int((Path(folder) / "bytes").read_text()) / 1e9
        table += rows(f"{' '.join(network).strip()} ({weights:.2f} GB)", outcomes, TF2ONNX)
    return table
