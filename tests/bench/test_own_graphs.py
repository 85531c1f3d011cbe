"""Graphs of the user's own: whatever opset, inputs, precision and storage they come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from bench import cli
from bench.measure import Limits, measure
from bench.own_precision import own_precision
from bench.record import Record
from calibration.precision import Precision
from runtime.tensors import Array
from tests.bench.factories import write_tiny_model
from tests.command import QUICK
from tests.test_bad_input import write_two_inputs

Capture = pytest.CaptureFixture[str]
FLOATS = (Precision.FP32, Precision.FP16, Precision.INT8)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of one's own, and no time spent on measuring: these tests are of everything before it."""
    monkeypatch.setenv("AIMATRIX_HOME", str(tmp_path / "home"))
    short = Limits(duration_ns=1, min_queries=3, window_ns=1, window_queries=1)
    monkeypatch.setattr("bench.opened.measure", lambda run, limits: measure(run, short))


def _normal(*shape: int, dtype: str = "float32") -> Array:
    fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
    values: Array = (np.random.default_rng(7).normal(size=shape) / np.sqrt(fan_in)).astype(dtype)
    return values


def _write(path: Path, text: str, **constants: Array) -> Path:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def write_classifier(path: Path, opset: int = 17, batch: int | str = "N") -> Path:
    """Conv, Relu, average, Gemm: every product stands before another, so all of them become INT8."""
    text = f"""<ir_version: {10 if opset > 20 else 7}, opset_import: ["": {opset}]>
        classifier (float[{batch},3,16,16] x) => (float[{batch},10] y) {{
            [conv] c = Conv<pads=[1,1,1,1]>(x, w, b)
            [relu] r = Relu(c)
            [pool] g = GlobalAveragePool(r)
            [flatten] f = Flatten(g)
            [gemm] y = Gemm(f, k)
        }}"""
    return _write(path, text, w=_normal(8, 3, 3, 3), b=np.zeros(8, np.float32), k=_normal(8, 10))


def write_embedding(path: Path) -> Path:
    text = """<ir_version: 8, opset_import: ["": 17]>
        embedding (int64[batch,12] ids) => (float[batch,12,16] y) {
            [gather] v = Gather(table, ids)
            [product] p = MatMul(v, m)
            [active] y = Relu(p)
        }"""
    return _write(path, text, table=_normal(100, 32), m=_normal(32, 16))


def write_external(path: Path) -> Path:
    model = onnx.load(write_classifier(path, 17))
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


OWN: Mapping[str, Callable[[Path], Path]] = {
    "opset 11": lambda path: write_classifier(path, 11),
    "opset 13": lambda path: write_classifier(path, 13),
    "opset 17": lambda path: write_classifier(path, 17),
    "fixed batch": lambda path: write_classifier(path, batch=4),
    "external data": write_external,
    "two inputs": write_two_inputs,
    "integer input": write_embedding,
}


def run(capture: Capture, backend: str, path: Path, *flags: str) -> tuple[int, list[Record], str]:
    """Exit code, records and standard error of a quick run."""
    code = cli.main(
        [
            *(backend, "--model", str(path), "--json", "--in-process", "--calibration-method", "min-max"),
            *QUICK,
            *flags,
        ]
    )
    told = capture.readouterr()
    found = json.loads(told.out) if told.out else []
    documents = found if isinstance(found, list) else [found]
    return code, [Record.model_validate(each) for each in documents], told.err


def _precisions(*precisions: Precision) -> list[str]:
    return [word for precision in precisions for word in ("--precision", precision.value)]


@pytest.mark.parametrize(
    ("case", "backend"),
    [*((case, "ort") for case in OWN), *((case, "openvino") for case in ("opset 11", "two inputs"))],
)
def test_a_graph_of_ones_own_runs_at_every_precision(
    case: str, backend: str, tmp_path: Path, capsys: Capture
) -> None:
    path = OWN[case](tmp_path / "own.onnx")
    asked = FLOATS if backend == "ort" else (*FLOATS, Precision.BF16)
    code, records, error = run(capsys, backend, path, *_precisions(*asked))
    assert code == 0, error
    assert [record.precision for record in records] == list(asked)
    assert {record.batch_size for record in records} == {4 if case == "fixed batch" else 1}
    assert {record.graph.fp32_sha256 for record in records} == {records[0].graph.sha256}
    for record in records[1:]:
        assert record.accuracy is not None
        assert record.accuracy.sqnr_db is not None
        assert record.accuracy.sqnr_db > 20  # eight bits have some 40 dB, a wrong scale none


