"""The precisions a graph can be written at."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Numeric format of the heavy operators in a file; inputs and outputs stay as in FP32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_MIXED = "int8-mixed"
    FP8 = "fp8"
    INT4 = "int4"

    @property
    def kernel_type(self) -> str:
        """NumPy name of the type a kernel must compute in to be called this precision."""
        return _KERNEL_TYPE[self]

    @property
    def description(self) -> str:
        """What a file at this precision is, in a line."""
        return _DESCRIPTION[self]

    @property
    def needs_ranges(self) -> bool:
        """Whether calibrated ranges give the scales of its activations."""
        return self in _OF_RANGES

    @property
    def is_half(self) -> bool:
        """Whether its values have 16 bits, and how large they get decides which do not."""
        return self in _HALVES


_KERNEL_TYPE = {
    Precision.FP32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    Precision.INT8: "int8",
    Precision.INT8_MIXED: "int8",
    Precision.FP8: "float8_e4m3fn",
    Precision.INT4: "float32",
}

_DESCRIPTION = {
    Precision.FP32: "as exported",
    Precision.FP16: "values of 16 bits, but for what would leave their range",
    Precision.BF16: "the same in bfloat16: float32's range, fewer digits",
    Precision.INT8: "symmetric Q/DQ, calibrated: activations by tensor, weights by output channel",
    Precision.INT8_MIXED: "int8, but for the layers that `bench sensitivity` found to need a float",
    Precision.FP8: "Q/DQ in E4M3, calibrated: Conv, Gemm and MatMul; where a device has no FP8, emulated",
    Precision.INT4: "weights of matrix products in 4 bits, a scale a block; arithmetic in float32",
}

_HALVES = frozenset({Precision.FP16, Precision.BF16})
_OF_RANGES = frozenset({Precision.INT8, Precision.INT8_MIXED, Precision.FP8})
