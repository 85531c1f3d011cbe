"""The TensorRT backends against doubles: the order and arguments of their calls, not TensorRT itself."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runtime import trt, trt_layers
from runtime.backend import Boundary, SessionOptions
from runtime.errors import FeedError, GraphError, UnavailableError, UnsupportedError, UsageError
from runtime.reference import ReferenceBackend
from runtime.trt import TensorRTBackend
from runtime.trt_library import RTX
from tests.models import CONV_CHAIN, FP16_CONV, PASSED_ON, TRANSFORMER, TinyModel
from tests.runtime.gpu_double import CudaRuntime, Status
from tests.runtime.trt_double import TensorRT, install

LAYERS = [
    {
        "Name": "conv1 + relu1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
        "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
        "TacticName": "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwckrsc_nhwc",
    },
    {
        "Name": "conv2 + relu2",
        "Inputs": [{"Name": "b", "Format/Datatype": "Half"}],
        "Metadata": "[ONNX Layer: conv2]\x1e[ONNX Layer: relu2]",
    },
]


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    return install(monkeypatch, tmp_path / "home", LAYERS)


@pytest.fixture
def cuda(tensorrt: TensorRT) -> CudaRuntime:
    return tensorrt.cuda


def _open(model: TinyModel, folder: Path, device: str = "cuda:0", **options: str) -> trt.TensorRTSession:
    chosen = SessionOptions(provider_options=options)
    return TensorRTBackend().open(model.write(folder), device, chosen)


@pytest.mark.usefixtures("tensorrt")
def test_devices_are_the_drivers() -> None:
    backend = TensorRTBackend()
    assert backend.unavailable() is None
    assert [(device.name, device.description) for device in backend.devices()] == [
        ("cuda:0", "H200"),
        ("cuda:1", "L40S"),
    ]
    assert backend.version() == "tensorrt 11.4.0"


@pytest.mark.usefixtures("tensorrt")
@pytest.mark.parametrize("graph", ["0", "1"])
@pytest.mark.parametrize("boundary", Boundary)
@pytest.mark.parametrize(
    "model", [CONV_CHAIN, TRANSFORMER, PASSED_ON, FP16_CONV], ids=lambda model: model.name
)
def test_arrays_reach_the_engine_and_come_back(
    model: TinyModel, boundary: Boundary, graph: str, tmp_path: Path
) -> None:
    with ReferenceBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as reference:
        expected = reference.run(model.feed())
    with _open(model, tmp_path, cuda_graph=graph) as session:
        query = session.bind(model.feed(), boundary)
        query.run()
        first = query.outputs()
        query.run()
        assert list(first) == list(expected)
        for name, array in first.items():
            np.testing.assert_array_equal(array, expected[name])
            assert not np.shares_memory(array, query.outputs()[name])


@pytest.mark.usefixtures("tensorrt")
def test_a_session_runs_feed_after_feed_of_any_shape(tmp_path: Path) -> None:
    with (
        ReferenceBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as reference,
        _open(CONV_CHAIN, tmp_path) as session,
    ):
        for batch, seed in ((2, 0), (2, 1), (3, 2), (2, 3)):
            feed = CONV_CHAIN.feed(batch, seed)
            np.testing.assert_array_equal(session.run(feed)["y"], reference.run(feed)["y"])


def test_feeds_of_one_shape_take_the_same_memory(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        session.run(CONV_CHAIN.feed())
        cuda.calls.clear()
        session.run(CONV_CHAIN.feed(seed=1))
    assert cuda.calls == ["cudaMemcpyAsync", "cudaMemcpyAsync", "cudaStreamSynchronize"]


def test_memory_and_stream_are_given_back_with_the_query(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        query = session.bind(CONV_CHAIN.feed(), Boundary.DEVICE)
        assert (cuda.allocations, cuda.streams, len(cuda.pinned)) == (2, 1, 0)
        for batch in (1, 2, 3):
            session.run(CONV_CHAIN.feed(batch))
        gc.collect()
        assert (cuda.allocations, cuda.streams, len(cuda.pinned)) == (4, 2, 2)
        del query
        gc.collect()
        assert (cuda.allocations, cuda.streams) == (2, 1)
    gc.collect()
    assert (cuda.allocations, cuda.streams, len(cuda.pinned)) == (0, 0, 0)


def test_the_device_asked_for_is_used_and_built_for(cuda: CudaRuntime, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path, "cuda:1") as session:
        session.run(CONV_CHAIN.feed())
    assert set(cuda.devices) == {1}


def test_an_engine_is_built_once_for_each_size(tensorrt: TensorRT, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        for batch in (2, 3, 2):
            assert session.run(CONV_CHAIN.feed(batch))["y"].shape[0] == batch
    assert [config.profiles[0]["x"] for config in tensorrt.built] == [
        ((1, 4, 8, 8), (2, 4, 8, 8), (2, 4, 8, 8)),
        ((1, 4, 8, 8), (3, 4, 8, 8), (3, 4, 8, 8)),
    ]


def test_one_engine_serves_the_sizes_of_its_profile(tensorrt: TensorRT, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path, **{"profile.batch": "1:2:4"}) as session:
        for batch in (1, 4):
            assert session.run(CONV_CHAIN.feed(batch))["y"].shape[0] == batch
        with pytest.raises(FeedError, match=r"has batch 5, the engine takes 1 to 4 as profile\.batch says"):
            session.run(CONV_CHAIN.feed(5))
    (config,) = tensorrt.built
    assert config.profiles[0]["x"] == ((1, 4, 8, 8), (2, 4, 8, 8), (4, 4, 8, 8))


@pytest.mark.usefixtures("tensorrt")
def test_the_attestation_is_the_engine_inspectors(tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        with pytest.raises(UsageError, match="only after a query has run"):
            session.executed()
        session.run(CONV_CHAIN.feed())
        executed = session.executed()
    first = 8 * 64 * 4 * 9 / CONV_CHAIN.macs
    assert executed.macs_by_type == pytest.approx({"float32": first, "float16": 1 - first})
    assert (executed.on_device_macs, executed.evidence) == (1.0, trt_layers.EVIDENCE)
    assert executed.settings == {
        "tf32": "0",
        "builder_optimization_level": "the library's",
        "workspace_bytes": "all",
        "cuda_graph": "0",
        "cuda_api": "cuda-bindings",
    }


@pytest.mark.usefixtures("tensorrt")
def test_a_plan_from_the_store_is_attested_as_one(tmp_path: Path) -> None:
    for evidence in (trt_layers.EVIDENCE, f"{trt_layers.EVIDENCE}, of a plan built before"):
        with _open(CONV_CHAIN, tmp_path) as session:
            session.run(CONV_CHAIN.feed())
            assert session.executed().evidence == evidence


def test_options_reach_the_builder_and_the_attestation(tensorrt: TensorRT, tmp_path: Path) -> None:
    options = {"tf32": "1", "builder_optimization_level": "5", "workspace_bytes": "1024"}
    with _open(CONV_CHAIN, tmp_path, **options) as session:
        session.run(CONV_CHAIN.feed())
        told = session.executed().settings
    (config,) = tensorrt.built
    assert config.flags == {"TF32"}
    assert (config.builder_optimization_level, config.pools) == (5, {"WORKSPACE": 1024})
    assert options.items() <= told.items()


def test_tf32_is_off_unless_it_is_asked_for(tensorrt: TensorRT, tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        session.run(CONV_CHAIN.feed())
    (config,) = tensorrt.built
    assert config.flags == set()


def test_a_capture_that_fails_is_attested(cuda: CudaRuntime, tmp_path: Path) -> None:
    cuda.failing["cudaStreamEndCapture"] = Status.cudaErrorStreamCaptureInvalidated
    with _open(CONV_CHAIN, tmp_path, cuda_graph="1") as session:
        for batch in (1, 2):
            assert session.run(CONV_CHAIN.feed(batch))["y"].shape[0] == batch
        told = session.executed().settings["cuda_graph"]
    assert told.startswith("1, but for some queries: cudaStreamEndCapture says cudaErrorStreamCaptureInvali")
    assert told.count("cudaErrorStreamCaptureInvalidated") == 1


def test_full_memory_is_told_in_one_line(cuda: CudaRuntime, tmp_path: Path) -> None:
    cuda.capacity = 1000
    with (
        _open(CONV_CHAIN, tmp_path) as session,
        pytest.raises(UnavailableError, match="cudaMalloc says cudaErrorMemoryAllocation; take a smaller"),
    ):
        session.run(CONV_CHAIN.feed())


def test_a_context_that_is_not_made_is_unsupported(tensorrt: TensorRT, tmp_path: Path) -> None:
    tensorrt.without_context = True
    with (
        _open(CONV_CHAIN, tmp_path) as session,
        pytest.raises(UnsupportedError, match=r"tensorrt 11.4.0 makes no execution context: it gives no rea"),
    ):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("tensorrt")
def test_a_query_that_tensorrt_does_not_accept_is_a_feed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.runtime.trt_double.Context.execute_async_v3", lambda self, stream: False)
    with _open(CONV_CHAIN, tmp_path) as session, pytest.raises(FeedError, match="did not accept the query"):
        session.run(CONV_CHAIN.feed())


def test_an_input_that_the_engine_narrows_is_refused(tensorrt: TensorRT, tmp_path: Path) -> None:
    import onnx_ir as ir

    path = tmp_path / "double.onnx"
    text = '<ir_version: 10, opset_import: ["": 22]> g (double[b,4] x) => (double[b,4] y) { y = Relu(x) }'
    ir.save(ir.from_onnx_text(text), path)
    with (
        TensorRTBackend().open(path, "cuda:0", SessionOptions()) as session,
        pytest.raises(UnsupportedError, match=r"makes y: float64\[b,4\] a tensor of type FLOAT: cast it"),
    ):
        session.run({"x": np.zeros((1, 4))})


@pytest.mark.usefixtures("tensorrt")
@pytest.mark.parametrize(
    ("options", "names"),
    [
        (SessionOptions(threads=1), "threads"),
        (SessionOptions(optimize=False, spinning=False), "optimize, spinning"),
        (SessionOptions(provider="dml", provider_library=Path("x")), "provider, provider_library"),
    ],
)
def test_what_others_can_choose_is_refused(options: SessionOptions, names: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"backend trt has no {names} to choose: leave that out"):
        TensorRTBackend().open(CONV_CHAIN.write(tmp_path), "cuda:0", options)


@pytest.mark.usefixtures("tensorrt")
def test_a_profile_of_an_unknown_dimension_is_told_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"option profile.NAME 'batches': did you mean batch\?"):
        _open(CONV_CHAIN, tmp_path, **{"profile.batches": "1"})


@pytest.mark.usefixtures("tensorrt")
def test_an_unknown_device_is_told_those_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"device of backend trt 'cuda:2': .*cuda:0, cuda:1"):
        _open(CONV_CHAIN, tmp_path, "cuda:2")


@pytest.mark.usefixtures("tensorrt")
def test_a_broken_file_is_a_graph_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(10))
    with pytest.raises(GraphError):
        TensorRTBackend().open(path, "cuda:0", SessionOptions())


def test_without_a_driver_nothing_of_tensorrt_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deserialising without a driver ends the process (GPU.md, 1)."""
    monkeypatch.setattr("runtime.cuda.device_names", tuple)
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} was imported"))
    for flavour in ("tensorrt", RTX):
        backend = TensorRTBackend(flavour)
        assert backend.devices() == ()
        with pytest.raises(UnavailableError, match="NVIDIA"):
            backend.open(tmp_path / "never read", "cuda:0", SessionOptions())


