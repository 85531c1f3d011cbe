"""Steps whose states stay on the device, against the recurrence in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from runtime.backend import Session, SessionOptions
from runtime.backends import get_backend
from runtime.errors import FeedError, UsageError
from runtime.stepping import HostStepper, Stepping, stepper

CARRIED = {"next_state": "state", "next_count": "count"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """next_state = state * factor + word; next_count = count + word; answer = state + count; batch open."""
    shape: list[str | int | None] = ["batch", 3]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("word", "state", "count", "factor")
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("next_state", "answer", "next_count")
    ]
    nodes = [
        helper.make_node("Mul", ["state", "factor"], ["scaled"], "scaled"),
        helper.make_node("Add", ["scaled", "word"], ["next_state"], "next_state"),
        helper.make_node("Add", ["count", "word"], ["next_count"], "next_count"),
        helper.make_node("Add", ["state", "count"], ["answer"], "answer"),
    ]
    made = helper.make_graph(nodes, "steps", inputs, outputs)
    path = tmp_path_factory.mktemp("steps") / "steps.onnx"
    opset = [helper.make_opsetid("", 22)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=10), path)
    return path


@pytest.fixture(params=["ort", "openvino", "reference"])
def session(request: pytest.FixtureRequest, graph: Path) -> Iterator[Session]:
    backend = get_backend(request.param)
    reason = backend.unavailable()
    if reason:
        pytest.skip(reason)
    with backend.open(graph, "cpu", SessionOptions()) as opened:
        yield opened


def feed() -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    return dict(zip(("word", "state", "count", "factor"), values, strict=True))


def test_states_are_carried_from_step_to_step(session: Session) -> None:
    start = feed()
    decoder = stepper(session, start, CARRIED)
    state, count = start["state"], start["count"]
    for step in range(5):
        word = np.full((2, 3), step, np.float32)
        outputs = decoder.step({"word": word})
        assert set(outputs) == {"answer"}
        np.testing.assert_allclose(outputs["answer"], state + count, rtol=1e-6)
        state, count = state * start["factor"] + word, count + word
        left = decoder.carried()
        np.testing.assert_allclose(left["state"], state, rtol=1e-6)
        np.testing.assert_allclose(left["count"], count, rtol=1e-6)


def test_what_a_step_is_not_given_stays_as_it_was(session: Session) -> None:
    start = feed()
    decoder = stepper(session, start, CARRIED)
    decoder.step({})
    decoder.step({})
    np.testing.assert_allclose(decoder.carried()["count"], start["count"] + 2 * start["word"], rtol=1e-6)


def test_neither_answers_nor_the_feed_change_behind_the_callers_back(session: Session) -> None:
    start = feed()
    kept = {name: array.copy() for name, array in start.items()}
    decoder = stepper(session, start, CARRIED)
    first = decoder.step({})["answer"]
    before = first.copy()
    decoder.step({})
    np.testing.assert_array_equal(first, before)
    for name, array in kept.items():
        np.testing.assert_array_equal(start[name], array)


def test_two_steppers_of_a_session_do_not_mix(session: Session) -> None:
    start = feed()
    one, two = (stepper(session, start, CARRIED) for _ in range(2))
    one.step({"word": np.ones((2, 3), np.float32)})
    two.step({"word": np.zeros((2, 3), np.float32)})
    np.testing.assert_allclose(one.carried()["count"], start["count"] + 1, rtol=1e-6)
    np.testing.assert_allclose(two.carried()["count"], start["count"], rtol=1e-6)


def test_sessions_with_devices_step_there(session: Session) -> None:
    on_host = isinstance(stepper(session, feed(), CARRIED), HostStepper)
    assert on_host is not isinstance(session, Stepping)


def test_a_step_of_another_batch_is_refused(session: Session) -> None:
    decoder = stepper(session, feed(), CARRIED)
    with pytest.raises(FeedError, match=r"input 'word' has shape \[1, 3\], the graph wants \[2, 3\]"):
        decoder.step({"word": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize("name", ["state", "wrod"])
def test_a_step_takes_no_states_and_no_other_inputs(session: Session, name: str) -> None:
    decoder = stepper(session, feed(), CARRIED)
    with pytest.raises(
        UsageError, match=rf"a step is given \['{name}'\]; expected some of \['factor', 'word'\]"
    ):
        decoder.step({name: np.ones((2, 3), np.float32)})


def test_a_first_feed_that_lacks_an_input_is_refused(session: Session) -> None:
    start = {name: array for name, array in feed().items() if name != "state"}
    with pytest.raises(FeedError, match=r"missing \['state'\]"):
        stepper(session, start, CARRIED)


def test_outputs_and_inputs_that_are_not_there_are_refused(session: Session) -> None:
    with pytest.raises(UsageError, match=r"output 'state' is to be input 'next_state' of the next step"):
        stepper(session, feed(), {"state": "next_state"})
