from __future__ import annotations

import builtins
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest

from runtime.backend import Boundary, SessionOptions
from runtime.errors import FeedError, GraphError, UnavailableError, UnsupportedError, UsageError
from runtime.ort import OnnxRuntimeBackend
from tests.models import BF16_CONV, CONV_CHAIN, EMBEDDING, INT8_CONV, PASSED_ON, TinyModel

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where profiles are written."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_bf16_on_the_cpu_is_refused_in_one_line_that_names_the_operator(
    tmp_path: Path, profiles: Path
) -> None:
    with pytest.raises(UnsupportedError, match=r"Conv\(22\) node with name 'conv'; use another") as caught:
        OnnxRuntimeBackend().open(BF16_CONV.write(tmp_path), "cpu", SessionOptions())
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert list(profiles.iterdir()) == []


@pytest.mark.parametrize("model", [CONV_CHAIN, INT8_CONV], ids=lambda model: model.name)
def test_external_data_is_found_lowered_or_not(model: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(model.build(), path, external_data="weights.bin", size_threshold_bytes=1)
    with OnnxRuntimeBackend().open(path, "cpu", SessionOptions()) as session:
        outputs = session.run(model.feed())
    with OnnxRuntimeBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as session:
        np.testing.assert_array_equal(outputs["y"], session.run(model.feed())["y"])


def test_the_profile_is_gone_after_the_first_query(tmp_path: Path, profiles: Path) -> None:
    with OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as session:
        assert list(profiles.iterdir())
        query = session.bind(CONV_CHAIN.feed(), Boundary.DEVICE)
        assert list(profiles.iterdir()) == []
        query.run()
        assert list(profiles.iterdir()) == []


def test_the_profile_is_gone_when_nothing_ran(tmp_path: Path, profiles: Path) -> None:
    session = OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions())
    session.close()
    session.close()
    assert list(profiles.iterdir()) == []


def test_what_executed_is_known_only_after_a_query(tmp_path: Path) -> None:
    with (
        OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as session,
        pytest.raises(UsageError, match="only after a query has run; call bind or run first"),
    ):
        session.executed()


@pytest.mark.parametrize("boundary", Boundary)
def test_an_index_outside_its_table_is_a_feed_error(tmp_path: Path, boundary: Boundary) -> None:
    with (
        OnnxRuntimeBackend().open(EMBEDDING.write(tmp_path), "cpu", SessionOptions()) as session,
        pytest.raises(FeedError, match=r"does not accept this feed: .*indices.*; check index ranges"),
    ):
        session.bind({"ids": np.full((1, 6), 10, np.int32)}, boundary)


def test_device_queries_write_to_the_same_memory_at_every_run(tmp_path: Path) -> None:
    with OnnxRuntimeBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions()) as session:
        query: Any = session.bind(CONV_CHAIN.feed(), Boundary.DEVICE)
        addresses = set()
        for _ in range(3):
            query.run()
            addresses.add(query._binding.get_outputs()[0].data_ptr())
    assert len(addresses) == 1


@pytest.mark.parametrize(
    ("device", "options", "error", "match"),
    [
        (
            "cpu",
            {"use_tf32": "1"},
            UsageError,
            r"takes no provider options, got \['use_tf32'\]; leave them out",
        ),
        ("gpu", {}, UsageError, "unknown device of backend ort 'gpu': .*valid: cpu"),
        ("cuda:0", {}, UnavailableError, "no device 'cuda:0': .*found: cpu"),
    ],
)
def test_what_it_cannot_honour_is_refused(
    device: str, options: Mapping[str, str], error: type[Exception], match: str, tmp_path: Path
) -> None:
    if device in [entry.name for entry in OnnxRuntimeBackend().devices()] and device != "cpu":
        pytest.skip("this machine has it")
    with pytest.raises(error, match=match):
        OnnxRuntimeBackend().open(
            CONV_CHAIN.write(tmp_path), device, SessionOptions(provider_options=options)
        )


