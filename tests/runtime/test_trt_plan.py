"""TensorRT-RTX parses and builds without a GPU: every form our files come in, and what it must refuse."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import onnx_ir as ir
import pytest

from runtime import trt_plan
from runtime.errors import GraphError, UnavailableError, UnsupportedError
from runtime.trt_library import RTX, Library, library
from runtime.trt_options import BuildSettings
from runtime.trt_plan import Request, build_plan
from runtime.trt_profile import InputShapes, SizeRange
from runtime.trt_progress import showing
from tests.models import BATCH, MODELS, TinyModel
from tests.runtime.test_trt_progress import Listener, broken
from tests.runtime.trt_double import TensorRT, install

T = TypeVar("T")

HEADER = '<ir_version: 10, opset_import: ["": 22]>'


@pytest.fixture
def rtx() -> Library:
    pytest.importorskip(RTX)
    return library(RTX)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_form_of_every_precision_is_parsed_and_built(model: TinyModel, tmp_path: Path) -> None:
    assert len(build_plan(model.write(tmp_path), RTX, {"batch": BATCH})) > 1000


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    "settings",
    [
        BuildSettings(tf32=True),
        *(BuildSettings(builder_optimization_level=level) for level in range(6)),
        BuildSettings(workspace_bytes=2**30),
    ],
    ids=lambda settings: ",".join(f"{name}={value}" for name, value in vars(settings).items() if value),
)
def test_every_option_builds(settings: BuildSettings, tmp_path: Path) -> None:
    graph = MODELS["conv_chain"].write(tmp_path)
    plan = build_plan(graph, RTX, settings=settings, ranges={"batch": SizeRange(1, 4, 16)})
    assert len(plan) > 1000


@pytest.mark.usefixtures("rtx")
def test_a_workspace_in_which_no_kernel_works_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot build .*no tactics .* within workspace limit"):
        build_plan(MODELS["conv_chain"].write(tmp_path), RTX, settings=BuildSettings(workspace_bytes=2**20))


@pytest.mark.usefixtures("rtx")
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
SIZES_AS_INPUT = """(float[1,4] x, int64[2] sizes) => (float[a,b] y) { [n] y = Reshape(x, sizes) }"""


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("body", "match"),
    [
        (UINT8, r"node '(quantise|restore)' .*[Nn]on-zero zero point is not supported"),
        (INT32_BIAS, r"node 'bias' \(DequantizeLinear\): .*Int32"),
        (INT16, r"m\.onnx: Failed to import initializer: .* initializer: z; use another"),
        (DYNAMIC, r"node 'dynamic' \(DynamicQuantizeLinear\)"),
        (SIZES_AS_INPUT, r"m\.onnx, the values of input sizes decide shapes, for which backend trt has no"),
    ],
    ids=["uint8 zero point 128", "int32 bias", "int16", "dynamic quantisation", "sizes as an input"],
)
def test_what_tensorrt_does_not_take_is_refused_by_node_and_reason(
    body: str, match: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    ir.save(ir.from_onnx_text(f"{HEADER} g {body}"), path)
    with pytest.raises(UnsupportedError, match=match) as caught:
        build_plan(path, RTX)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("rtx")
def test_a_broken_file_is_a_graph_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(bytes(10))
    with pytest.raises(GraphError):
        build_plan(path, RTX)


@pytest.mark.parametrize(
    ("name", "layer", "dtype"),
    [("conv_chain", "conv1", "FLOAT"), ("fp16_conv", "conv", "HALF"), ("bf16_conv", "conv", "BF16")],
)
def test_a_convolution_is_parsed_in_its_own_type(
    name: str, layer: str, dtype: str, rtx: Library, tmp_path: Path
) -> None:
    """Strong typing: the same operator, typed by the file and by nothing else."""
    network = trt_plan.parse(rtx, rtx.builder(), MODELS[name].write(tmp_path))
    types = {
        network.get_layer(i).name: network.get_layer(i).get_output(0).dtype for i in range(network.num_layers)
    }
    assert types[layer] == getattr(rtx.module.DataType, dtype)


def _config(rtx: Library, settings: BuildSettings) -> tuple[Any, list[Any]]:
    """What the real builder is given, and its profiles, which a config does not give back."""
    builder, profiles = rtx.builder(), []

    class Keeping:
        def create_builder_config(self) -> Any:
            return builder.create_builder_config()

        def create_optimization_profile(self) -> Any:
            profiles.append(builder.create_optimization_profile())
            return profiles[-1]

    profile = (InputShapes("x", (1, 3), (4, 3), (8, 3)),)
    return trt_plan._config(rtx, Keeping(), Request(Path("m.onnx"), profile, settings)), profiles


def test_what_is_asked_for_reaches_the_real_builder(rtx: Library) -> None:
    config, profiles = _config(rtx, BuildSettings(builder_optimization_level=1, workspace_bytes=2**20))
    assert not config.get_flag(rtx.module.BuilderFlag.TF32)
    assert config.profiling_verbosity == rtx.module.ProfilingVerbosity.DETAILED
    assert config.builder_optimization_level == 1
    assert config.get_memory_pool_limit(rtx.module.MemoryPoolType.WORKSPACE) == 2**20
    assert [tuple(shape) for shape in profiles[0].get_shape("x")] == [(1, 3), (4, 3), (8, 3)]


def test_tf32_is_on_where_it_is_allowed(rtx: Library) -> None:
    assert _config(rtx, BuildSettings(tf32=True))[0].get_flag(rtx.module.BuilderFlag.TF32)


@pytest.mark.usefixtures("rtx")
def test_a_graph_that_is_not_built_says_what_the_log_says(tmp_path: Path) -> None:
    """A profile whose greatest size does not fit the file's fixed one."""
    graph = MODELS["conv_chain"].write(tmp_path)
    request = Request(graph, (InputShapes("x", (1, 4, 8, 8), (1, 4, 8, 8), (1, 4, 8, 9)),))
    with pytest.raises(UnsupportedError, match=r"cannot build .*conv_chain.onnx: .*; use another") as caught:
        trt_plan.build(library(RTX), request)
    assert "it gives no reason" not in str(caught.value)


