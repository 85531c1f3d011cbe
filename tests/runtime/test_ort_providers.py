"""Which execution provider a session is opened with, by which options, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime import ort, ort_providers
from runtime.attestation import UNSEEN, Circumstances
from runtime.backend import Boundary, SessionOptions
from runtime.errors import HarnessError, UnavailableError, UnsupportedError, UsageError
from runtime.ort import OnnxRuntimeBackend
from runtime.ort_providers import PROVIDERS, chosen
from runtime.ort_queries import DeviceQuery
from tests.models import CONV_CHAIN

AZURE = "AzureExecutionProvider"
"""In every wheel of ONNX Runtime, and takes no operator of the standard: all of a graph falls back."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver shows a GPU, and an onnxruntime that is built for it."""
    there = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    monkeypatch.setattr("runtime.cuda.device_names", lambda: ("H100", "H100"))


def test_the_names_of_the_table_are_onnxruntimes() -> None:
    assert {provider.name for provider in PROVIDERS.values()} <= set(onnxruntime.get_all_providers())


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("device", "asked", "name", "options"),
    [
        ("cpu", "", "CPUExecutionProvider", {}),
        ("cpu", "CPUExecutionProvider", "CPUExecutionProvider", {}),
        (
            "cuda:1",
            "",
            "CUDAExecutionProvider",
            {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE", "device_id": "1"},
        ),
        ("cuda:1", "TensorRT", "TensorrtExecutionProvider", {"device_id": "1"}),
    ],
)
def test_a_device_suggests_a_provider_and_a_name_decides(
    device: str, asked: str, name: str, options: Mapping[str, str]
) -> None:
    provider, given = chosen(device, SessionOptions(provider=asked))
    assert (provider.name, given) == (name, options)


@pytest.mark.usefixtures("gpu")
def test_what_the_user_says_comes_last() -> None:
    options = SessionOptions(provider_options={"use_tf32": "1", "prefer_nhwc": "1"})
    _, given = chosen("cuda:0", options)
    assert given["use_tf32"] == "1"
    assert given["prefer_nhwc"] == "1"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("device", "options", "error", "said"),
    [
        ("cpu", SessionOptions(provider="tensorrt"), UsageError, "on cuda, not on cpu: give --device cuda:0"),
        ("cuda:0", SessionOptions(provider="cpu"), UsageError, "on cpu, not on cuda:0: give --device cpu"),
        ("cpu", SessionOptions(provider="openvnio"), UsageError, "did you mean openvino"),
        (
            "cuda:0",
            SessionOptions(provider="tensorrt", provider_options={"trt_fp16_enable": "1"}),
            UsageError,
            "trt_fp16_enable would change the precision, which is the file's; give --precision instead",
        ),
        (
            "cpu",
            SessionOptions(provider="QNNExecutionProvider"),
            UnavailableError,
            r"built without QNNExecutionProvider.*--provider-library",
        ),
        (
            "cpu",
            SessionOptions(provider="QNNExecutionProvider", provider_library=Path("no/such.so")),
            UnavailableError,
            r"--provider-library no/such.so does not load: .*No such file",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    device: str, options: SessionOptions, error: type[HarnessError], said: str
) -> None:
    with pytest.raises(error, match=said):
        chosen(device, options)


def test_every_precision_flag_of_the_tensorrt_provider_is_refused() -> None:
    """As its documentation lists them: those that make it choose a precision itself."""
    flags = {"trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable", "trt_int8_use_native_calibration_table"}
    assert flags <= set(PROVIDERS["tensorrt"].refused)


def test_a_library_that_brings_another_provider_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_providers, "register", lambda library: None)
    devices = [SimpleNamespace(ep_name="AcmeExecutionProvider")]
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: devices)
    options = SessionOptions(provider="QNNExecutionProvider", provider_library=Path("acme.so"))
    with pytest.raises(UnavailableError, match=r"brings no QNNExecutionProvider.*brings: Acme"):
        chosen("cpu", options)


