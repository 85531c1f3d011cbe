"""The file that is written weight by weight, beside what onnx_ir and protocol buffers make of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from exporters import writing
from exporters.export import check_file, write
from exporters.mapped import map_file
from exporters.passes import optimise
from exporters.writing import write_file
from runtime.backend import SessionOptions
from runtime.backends import get_backend
from runtime.errors import ExportError
from runtime.files import sha256_of_file
from runtime.graphs import graph_digest, inspect
from tests.exporters.caffe.test_detection import ssd
from tests.exporters.graphs import parse, random

TEXT = "g (float[batch,3,8,8] x) => (float[batch,4,6,6] y) { c = Conv(x, w) s = Mul(c, k) y = Relu(s) }"


def convolution() -> ir.Model:
    """Its weights are messages, as those of a model that came through ONNX are."""
    return parse(TEXT, 18, w=random(4, 3, 3, 3), k=np.full((4, 1, 1), 2, np.float32))


def described() -> ir.Model:
    """Everything around a graph that a file can hold."""
    model = convolution()
    model.producer_name, model.producer_version, model.domain = "producer", "1.2", "example.org"
    model.model_version, model.doc_string = 7, "a model"
    model.metadata_props["kind"] = "test"
    model.graph.doc_string = "a graph"
    model.graph.metadata_props["author"] = "nobody"
    model.graph.initializers["k"].metadata_props["unit"] = "none"
    return model


def of_arrays() -> ir.Model:
    """One initializer of each type; only the first is read."""
    model = parse("g (float[3] x) => (float[3] y) { y = Add(x, float32) }", float32=random(3))
    for name in ("float64", "float16", "int8", "int64", "bool", "uint16", "complex64"):
        _add(model, ir.tensor(np.arange(6).reshape(2, 3).astype(name), name=name))
    _add(model, ir.tensor(random(5).astype(ml_dtypes.bfloat16), name="bfloat16"))
    _add(model, ir.tensor(random(5).astype(ml_dtypes.float8_e4m3fn), name="float8"))
    _add(model, ir.Tensor(np.array([1, -2, 3], ml_dtypes.int4), name="int4"))
    _add(
        model, ir.PackedTensor(np.array([0x21, 0x03], np.uint8), ir.DataType.UINT4, shape=[3], name="packed")
    )
    _add(model, ir.LazyTensor(lambda: ir.tensor(random(4)), ir.DataType.FLOAT, ir.Shape([4]), name="lazy"))
    _add(model, ir.StringTensor([b"a", b"text"], shape=ir.Shape([2]), name="text"))
    return model


def of_views() -> ir.Model:
    """Arrays that do not simply lie there."""
    model = parse("g (float[3] x) => (float[3] y) { y = Add(x, w) }", w=random(3))
    _add(model, ir.tensor(random(4, 6).T, name="transposed"))
    _add(model, ir.tensor(random(40)[::3], name="strided"))
    _add(model, ir.tensor(np.array(2.5, np.float32), name="scalar"))
    _add(model, ir.tensor(np.empty((0, 3), np.float32), name="nothing"))
    _add(
        model,
        ir.Tensor(np.frombuffer(bytes(3) + random(8).tobytes(), np.float32, offset=3), name="unaligned"),
    )
    return model


def of_old_fields() -> ir.Model:
    """Weights as lists of numbers, which no exporter writes any more."""
    proto = ir.to_proto(convolution())
    proto.graph.initializer.append(onnx.helper.make_tensor("floats", onnx.TensorProto.FLOAT, [2], [1.0, 2.0]))
    proto.graph.initializer.append(onnx.helper.make_tensor("ints", onnx.TensorProto.INT64, [2], [1, 1 << 40]))
    return ir.from_proto(proto)


def _add(model: ir.Model, tensor: ir.TensorProtocol) -> None:
    model.graph.register_initializer(ir.val(str(tensor.name), const_value=tensor))


def with_function() -> ir.Model:
    model = convolution()
    value = ir.val("a")
    node = ir.node("Abs", [value], name="abs")
    graph = ir.Graph([value], node.outputs, nodes=[node], opset_imports={"": 18})
    function = ir.Function("local", "absolute", graph=graph, attributes=[])
    model.functions[function.identifier()] = function
    return model


MODELS: Mapping[str, Callable[[], ir.Model]] = {
    "weights that are messages": convolution,
    "described": described,
    "every type": of_arrays,
    "views": of_views,
    "lists of numbers": of_old_fields,
    "a function": with_function,
    "without weights": lambda: parse("g (float[3] x) => (float[3] y) { y = Relu(x) }"),
    "a detector from Caffe": lambda: ssd().to_onnx(),
}


@pytest.mark.parametrize("case", MODELS)
def test_the_bytes_are_those_that_protocol_buffers_write(case: str, tmp_path: Path) -> None:
    model = MODELS[case]()
    write_file(model, tmp_path / "model.onnx")
    expected = ir.to_proto(model)
    assert onnx.load(tmp_path / "model.onnx") == expected
    assert (tmp_path / "model.onnx").read_bytes() == expected.SerializeToString()


@pytest.mark.parametrize("case", MODELS)
def test_a_model_is_not_changed_by_writing_it(case: str, tmp_path: Path) -> None:
    model = MODELS[case]()
    before = ir.to_proto(model).SerializeToString()
    write_file(model, tmp_path / "model.onnx")
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("case", ["weights that are messages", "described", "a detector from Caffe"])
def test_a_written_file_is_sound_and_its_digest_is_that_of_its_bytes(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_file(MODELS[case](), path)
    check_file(path)
    assert graph_digest(path) == inspect(path).sha256 == sha256_of_file(path)


@pytest.mark.parametrize("name", ["ort", "openvino", "reference"])
def test_a_runtime_reads_it(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    if backend.unavailable() is not None:
        pytest.skip(str(backend.unavailable()))
    model = optimise(convolution())
    write_file(model, tmp_path / "model.onnx")
    feed = {"x": random(2, 3, 8, 8)}
    with backend.open(tmp_path / "model.onnx", "cpu", SessionOptions()) as session:
        (got,) = session.run(feed).values()
    (expected,) = ReferenceEvaluator(ir.to_proto(convolution())).run(None, feed)
    np.testing.assert_allclose(got, np.asarray(expected), atol=1e-5)


def test_a_weight_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_PART", 100)
    model = of_views()
    write_file(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == ir.to_proto(model)


def test_a_weight_in_a_mapped_file_is_written_from_there(tmp_path: Path) -> None:
    weight = random(300, 400)
    (tmp_path / "weights").write_bytes(b"\x07" + weight.tobytes())
    view = np.frombuffer(map_file(tmp_path / "weights"), np.float32, offset=1).reshape(weight.shape)
    model = parse("g (float[3,300] x) => (float[3,400] y) { y = MatMul(x, w) }", w=weight)
    model.graph.initializers["w"].const_value = ir.Tensor(view, name="w")
    write_file(model, tmp_path / "model.onnx")
    (written,) = onnx.load(tmp_path / "model.onnx").graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(written), weight)


def test_a_weight_that_lies_elsewhere_stays_there(tmp_path: Path) -> None:
    random(3).tofile(tmp_path / "data")
    model = parse("g (float[3] x) => (float[3] y) { y = Add(x, w) }", w=random(3))
    place = ir.ExternalTensor(
        "data", 0, 12, ir.DataType.FLOAT, shape=ir.Shape([3]), name="w", base_dir=tmp_path
    )
    model.graph.initializers["w"].const_value = place
    write_file(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == ir.to_proto(model).SerializeToString()
    check_file(tmp_path / "model.onnx")


def test_a_weight_that_is_not_what_it_says_is_refused(tmp_path: Path) -> None:
    model = convolution()
    wrong = ir.LazyTensor(lambda: ir.tensor(random(4)), ir.DataType.FLOAT, ir.Shape([5]), name="w")
    model.graph.initializers["w"].const_value = wrong
    with pytest.raises(
        ExportError,
        match=r"initializer 'w' has 16 bytes, its type FLOAT and shape \[5\] take 20; this is a defect",
    ):
        write_file(model, tmp_path / "model.onnx")


def test_a_weight_without_a_value_is_refused(tmp_path: Path) -> None:
    model = convolution()
    model.graph.initializers["w"].const_value = None
    with pytest.raises(ExportError, match="initializer 'w' has no value"):
        write_file(model, tmp_path / "model.onnx")


def test_weights_beyond_the_limit_still_go_beside_the_file(tmp_path: Path) -> None:
    write(convolution(), tmp_path / "model.onnx", largest_file=447)
    assert (tmp_path / "model.onnx.data").exists()
    write(convolution(), tmp_path / "whole.onnx", largest_file=448)
    assert not (tmp_path / "whole.onnx.data").exists()
