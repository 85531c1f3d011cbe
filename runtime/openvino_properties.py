"""What OpenVINO compiles with: properties of a device, with the inference precision pinned to the file's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import onnx_ir as ir

from runtime.backend import SessionOptions
from runtime.errors import UsageError, unknown_name

PRECISION = "INFERENCE_PRECISION_HINT"
_PINNED = (PRECISION, "EXECUTION_MODE_HINT")
"""Properties that decide what is computed in, which is the file's to say."""

CACHE = "CACHE_DIR"
"""A folder for compiled models; OpenVINO itself takes it, not a device."""

_HINTS = ((ir.DataType.BFLOAT16, "bf16", "BF16"), (ir.DataType.FLOAT16, "f16", "FP16"))
"""Type in the file, the hint that keeps it, and what the device calls the ability."""


@cache
def core() -> Any:
    """The only one of this process."""
    import openvino

    return openvino.Core()


def properties_of(model: ir.Model, device: str, options: SessionOptions) -> dict[str, str]:
    """For a graph on a device, the user's own over ours; raises as check_given."""
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        PRECISION: _precision_hint(model, device),
    }
    if "DYNAMIC_QUANTIZATION_GROUP_SIZE" in core().get_property(device, "SUPPORTED_PROPERTIES"):
        # NOTE: of itself (32) it quantises to int8 what is multiplied by weights of 4 bits: an error of 0.5 %
        # that the file does not ask for, and that no execution graph tells of.
        properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    if options.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = str(options.threads)
    check_given(options.provider_options, device)
    return {**properties, **options.provider_options}


def check_given(given: Mapping[str, str], device: str) -> None:
    """Raises UsageError for a property the device does not have, and for one that is the file's to decide."""
    for name in _PINNED:
        if name in given:
            raise UsageError(f"{name} is not to be set: the precision is the file's; give --precision for it")
    access = core().get_property(device, "SUPPORTED_PROPERTIES")
    known = {name for name, kind in access.items() if kind == "RW"} - set(_PINNED) | {CACHE}
    for name in given:
        if name not in known:
            raise unknown_name(f"property of openvino's {device}", name, known)


def _precision_hint(model: ir.Model, device: str) -> str:
    """The type that the file's own values have, where the device can compute in it; else float32."""
    found = {value.dtype for node in model.graph for value in node.outputs}
    found |= {value.dtype for value in model.graph.initializers.values()}
    abilities = core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return next((hint for dtype, hint, ability in _HINTS if dtype in found and ability in abilities), "f32")
