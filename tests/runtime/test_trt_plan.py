"""TensorRT-RTX parses and builds without a GPU: every form our files come in, and what it must refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx_ir as ir
import pytest

from runtime import trt_plan
from runtime.errors import GraphError, UnavailableError, UnsupportedError
from runtime.tensors import TensorSpec
from runtime.trt_plan import build_plan, missing
from tests.models import BATCH, MODELS, TinyModel

RTX = "tensorrt_rtx"
HEADER = '<ir_version: 10, opset_import: ["": 22]>'


@pytest.fixture
def _rtx() -> None:
    pytest.importorskip(RTX)


@pytest.mark.usefixtures("_rtx")
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_form_of_every_precision_is_parsed_and_built(model: TinyModel, tmp_path: Path) -> None:
    assert len(build_plan(model.write(tmp_path), RTX, {"batch": BATCH})) > 1000


@pytest.mark.usefixtures("_rtx")
def test_external_data_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(MODELS["conv_chain"].build(), path, external_data="weights.bin", size_threshold_bytes=1)
    assert len(build_plan(path, RTX)) > 1000


UINT8 = """(float[1,4] x) => (float[1,4] y) <float s = {0.1}, uint8 z = {128}> {
    [quantise] q = QuantizeLinear(x, s, z) [restore] d = DequantizeLinear(q, s, z) [n] y = Relu(d) }"""
INT32_BIAS = """(float[1,1,4,4] x) => (float[1,1,4,4] y)
    <float[1,1,1,1] w = {1.0}, int32[1] b = {3}, float[1] s = {0.1}> {
    [bias] d = DequantizeLinear<axis=0>(b, s) [conv] y = Conv(x, w, d) }"""
INT16 = """(float[1,4] x) => (float[1,4] y) <float s = {0.1}, int16 z = {0}> {
    [quantise] q = QuantizeLinear(x, s, z) [restore] d = DequantizeLinear(q, s, z) [n] y = Relu(d) }"""
DYNAMIC = """(float[1,4] x) => (uint8[1,4] y, float scale, uint8 zero) {
    [dynamic] y, scale, zero = DynamicQuantizeLinear(x) }"""


@pytest.mark.usefixtures("_rtx")
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (UINT8, r"node '(quantise|restore)' .*[Nn]on-zero zero point is not supported"),
        (INT32_BIAS, r"node 'bias' \(DequantizeLinear\): .*Int32"),
        (INT16, r"m\.onnx: Failed to import initializer: .* initializer: z; use another"),
        (DYNAMIC, r"node 'dynamic' \(DynamicQuantizeLinear\)"),
    ],
    ids=["uint8 zero point 128", "int32 bias", "int16", "dynamic quantisation"],
)
def test_what_tensorrt_does_not_take_is_refused_by_node_and_reason(
    body: str, match: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    ir.save(ir.from_onnx_text(f"{HEADER} g {body}"), path)
    with pytest.raises(UnsupportedError, match=match) as caught:
        build_plan(path, RTX)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_rtx")
def test_a_broken_file_is_a_graph_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(10))
    with pytest.raises(GraphError):
        build_plan(path, RTX)


@pytest.mark.usefixtures("_rtx")
def test_the_network_has_the_types_of_the_file() -> None:
    """Strong typing: the same operator, typed by the file and by nothing else."""
    import tensorrt_rtx as trt

    assert trt_plan._network_flags(trt) == 0
    ten = SimpleNamespace(
        __name__="tensorrt",
        __version__="10.16.1",
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
    )
    eleven = SimpleNamespace(**{**vars(ten), "__version__": "11.4.0"})
    assert trt_plan._network_flags(ten) == 2  # type: ignore[arg-type]  # bit 1; optional before 11
    assert trt_plan._network_flags(eleven) == 0  # type: ignore[arg-type]


@pytest.mark.usefixtures("_rtx")
@pytest.mark.parametrize(
    ("name", "layer", "dtype"),
    [("conv_chain", "conv1", "FLOAT"), ("fp16_conv", "conv", "HALF"), ("bf16_conv", "conv", "BF16")],
)
def test_a_convolution_is_parsed_in_its_own_type(name: str, layer: str, dtype: str, tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    logger = trt_plan.make_logger(trt)
    network = trt_plan._parse(trt, trt.Builder(logger), MODELS[name].write(tmp_path), logger)
    types = {
        network.get_layer(i).name: network.get_layer(i).get_output(0).dtype for i in range(network.num_layers)
    }
    assert types[layer] == getattr(trt.DataType, dtype)


@pytest.mark.usefixtures("_rtx")
def test_tf32_is_off_and_the_batch_is_open_up_to_the_size_given() -> None:
    import tensorrt_rtx as trt

    profiles: list[Any] = []

    class Builder:
        def create_builder_config(self) -> object:
            return trt.Builder(logger).create_builder_config()

        def create_optimization_profile(self) -> object:
            profile = trt.Builder(logger).create_optimization_profile()
            profiles.append(profile)
            return profile

    logger = trt_plan.make_logger(trt)
    specs = (TensorSpec("x", "float32", ("batch", 3)), TensorSpec("fixed", "float32", (2, 3)))
    settings = trt_plan._settings(trt, Builder(), specs, {"batch": 8})
    assert not settings.get_flag(trt.BuilderFlag.TF32)
    assert settings.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert [tuple(shape) for shape in profiles[0].get_shape("x")] == [(1, 3), (8, 3), (8, 3)]


@pytest.mark.usefixtures("_rtx")
def test_a_graph_that_is_not_built_says_what_the_log_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt_rtx as trt

    real = trt_plan._settings

    def impossible(module: object, builder: object, specs: object, sizes: object) -> object:
        return real(trt, builder, (), {})  # no profile for an open dimension

    monkeypatch.setattr(trt_plan, "_settings", impossible)
    with pytest.raises(UnsupportedError, match=r"cannot build .*conv_chain.onnx: .*profile.*; use another"):
        build_plan(MODELS["conv_chain"].write(tmp_path), RTX)


def test_without_a_driver_tensorrt_is_not_even_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: "no NVIDIA driver")
    monkeypatch.setattr(trt_plan, "_not_importable", lambda flavour: pytest.fail("it was imported"))
    assert missing("tensorrt") == "no NVIDIA driver"
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        build_plan(tmp_path, "tensorrt")


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (None, "tensorrt is not installed: pip install '.[trt]' in the clone"),
        ("import tensorrt_bindings_that_are_missing", "tensorrt_bindings_that_are_missing is not installed"),
        (
            "raise ImportError('libnvinfer.so.11: cannot open\\nshared object file')",
            "tensorrt's libraries do not load (libnvinfer.so.11: cannot open shared object file): install",
        ),
        ("raise OSError('libnvinfer.so.11')", "tensorrt's libraries do not load (libnvinfer.so.11)"),
    ],
    ids=["package", "bindings", "library", "library by path"],
)
def test_what_is_missing_is_named_with_how_to_get_it(
    source: str | None, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: None)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    if source is None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    else:
        (tmp_path / "tensorrt.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
    reason = missing("tensorrt")
    assert reason is not None
    assert match in reason
    assert "\n" not in reason


def test_rtx_needs_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: "no NVIDIA driver")
    monkeypatch.setitem(sys.modules, RTX, SimpleNamespace())
    assert missing(RTX) is None
    monkeypatch.setitem(sys.modules, RTX, None)
    assert missing(RTX) == "tensorrt_rtx is not installed: pip install '.[trt-rtx]' in the clone"


def test_a_library_without_a_builder_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pybind11's answer where libnvinfer gives a null pointer: no resources for this GPU, say."""

    class Logger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0, WARNING=2)

    def builder(logger: object) -> None:
        logger.log(Logger.Severity.WARNING, "slow")  # type: ignore[attr-defined]
        logger.log(Logger.Severity.ERROR, "cannot open libnvinfer_builder_resource_sm90.so")  # type: ignore[attr-defined]
        raise TypeError("pybind11::init(): factory function returned nullptr")

    fake = SimpleNamespace(__name__="tensorrt", ILogger=Logger, Builder=builder)
    monkeypatch.setattr("runtime.cuda.missing", lambda: None)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    with pytest.raises(
        UnavailableError, match="makes no builder: cannot open libnvinfer_builder_resource_sm90"
    ):
        build_plan(MODELS["conv_chain"].write(tmp_path))
