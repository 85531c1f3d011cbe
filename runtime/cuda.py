"""What the NVIDIA driver says, asked of the driver library itself: no toolkit, no package.

TensorRT crashes the process, and ONNX Runtime silently runs on the CPU, where there is no driver; so
every backend asks here first.
"""

from __future__ import annotations

import ctypes
from functools import cache

from runtime.errors import UnavailableError

_DRIVER = "libcuda.so.1"
_MANAGEMENT = "libnvidia-ml.so.1"
_TEXT_BYTES = 100
_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h)."""


@cache
def device_names() -> tuple[str, ...]:
    """Names of the GPUs the driver shows, by index; empty without a driver or a GPU."""
    try:
        driver = ctypes.CDLL(_DRIVER)
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
        ctypes.CDLL(_DRIVER)
    except OSError:
        return f"no NVIDIA driver ({_DRIVER} not found): run on a machine with an NVIDIA GPU and its driver"
    return "the NVIDIA driver shows no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"


def compute_capability(index: int) -> str:
    """That of a GPU that `device_names` shows ("9.0")."""
    driver = ctypes.CDLL(_DRIVER)
    device, numbers = _device(driver, index), []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        _check(driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
        numbers.append(value.value)
    return ".".join(map(str, numbers))


def driver_version() -> str:
    """Of the driver and the CUDA it brings: "580.82.07 (CUDA 13.0)"; only where there is a driver."""
    version = ctypes.c_int()
    _check(ctypes.CDLL(_DRIVER).cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    return f"{_package_version()} (CUDA {version.value // 1000}.{version.value % 1000 // 10})"


def make_current(index: int) -> None:
    """Let the calling thread work on a GPU, in the context that libraries share (its primary one)."""
    driver, context = ctypes.CDLL(_DRIVER), ctypes.c_void_p()
    device = _device(driver, index)
    _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    _check(driver.cuCtxSetCurrent(context), "cuCtxSetCurrent")


def _name(driver: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_TEXT_BYTES)
    if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, _TEXT_BYTES, device):
        return "NVIDIA GPU"
    return name.value.decode(errors="replace")


def _device(driver: ctypes.CDLL, index: int) -> ctypes.c_int:
    device = ctypes.c_int()
    _check(driver.cuInit(0), "cuInit")
    _check(driver.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    return device


def _package_version() -> str:
    """What `nvidia-smi` calls the driver's version; containers may lack the library that tells it."""
    try:
        management = ctypes.CDLL(_MANAGEMENT)
    except OSError:
        return "driver"
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    if management.nvmlInit_v2() or management.nvmlSystemGetDriverVersion(text, _TEXT_BYTES):
        return "driver"
    return text.value.decode(errors="replace")


def _check(status: int, call: str) -> None:
    if status:
        raise UnavailableError(f"the NVIDIA driver's {call} says {status}, expected 0: look at `nvidia-smi`")
