"""The lowering is exact: with optimisations off, it changes no bit; with integer kernels, only rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backend import SessionOptions
from runtime.lowering import LOWERING, lower
from runtime.ort import OnnxRuntimeBackend
from runtime.tensors import Array, Feed
from tests.models import CONV_CHAIN, INT8, INT8_CONV, INT8_MATMUL, INT8_RESIDUAL, INT8_TAIL, TinyModel

onnxruntime = pytest.importorskip("onnxruntime")

QUANTISED = {"int8_conv": 3, "int8_residual": 4, "int8_tail": 4, "int8_matmul": 2, "int8_attention": 2}

_SCALES = st.floats(2**-10, 1, width=32)

each_int8_model = pytest.mark.parametrize("model", INT8, ids=[model.name for model in INT8])


def _run(model: ir.Model, feed: Feed, optimise: bool) -> list[Array]:
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


def run_plainly(model: ir.Model, feed: Feed) -> list[Array]:
    return _run(model, feed, optimise=False)


def _lowered(model: ir.Model) -> ir.Model:
    assert lower(model) > 0
    return model


@each_int8_model
@settings(max_examples=15, deadline=None)
@given(
    scales=st.lists(_SCALES, min_size=4, max_size=4),
    loudness=st.sampled_from([0.01, 1.0, 100.0]),  # within one step; as calibrated; mostly beyond the range
    seed=st.integers(0, 99),
)
def test_without_optimisations_not_a_bit_differs(
    model: TinyModel, scales: list[float], loudness: float, seed: int
) -> None:
    chosen = dict(zip(model.scales, scales, strict=False))
    feed = {name: array * np.float32(loudness) for name, array in model.feed(seed=seed).items()}
    canonical = _run(model.build(**chosen), feed, optimise=False)
    lowered = _run(_lowered(model.build(**chosen)), feed, optimise=False)
    for ours, theirs in zip(lowered, canonical, strict=True):
        np.testing.assert_array_equal(ours.view(np.uint32), theirs.view(np.uint32))


@settings(max_examples=30, deadline=None)
@given(
    bounds=st.tuples(st.floats(-9, 9, width=32), st.floats(-9, 9, width=32)).map(sorted),
    scale=_SCALES,
)
def test_any_clip_is_one_of_quantised_values(bounds: list[float], scale: float) -> None:
    low, high = (np.array(bound, np.float32) for bound in bounds)
    model = replace(INT8_CONV, constants={"low": low, "high": high})
    feed = model.feed()
    canonical = _run(model.build(e=scale), feed, optimise=False)
    lowered = _lowered(model.build(e=scale))
    assert not [node for node in lowered.graph if node.name == "clip2"]
    np.testing.assert_array_equal(_run(lowered, feed, optimise=False)[0], canonical[0])


def test_a_clip_with_one_bound_or_bounds_that_are_computed(tmp_path: Path) -> None:
    one_bound = replace(
        INT8_CONV,
        body=INT8_CONV.body.replace("Clip(d, low, high)", 'Clip(d, "", high)'),
        constants={"high": np.array(1, np.float32)},
    )
    computed = replace(INT8_CONV, body=INT8_CONV.body.replace("[clip2]", "[top] t = Neg(low) [clip2]"))
    computed = replace(
        computed,
        body=computed.body.replace("low, high", "low, t"),
        constants={"low": np.array(-2, np.float32)},
    )
    for model in (one_bound, computed):
        feed = model.feed()
        canonical = _run(model.build(), feed, optimise=False)
        np.testing.assert_array_equal(_run(_lowered(model.build()), feed, optimise=False)[0], canonical[0])


@each_int8_model
def test_it_finds_every_quantised_tensor(model: TinyModel) -> None:
    assert lower(model.build()) == QUANTISED[model.name]


def test_it_leaves_a_float_graph_alone() -> None:
    model = CONV_CHAIN.build()
    before = ir.to_proto(model).SerializeToString()
    assert lower(model) == 0
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", "int8[2] q, float[2] y"),
        ("q = QuantizeLinear(x, s, one) y = DequantizeLinear(q, s, one)", "float[2] y"),
        ("q = QuantizeLinear(x, s, u) y = DequantizeLinear(q, s, u)", "float[2] y"),
        ("q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)", "float[2] y"),
        ("q = QuantizeLinear(x, s, z) y = Cast<to=1>(q)", "float[2] y"),
    ],
    ids=["quantised output", "zero point 1", "uint8", "no zero point", "read as a number"],
)
def test_what_is_not_canonical_is_left_alone(body: str, outputs: str) -> None:
    constants = "float s = {0.5}, int8 z = {0}, int8 one = {1}, uint8 u = {0}"
    text = (
        f'<ir_version: 10, opset_import: ["": 22]> g (float[2] x) => ({outputs}) <{constants}> {{ {body} }}'
    )
    assert lower(ir.from_onnx_text(text)) == 0


def test_a_relu_that_others_read_stays() -> None:
    model = replace(
        INT8_CONV,
        outputs="float[batch,8,8,8] y, float[batch,8,8,8] seen",
        body=INT8_CONV.body + "[look] seen = Neg(a)",
    )
    lowered = _lowered(model.build())
    assert [node.op_type for node in lowered.graph if node.name == "relu1"] == ["Relu"]
    feed = model.feed()
    for ours, theirs in zip(
        _run(lowered, feed, optimise=False), _run(model.build(), feed, optimise=False), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def _gain(model: TinyModel, weight: str) -> float:
    """What one step in every input of a convolution can make of an output: the greatest sum of |w|."""
    constants = {name: value.const_value for name, value in model.build().graph.initializers.items()}
    steps, scale = constants[weight], constants[f"{weight}_s"]
    assert steps is not None
    assert scale is not None
    sums = np.abs(steps.numpy().astype(np.float64)).sum(axis=(1, 2, 3)) * scale.numpy()
    return float(sums.max())


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        (INT8_CONV, INT8_CONV.scales["a"] * _gain(INT8_CONV, "w2") + INT8_CONV.scales["e"]),
        (
            INT8_RESIDUAL,
            (INT8_RESIDUAL.scales["c"] + INT8_RESIDUAL.scales["r"]) * _gain(INT8_RESIDUAL, "v")
            + INT8_RESIDUAL.scales["t"],
        ),
    ],
    ids=["int8_conv", "int8_residual"],
)
def test_integer_kernels_differ_by_rounding_only(model: TinyModel, bound: float) -> None:
    """Worst case: each quantised tensor is off by one step everywhere. In fact few elements are."""
    feed = model.feed(batch=20)
    exact = _run(model.build(), feed, optimise=False)[0]
    integer = _run(_lowered(model.build()), feed, optimise=True)[0]
    difference = np.abs(integer - exact)
    assert difference.max() <= bound
    assert np.mean(difference > 1e-5) < 0.01


def _executed(
    model: TinyModel, folder: Path, options: SessionOptions
) -> tuple[Mapping[str, float], str | None]:
    with OnnxRuntimeBackend().open(model.write(folder), "cpu", options) as session:
        session.run(model.feed())
        executed = session.executed()
    return executed.macs_by_type, executed.lowering


@pytest.mark.parametrize("model", [INT8_CONV, INT8_RESIDUAL, INT8_MATMUL], ids=lambda model: model.name)
def test_lowered_runs_in_int8(model: TinyModel, tmp_path: Path) -> None:
    assert _executed(model, tmp_path, SessionOptions()) == ({"int8": 1.0}, LOWERING)


def test_a_gemm_with_a_float_bias_stays_float_and_says_so(tmp_path: Path) -> None:
    assert _executed(INT8_TAIL, tmp_path, SessionOptions()) == ({"float32": 1.0}, LOWERING)


def test_what_is_not_lowered_runs_in_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN.md: the CPU provider leaves the canonical graph's convolutions in float."""
    assert _executed(INT8_CONV, tmp_path, SessionOptions(optimize=False)) == ({"float32": 1.0}, None)
    monkeypatch.setattr("runtime.ort.lower", lambda model: 0)
    assert _executed(INT8_CONV, tmp_path, SessionOptions()) == ({"float32": 1.0}, None)
