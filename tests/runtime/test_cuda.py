from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from runtime import cuda


class Driver:
    """The four calls of libcuda, for two GPUs."""

    def __init__(self, names: tuple[str, ...], status: int = 0) -> None:
        self._names = names
        self._status = status

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's own name
        return self._status

    def cuDeviceGetCount(self, count: ctypes.c_int) -> int:  # noqa: N802
        count._obj.value = len(self._names)  # type: ignore[attr-defined]  # what byref points to
        return 0

    def cuDeviceGet(self, device: ctypes.c_int, index: int) -> int:  # noqa: N802
        device._obj.value = index  # type: ignore[attr-defined]
        return 0

    def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], size: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self._names[device.value].encode()[: size - 1]
        return 0


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    cuda.device_names.cache_clear()
    yield
    cuda.device_names.cache_clear()


def test_devices_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(("H200", "L40S")))
    assert cuda.device_names() == ("H200", "L40S")
    assert cuda.missing() is None


@pytest.mark.parametrize("driver", [Driver(()), Driver(("H200",), status=100)])  # 100: CUDA_ERROR_NO_DEVICE
def test_a_driver_without_a_gpu_says_so(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda.device_names() == ()
    assert cuda.missing() == "the NVIDIA driver shows no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"


def test_no_driver_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Driver:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert cuda.device_names() == ()
    assert "no NVIDIA driver (libcuda.so.1 not found): run on a machine" in str(cuda.missing())
