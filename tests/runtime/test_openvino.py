from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.backend import Boundary, SessionOptions
from runtime.errors import FeedError, UnsupportedError, UsageError
from runtime.openvino import OpenVINOBackend, OpenVINOSession
from tests.models import ATTENTION, BF16_CONV, CONV_CHAIN, FP16_CONV, INT8_CONV, PASSED_ON, TinyModel

openvino = pytest.importorskip("openvino")


def _open(model: TinyModel, folder: Path, options: SessionOptions | None = None) -> OpenVINOSession:
    return OpenVINOBackend().open(model.write(folder), "cpu", options or SessionOptions())


def _properties(session: OpenVINOSession, model: TinyModel) -> Any:
    return session._compiled_for(model.feed())


def test_fp32_is_pinned_though_its_default_is_bf16_on_many_processors(tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        compiled = _properties(session, CONV_CHAIN)
        assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
        session.run(CONV_CHAIN.feed())
        assert session.executed().macs_by_type == {"float32": 1.0}


@pytest.mark.parametrize(("model", "ability"), [(BF16_CONV, "BF16"), (FP16_CONV, "FP16")])
def test_half_precision_runs_where_the_processor_has_it(
    model: TinyModel, ability: str, tmp_path: Path
) -> None:
    abilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    expected = {model.computes} if ability in abilities else {"float32"}
    with _open(model, tmp_path) as session:
        session.run(model.feed())
        assert set(session.executed().macs_by_type) == expected


@pytest.mark.parametrize("boundary", Boundary)
@pytest.mark.parametrize("model", [INT8_CONV, PASSED_ON], ids=lambda model: model.name)
def test_outputs_have_the_files_names_and_not_openvinos(
    model: TinyModel, boundary: Boundary, tmp_path: Path
) -> None:
    with _open(model, tmp_path) as session:
        outputs = session.bind(model.feed(), boundary).outputs()
    assert list(outputs) == [spec.name for spec in session.outputs]


def test_it_compiles_once_for_each_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _open(CONV_CHAIN, tmp_path) as session:
        first = session._compiled_for(CONV_CHAIN.feed(2))
        assert session._compiled_for(CONV_CHAIN.feed(2, seed=1)) is first
        assert session._compiled_for(CONV_CHAIN.feed(3)) is not first
        assert list(first.inputs[0].shape) == [2, 4, 8, 8]


def test_a_query_keeps_what_it_was_bound_to(tmp_path: Path) -> None:
    feed = {name: array.copy() for name, array in CONV_CHAIN.feed().items()}
    with _open(CONV_CHAIN, tmp_path) as session:
        query = session.bind(feed, Boundary.DEVICE)
        before = query.outputs()["y"]
        feed["x"][...] = 0
        query.run()
        np.testing.assert_array_equal(query.outputs()["y"], before)


def test_threads_are_passed_on(tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path, SessionOptions(threads=1)) as session:
        assert _properties(session, CONV_CHAIN).get_property("INFERENCE_NUM_THREADS") == 1


def test_optimisations_cannot_be_switched_off(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot switch its graph optimisations off; use backend ort"):
        _open(CONV_CHAIN, tmp_path, SessionOptions(optimize=False))


def test_a_property_it_does_not_know_is_refused(tmp_path: Path) -> None:
    with (
        _open(CONV_CHAIN, tmp_path, SessionOptions(provider_options={"NO_SUCH": "1"})) as session,
        pytest.raises(UnsupportedError, match=r"cannot compile the graph for CPU: .*NO_SUCH"),
    ):
        session.run(CONV_CHAIN.feed())


def test_an_unknown_device_is_told_those_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"device of backend openvino 'npu9': .*cpu"):
        OpenVINOBackend().open(CONV_CHAIN.write(tmp_path), "npu9", SessionOptions())


def test_what_executed_is_known_only_after_a_query(tmp_path: Path) -> None:
    with (
        _open(CONV_CHAIN, tmp_path) as session,
        pytest.raises(UsageError, match="only after a query has run; call bind or run first"),
    ):
        session.executed()


def test_a_feed_the_graph_chokes_on_is_a_feed_error(tmp_path: Path) -> None:
    with _open(CONV_CHAIN, tmp_path) as session, pytest.raises(FeedError, match="'x' is float64"):
        session.run({"x": np.zeros((1, 4, 8, 8))})


def test_the_products_of_a_fused_attention_block_are_attested(tmp_path: Path) -> None:
    """OpenVINO makes one kernel of it, which is called after neither product."""
    with _open(ATTENTION, tmp_path) as session:
        session.run(ATTENTION.feed())
        layers = {
            str(operation.get_rt_info()["layerType"].astype(str))
            for operation in session._compiled_for(ATTENTION.feed()).get_runtime_model().get_ordered_ops()
        }
        assert "Subgraph" in layers
        assert not layers & {"MatMul", "FullyConnected"}
        assert session.executed().macs_by_type == {"float32": 1.0}
