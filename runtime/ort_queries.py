"""Queries of ONNX Runtime, at the two boundaries, and what its errors say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from runtime.errors import FeedError
from runtime.tensors import Array, Feed

NO_GRAPH = {"gpu_graph_id": "-1"}
"""A run that neither captures a CUDA graph nor replays one: its inputs lie elsewhere."""


class HostQuery:
    """From NumPy arrays to NumPy arrays."""

    def __init__(self, session: Any, feed: Feed, run_options: Any) -> None:
        self._names = [output.name for output in session.get_outputs()]
        self._call = partial(session.run, self._names, dict(feed), run_options)
        self._results: list[Array] = []

    def run(self) -> None:
        self._results = self._call()

    def outputs(self) -> dict[str, Array]:
        return dict(zip(self._names, self._results, strict=True))


class DeviceQuery:
    """Inputs and outputs stay where they are: memory of the device, the same at every run.

    of_ours: whether that of the outputs is allocated here, after a run has told their sizes, or by that run.
    NOTE: onnxruntime-openvino 1.24 crashes in the second run where outputs of the first are bound again.
    """

    def __init__(
        self, session: Any, feed: Feed, memory: tuple[str, int], run_options: Any, *, of_ours: bool
    ) -> None:
        import onnxruntime

        self._memory = device, index = memory
        self._of_ours = of_ours
        self._names = [output.name for output in session.get_outputs()]
        self._binding = session.io_binding()
        for name, array in feed.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, index)
            self._binding.bind_ortvalue_input(name, value)
        for name in self._names:
            self._binding.bind_output(name, device, index)
        self._call = partial(session.run_with_iobinding, self._binding, run_options)
        self._fixed = False

    def run(self) -> None:
        self._call()
        if not self._fixed:
            self._fix_outputs()

    def outputs(self) -> dict[str, Array]:
        arrays = (value.numpy().copy() for value in self._binding.get_outputs())
        return dict(zip(self._names, arrays, strict=True))

    def _fix_outputs(self) -> None:
        """Their sizes are known after one run: from then on nothing is allocated."""
        values = self._binding.get_outputs()
        if self._of_ours:
            values = [self._like(value) for value in values]
        self._binding.clear_binding_outputs()
        for name, value in zip(self._names, values, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._fixed = True
        if self._of_ours:
            self._call()

    def _like(self, value: Any) -> Any:
        import onnxruntime

        kind = value.element_type()
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(value.shape(), kind, *self._memory)


def run_options(entries: Mapping[str, str]) -> Any:
    """None where there is nothing to say, which costs the call least."""
    if not entries:
        return None
    import onnxruntime

    options = onnxruntime.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options


@contextmanager
def told_as_feed_error() -> Iterator[None]:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    try:
        yield
    # run_with_iobinding raises RuntimeError where run raises one of its own errors
    except (errors.InvalidArgument, errors.Fail, errors.RuntimeException, RuntimeError) as error:
        raise FeedError(
            f"the graph does not accept this feed: {line_of(error)}; check index ranges and shapes"
        ) from error


def line_of(error: Exception) -> str:
    """The error without its "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED :" and on one line."""
    return " ".join(str(error).split()).rpartition(" : ")[2][:300]
