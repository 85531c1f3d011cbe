"""Queries of the TensorRT backend on doubles of TensorRT and CUDA: what is queued, and in which order."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtime.backend import Boundary, SessionOptions
from runtime.errors import FeedError, UnavailableError, UnsupportedError, UsageError
from runtime.reference import ReferenceBackend
from runtime.trt import TensorRTBackend, TensorRTSession
from runtime.trt_query import DeviceQuery, Overlapping
from tests.models import CONV_CHAIN, MODELS
from tests.runtime.gpu_double import CudaRuntime, Status
from tests.runtime.trt_double import TensorRT, install

GROWING = """<ir_version: 10, opset_import: ["": 22]>
    g (float[b,4] x) => (int64[2,found] where_it_is, float[b,4] y)
    { where_it_is = NonZero(x) y = Relu(x) }"""
UNREAD = """<ir_version: 10, opset_import: ["": 22]>
    g (float[b,4] x, float[b,2] unread) => (float[b,4] y) { y = Relu(x) }"""
SIZES = """<ir_version: 10, opset_import: ["": 22]> g (float[b,4] x) => (float[b,4] y, int64[2] sizes)
    { y = Relu(x) sizes = Shape(x) }"""


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    return install(monkeypatch, tmp_path / "home", [])


@pytest.fixture
def cuda(tensorrt: TensorRT) -> CudaRuntime:
    return tensorrt.cuda


def _open(folder: Path, text: str = "", **options: str) -> TensorRTSession:
    path = folder / "g.onnx"
    if text:
        ir.save(ir.from_onnx_text(text), path)
    else:
        path = CONV_CHAIN.write(folder)
    return TensorRTBackend().open(path, "cuda:0", SessionOptions(provider_options=options))


def _bound(session: TensorRTSession, boundary: Boundary, seed: int = 0) -> DeviceQuery:
    query = session.bind(CONV_CHAIN.feed(seed=seed), boundary)
    assert isinstance(query, DeviceQuery)
    return query


def _calls(cuda: CudaRuntime, query: DeviceQuery) -> list[str]:
    cuda.calls.clear()
    query.run()
    return [call.removeprefix("cuda") for call in cuda.calls]


@pytest.mark.parametrize(
    ("boundary", "graph", "calls"),
    [
        (Boundary.DEVICE, "0", ["StreamSynchronize"]),
        (Boundary.HOST, "0", ["MemcpyAsync", "MemcpyAsync", "StreamSynchronize"]),
        (Boundary.DEVICE, "1", ["GraphLaunch", "StreamSynchronize"]),
        (Boundary.HOST, "1", ["GraphLaunch", "StreamSynchronize"]),
    ],
)
def test_a_run_allocates_nothing_and_waits_once(
    boundary: Boundary, graph: str, calls: list[str], cuda: CudaRuntime, tmp_path: Path
) -> None:
    with _open(tmp_path, cuda_graph=graph) as session:
        assert _calls(cuda, _bound(session, boundary)) == calls


def test_a_capture_comes_after_a_run_that_was_waited_for(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path, cuda_graph="1") as session:
        _bound(session, Boundary.DEVICE)
    begin = cuda.calls.index("cudaStreamBeginCapture")
    assert cuda.calls[begin - 1] == "cudaStreamSynchronize"
    assert [call.removeprefix("cuda") for call in cuda.calls[begin + 1 : begin + 6]] == [
        "StreamEndCapture",
        "GraphInstantiate",
        "GraphDestroy",
        "GraphLaunch",
        "StreamSynchronize",
    ]


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("boundary", Boundary)
def test_the_run_before_a_capture_is_one_of_the_feed(boundary: Boundary, tmp_path: Path) -> None:
    """What memory holds before would be indices outside their table, at which a GPU faults."""
    model, options = MODELS["embedding"], SessionOptions(provider_options={"cuda_graph": "1"})
    with TensorRTBackend().open(model.write(tmp_path), "cuda:0", options) as session:
        assert session.bind(model.feed(), boundary).outputs()["y"].shape == (3, 6, 8)


def test_a_graph_is_given_back_with_its_query(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path, cuda_graph="1") as session:
        query = _bound(session, Boundary.DEVICE)
        assert len(cuda.graphs) == 1
        del query
        assert cuda.graphs == {}


@pytest.mark.parametrize("call", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
@pytest.mark.parametrize("boundary", Boundary)
def test_a_capture_that_fails_is_ended_and_the_query_runs_without(
    call: str, boundary: Boundary, cuda: CudaRuntime, tmp_path: Path
) -> None:
    cuda.failing[call] = Status.cudaErrorStreamCaptureUnsupported
    with _open(tmp_path) as plain, _open(tmp_path, cuda_graph="1") as session:
        query = _bound(session, boundary)
        assert "GraphLaunch" not in _calls(cuda, query)
        np.testing.assert_array_equal(query.outputs()["y"], plain.run(CONV_CHAIN.feed())["y"])
        told = session.executed().settings["cuda_graph"]
    assert told.startswith(f"1, but for some queries: {call} says cudaErrorStreamCaptureUnsupported")
    assert cuda.error == Status.cudaSuccess  # cleared: the next call would report it as its own
    assert cuda.graphs == {}


def test_a_query_that_cannot_be_captured_runs_without_a_graph(
    cuda: CudaRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT says no to an enqueue in a capture of what synchronises."""
    from tests.runtime.trt_double import Context

    real = Context.execute_async_v3
    monkeypatch.setattr(
        Context,
        "execute_async_v3",
        lambda self, stream: not cuda.capturing(stream) and real(self, stream),
    )
    with _open(tmp_path, cuda_graph="1") as session:
        query = _bound(session, Boundary.HOST)
        query.run()
        told = session.executed().settings["cuda_graph"]
    assert told.startswith("1, but for some queries: tensorrt did not accept the query")
    assert not cuda.capturing(1)


