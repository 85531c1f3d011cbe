"""The TensorRT backend against doubles: the order and arguments of its calls, not TensorRT itself."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from runtime import trt, trt_layers
from runtime.attestation import Ran
from runtime.backend import Boundary, SessionOptions
from runtime.errors import FeedError, UnavailableError, UnsupportedError, UsageError
from runtime.reference import ReferenceBackend
from runtime.trt import TensorRTBackend
from tests.models import CONV_CHAIN, FP16_CONV, PASSED_ON, TRANSFORMER, TinyModel
from tests.runtime.gpu_double import CudaRuntime, TensorRT

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
def cuda(monkeypatch: pytest.MonkeyPatch) -> CudaRuntime:
    """A machine with two GPUs, TensorRT and cuda-bindings, all of them doubles."""
    runtime = CudaRuntime()
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = runtime  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", TensorRT(runtime, LAYERS))
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    monkeypatch.setattr("runtime.cuda.device_names", lambda: ("H200", "L40S"))
    monkeypatch.setattr(trt, "build_plan", lambda graph, flavour, sizes: str(graph).encode())
    return runtime


def _open(model: TinyModel, folder: Path, device: str = "cuda:0") -> trt.TensorRTSession:
    return TensorRTBackend().open(model.write(folder), device, SessionOptions())


@pytest.mark.usefixtures("cuda")
def test_devices_are_the_drivers() -> None:
    backend = TensorRTBackend()
    assert backend.unavailable() is None
    assert [(device.name, device.description) for device in backend.devices()] == [
        ("cuda:0", "H200"),
        ("cuda:1", "L40S"),
    ]
    assert backend.version() == "tensorrt 11.4.0"


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("boundary", Boundary)
@pytest.mark.parametrize(
    "model", [CONV_CHAIN, TRANSFORMER, PASSED_ON, FP16_CONV], ids=lambda model: model.name
)
def test_arrays_reach_the_engine_and_come_back(model: TinyModel, boundary: Boundary, tmp_path: Path) -> None:
    with ReferenceBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as reference:
        expected = reference.run(model.feed())
    with _open(model, tmp_path) as session:
        query = session.bind(model.feed(), boundary)
        query.run()
        first = query.outputs()
        query.run()
        assert list(first) == list(expected)
        for name, array in first.items():
            np.testing.assert_array_equal(array, expected[name])
            assert not np.shares_memory(array, query.outputs()[name])


def test_memory_is_given_back_with_the_query_and_the_stream_with_the_session(
    cuda: CudaRuntime, tmp_path: Path
) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        query = session.bind(CONV_CHAIN.feed(), Boundary.DEVICE)
        assert (cuda.allocations, cuda.streams) == (2, 1)
        for _ in range(3):
            session.run(CONV_CHAIN.feed())
        gc.collect()
        assert cuda.allocations == 2
        del query
        gc.collect()
        assert cuda.allocations == 0
    del session
    gc.collect()
    assert cuda.streams == 0


def test_the_device_asked_for_is_used(cuda: CudaRuntime, tmp_path: Path) -> None:
    _open(CONV_CHAIN, tmp_path, "cuda:1")
    assert cuda.devices == [1]


@pytest.mark.usefixtures("cuda")
def test_an_engine_is_built_once_for_each_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Mapping[str, int]] = []

    def build(graph: Path, flavour: str, sizes: Mapping[str, int]) -> bytes:
        built.append(sizes)
        return str(graph).encode()

    monkeypatch.setattr(trt, "build_plan", build)
    with _open(CONV_CHAIN, tmp_path) as session:
        for batch in (2, 3, 2):
            assert session.run(CONV_CHAIN.feed(batch))["y"].shape[0] == batch
    assert built == [{"batch": 2}, {"batch": 3}]


@pytest.mark.usefixtures("cuda")
def test_the_attestation_is_the_engine_inspectors(tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        with pytest.raises(UsageError, match="only after a query has run"):
            session.executed()
        session.run(CONV_CHAIN.feed())
        executed = session.executed()
    first = 8 * 64 * 4 * 9 / CONV_CHAIN.macs
    assert executed.macs_by_type == pytest.approx({"float32": first, "float16": 1 - first})
    assert (executed.on_device_macs, executed.evidence) == (1.0, trt_layers.EVIDENCE)


@pytest.mark.parametrize(
    ("layer", "ran"),
    [
        (
            {"Inputs": [{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}]},
            "int8",
        ),
        ({"Inputs": [{"Format/Datatype": "Int8"}, {"Format/Datatype": "Float"}]}, "int8"),
        ({"Inputs": [{"Format/Datatype": "BFloat16"}]}, "bfloat16"),
        ({"Inputs": [{"Format/Datatype": "FP8"}]}, "float8_e4m3fn"),
        ({"Inputs": [{"Format/Datatype": "Float"}]}, "float32"),
        ({"Inputs": [{"Format/Datatype": "Float"}], "TacticName": "sm80_xmma_gemm_tf32f32_tf32f32"}, "tf32"),
        ({}, "unknown"),
    ],
)
def test_a_layers_type_is_what_it_reads(layer: Mapping[str, Any], ran: str) -> None:
    told = json.dumps({"Layers": [{**layer, "Metadata": "[ONNX Layer: n]"}]})
    assert trt_layers.where_nodes_ran(told, ["n", "other"]) == {"n": Ran(ran)}


def test_a_plan_built_without_details_tells_nothing() -> None:
    assert trt_layers.where_nodes_ran('{"Layers": ["conv1 + relu1"]}', ["conv1"]) == {}


def test_full_memory_is_told_in_one_line(cuda: CudaRuntime, tmp_path: Path) -> None:
    cuda.capacity = 1000
    with (
        _open(CONV_CHAIN, tmp_path) as session,
        pytest.raises(UnavailableError, match="cudaMalloc says cudaErrorMemoryAllocation; look at"),
    ):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("cuda")
def test_a_query_that_tensorrt_does_not_accept_is_a_feed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.runtime.gpu_double.Context.execute_async_v3", lambda self, stream: False)
    with _open(CONV_CHAIN, tmp_path) as session, pytest.raises(FeedError, match="did not accept the query"):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("cuda")
def test_an_output_whose_shape_depends_on_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.runtime.gpu_double.Context.get_tensor_shape", lambda self, name: (-1, 8))
    with (
        _open(CONV_CHAIN, tmp_path) as session,
        pytest.raises(UnsupportedError, match=r"output y: .* depends on"),
    ):
        session.run(CONV_CHAIN.feed())


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    "options",
    [SessionOptions(threads=1), SessionOptions(optimize=False), SessionOptions(provider_options={"a": "b"})],
)
def test_options_it_does_not_know_are_refused(options: SessionOptions, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no threads, no optimize=False and no provider options"):
        TensorRTBackend().open(CONV_CHAIN.write(tmp_path), "cuda:0", options)


@pytest.mark.usefixtures("cuda")
def test_an_unknown_device_is_told_those_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"device of backend trt 'cuda:2': .*cuda:0, cuda:1"):
        _open(CONV_CHAIN, tmp_path, "cuda:2")


def test_without_a_driver_nothing_of_tensorrt_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deserialising without a driver ends the process (GPU.md, 1)."""
    monkeypatch.setattr("runtime.cuda.device_names", tuple)
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(f"{name} was imported"))
    backend = TensorRTBackend()
    assert backend.devices() == ()
    with pytest.raises(UnavailableError, match="NVIDIA"):
        backend.open(tmp_path / "never read", "cuda:0", SessionOptions())


def test_cuda_bindings_are_asked_for_last(cuda: CudaRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert (
        TensorRTBackend().unavailable() == "cuda-bindings is not installed: pip install '.[trt]' in the clone"
    )
