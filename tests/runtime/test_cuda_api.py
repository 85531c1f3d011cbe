"""Both adapters of CUDA on doubles of their packages: the same cases, and what only one of them has."""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runtime import cuda_apis
from runtime.cuda_api import CudaApi
from runtime.cuda_apis import CUDA_APIS
from runtime.cuda_memory import Buffer, Stream
from runtime.errors import UnavailableError, UnsupportedError, UsageError
from tests.runtime.gpu_double import CudaRuntime, Status


class PyCudaDriver(ModuleType):
    """pycuda.driver, on the memory of the other double; its objects give back when they are let go."""

    class Error(Exception):
        """What pycuda raises."""

    def __init__(self, runtime: CudaRuntime) -> None:
        super().__init__("pycuda.driver")
        self.runtime = runtime
        self.stack: list[int] = []
        self.initialised = 0
        self.Device = _Devices(self)

    def init(self) -> None:
        self.initialised += 1

    def mem_alloc(self, size: int) -> Any:
        return _Given(self, self.checked(self.runtime.cudaMalloc(size)), self.runtime.cudaFree)

    def pagelocked_empty(self, shape: int, dtype: type) -> np.ndarray:
        assert dtype is np.uint8
        given = _Given(self, self.checked(self.runtime.cudaMallocHost(shape)), self.runtime.cudaFreeHost)
        memory: Any = (ctypes.c_char * shape).from_address(int(given))
        memory.owner = given  # as pycuda's arrays have their allocation for base
        return np.ndarray((shape,), np.uint8, memory)

    def Stream(self, flags: int) -> Any:  # noqa: N802
        return _Stream(self, flags)

    def Event(self) -> Any:  # noqa: N802
        return _Event(self)

    def memcpy_htod_async(self, target: int, source: Any, stream: Any) -> None:
        address = ctypes.addressof(source)
        self.checked(self.runtime.cudaMemcpyAsync(target, address, len(source), 1, stream.handle))

    def memcpy_dtoh_async(self, target: Any, source: int, stream: Any) -> None:
        address = ctypes.addressof(target)
        self.checked(self.runtime.cudaMemcpyAsync(address, source, len(target), 2, stream.handle))

    def checked(self, answer: Any) -> Any:
        status, *values = answer
        if status:
            raise self.Error(f"{Status(status).name}:\nout of memory")
        return values[0] if values else None


class _Devices:
    """The class Device of pycuda: its instances, and how many devices there are."""

    def __init__(self, driver: PyCudaDriver) -> None:
        self._driver = driver

    def __call__(self, index: int) -> _Device:
        return _Device(self._driver, index)

    def count(self) -> int:
        return self._driver.runtime.count


class _Device:
    def __init__(self, driver: PyCudaDriver, index: int) -> None:
        self._driver = driver
        self._index = index

    def retain_primary_context(self) -> Any:
        return _Context(self._driver, self._index)


class _Context:
    def __init__(self, driver: PyCudaDriver, index: int) -> None:
        self._driver = driver
        self._index = index

    def push(self) -> None:
        self._driver.stack.append(self._index)
        self._driver.runtime.cudaSetDevice(self._index)

    def pop(self) -> None:
        self._driver.stack.pop()


class _Given:
    def __init__(self, driver: PyCudaDriver, address: int, free: Callable[[int], object]) -> None:
        assert driver.stack  # pycuda refuses to allocate without a context
        self._address = address
        self._free = free

    def __int__(self) -> int:
        return self._address

    def __del__(self) -> None:
        self._free(self._address)


class _Stream:
    def __init__(self, driver: PyCudaDriver, flags: int) -> None:
        assert driver.stack
        self._driver = driver
        self.handle = driver.checked(driver.runtime.cudaStreamCreateWithFlags(flags))

    def synchronize(self) -> None:
        self._driver.checked(self._driver.runtime.cudaStreamSynchronize(self.handle))

    def __del__(self) -> None:
        self._driver.runtime.cudaStreamDestroy(self.handle)


class _Event:
    def __init__(self, driver: PyCudaDriver) -> None:
        self._driver = driver
        self.number = driver.checked(driver.runtime.cudaEventCreate())

    def record(self, stream: _Stream) -> None:
        self._driver.checked(self._driver.runtime.cudaEventRecord(self.number, stream.handle))

    def time_till(self, end: _Event) -> float:
        return float(self._driver.checked(self._driver.runtime.cudaEventElapsedTime(self.number, end.number)))

    def __del__(self) -> None:
        self._driver.runtime.cudaEventDestroy(self.number)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaRuntime:
    runtime = CudaRuntime()
    bindings, driver = ModuleType("cuda.bindings"), PyCudaDriver(runtime)
    package = ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    bindings.runtime = runtime  # type: ignore[attr-defined]
    monkeypatch.setattr(atexit, "register", lambda function: function)
    for name, module in {
        "cuda": ModuleType("cuda"), "cuda.bindings": bindings, "cuda.bindings.runtime": runtime,
        "pycuda": package, "pycuda.driver": driver,
    }.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    return runtime


@pytest.fixture(params=CUDA_APIS)
def api(request: pytest.FixtureRequest, cuda: CudaRuntime) -> CudaApi:
    adapter = CUDA_APIS[request.param]()
    adapter.use(0)
    return adapter


