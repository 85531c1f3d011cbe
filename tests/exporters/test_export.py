from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from exporters.export import check_file, export, write
from exporters.source import ZOO_IR_VERSION, ZOO_OPSET
from runtime.errors import CheckFailed, ExportError, StoreError, UnsupportedError
from tests.exporters.graphs import parse, random
from tests.exporters.sources import GraphSource

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
TEXT = "g (float[batch,3,8,8] x) => (float[batch,4,6,6] y) { c = Conv(x, w) s = Mul(c, k) y = Relu(s) }"


def network(scale: float = 2.0) -> ir.Model:
    return parse(TEXT, 18, w=random(4, 3, 3, 3), k=np.full((4, 1, 1), scale, np.float32))


def source(scale: float = 2.0) -> GraphSource:
    return GraphSource(network(), network(scale))


def test_an_export_writes_a_checked_file_of_the_zoos_opset(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model.onnx"
    report = export(source(), out, [{"x": random(1, 3, 8, 8)}])
    proto = onnx.load(out)
    onnx.checker.check_model(proto, full_check=True)
    assert (report.path, report.parameters, report.parity.feeds) == (out, 112, 2)
    assert (proto.opset_import[0].version, proto.ir_version) == (ZOO_OPSET, ZOO_IR_VERSION)
    assert [node.op_type for node in proto.graph.node] == ["Conv", "Relu"]
    assert report.seconds > 0


def test_an_export_that_fails_parity_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"older")
    with pytest.raises(CheckFailed, match="output 'y'"):
        export(source(scale=2.01), out, [])
    assert out.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [out]


def test_what_does_not_fit_into_memory_is_refused_before_the_source_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.memory.available_bytes", lambda: 1000)
    asked = source()
    monkeypatch.setattr(GraphSource, "run", lambda *_: pytest.fail("it was asked"))
    with pytest.raises(
        UnsupportedError, match=r"compare the graph with its source at batch 2 needs about 0\.0 GiB"
    ):
        export(asked, tmp_path / "model.onnx", [])
    assert not list(tmp_path.iterdir())


def test_stages_are_told_as_they_are_done(tmp_path: Path) -> None:
    told: list[str] = []

    def progress(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        for item in items:
            told.append(f"{description}: {item}" if isinstance(item, str) else description)
            yield item

    export(source(), tmp_path / "model.onnx", [], progress)
    stages = [f"exporting model.onnx: {stage}" for stage in ("converted", "optimised", "written", "checked")]
    assert told == [*stages, "asking the source", "comparing with the source"]


def test_weights_beyond_the_limit_go_beside_the_file(tmp_path: Path) -> None:
    write(network(), tmp_path / "model.onnx", largest_file=100)
    assert (tmp_path / "model.onnx.data").stat().st_size >= 108 * 4
    check_file(tmp_path / "model.onnx")


def test_an_export_with_weights_beside_it_moves_both_into_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.export.LARGEST_FILE", 100)
    export(source(), tmp_path / "model.onnx", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    check_file(tmp_path / "model.onnx")


def test_a_graph_that_contradicts_itself_is_not_valid_onnx(tmp_path: Path) -> None:
    model = parse("g (float[batch,3] x) => (float[batch,5] y) { y = MatMul(x, w) }", w=random(3, 4))
    ir.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        ExportError, match=r"the exported graph is not valid ONNX: .*MatMul.*dimension 1: .4. vs .5."
    ):
        check_file(tmp_path / "model.onnx")


def test_an_attribute_no_operator_has_is_not_valid_onnx(tmp_path: Path) -> None:
    ir.save(
        parse("g (float[batch,3] x) => (float[batch,3] y) { y = Relu<slope=1>(x) }"), tmp_path / "model.onnx"
    )
    with pytest.raises(ExportError, match=r"not valid ONNX: .*slope"):
        check_file(tmp_path / "model.onnx")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*model\.onnx"):
        export(source(), tmp_path / "file" / "model.onnx", [])


SCRIPT = """
import hashlib, sys
from pathlib import Path
from exporters.export import export
from tests.exporters import functions
for _ in range(int(sys.argv[2])):
    functions.source("loop").to_onnx()
for name in ("small_residual", "transformer_layer"):
    out = Path(sys.argv[1]) / f"{name}.onnx"
    export(functions.source(name), out, [])
    print(hashlib.sha256(out.read_bytes()).hexdigest())
"""


def started(folder: Path, hash_seed: str, warm_up: int) -> subprocess.Popen[str]:
    folder.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", SCRIPT, str(folder), str(warm_up)]
    return subprocess.Popen(arguments, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_same_model_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    """Other hash seed, and another model converted before: tf2onnx counts names per process."""
    pytest.importorskip("tf2onnx")
    processes = [started(tmp_path / "first", "1", 0), started(tmp_path / "second", "2", 1)]
    first, second = (process.communicate()[0].split() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert len(first) == 2
    assert first == second


@pytest.mark.heavy
def test_a_transformer_of_twelve_layers_comes_out_whole(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    from tests.exporters import functions

    case = functions.Case(functions.transformer(12), functions.IDS, ("start", "end"), {})
    report = export(
        functions.source_of(case), tmp_path / "bert.onnx", [functions.feed("transformer_layer", 4)]
    )
    counts = [node.op_type for node in onnx.load(tmp_path / "bert.onnx").graph.node]
    assert (counts.count("LayerNormalization"), counts.count("Gelu"), counts.count("ReduceMean")) == (
        24,
        12,
        0,
    )
    assert report.parity.feeds == 2


@pytest.mark.heavy
def test_resnet50_of_keras_comes_out_whole(tmp_path: Path) -> None:
    """Keras' own summary says 25 583 592 trainable parameters; MACs as MODELS.md's ResNet-50 v1."""
    pytest.importorskip("tf2onnx")
    from exporters.tensorflow import TensorFlowSource, import_tensorflow
    from runtime.graphs import inspect
    from runtime.tensors import TensorSpec

    tf = import_tensorflow()
    tf.keras.utils.set_random_seed(0)
    network = tf.keras.applications.ResNet50(weights=None, classifier_activation=None)
    generator = np.random.default_rng(0)
    for weight in network.weights:
        if "moving_variance" in weight.path:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif "moving_mean" in weight.path or "bias" in weight.path:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    resnet = TensorFlowSource(
        lambda images: (network(images, training=False),),
        (TensorSpec("images", "float32", ("batch", 224, 224, 3)),),
        ("logits",),
        tuple(network.trainable_variables),
    )
    report = export(resnet, tmp_path / "resnet50.onnx", [{"images": random(1, 224, 224, 3) * 50}])
    counts = [node.op_type for node in onnx.load(tmp_path / "resnet50.onnx").graph.node]
    assert {name: counts.count(name) for name in set(counts)} == {
        "Transpose": 1, "Conv": 53, "Relu": 49, "Add": 17, "MaxPool": 1, "ReduceMean": 1, "MatMul": 1,
    }  # fmt: skip
    assert report.parameters == 25_583_592
    assert inspect(tmp_path / "resnet50.onnx").macs == 3_857_973_248
