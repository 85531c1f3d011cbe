"""The checker says of a file without its weights what it says of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from exporters.export import check_file, write
from exporters.skeleton import skeleton_of
from exporters.wire import WireError
from runtime.errors import ExportError
from tests.exporters.graphs import parse, random

MATMUL = "g (float[batch,300] x) => (float[batch,400] y) { y = MatMul(x, w) }"


def network() -> ir.Model:
    return parse(MATMUL, w=random(300, 400))


def verdict(path: Path) -> str:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error)
    return "valid"


def verdicts(proto: onnx.ModelProto, folder: Path) -> tuple[str, str]:
    """Of the file, and of its skeleton."""
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    (folder / "skeleton.onnx").write_bytes(skeleton_of(folder / "model.onnx"))
    return verdict(folder / "model.onnx"), verdict(folder / "skeleton.onnx")


def test_a_skeleton_has_the_same_nodes_and_says_where_the_weights_lie(tmp_path: Path) -> None:
    proto = ir.to_proto(network())
    assert verdicts(proto, tmp_path) == ("valid", "valid")
    assert (tmp_path / "skeleton.onnx").stat().st_size < 400
    loaded = onnx.load(tmp_path / "skeleton.onnx")
    assert loaded.graph.node == proto.graph.node
    weight = onnx.numpy_helper.to_array(loaded.graph.initializer[0])
    np.testing.assert_array_equal(weight, random(300, 400))


def _set_dims(*dims: int) -> Callable[[onnx.TensorProto], None]:
    def tamper(weight: onnx.TensorProto) -> None:
        weight.dims[:] = dims

    return tamper


def _set_type(number: int) -> Callable[[onnx.TensorProto], None]:
    def tamper(weight: onnx.TensorProto) -> None:
        weight.data_type = number

    return tamper


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_set_dims(400, 300), "differ in dimension 0"),
        (_set_dims(300, 401), "is too small for the declared shape"),
        (_set_dims(-300, 400), "Negative dimension"),
        (_set_type(onnx.TensorProto.FLOAT16), "elem type"),
        (_set_type(onnx.TensorProto.DOUBLE), "is too small"),
        (_set_type(onnx.TensorProto.STRING), "should not be stored in raw_data"),
        (_set_type(99), "elem type"),
        (lambda weight: weight.ClearField("name"), "is required but missing"),
    ],
    ids=["turned", "too large", "negative", "half", "double", "text", "no type", "no name"],
)
def test_what_is_wrong_with_a_weight_is_seen_all_the_same(
    tamper: Callable[[onnx.TensorProto], None], said: str, tmp_path: Path
) -> None:
    proto = ir.to_proto(network())
    tamper(proto.graph.initializer[0])
    whole, skeleton = verdicts(proto, tmp_path)
    assert said in whole
    assert skeleton == whole


def test_whole_numbers_that_make_a_shape_stay(tmp_path: Path) -> None:
    """A shape of 600 dimensions is 4800 bytes: without them, the checker could not see that 2 is wrong."""
    ones = ", ".join(["1"] * 599)
    proto = ir.to_proto(
        parse(
            "g (float[3] x) => (float[3] y) { r = Reshape(x, s) y = Identity(x) }",
            s=np.array([3] + [1] * 599),
        )
    )
    proto.graph.output.append(onnx.parser.parse_graph(f"g () => (float[2, {ones}] r) {{ }}").output[0])
    whole, skeleton = verdicts(proto, tmp_path)
    assert "differ in dimension 0" in whole
    assert skeleton == whole


def test_weights_that_already_lie_beside_the_file_are_left_there(tmp_path: Path) -> None:
    write(network(), tmp_path / "model.onnx", largest_file=100)
    assert skeleton_of(tmp_path / "model.onnx") == (tmp_path / "model.onnx").read_bytes()


def test_numbers_in_a_list_are_left_there(tmp_path: Path) -> None:
    proto = ir.to_proto(network())
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.float_data.extend(random(300, 400).reshape(-1).tolist())
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    assert skeleton_of(tmp_path / "model.onnx") == (tmp_path / "model.onnx").read_bytes()


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    ir.save(network(), tmp_path / "model.onnx")
    check_file(tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_is_cut_short_is_not_valid_onnx(tmp_path: Path) -> None:
    whole = ir.to_proto(network()).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WireError, match="it ends at byte"):
        skeleton_of(tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="not valid ONNX: it ends at byte"):
        check_file(tmp_path / "model.onnx")


def test_an_initializer_that_is_no_tensor_is_not_valid_onnx(tmp_path: Path) -> None:
    """Its dimensions are a list of one number that does not end: the walk steps over it."""
    proto = ir.to_proto(network())
    whole = proto.SerializeToString()
    weight = proto.graph.initializer[0].SerializeToString()
    dims = b"\x08\xac\x02\x08\x90\x03"  # 300 and 400
    assert weight.startswith(dims)
    broken = weight.replace(dims, b"\x0a\x04\x80\x80\x80\x80", 1)
    (tmp_path / "model.onnx").write_bytes(whole.replace(weight, broken))
    with pytest.raises(ExportError, match="not valid ONNX: Error parsing message"):
        check_file(tmp_path / "model.onnx")
