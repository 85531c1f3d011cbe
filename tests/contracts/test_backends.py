"""Every backend, the same cases: what bench relies on, and what a vendor's backend is held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.backend import Backend, Boundary, Session, SessionOptions
from runtime.backends import BACKENDS, get_backend
from runtime.errors import FeedError, GraphError, HarnessError, UnsupportedError
from runtime.graphs import inspect
from tests.models import BATCH, CONV_CHAIN, MODELS, PASSED_ON, SMALLER_BATCH, TinyModel

COMPUTING = [name for name in BACKENDS if name != "null"]

REFUSED = {
    ("ort", "bf16_conv"): "the CPU provider has no BF16 convolution",
}

ROUNDINGS = 8.5
"""Rounding errors of n additions grow as sqrt(n) units (Higham, Mary 2019, probabilistic bound); the
longest sum here has 72 terms, and both sides round."""

EPSILON = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7, "": 0.0}

RUNS_AS = {
    ("ort", "float16"): {"float32"},  # the CPU provider puts casts around what has no float16 kernel
    ("openvino", "float16"): {"float16", "float32"},  # depends on the processor
    ("openvino", "bfloat16"): {"bfloat16", "float32"},
    ("reference", "int8"): {"float32"},  # Q and DQ round, the operator between them multiplies floats
}

FLOAT_IN_INT8 = {
    ("ort", "int8_tail"): "a Gemm with a float bias has no integer kernel",
}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return _available(request.param)


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def model(request: pytest.FixtureRequest) -> TinyModel:
    found: TinyModel = request.param
    return found


@pytest.fixture(params=COMPUTING)
def computing(request: pytest.FixtureRequest) -> Backend:
    return _available(request.param)


@pytest.fixture
def session(computing: Backend, model: TinyModel, tmp_path: Path) -> Iterator[Session]:
    if (computing.name, model.name) in REFUSED:
        pytest.skip(REFUSED[computing.name, model.name])
    with _open(computing, model, tmp_path) as opened:
        yield opened


def _available(name: str) -> Backend:
    backend = get_backend(name)
    reason = backend.unavailable()
    if reason:
        pytest.skip(reason)
    return backend


def _open(backend: Backend, model: TinyModel, folder: Path) -> Session:
    return backend.open(model.write(folder), backend.devices()[0].name, SessionOptions())


def _tolerance(model: TinyModel, greatest: float) -> float:
    """Per type: rounding of a sum; for int8, every quantised tensor off by one step, at a gain of 1."""
    if model.computes == "int8":
        return sum(model.scales.values())
    return ROUNDINGS * EPSILON[model.computes] * greatest


def test_outputs_are_those_of_the_reference_at_both_boundaries_and_any_batch_size(
    session: Session, model: TinyModel, tmp_path: Path
) -> None:
    with _open(get_backend("reference"), model, tmp_path) as reference:
        for batch in (BATCH, SMALLER_BATCH):
            feed = model.feed(batch, seed=batch)
            expected = reference.run(feed)
            for boundary in Boundary:
                outputs = session.bind(feed, boundary).outputs()
                assert list(outputs) == [spec.name for spec in session.outputs]
                for name, array in outputs.items():
                    want = expected[name]
                    assert (array.shape, array.dtype) == (want.shape, want.dtype)
                    tolerance = _tolerance(model, float(np.abs(want).max()))
                    np.testing.assert_allclose(array, want, rtol=0, atol=tolerance)


def test_an_attestation_names_what_every_multiplication_ran_in(session: Session, model: TinyModel) -> None:
    session.bind(model.feed(), Boundary.HOST)
    executed = session.executed()
    backend = type(session).__module__.split(".")[1]
    assert executed.on_device_macs == 1
    assert executed.fallback_nodes == ()
    if (backend, model.name) in FLOAT_IN_INT8:
        assert executed.macs_by_type == {"float32": 1.0}
    elif model.computes:
        assert set(executed.macs_by_type) <= RUNS_AS.get((backend, model.computes), {model.computes})
        assert sum(executed.macs_by_type.values()) == pytest.approx(1)
    else:
        assert executed.macs_by_type == {}


def test_specs_are_the_files(session: Session, model: TinyModel, tmp_path: Path) -> None:
    facts = inspect(model.write(tmp_path))
    assert (session.inputs, session.outputs) == (facts.inputs, facts.outputs)


@pytest.mark.parametrize(("name", "model_name"), REFUSED)
def test_what_a_backend_cannot_run_is_refused_in_one_line(name: str, model_name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="Conv") as caught:
        _open(_available(name), MODELS[model_name], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("boundary", Boundary)
def test_outputs_are_copies_that_later_runs_leave_alone(
    computing: Backend, boundary: Boundary, tmp_path: Path
) -> None:
    with _open(computing, CONV_CHAIN, tmp_path) as session:
        query = session.bind(CONV_CHAIN.feed(), boundary)
        first = query.outputs()["y"]
        kept = first.copy()
        other = session.bind(CONV_CHAIN.feed(seed=1), boundary)
        other.run()
        query.run()
        np.testing.assert_array_equal(first, kept)
        first[...] = -1
        query.run()
        np.testing.assert_array_equal(query.outputs()["y"], kept)


def test_queries_with_different_batch_sizes_live_side_by_side(computing: Backend, tmp_path: Path) -> None:
    with _open(computing, CONV_CHAIN, tmp_path) as session:
        large = session.bind(CONV_CHAIN.feed(BATCH), Boundary.DEVICE)
        small = session.bind(CONV_CHAIN.feed(SMALLER_BATCH), Boundary.DEVICE)
        large.run()
        small.run()
        assert large.outputs()["y"].shape[0] == BATCH
        assert small.outputs()["y"].shape[0] == SMALLER_BATCH


@pytest.mark.parametrize(
    ("feed", "match"),
    [
        ({"images": np.zeros((1, 4, 8, 8), np.float32)}, r"missing \['x'\], unknown \['images'\]"),
        ({"x": np.zeros((1, 4, 8, 8), np.float64)}, "'x' is float64, the graph wants float32"),
        ({"x": np.zeros((1, 4, 8), np.float32)}, r"shape \[1, 4, 8\], the graph wants \['batch', 4, 8, 8\]"),
        ({"x": np.full((1, 4, 8, 8), np.nan, np.float32)}, "256 NaN or infinite values"),
    ],
    ids=["name", "type", "shape", "nan"],
)
def test_a_feed_that_does_not_fit_is_refused(
    backend: Backend, feed: dict[str, np.ndarray], match: str, tmp_path: Path
) -> None:
    with _open(backend, CONV_CHAIN, tmp_path) as session:
        with pytest.raises(FeedError, match=match):
            session.bind(feed, Boundary.HOST)
        with pytest.raises(FeedError, match=match):
            session.run(feed)


def test_an_index_outside_its_table_is_an_error_or_an_answer_but_no_crash(
    computing: Backend, tmp_path: Path
) -> None:
    model = MODELS["embedding"]
    with _open(computing, model, tmp_path) as session:
        try:
            outputs = session.run({"ids": np.full((1, 6), 10_000, np.int32)})
        except FeedError as error:
            assert "index" in str(error)  # noqa: PT017 - either outcome is right
        else:
            assert outputs["y"].shape == (1, 6, 8)


def test_a_device_that_is_not_there_is_refused_with_those_that_are(backend: Backend, tmp_path: Path) -> None:
    path = CONV_CHAIN.write(tmp_path)
    with pytest.raises(HarnessError, match=f"{backend.name}.*{backend.devices()[0].name}") as caught:
        backend.open(path, "abacus", SessionOptions())
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_a_graph_error(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(CONV_CHAIN.write(tmp_path).read_bytes()[:100])
    with pytest.raises(GraphError, match=r"cut short|not sound"):
        backend.open(path, backend.devices()[0].name, SessionOptions())


def test_a_session_closes_more_than_once(backend: Backend, tmp_path: Path) -> None:
    with _open(backend, PASSED_ON, tmp_path) as session:
        session.run(PASSED_ON.feed())
    session.close()


def test_a_backend_says_its_version_and_is_called_as_in_the_table(backend: Backend) -> None:
    assert BACKENDS[backend.name]().name == backend.name
    assert any(character.isdigit() for character in backend.version())


def test_an_unavailable_backend_says_why_in_one_line_and_has_no_devices() -> None:
    for name in BACKENDS:
        backend = get_backend(name)
        reason = backend.unavailable()
        if reason is not None:
            assert reason
            assert "\n" not in reason
            assert backend.devices() == ()
