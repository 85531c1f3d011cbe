"""Tensors of types that NumPy does not have go into and come out of the runtimes as they are."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from runtime.backend import Boundary, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnsupportedError
from runtime.raw import beyond_numpy, from_raw, to_raw
from runtime.tensors import Array, TensorSpec

NARROW = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float4_e2m1fn")
VALUES = np.array([0, 1, 2, 3, 4, 6, 1], np.float32)
"""Each of the types has these; as many as fill no whole number of bytes."""

RUNS_NOT = {
    ("ort", "float4_e2m1fn"): "ONNX Runtime 1.32 has no Cast of FLOAT4E2M1",
}


@given(
    dtype=st.sampled_from((*NARROW, "float32", "int8", "int64", "bool", "int2", "uint2")),
    shape=st.sampled_from([(), (0,), (1,), (5,), (2, 3), (3, 0, 2), (4, 4)]),
    seed=st.integers(0, 100),
)
def test_raw_bytes_are_those_that_onnx_writes(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    raw = to_raw(array)
    assert raw.tobytes() == numpy_helper.from_array(array).raw_data
    back = from_raw(raw, array.dtype, shape)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back.astype(np.float32), array.astype(np.float32))


def test_every_value_of_four_bits_survives() -> None:
    every = (np.arange(0, 16, 2) | np.arange(1, 16, 2) << 4).astype(np.uint8)
    for dtype in ("int4", "uint4", "float4_e2m1fn"):
        assert to_raw(from_raw(every, dtype, (16,))).tobytes() == every.tobytes()
    assert from_raw(np.array([0x8F], np.uint8), ml_dtypes.int4, (2,)).tolist() == [-1, -8]


def test_what_numpy_has_of_itself_is_known() -> None:
    def specs(*dtypes: str) -> list[TensorSpec]:
        return [TensorSpec("x", dtype, ()) for dtype in dtypes]

    assert not beyond_numpy(specs("float16", "bool", "int64", "str", "uint8"))
    assert beyond_numpy(specs("float32", "int4"))


def _cast(folder: Path, source: str, target: str) -> Path:
    def number(name: str) -> int:
        return helper.np_dtype_to_tensor_dtype(np.dtype(name))

    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=number(target))],
        "cast",
        [helper.make_tensor_value_info("x", number(source), ["n"])],
        [helper.make_tensor_value_info("y", number(target), ["n"])],
    )
    path = folder / "cast.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11), path)
    return path


def _run(name: str, path: Path, x: Array, boundary: Boundary = Boundary.HOST) -> Array:
    backend = get_backend(name)
    if backend.unavailable():
        pytest.skip(str(backend.unavailable()))
    with backend.open(path, "cpu", SessionOptions()) as session:
        return session.bind({"x": x}, boundary).outputs()["y"]


each_backend = pytest.mark.parametrize("name", ["ort", "openvino", "reference"])
each_narrow = pytest.mark.parametrize("dtype", NARROW)


@each_backend
@each_narrow
def test_a_narrow_input_arrives(name: str, dtype: str, tmp_path: Path) -> None:
    path, x = _cast(tmp_path, dtype, "float32"), VALUES.astype(dtype)
    if (name, dtype) in RUNS_NOT:
        with pytest.raises(UnsupportedError):
            _run(name, path, x)
        return
    np.testing.assert_array_equal(_run(name, path, x), VALUES)


@each_backend
@each_narrow
def test_a_narrow_output_arrives(name: str, dtype: str, tmp_path: Path) -> None:
    path = _cast(tmp_path, "float32", dtype)
    if (name, dtype) in RUNS_NOT:
        with pytest.raises(UnsupportedError):
            _run(name, path, VALUES)
        return
    y = _run(name, path, VALUES)
    assert y.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(y.astype(np.float32), VALUES)


@pytest.mark.parametrize("name", ["openvino", "reference"])
def test_a_narrow_input_stays_on_the_device(name: str, tmp_path: Path) -> None:
    path, x = _cast(tmp_path, "int4", "float32"), VALUES.astype("int4")
    np.testing.assert_array_equal(_run(name, path, x, Boundary.DEVICE), VALUES)


def test_onnx_runtime_keeps_no_narrow_tensor_on_a_device_and_says_so(tmp_path: Path) -> None:
    path = _cast(tmp_path, "int4", "float32")
    with pytest.raises(UnsupportedError, match=r"x: int4\[n\], y: float32\[n\]; take --boundary host"):
        _run("ort", path, VALUES.astype("int4"), Boundary.DEVICE)


def _save(folder: Path, node: onnx.NodeProto, inputs: dict[str, Array], outputs: dict[str, Array]) -> Path:
    def infos(arrays: dict[str, Array]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arrays.items()
        ]

    graph = helper.make_graph([node], "one", infos(inputs), infos(outputs))
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return path


@each_backend
def test_an_input_that_nothing_reads_the_values_of_may_be_fed(name: str, tmp_path: Path) -> None:
    """OpenVINO leaves it out of what it compiles: CastLike reads its type alone."""
    feed: dict[str, Array] = {"like": np.zeros(2, np.float16), "x": VALUES}
    node = helper.make_node("CastLike", ["x", "like"], ["y"])
    path = _save(tmp_path, node, {"x": VALUES, "like": feed["like"]}, {"y": VALUES.astype(np.float16)})
    with get_backend(name).open(path, "cpu", SessionOptions()) as session:
        for boundary in (Boundary.HOST, Boundary.DEVICE):
            np.testing.assert_array_equal(session.bind(feed, boundary).outputs()["y"], VALUES)


@each_backend
def test_an_input_that_is_the_output_may_be_fed(name: str, tmp_path: Path) -> None:
    """OpenVINO calls it after the output: Max of one tensor is that tensor."""
    path = _save(tmp_path, helper.make_node("Max", ["x"], ["y"]), {"x": VALUES}, {"y": VALUES})
    with get_backend(name).open(path, "cpu", SessionOptions()) as session:
        np.testing.assert_array_equal(session.run({"x": VALUES})["y"], VALUES)


def test_what_a_kernel_of_onnx_runtime_cannot_do_is_unsupported_not_a_broken_file(tmp_path: Path) -> None:
    feed = {
        "x": np.zeros((1, 2, 3), np.float32),
        "w": np.zeros((1, 4, 3), np.float32),
        "r": np.zeros((1, 4, 4), np.float32),
    }
    node = helper.make_node("RNN", list(feed), ["y"], hidden_size=4, layout=1)
    path = _save(tmp_path, node, feed, {"y": np.zeros((1, 2, 1, 4), np.float32)})
    with pytest.raises(UnsupportedError, match="layout == 1"):
        get_backend("ort").open(path, "cpu", SessionOptions())