def test_arrays_go_to_the_device_and_come_back(api: CudaApi) -> None:
    stream = Stream(api, 1)
    buffer, pinned = stream.allocate(24), stream.pin((2, 3), "float32")
    pinned.array[...] = np.arange(6).reshape(2, 3)
    stream.upload(buffer, pinned.array)
    landed = np.zeros((2, 3), np.float32)
    stream.download(landed, buffer)
    assert not landed.any()  # queued only
    stream.wait()
    np.testing.assert_array_equal(landed, np.arange(6).reshape(2, 3))


def test_all_that_was_taken_is_given_back(api: CudaApi, cuda: CudaRuntime) -> None:
    stream = Stream(api, 0)
    buffer, pinned = stream.allocate(4), stream.pin((), "int64")
    assert stream.time_ns(lambda: None) == 250_000
    assert (cuda.allocations, cuda.streams, len(cuda.pinned)) == (1, 1, 1)
    del stream, buffer, pinned
    gc.collect()
    assert (cuda.allocations, cuda.streams, len(cuda.pinned), cuda.events) == (0, 0, 0, set())


def test_a_tensor_without_elements_takes_a_byte_and_no_copy(api: CudaApi, cuda: CudaRuntime) -> None:
    stream = Stream(api, 0)
    buffer, pinned = stream.allocate(0), stream.pin((0, 4), "float16")
    assert pinned.array.shape == (0, 4)
    stream.upload(buffer, pinned.array)
    stream.download(pinned.array, buffer)
    assert "cudaMemcpyAsync" not in cuda.calls


def test_the_device_is_that_of_the_stream(api: CudaApi, cuda: CudaRuntime) -> None:
    cuda.devices.clear()
    stream = Stream(api, 1)
    stream.enter()
    assert cuda.devices == [1]
    assert api.device_count() == 2


def test_a_call_that_fails_is_said_in_one_line(api: CudaApi, cuda: CudaRuntime) -> None:
    cuda.capacity = 10
    with pytest.raises(UnavailableError, match=r"cudaErrorMemoryAllocation.*take a smaller batch") as caught:
        Stream(api, 0).allocate(11)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("cuda")
def test_a_capture_notes_and_does_nothing_until_it_is_launched() -> None:
    api = CUDA_APIS["cuda-bindings"]()
    stream = Stream(api, 0)
    buffer, pinned, landed = stream.allocate(4), stream.pin((1,), "int32"), stream.pin((1,), "int32")

    def both() -> None:
        stream.upload(buffer, pinned.array)
        stream.download(landed.array, buffer)

    graph = stream.capture(both)
    for value in (7, 8):
        pinned.array[...] = value
        stream.wait()
        assert landed.array != value
        graph.launch()
        stream.wait()
        assert landed.array == value


def test_a_capture_that_allocates_is_none_and_leaves_no_error(cuda: CudaRuntime) -> None:
    stream, allocated = Stream(CUDA_APIS["cuda-bindings"](), 0), list[Buffer]()
    with pytest.raises(
        UnavailableError, match="cudaMalloc says cudaErrorStreamCaptureUnsupported; start again"
    ):
        stream.capture(lambda: allocated.append(stream.allocate(1)))
    assert cuda.error == Status.cudaSuccess
    assert not cuda.capturing(stream.handle)
    stream.wait()


@pytest.mark.usefixtures("cuda")
def test_pycuda_has_no_graphs_and_says_so() -> None:
    api = CUDA_APIS["pycuda"]()
    stream = Stream(api, 0)
    with pytest.raises(
        UnsupportedError, match="pycuda has no CUDA graphs: take cuda_api=cuda-bindings, or leav"
    ):
        stream.capture(lambda: None)
    for call in (api.end_capture, lambda handle: api.launch(1, handle)):
        with pytest.raises(UnsupportedError, match="no CUDA graphs"):
            call(stream.handle)
    api.destroy_graph(1)


def test_pycuda_enters_the_shared_context_once_and_leaves_it_at_the_end(
    cuda: CudaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of itself pycuda ends a process that leaves a context with SIGABRT."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    api = CUDA_APIS["pycuda"]()
    driver = sys.modules["pycuda.driver"]
    assert isinstance(driver, PyCudaDriver)
    for _ in range(2):
        api.use(1)
    assert (driver.initialised, driver.stack, cuda.devices) == (1, [1], [1])
    for leave in at_exit:
        leave()
    assert driver.stack == []


@pytest.mark.usefixtures("cuda")
def test_pycuda_keeps_to_one_thread() -> None:
    api = CUDA_APIS["pycuda"]()
    raised: list[UsageError] = []

    def elsewhere() -> None:
        try:
            api.use(0)
        except UsageError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "pycuda works in the thread that opened the session only" in str(raised[0])


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("cuda-bindings", "cuda.bindings.runtime", ".[trt]"), ("pycuda", "pycuda.driver", ".[pycuda]")],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    name: str, module: str, extra: str, cuda: CudaRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda_apis.missing(name) is None
    monkeypatch.setitem(sys.modules, module, None)
    assert cuda_apis.missing(name) == f"{name} is not installed: pip install '{extra}' in the clone"


def test_a_package_that_does_not_load_says_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pycuda without a driver."""
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    (tmp_path / "pycuda" / "driver.py").write_text("raise ImportError('libcuda.so.1: cannot\\nopen')")
    for name in ("pycuda", "pycuda.driver"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    reason = cuda_apis.missing("pycuda")
    monkeypatch.delitem(sys.modules, "pycuda", raising=False)
    assert (
        reason == "pycuda does not load (libcuda.so.1: cannot open): install its libraries, or reinstall it"
    )
