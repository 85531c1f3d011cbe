from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.attestation import Ran
from runtime.ort_profile import Kernel, multiplying_kernels, read_kernels

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def _event(name: str, operator: str, *types: str, provider: str = CPU) -> dict[str, object]:
    """As onnxruntime 1.32 writes it; what is not read is left out."""
    arguments = {"op_name": operator, "provider": provider, "input_type_shape": [{t: [1]} for t in types]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": arguments}


def _read(tmp_path: Path, *events: dict[str, object]) -> tuple[Kernel, ...]:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(events))
    return read_kernels(path)


def test_kernels_are_read_in_the_order_they_ran(tmp_path: Path) -> None:
    kernels = _read(
        tmp_path,
        {"cat": "Session", "name": "model_loading_uri", "args": {}},
        {"cat": "Node", "name": "conv_fence_before", "args": {"op_name": "Conv"}},
        _event("conv", "Conv", "float", "float"),
        _event("relu", "Relu", "float"),
    )
    assert kernels == (Kernel("conv", "Conv", CPU, "float32"), Kernel("relu", "Relu", CPU, "float32"))


@pytest.mark.parametrize(
    ("types", "name"),
    [
        (("uint8", "float", "uint8", "int8"), "int8"),
        (("int8",), "int8"),
        (("float", "int8"), "int8"),  # DynamicQuantizeMatMul quantises inside
        (("float16", "float16"), "float16"),
        (("double",), "float64"),
        ((), "unknown"),
    ],
)
def test_the_type_is_that_of_the_arithmetic(types: tuple[str, ...], name: str, tmp_path: Path) -> None:
    assert _read(tmp_path, _event("n", "MatMul", *types))[0].type == name


@pytest.mark.parametrize("zero_points", [(), ("uint8",)])
def test_a_product_by_int4_weights_is_float_whatever_its_zero_points_are(
    zero_points: tuple[str, ...], tmp_path: Path
) -> None:
    event = _event("n", "MatMulNBits", "float", "float", *zero_points)
    assert _read(tmp_path, event)[0].type == "float32"


def test_only_multiplying_kernels_count_and_know_their_device() -> None:
    kernels = [
        Kernel("conv_token_1", "QLinearConv", CUDA, "int8"),
        Kernel("relu", "Relu", CUDA, "float32"),
        Kernel("classify", "FusedGemm", CPU, "float32"),
    ]
    found = [(kernel.names, kernel.ran) for kernel in multiplying_kernels(kernels, CUDA)]
    assert found == [
        (("conv_token_1",), Ran("int8")),
        (("classify",), Ran("float32", on_device=False)),
    ]


def _at(event: dict[str, object], begin: int, length: int) -> dict[str, object]:
    return {**event, "ts": begin, "dur": length}


def test_what_repeats_others_multiplies_in_what_they_do(tmp_path: Path) -> None:
    """A loop's own types are those of its counter and its condition, whatever its body computes in."""
    kernels = _read(
        tmp_path,
        _at(_event("before", "MatMul", "float16"), 0, 5),
        _at(_event("step", "MatMul", "float", "float"), 12, 3),
        _at(_event("other", "Add", "int32"), 16, 3),
        _at(_event("inner", "Loop", "int64", "bool"), 11, 8),
        _at(_event("while", "Loop", "int64", "bool"), 10, 10),
        _at(_event("after", "Gemm", "float16"), 21, 5),
    )
    ran = {kernel.names[0]: kernel.ran.type for kernel in multiplying_kernels(kernels, CPU)}
    assert ran["while"] == ran["inner"] == "float32"
    assert ran["before"] == ran["after"] == "float16"


def test_what_repeats_kernels_of_several_types_or_none_is_not_known(tmp_path: Path) -> None:
    kernels = _read(
        tmp_path,
        _at(_event("one", "MatMul", "float"), 1, 1),
        _at(_event("two", "MatMul", "float16"), 3, 1),
        _at(_event("mixed", "Scan", "float"), 0, 5),
        _at(_event("empty", "Loop", "int64"), 7, 5),
    )
    ran = {kernel.names[0]: kernel.ran.type for kernel in multiplying_kernels(kernels, CPU)}
    assert ran["mixed"] == ran["empty"] == "unknown"