def test_threads_are_passed_on(tmp_path: Path) -> None:
    path = CONV_CHAIN.write(tmp_path)
    with OnnxRuntimeBackend().open(path, "cpu", SessionOptions(threads=1)) as session:
        assert session._session.get_session_options().intra_op_num_threads == 1


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")  # onnxruntime's, for the one faked
@pytest.mark.parametrize("model", [CONV_CHAIN, PASSED_ON], ids=lambda model: model.name)
def test_a_fallback_to_the_cpu_is_refused(
    model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime answers with a session on the CPU where the driver is missing (GPU.md, 3)."""
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr("runtime.cuda.device_names", lambda: ("H200",))
    with pytest.raises(UnsupportedError, match=r"^CUDAExecutionProvider .*fall back to the CPU unseen"):
        OnnxRuntimeBackend().open(model.write(tmp_path), "cuda:0", SessionOptions())


def test_a_graph_that_onnxruntime_finds_wrong_is_a_graph_error(tmp_path: Path) -> None:
    text = '<ir_version: 10, opset_import: ["": 22]> g (float[b,3] x) => (float[b,3] y) { y = Reshape(x, s) }'
    model = ir.from_onnx_text(text.replace("(float[b,3] x)", "(float[b,3] x, int64[n] s)"))
    path = tmp_path / "m.onnx"
    ir.save(model, path)
    with (
        OnnxRuntimeBackend().open(path, "cpu", SessionOptions()) as session,
        pytest.raises(FeedError, match="Reshape"),
    ):
        session.run({"x": np.zeros((2, 3), np.float32), "s": np.array([7, 3], np.int64)})


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    backend = OnnxRuntimeBackend()
    assert backend.unavailable() is not None
    assert backend.devices() == ()
    with pytest.raises(UnavailableError, match=r"not installed: pip install '\.\[cpu\]'"):
        backend.open(tmp_path, "cpu", SessionOptions())


def test_a_graph_with_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = '<ir_version: 10, opset_import: ["": 22]> g (float[2] x) => (float[2] y) { [n] y = Novel(x) }'
    ir.save(ir.from_onnx_text(text), path)
    with pytest.raises(GraphError, match="Novel"):
        OnnxRuntimeBackend().open(path, "cpu", SessionOptions())


def test_a_16_bit_graph_with_convolutions_before_a_recurrent_layer_runs(tmp_path: Path) -> None:
    """ONNX Runtime 1.32 crashed on it; the oracle is the same graph in float32."""
    from calibration.precision import Precision
    from calibration.write import write_precision

    text = """<ir_version: 10, opset_import: ["": 22]>
        g (float[batch,16,1,6] x) => (float[6,batch,5] y) <int64[1] rows = {2}, int64[1] one = {1}> {
        a = Conv(x, c) b = Relu(a) s = Squeeze(b, rows) t = Transpose<perm=[2,0,1]>(s)
        h = LSTM<hidden_size=8>(t, w, r) f = Squeeze(h, one) y = MatMul(f, p) }"""
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    shapes = {"c": (16, 16, 1, 1), "w": (1, 32, 16), "r": (1, 32, 8), "p": (8, 5)}
    for name, shape in shapes.items():
        array = (rng.standard_normal(shape) / 4).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, tmp_path / "fp32.onnx")
    half = write_precision(tmp_path / "fp32.onnx", Precision.FP16, tmp_path / "fp16.onnx").path
    feed = {"x": rng.standard_normal((2, 16, 1, 6)).astype(np.float32)}
    answers = []
    for graph in (tmp_path / "fp32.onnx", half):
        with OnnxRuntimeBackend().open(graph, "cpu", SessionOptions()) as session:
            answers.append(session.run(feed)["y"])
    np.testing.assert_allclose(answers[1], answers[0], atol=5e-3)  # FP16 has eleven bits
