"""Files as they should be, and as an enemy or a full disk makes them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import GraphError
from runtime.graphs import graph_digest, input_specs, inspect, load, output_specs
from runtime.tensors import TensorSpec
from tests.models import CONV_CHAIN, INT8_CONV, MODELS, PASSED_ON, TinyModel

WHOLE = ir.to_proto(CONV_CHAIN.build()).SerializeToString()


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_facts_are_those_counted_by_hand(model: TinyModel, tmp_path: Path) -> None:
    facts = inspect(model.write(tmp_path))
    drawn = [*model.weights.values(), *(shape for shape, _ in model.int8.values())]
    floats = [array for array in model.constants.values() if array.dtype == np.float32]
    assert facts.macs == model.macs
    assert facts.parameters == sum(int(np.prod(shape)) for shape in drawn) + len(floats)
    assert facts.opset == 22
    assert [spec.name for spec in facts.inputs] == list(model.inputs)


def test_specs_name_open_dimensions_and_types(tmp_path: Path) -> None:
    facts = inspect(PASSED_ON.write(tmp_path))
    assert facts.inputs == (
        TensorSpec("x", "float32", ("batch", 5)),
        TensorSpec("ids", "int64", ("batch", 2)),
    )
    assert facts.outputs == (
        TensorSpec("y", "float32", ("batch", 5)),
        TensorSpec("same_ids", "int64", ("batch", 2)),
    )
    assert facts.nodes == 2


def test_an_open_dimension_without_a_name_gets_one() -> None:
    model = _parsed("(float[?,3] x) => (float[?,3] y) { y = Relu(x) }")
    assert input_specs(model) == (TensorSpec("x", "float32", ("x_0", 3)),)
    assert output_specs(model) == (TensorSpec("y", "float32", ("y_0", 3)),)


def test_an_input_that_has_an_initializer_needs_no_feed() -> None:
    model = _parsed("(float[1] x, float[1] w = {2.0}) => (float[1] y) { y = Add(x, w) }")
    assert [spec.name for spec in input_specs(model)] == ["x"]


def test_the_digest_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(WHOLE)
    assert graph_digest(path) == hashlib.sha256(WHOLE).hexdigest()


def test_the_digest_covers_external_data(tmp_path: Path) -> None:
    path = _external(tmp_path)
    before = graph_digest(path)
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1] + b"\x7f")
    assert graph_digest(path) != before


def test_external_data_is_read(tmp_path: Path) -> None:
    weight = load(_external(tmp_path)).graph.initializers["w1"].const_value
    expected = CONV_CHAIN.build().graph.initializers["w1"].const_value
    assert weight is not None
    assert expected is not None
    np.testing.assert_array_equal(weight.numpy(), expected.numpy())


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("/etc/passwd", "'/etc/passwd', outside its own folder; refused"),
        ("../weights.bin", "'../weights.bin', outside its own folder; refused"),
        ("a/../../weights.bin", "outside its own folder; refused"),
        ("elsewhere.bin", "'elsewhere.bin', which is missing; put it beside the file"),
        ("", "wants its data in '', which is missing"),
    ],
    ids=["absolute", "above", "above by detour", "missing", "empty"],
)
def test_external_data_anywhere_else_is_refused(location: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    folder = tmp_path / "model"
    folder.mkdir()
    path = _external(folder, location)
    for read in (load, inspect, graph_digest):
        with pytest.raises(GraphError, match=match) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    folder = tmp_path / "model"
    folder.mkdir()
    path = _external(folder)
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(GraphError, match="outside its own folder"):
        load(path)


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = _external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    with pytest.raises(GraphError, match=r"wants 1152 bytes of data in 'weights\.bin', which has 16; copy"):
        load(path)


def test_a_custom_operator_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "custom.onnx"
    header = '<ir_version: 10, opset_import: ["": 22, "acme": 1]>'
    text = f"{header} g (float[1] x) => (float[1] y) {{ [spell] y = acme.Magic(x) }}"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(GraphError, match=r"node 'spell' is a acme\.Magic; only ONNX's own"):
        load(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "holds no operators"), (b"# a readme\n", "not an ONNX"), (b"\x89PNG\r\n\x1a\n", "not an ONNX")],
    ids=["empty", "text", "picture"],
)
def test_what_is_no_model_is_refused(content: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=match):
        load(path)


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    for read in (load, graph_digest):
        with pytest.raises(GraphError, match="is a folder; give an ONNX file"):
            read(tmp_path)
        with pytest.raises(GraphError, match="does not exist; give an ONNX file"):
            read(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_short_is_refused(share: float, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(WHOLE[: int(len(WHOLE) * share)])
    with pytest.raises(GraphError, match=r"cut short|not sound|no operators"):
        load(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(tmp_path: Path, content: bytes) -> None:
    _reads_or_refuses(tmp_path / "m.onnx", content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bits_raise_nothing_but_graph_error(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(INT8_BYTES if data.draw(st.booleans()) else WHOLE)
    for place in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        whole[place // 8] ^= 1 << place % 8
    _reads_or_refuses(tmp_path / "m.onnx", bytes(whole))


INT8_BYTES = ir.to_proto(INT8_CONV.build()).SerializeToString()


def _reads_or_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        inspect(path)
    except GraphError as error:
        assert "\n" not in str(error)  # noqa: PT017 - reading it is as good


def _parsed(text: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 22]> g {text}'))


def _external(folder: Path, location: str = "weights.bin") -> Path:
    """The model with its weights in weights.bin, which it says are at `location`."""
    path = folder / "m.onnx"
    ir.save(CONV_CHAIN.build(), path, external_data="weights.bin", size_threshold_bytes=1)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    return path
