"""The precisions a graph can be written at."""

from __future__ import annotations

from enum import StrEnum


class Precision(StrEnum):
    """Numeric format of the heavy operators in a file; inputs and outputs stay as in FP32."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"

    @property
    def kernel_type(self) -> str:
        """NumPy name of the type a kernel must compute in to be called this precision."""
        return _KERNEL_TYPE[self]


_KERNEL_TYPE = {
    Precision.FP32: "float32",
    Precision.FP16: "float16",
    Precision.BF16: "bfloat16",
    Precision.INT8: "int8",
}
