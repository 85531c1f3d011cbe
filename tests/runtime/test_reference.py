from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from scipy.special import erf

from runtime.backend import SessionOptions
from runtime.errors import FeedError, UnsupportedError, UsageError
from runtime.reference import ReferenceBackend
from runtime.tensors import Array
from tests.models import CONV_CHAIN, EMBEDDING, FP16_CONV, INT8_CONV, TRANSFORMER, TinyModel

SCAN_8 = """
<ir_version: 4, opset_import: ["": 8]>
sums (float[1,2] start, float[1,3,2] x) => (float[1,2] last, float[1,3,2] all) {
    last, all = Scan<
        num_scan_inputs = 1,
        body = body (float[2] sum, float[2] next) => (float[2] total, float[2] out) {
            total = Add(sum, next)
            out = Identity(total)
        }
    >("", start, x)
}
"""


def _run(model: TinyModel, folder: Path) -> Array:
    with ReferenceBackend().open(model.write(folder), "cpu", SessionOptions()) as session:
        return session.run(model.feed())["y"]


def test_the_oracle_computes_what_the_formulas_say(tmp_path: Path) -> None:
    constants = {name: v.const_value.numpy() for name, v in TRANSFORMER.build().graph.initializers.items()}  # type: ignore[union-attr]
    x = TRANSFORMER.feed()["x"].astype(np.float64)
    hidden = x @ constants["w1"] + constants["b1"]
    hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
    sum_ = hidden @ constants["w2"] + x
    normal = (sum_ - sum_.mean(-1, keepdims=True)) / sum_.std(-1, keepdims=True)
    expected = normal * constants["gamma"] + constants["beta"]
    np.testing.assert_allclose(_run(TRANSFORMER, tmp_path), expected, atol=1e-5)


def test_int8_is_attested_as_the_float_arithmetic_it_is(tmp_path: Path) -> None:
    for model, dtype in ((INT8_CONV, "float32"), (FP16_CONV, "float16")):
        with ReferenceBackend().open(model.write(tmp_path), "cpu", SessionOptions()) as session:
            session.run(model.feed())
            assert session.executed().macs_by_type == {dtype: 1.0}


def test_an_index_outside_its_table_is_a_feed_error(tmp_path: Path) -> None:
    with (
        ReferenceBackend().open(EMBEDDING.write(tmp_path), "cpu", SessionOptions()) as session,
        pytest.raises(FeedError, match=r"does not accept this feed: .*; check index ranges"),
    ):
        session.run({"ids": np.full((1, 6), 10, np.int32)})


def test_it_has_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device of backend reference 'cuda:0': valid: cpu"):
        ReferenceBackend().open(CONV_CHAIN.write(tmp_path), "cuda:0", SessionOptions())


def test_an_operator_it_does_not_know_is_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise NotImplementedError("No implementation for operator 'Novel' from\ndomain '', version 99")

    monkeypatch.setattr("runtime.reference.ReferenceEvaluator", refuse)
    with pytest.raises(UnsupportedError, match=r"'Novel' from domain '', version 99; use another backend"):
        ReferenceBackend().open(CONV_CHAIN.write(tmp_path), "cpu", SessionOptions())


def test_a_loop_of_the_first_kind_is_unsupported_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "sums.onnx"
    onnx.save(onnx.parser.parse_model(SCAN_8), path)
    with (
        ReferenceBackend().open(path, "cpu", SessionOptions()) as session,
        pytest.raises(UnsupportedError, match=r"cannot run the graph: x and y have .*; use another backend"),
    ):
        session.run({"start": np.zeros((1, 2), np.float32), "x": np.ones((1, 3, 2), np.float32)})


def test_its_version_is_onnxs() -> None:
    assert ReferenceBackend().version() == f"onnx {onnx.__version__}"