def test_a_plug_in_is_added_by_its_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A provider of a library is chosen by its devices, not by its name."""
    asked: list[Any] = []

    class Settings(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_provider_for_devices(self, devices: Any, options: Any) -> None:
            asked.append((devices, options))

    def session(path: str, settings: Any, providers: Any, disabled_optimizers: Any) -> Any:
        asked.append(providers)
        return SimpleNamespace(get_providers=lambda: ["AcmeExecutionProvider"])

    device = SimpleNamespace(ep_name="AcmeExecutionProvider")
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: [device])
    monkeypatch.setattr(onnxruntime, "SessionOptions", Settings)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    acme = ort_providers.Provider("AcmeExecutionProvider")
    ort._open(tmp_path / "m.onnx", tmp_path, SessionOptions(), (acme, {"k": "v"}), [])
    assert asked == [([device], {"k": "v"}), None]


def test_what_a_provider_does_not_take_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=f"^{AZURE} does not take every node.*--allow-fallback"):
        OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions(provider=AZURE))


def test_an_allowed_fallback_is_counted(tmp_path: Path) -> None:
    options = SessionOptions(provider=AZURE, allow_fallback=True, spinning=False)
    with OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", options) as session:
        session.run(CONV_CHAIN.feed())
        executed = session.executed()
    assert executed.on_device_macs == 0.0
    assert any(
        name.startswith("y") for name in executed.fallback_nodes
    )  # the fused convolution, by its output
    assert executed.settings == {"provider": AZURE, "session.intra_op.allow_spinning": "0"}


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")  # onnxruntime's, for the one faked
@pytest.mark.usefixtures("gpu")
def test_a_session_that_lands_elsewhere_is_an_error_even_if_fallback_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="on CPUExecutionProvider instead of CUDAExecutionProvider"):
        OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cuda:0", SessionOptions(allow_fallback=True))


def _session(tmp_path: Path, name: str, settings: Mapping[str, str]) -> Any:
    """A session on the CPU that believes to be of another provider."""
    session = OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions())
    circumstances = Circumstances("", settings=settings)
    provider = ort_providers.Provider("CPUExecutionProvider", compiles=name == "compiling")
    return ort.OnnxRuntimeSession(session._model, session._session, provider, circumstances)


def test_of_what_is_compiled_no_type_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile has one kernel for a subgraph; that it ran on the device is all there is to say."""
    monkeypatch.setattr("runtime.ort.ort_profile.multiplying_kernels", lambda kernels, provider: [])
    with _session(tmp_path, "compiling", {}) as session:
        nodes = [SimpleNamespace(name=node.name) for node in session._model.graph]
        part = SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
        real = session._session
        session._session = SimpleNamespace(
            get_provider_graph_assignment_info=lambda: [part],
            end_profiling=real.end_profiling,
            run=real.run,
            get_outputs=real.get_outputs,
        )
        session.run(CONV_CHAIN.feed())
        executed = session.executed()
    assert (executed.on_device_macs, executed.macs_by_type) == (1.0, {UNSEEN: 1.0})


def test_tf32_is_not_called_float32(tmp_path: Path) -> None:
    with _session(tmp_path, "cuda", {"use_tf32": "1"}) as session:
        session.run(CONV_CHAIN.feed())
        assert session.executed().macs_by_type == {"tf32": 1.0}


def test_outputs_of_ours_are_written_where_we_allocated_them(tmp_path: Path) -> None:
    with OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as session:
        feed = CONV_CHAIN.feed(2)
        expected = session.run(feed)
        query = DeviceQuery(session._session, feed, ("cpu", 0), None, of_ours=True)
        addresses = set()
        for _ in range(3):
            query.run()
            addresses.add(query._binding.get_outputs()[0].data_ptr())
            for name, array in expected.items():
                np.testing.assert_array_equal(query.outputs()[name], array)
        assert len(addresses) == 1


def test_a_captured_graph_is_only_replayed_for_its_own_query(tmp_path: Path) -> None:
    """ONNX Runtime replays a CUDA graph whatever is bound; each query has a number, from host it has none."""
    graphs: list[str] = []

    def run_with(binding: object, options: Any) -> None:
        graphs.append(options.get_run_config_entry("gpu_graph_id"))

    with _session(tmp_path, "cuda", {"enable_cuda_graph": "1"}) as session:
        session._captures = True
        real = session._session
        session._session = SimpleNamespace(
            run=lambda names, feed, options: graphs.append(options.get_run_config_entry("gpu_graph_id")),
            run_with_iobinding=run_with,
            get_outputs=real.get_outputs,
            io_binding=real.io_binding,
            end_profiling=real.end_profiling,
        )
        for boundary in (Boundary.DEVICE, Boundary.HOST, Boundary.DEVICE):
            query = session._place(CONV_CHAIN.feed(), boundary)
            query._call()
    assert graphs == ["1", "-1", "2"]