@pytest.mark.usefixtures("tensorrt")
def test_an_adapter_of_cuda_is_asked_for_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"pycuda is not installed: pip install '.\[pycuda\]'"):
        _open(CONV_CHAIN, tmp_path, cuda_api="pycuda")
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert (
        TensorRTBackend().unavailable() == "cuda-bindings is not installed: pip install '.[trt]' in the clone"
    )


def test_either_adapter_will_do(tensorrt: TensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", SimpleNamespace())
    assert TensorRTBackend().unavailable() is None


def test_rtx_is_offered_where_it_runs(
    tensorrt: TensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an H200 (9.0) and an L40S (8.9) only the latter (GPU.md, 0.3)."""
    rtx = TensorRT(tensorrt.cuda, LAYERS, RTX)
    monkeypatch.setitem(sys.modules, RTX, rtx)
    backend = TensorRTBackend(RTX)
    assert (backend.name, backend.version()) == ("trt-rtx", "tensorrt_rtx 11.4.0")
    assert [device.name for device in backend.devices()] == ["cuda:1"]
    with backend.open(CONV_CHAIN.write(tmp_path), "cuda:1", SessionOptions()) as session:
        session.run(CONV_CHAIN.feed())
    assert rtx.flags == [0]
    assert rtx.built[0].timings == b""


@pytest.mark.usefixtures("tensorrt")
def test_rtx_says_where_it_runs_if_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, RTX, SimpleNamespace())
    monkeypatch.setattr("runtime.cuda.compute_capability", lambda index: "10.0")
    reason = TensorRTBackend(RTX).unavailable()
    assert reason is not None
    assert reason.startswith(
        "tensorrt_rtx runs on none of the GPUs here (H200, L40S): it takes compute capab"
    )
    monkeypatch.setattr("runtime.cuda.compute_capability", lambda index: "12.1")
    assert TensorRTBackend(RTX).unavailable() is None