def test_pycuda_and_graphs_exclude_each_other(tensorrt: TensorRT, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cuda_graph=1 needs CUDA graphs, which pycuda has not"):
        _open(tmp_path, cuda_graph="1", cuda_api="pycuda")


@pytest.mark.parametrize("boundary", Boundary)
def test_two_queries_are_in_flight_on_streams_of_their_own(
    boundary: Boundary, cuda: CudaRuntime, tmp_path: Path
) -> None:
    with _open(tmp_path) as session:
        expected = [session.run(CONV_CHAIN.feed(seed=seed))["y"] for seed in (0, 1)]
        queries = [_bound(session, boundary, seed) for seed in (0, 1)]
        cuda.calls.clear()
        for query in queries:
            assert isinstance(query, Overlapping)
            query.start()
        assert "cudaStreamSynchronize" not in cuda.calls
        for query, want in zip(queries, expected, strict=True):
            query.wait()
            np.testing.assert_array_equal(query.outputs()["y"], want)
        assert cuda.streams == 3  # the two, and that of `session.run`


def test_the_host_boundary_starts_from_the_arrays_as_they_are_now(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path) as session:
        feed = {"x": CONV_CHAIN.feed()["x"].copy()}
        host, device = session.bind(feed, Boundary.HOST), session.bind(feed, Boundary.DEVICE)
        first = session.run(feed)["y"]
        feed["x"][...] = CONV_CHAIN.feed(seed=1)["x"]
        host.run()
        device.run()
        np.testing.assert_array_equal(host.outputs()["y"], session.run(feed)["y"])
        np.testing.assert_array_equal(device.outputs()["y"], first)


def test_copies_of_the_host_boundary_are_between_device_and_pinned_memory(
    cuda: CudaRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[bool] = []
    real = CudaRuntime.cudaMemcpyAsync

    def copy(self: CudaRuntime, target: int, source: int, size: int, kind: int, stream: int) -> object:
        copied.append({target, source} & self.pinned.keys() != set())
        return real(self, target, source, size, kind, stream)

    with _open(tmp_path) as session:
        query = _bound(session, Boundary.HOST)
        monkeypatch.setattr(CudaRuntime, "cudaMemcpyAsync", copy)
        query.run()
    assert copied == [True, True]


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("boundary", Boundary)
def test_an_output_of_a_shape_that_depends_on_data_grows(boundary: Boundary, tmp_path: Path) -> None:
    """And the next run may find less, or more: oracle is NumPy's nonzero."""
    with _open(tmp_path, GROWING) as session:
        x = np.array([[1, 0, 2, 0], [0, 0, 0, 3]], np.float32)
        feed = {"x": x}
        query = session.bind(feed, boundary)
        first = query.outputs()
        np.testing.assert_array_equal(first["where_it_is"], np.nonzero(x))
        np.testing.assert_array_equal(first["y"], x)
        for values in (0, 1):
            other = session.run({"x": np.full((2, 4), values, np.float32)})
            np.testing.assert_array_equal(other["where_it_is"], np.nonzero(np.full((2, 4), values)))


def test_memory_that_grew_is_kept_for_smaller_answers(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path, GROWING) as session:
        session.run({"x": np.ones((2, 4), np.float32)})
        cuda.calls.clear()
        session.run({"x": np.eye(2, 4, dtype=np.float32)})
        assert "cudaMalloc" not in cuda.calls


def test_an_answer_that_the_memory_does_not_hold_is_said_and_the_next_one_answered(
    cuda: CudaRuntime, tmp_path: Path
) -> None:
    with _open(tmp_path, GROWING) as session:
        session.run({"x": np.zeros((2, 4), np.float32)})
        cuda.capacity = 100
        with pytest.raises(UnavailableError, match="cudaMalloc says cudaErrorMemoryAllocation"):
            session.run({"x": np.ones((2, 4), np.float32)})
        cuda.capacity = 1000
        assert session.run({"x": np.ones((2, 4), np.float32)})["where_it_is"].shape == (2, 8)


@pytest.mark.usefixtures("cuda")
def test_where_shapes_depend_on_data_there_is_no_graph(tmp_path: Path) -> None:
    with _open(tmp_path, GROWING, cuda_graph="1") as session:
        session.run({"x": np.ones((2, 4), np.float32)})
        assert session.executed().settings["cuda_graph"] == (
            "1, but for some queries: the shape of output where_it_is depends on data"
        )


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("boundary", Boundary)
def test_an_input_that_the_engine_dropped_is_not_placed(boundary: Boundary, tmp_path: Path) -> None:
    with _open(tmp_path, UNREAD) as session:
        feed = {"x": np.ones((3, 4), np.float32), "unread": np.ones((3, 2), np.float32)}
        np.testing.assert_array_equal(session.bind(feed, boundary).outputs()["y"], feed["x"])


@pytest.mark.parametrize("boundary", Boundary)
def test_sizes_are_left_in_host_memory(boundary: Boundary, tensorrt: TensorRT, tmp_path: Path) -> None:
    tensorrt.on_host = {"sizes"}
    with _open(tmp_path, SIZES) as session:
        query = session.bind({"x": np.ones((3, 4), np.float32)}, boundary)
        assert list(query.outputs()) == ["y", "sizes"]
        np.testing.assert_array_equal(query.outputs()["sizes"], [3, 4])


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("boundary", Boundary)
def test_tensors_without_elements_have_an_address(boundary: Boundary, tmp_path: Path) -> None:
    with _open(tmp_path, SIZES) as session:
        query = session.bind({"x": np.empty((0, 4), np.float32)}, boundary)
        assert query.outputs()["y"].shape == (0, 4)


@pytest.mark.parametrize("graph", ["0", "1"])
def test_the_devices_time_is_that_between_two_events(graph: str, cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path, cuda_graph=graph) as session:
        query = _bound(session, Boundary.DEVICE)
        cuda.calls.clear()
        assert query.device_ns() == 250_000
        assert cuda.calls.count("cudaEventRecord") == 2
        assert cuda.events == set()


def test_a_query_runs_in_another_thread_on_its_own_device(cuda: CudaRuntime, tmp_path: Path) -> None:
    """CUDA keeps the current device by thread."""
    with _open(tmp_path) as session:
        query = _bound(session, Boundary.DEVICE)
        cuda.devices.clear()
        thread = threading.Thread(target=lambda: list(map(DeviceQuery.run, [query, query])))
        thread.start()
        thread.join()
    assert cuda.devices == [0]


def test_a_fault_of_the_device_is_told_when_it_is_waited_for(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(tmp_path) as session:
        query = _bound(session, Boundary.DEVICE)
        cuda.failing["cudaStreamSynchronize"] = Status.cudaErrorIllegalAddress
        with pytest.raises(
            UnavailableError, match="says cudaErrorIllegalAddress; start again in a new process"
        ):
            query.run()


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("method", "answer", "error", "match"),
    [
        (
            "set_input_shape",
            False,
            FeedError,
            r"does not take input 'x' of shape \[3, 4, 8, 8\]: it gives no",
        ),
        ("infer_shapes", ["x"], UnsupportedError, "does not know the shape of x in this engine"),
    ],
)
def test_a_shape_that_tensorrt_does_not_take_is_told(
    method: str, answer: object, error: type[Exception], match: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(f"tests.runtime.trt_double.Context.{method}", lambda self, *arguments: answer)
    with _open(tmp_path) as session, pytest.raises(error, match=match):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("cuda")
def test_shapes_that_do_not_go_together_are_a_feed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def infer(self: object) -> list[str]:
        raise RuntimeError("shape inference failed")

    monkeypatch.setattr("tests.runtime.trt_double.Context.infer_shapes", infer)
    with _open(tmp_path) as session, pytest.raises(FeedError, match="finds no shapes for this feed"):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("cuda")
def test_answers_are_the_references_for_every_tiny_model(tmp_path: Path) -> None:
    for model in MODELS.values():
        if model.computes in ("bfloat16", "int8", "float8_e4m3fn"):
            continue  # the double has no names of their types, inputs and outputs being floats all the same
        with (
            ReferenceBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as reference,
            TensorRTBackend().open(model.write(tmp_path), "cuda:0", SessionOptions()) as session,
        ):
            expected = reference.run(model.feed())
            for name, array in session.run(model.feed()).items():
                np.testing.assert_array_equal(array, expected[name])
