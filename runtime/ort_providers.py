"""ONNX Runtime's execution providers: what each is called, which device it is for, how it is made comparable.

One that the table does not know is used all the same, by its full name, as is one of a library of a vendor's.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime import cuda
from runtime.backend import HOST, SessionOptions
from runtime.errors import UnavailableError, UsageError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True)
class Provider:
    """An execution provider, as a session is opened with it.

    memory:   of the device whose memory inputs and outputs lie in at the device boundary ("cuda").
    options:  what it is given unless the user says otherwise.
    refused:  options that would change a precision, and why that is not theirs to do.
    compiles: whether it takes whole subgraphs, so that no kernel of the profile bears a node's name.
    """

    name: str
    memory: str = HOST
    options: Mapping[str, str] = field(default_factory=dict)
    refused: Sequence[str] = ()
    compiles: bool = False


PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider(CPU),
    # An FP32 graph runs in float32 (TF32 is the provider's default); algorithms are searched in warm-up.
    "cuda": Provider(CUDA, "cuda", {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}),
    # With its precision flags off it builds a strongly typed network.
    "tensorrt": Provider(
        TENSORRT,
        "cuda",
        refused=(
            "trt_fp16_enable",
            "trt_bf16_enable",
            "trt_int8_enable",
            "trt_int8_use_native_calibration_table",
            "trt_int8_calibration_table_name",
        ),
        compiles=True,
    ),
    "openvino": Provider(OPENVINO, options={"device_type": "CPU"}, refused=("precision",), compiles=True),
}
"""Short name to provider."""


def chosen(device: str, options: SessionOptions) -> tuple[Provider, dict[str, str]]:
    """The provider for a device, or the one that was asked for, and its options.

    Raises UsageError for options it does not take, UnavailableError where this onnxruntime lacks it.
    """
    kind, _, index = device.partition(":")
    provider = _named(options.provider) if options.provider else PROVIDERS[kind]
    if (provider.memory == "cuda") != (kind == "cuda"):
        raise UsageError(
            f"{provider.name} runs on {provider.memory}, not on {device}: give --device"
            f" {provider.memory + ':0' if provider.memory == 'cuda' else provider.memory}"
        )
    _check_options(provider, options.provider_options)
    _check_there(provider, options.provider_library)
    number = {"device_id": index} if provider.memory == "cuda" else {}
    return provider, {**provider.options, **number, **options.provider_options}


def register(library: Path) -> None:
    """Load a vendor's plug-in; raises UnavailableError where it does not load."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        onnxruntime.register_execution_provider_library(library.stem, str(library))
    except (errors.Fail, errors.InvalidArgument, errors.RuntimeException) as error:
        if "already registered" in str(error):
            return
        raise UnavailableError(
            f"--provider-library {library} does not load: {' '.join(str(error).split())[-300:]}"
        ) from error


def plugged_in(name: str) -> list[Any]:
    """The devices of a provider that a library has brought; empty for one built in."""
    import onnxruntime

    return [device for device in onnxruntime.get_ep_devices() if device.ep_name == name and name != CPU]


def _named(name: str) -> Provider:
    """By short name, or by the full name of any other, whose inputs then come from the host's memory."""
    known = {provider.name: provider for provider in PROVIDERS.values()}
    if name.lower() in PROVIDERS:
        return PROVIDERS[name.lower()]
    if name in known:
        return known[name]
    if not name.endswith(_SUFFIX):
        near = difflib.get_close_matches(name.lower(), PROVIDERS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"unknown --provider {name!r}: {hint}give one of {', '.join(PROVIDERS)}, or another by its full"
            f" name, such as QNN{_SUFFIX}"
        )
    return Provider(name, compiles=True)


def _check_options(provider: Provider, given: Mapping[str, str]) -> None:
    if provider.name == CPU and given:
        raise UsageError(f"{CPU} takes no provider options, got {sorted(given)}; leave them out")
    forbidden = sorted(set(given) & set(provider.refused))
    if forbidden:
        raise UsageError(
            f"{provider.name}: {', '.join(forbidden)} would change the precision, which is the file's; give"
            " --precision instead"
        )


def _check_there(provider: Provider, library: Path | None) -> None:
    import onnxruntime

    if library is not None:
        register(library)
        if not plugged_in(provider.name):
            brought = sorted({each.ep_name for each in onnxruntime.get_ep_devices()} - {CPU})
            raise UnavailableError(
                f"{library} brings no {provider.name} for a device of this machine; it brings:"
                f" {', '.join(brought) or 'none'}"
            )
        return
    there = onnxruntime.get_available_providers()
    if provider.name not in there:
        raise UnavailableError(
            f"this onnxruntime is built without {provider.name}, it has {', '.join(there)}:"
            f" {_how_to_get(provider)}"
        )
    if provider.memory == "cuda" and (reason := cuda.missing()):
        raise UnavailableError(reason)


def _how_to_get(provider: Provider) -> str:
    if provider.memory == "cuda":
        return "pip uninstall onnxruntime, then pip install '.[gpu]' in the clone"
    if provider.name == OPENVINO:
        return "pip uninstall onnxruntime, then pip install onnxruntime-openvino; or use backend openvino"
    return "install its vendor's onnxruntime, or give the vendor's plug-in with --provider-library"