def test_bf16_is_refused_where_the_processor_has_no_kernels_for_it(tmp_path: Path, capsys: Capture) -> None:
    path = write_classifier(tmp_path / "own.onnx")
    code, records, error = run(capsys, "ort", path, *_precisions(Precision.BF16))
    assert (code, records) == (2, [])
    assert "own (onnx) bf16 on cpu: onnxruntime's CPUExecutionProvider cannot run this graph" in error


def test_a_graph_without_products_has_nothing_to_quantise(tmp_path: Path, capsys: Capture) -> None:
    text = (
        '<ir_version: 8, opset_import: ["": 17]> g (float[batch,8] x) => (float[batch,8] y) { y = Relu(x) }'
    )
    path = _write(tmp_path / "own.onnx", text)
    code, records, error = run(capsys, "ort", path, *_precisions(Precision.FP32, Precision.INT8))
    assert code == 2
    assert [record.precision for record in records] == ["fp32"]
    assert "nothing to quantise: INT8 needs a Conv, Gemm or MatMul" in error


def write_half(path: Path) -> Path:
    text = """<ir_version: 8, opset_import: ["": 17]>
        half (float16[N,3,8,8] x) => (float16[N,8,8,8] y) { [conv] y = Conv<pads=[1,1,1,1]>(x, w) }"""
    return _write(path, text, w=_normal(8, 3, 3, 3, dtype="float16"))


def write_quantised(path: Path) -> Path:
    """What ONNX Runtime's own quantiser writes: uint8 activations with a zero point."""
    text = """<ir_version: 8, opset_import: ["": 17]>
        quantised (float[N,3,8,8] x) => (float[N,8,8,8] y) {
            a = QuantizeLinear(x, s, z)
            b = DequantizeLinear(a, s, z)
            v = DequantizeLinear(w, t, i)
            [conv] c = Conv<pads=[1,1,1,1]>(b, v)
            d = QuantizeLinear(c, s, z)
            y = DequantizeLinear(d, s, z)
        }"""
    weight = np.random.default_rng(3).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    scales = {"s": np.array(0.05, np.float32), "t": np.array(0.003, np.float32)}
    return _write(path, text, w=weight, z=np.array(128, np.uint8), i=np.array(0, np.int8), **scales)


WRITTEN = [
    (write_half, Precision.FP16),
    (write_quantised, Precision.INT8),
    (write_classifier, Precision.FP32),
]


@pytest.mark.parametrize(("write", "precision"), WRITTEN)
def test_a_graph_is_measured_at_the_precision_it_has(
    write: Callable[[Path], Path], precision: Precision, tmp_path: Path, capsys: Capture
) -> None:
    code, (record,), error = run(capsys, "ort", write(tmp_path / "own.onnx"))
    assert (code, record.precision, record.accuracy) == (0, precision, None), error
    assert record.graph.fp32_sha256 == (record.graph.sha256 if precision is Precision.FP32 else None)


@pytest.mark.parametrize(("write", "precision"), WRITTEN[:2])
@pytest.mark.parametrize("asked", [Precision.FP32, Precision.BF16])
def test_no_other_precision_is_made_of_a_graph_that_has_one(
    write: Callable[[Path], Path], precision: Precision, asked: Precision, tmp_path: Path, capsys: Capture
) -> None:
    code, records, error = run(capsys, "ort", write(tmp_path / "own.onnx"), *_precisions(asked))
    assert (code, records) == (2, [])
    assert f"own.onnx is an {precision} graph already: measure it with --precision {precision}" in error


def test_a_few_half_precision_weights_make_no_half_precision_graph(tmp_path: Path) -> None:
    model = ir.load(write_classifier(tmp_path / "own.onnx"))
    model.graph.initializers["b"].const_value = ir.tensor(np.zeros(8, np.float16), name="b")
    assert own_precision(model) is Precision.FP32


@pytest.mark.parametrize("allowed", [False, True])
def test_int8_on_float_arithmetic_is_refused_unless_allowed(
    allowed: bool, tmp_path: Path, capsys: Capture
) -> None:
    path = write_tiny_model(tmp_path / "own.onnx")
    flags = [*_precisions(Precision.INT8), *(["--allow-emulation"] if allowed else [])]
    code, records, error = run(capsys, "reference", path, *flags)
    assert code == (0 if allowed else 1)
    kinds = {warning.kind for record in records for warning in record.warnings}
    assert ("emulated" in kinds) is allowed
    assert ("not executed as asked: INT8 is emulated" in error) is not allowed