def test_a_real_build_is_shown_from_nothing_to_all(rtx: Library, tmp_path: Path) -> None:
    shown = Listener()
    with showing(shown):
        build_plan(MODELS["conv_chain"].write(tmp_path), RTX)
    assert shown.described == [f"building conv_chain.onnx with {rtx.title}, per cent"]
    assert (shown.done, shown.ended) == ([100], [True])


@pytest.mark.usefixtures("rtx")
def test_an_interrupt_ends_a_real_build(tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupting(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        for number, item in enumerate(items):
            seen.append(number)
            if number == 10:
                os.kill(os.getpid(), signal.SIGINT)
            elif number > 10:
                time.sleep(0.02)  # the main thread hears of it when it next has the interpreter
            yield item

    with showing(interrupting), pytest.raises(KeyboardInterrupt):
        build_plan(MODELS["conv_chain"].write(tmp_path), RTX)
    assert 10 <= seen[-1] < 99


@pytest.mark.usefixtures("rtx")
def test_a_listener_that_is_gone_is_told_after_the_build_has_ended(tmp_path: Path) -> None:
    with showing(broken), pytest.raises(BrokenPipeError):
        build_plan(MODELS["conv_chain"].write(tmp_path), RTX)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    return install(monkeypatch, tmp_path / "home", [])


@pytest.mark.parametrize(("version", "flags"), [("10.13.0", 2), ("10.16.1", 2), ("11.4.0", 0)])
def test_a_network_is_strongly_typed_in_every_version(
    version: str, flags: int, tensorrt: TensorRT, tmp_path: Path
) -> None:
    """Bit 1, STRONGLY_TYPED; 11 knows no other."""
    tensorrt.__version__ = version
    build_plan(MODELS["conv_chain"].write(tmp_path))
    assert tensorrt.flags == [flags]


def test_tensorrt_builds_for_a_device_in_the_thread_that_builds(tensorrt: TensorRT, tmp_path: Path) -> None:
    build_plan(MODELS["conv_chain"].write(tmp_path))
    assert tensorrt.cuda.devices == [0]


def test_a_build_that_fails_says_why(tensorrt: TensorRT, tmp_path: Path) -> None:
    tensorrt.unbuildable = "Could not find any implementation\nfor node conv1"
    match = r"tensorrt cannot build .*conv_chain.onnx: Could not find any implementation for node conv1; use"
    with pytest.raises(UnsupportedError, match=match):
        build_plan(MODELS["conv_chain"].write(tmp_path))


def test_a_build_that_is_interrupted_gives_no_plan(tensorrt: TensorRT, tmp_path: Path) -> None:
    steps: list[int] = []

    def interrupt() -> None:
        steps.append(len(steps))
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    tensorrt.step = interrupt
    with pytest.raises(KeyboardInterrupt):
        build_plan(MODELS["conv_chain"].write(tmp_path))


def test_a_machine_without_tensorrt_builds_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("runtime.cuda.missing", lambda: "no NVIDIA driver")
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        build_plan(tmp_path)
