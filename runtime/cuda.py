"""What the NVIDIA driver says, asked of the driver library itself: no toolkit, no context, no package.

TensorRT crashes the process, and ONNX Runtime silently runs on the CPU, where there is no driver; so
every backend asks here first.
"""

from __future__ import annotations

import ctypes
from functools import cache

_NAME_BYTES = 100


@cache
def device_names() -> tuple[str, ...]:
    """Names of the GPUs the driver shows, by index; empty without a driver or a GPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_name(driver, index) for index in range(count.value))


def missing() -> str | None:
    """Why no CUDA device can be used here, or None."""
    if device_names():
        return None
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1 not found): run on a machine with an NVIDIA GPU and its driver"
    return "the NVIDIA driver shows no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"


def _name(driver: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, _NAME_BYTES, device):
        return "NVIDIA GPU"
    return name.value.decode(errors="replace")
