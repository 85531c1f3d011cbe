"""The driver library, asked through doubles of the libraries that are loaded."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from runtime import cuda
from runtime.errors import UnavailableError

CONTEXT = 0xC0
CUDA_VERSION = 13010


class Driver:
    """The calls of libcuda for GPUs by name, and those of NVML."""

    def __init__(self, names: tuple[str, ...], status: int = 0) -> None:
        self._names = names
        self._status = status
        self.current: list[int | None] = []
        self.retained: list[int] = []

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's own name
        return self._status

    def cuDeviceGetCount(self, count: ctypes.c_int) -> int:  # noqa: N802
        count._obj.value = len(self._names)  # type: ignore[attr-defined]  # what byref points to
        return 0

    def cuDeviceGet(self, device: ctypes.c_int, index: int) -> int:  # noqa: N802
        device._obj.value = index  # type: ignore[attr-defined]
        return 0 if index < len(self._names) else 101  # CUDA_ERROR_INVALID_DEVICE

    def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], size: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self._names[device.value].encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, value: ctypes.c_int, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = {75: (9, 8), 76: (0, 9)}[attribute][device.value]  # type: ignore[attr-defined]
        return 0

    def cuDriverGetVersion(self, version: ctypes.c_int) -> int:  # noqa: N802
        version._obj.value = CUDA_VERSION  # type: ignore[attr-defined]
        return self._status

    def cuDevicePrimaryCtxRetain(self, context: ctypes.c_void_p, device: ctypes.c_int) -> int:  # noqa: N802
        context._obj.value = CONTEXT + device.value  # type: ignore[attr-defined]
        self.retained.append(device.value)
        return 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:  # noqa: N802
        self.current.append(context.value)
        return 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._status

    def nvmlSystemGetDriverVersion(self, text: ctypes.Array[ctypes.c_char], size: int) -> int:  # noqa: N802
        text.value = b"580.82.07"
        return 0


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    cuda.device_names.cache_clear()
    yield
    cuda.device_names.cache_clear()


def _load(monkeypatch: pytest.MonkeyPatch, driver: Driver, *absent: str) -> None:
    def load(name: str) -> Driver:
        if name in absent:
            raise OSError(f"{name}: cannot open shared object file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_devices_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, Driver(("H200", "L40S")))
    assert cuda.device_names() == ("H200", "L40S")
    assert cuda.missing() is None


@pytest.mark.parametrize("driver", [Driver(()), Driver(("H200",), status=100)])  # 100: CUDA_ERROR_NO_DEVICE
def test_a_driver_without_a_gpu_says_so(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, driver)
    assert cuda.device_names() == ()
    assert cuda.missing() == "the NVIDIA driver shows no GPU: check `nvidia-smi` and CUDA_VISIBLE_DEVICES"


def test_no_driver_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, Driver(()), "libcuda.so.1")
    assert cuda.device_names() == ()
    assert "no NVIDIA driver (libcuda.so.1 not found): run on a machine" in str(cuda.missing())


def test_each_device_has_its_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, Driver(("H200", "L40S")))
    assert [cuda.compute_capability(index) for index in range(2)] == ["9.0", "8.9"]


def test_the_drivers_version_is_its_own_and_that_of_its_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, Driver(("H200",)))
    assert cuda.driver_version() == "580.82.07 (CUDA 13.1)"


def test_without_nvml_the_drivers_version_is_that_of_its_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers may have the driver without it."""
    _load(monkeypatch, Driver(("H200",)), "libnvidia-ml.so.1")
    assert cuda.driver_version() == "driver (CUDA 13.1)"


def test_the_shared_context_of_a_device_is_made_current(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(("H200", "L40S"))
    _load(monkeypatch, driver)
    cuda.make_current(1)
    assert (driver.retained, driver.current) == ([1], [CONTEXT + 1])


def test_a_call_that_fails_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _load(monkeypatch, Driver(("H200",)))
    with pytest.raises(
        UnavailableError, match="the NVIDIA driver's cuDeviceGet says 101, expected 0: look at"
    ):
        cuda.make_current(1)
    _load(monkeypatch, Driver(("H200",), status=999))
    with pytest.raises(UnavailableError, match="cuInit says 999"):
        cuda.compute_capability(0)
    with pytest.raises(UnavailableError, match="cuDriverGetVersion says 999"):
        cuda.driver_version()
