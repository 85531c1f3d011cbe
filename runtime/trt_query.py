"""A feed bound to a TensorRT engine: each query has an execution context and a stream of its own.

So two queries can be in flight: `a.start(); b.start(); a.wait(); b.wait()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from runtime.backend import Query
from runtime.cuda_memory import Buffer, Stream
from runtime.errors import FeedError, HarnessError, UnsupportedError
from runtime.tensors import Array, Feed, TensorSpec
from runtime.trt_library import Library
from runtime.trt_outputs import DeviceOutput, GrowingOutput, HostOutput, Output, make_allocator


@runtime_checkable
class Overlapping(Query, Protocol):
    """A query that need not be waited for at once; `run` is `start` and then `wait`."""

    def start(self) -> None:
        """Begin to compute, and return before that is done; must not be called again before `wait`."""

    def wait(self) -> None:
        """Return when the outputs are complete at the boundary."""


@dataclass(frozen=True)
class Tensors:
    """What a query reads and writes, in the order of the graph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Bound:
    """An execution context with memory for every tensor, on a stream."""

    def __init__(self, trt: Library, engine: Any, stream: Stream, tensors: Tensors, feed: Feed) -> None:
        self._trt = trt
        self._engine = engine
        self.stream = stream
        self._context = engine.create_execution_context()
        if self._context is None:
            raise UnsupportedError(
                f"{trt.title} makes no execution context: {trt.logger.told()}; use a smaller batch"
            )
        self._allocators: list[Any] = []
        self.inputs = {spec.name: self._place_input(spec.name, feed[spec.name]) for spec in tensors.inputs}
        self._infer_shapes()
        self.outputs = {spec.name: self._place_output(spec) for spec in tensors.outputs}

    @property
    def growing(self) -> tuple[str, ...]:
        """Names of the outputs whose shape depends on data."""
        return tuple(name for name, output in self.outputs.items() if not output.fixed)

    def enqueue(self) -> None:
        """Raises FeedError, or what an output said of its memory."""
        if self._context.execute_async_v3(self.stream.handle):
            return
        for output in self.outputs.values():
            if isinstance(output, GrowingOutput):
                output.raise_failure()
        raise FeedError(
            f"tensorrt did not accept the query: {self._trt.logger.told()}; check index ranges and shapes of"
            " the feed"
        )

    def fetch(self) -> dict[str, Array]:
        """New arrays of the last run's outputs."""
        arrays = {name: output.fetch() for name, output in self.outputs.items()}
        self.stream.wait()
        return arrays

    def _place_input(self, name: str, array: Array) -> Buffer:
        buffer = self.stream.allocate(array.nbytes)
        if not self._context.set_input_shape(name, array.shape):
            raise FeedError(
                f"tensorrt does not take input {name!r} of shape {list(array.shape)}:"
                f" {self._trt.logger.told()}; see the option profile.NAME"
            )
        self._context.set_tensor_address(name, buffer.pointer)
        return buffer

    def _infer_shapes(self) -> None:
        try:
            unknown = self._context.infer_shapes()
        except RuntimeError as error:
            raise FeedError(f"tensorrt finds no shapes for this feed: {self._trt.logger.told()}") from error
        if unknown:
            raise UnsupportedError(f"tensorrt does not know the shape of {', '.join(unknown)} in this engine")

    def _place_output(self, spec: TensorSpec) -> Output:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            growing = GrowingOutput(self.stream, spec)
            self._allocators.append(make_allocator(self._trt.module, growing))
            self._context.set_output_allocator(spec.name, self._allocators[-1])
            return growing
        if self._engine.get_tensor_location(spec.name) == self._trt.module.TensorLocation.HOST:
            on_host = HostOutput(self.stream, spec, shape)
            self._context.set_tensor_address(spec.name, on_host.pointer)
            return on_host
        output = DeviceOutput(self.stream, spec, shape)
        self._context.set_tensor_address(spec.name, output.buffer.pointer)
        return output


class DeviceQuery:
    """Inputs and outputs in device memory, at the same addresses at every run."""

    def __init__(self, bound: Bound, feed: Feed) -> None:
        self._bound = bound
        self._stream = bound.stream
        self._launch: Callable[[], None] = self._queue
        arrays = {name: np.ascontiguousarray(feed[name]) for name in bound.inputs}
        for name, array in arrays.items():
            self._stream.upload(bound.inputs[name], array)
        self._stream.wait()

    def capture(self) -> str | None:
        """Make what a run queues one CUDA graph; why that is not possible, in which case it stays as it was.

        NOTE: after a plain run, in which TensorRT allocates and loads what it would not during a capture.
        """
        growing = self._bound.growing
        if growing:
            return f"the shape of output {', '.join(growing)} depends on data"
        self.run()
        try:
            self._launch = self._stream.capture(self._queue).launch
        except HarnessError as error:
            return str(error)
        return None

    def run(self) -> None:
        self.start()
        self.wait()

    def start(self) -> None:
        self._stream.enter()
        self._launch()

    def wait(self) -> None:
        self._stream.wait()

    def outputs(self) -> dict[str, Array]:
        return self._bound.fetch()

    def device_ns(self) -> int:
        """Nanoseconds that the device takes for one run, without what the host does around it."""
        self._stream.enter()
        return self._stream.time_ns(self._launch)

    def _queue(self) -> None:
        self._bound.enqueue()


class HostQuery(DeviceQuery):
    """From NumPy arrays to new NumPy arrays, by pinned memory; `outputs` are the last run's."""

    def __init__(self, bound: Bound, feed: Feed) -> None:
        self._feed = feed
        self._results: dict[str, Array] = {}
        self._sources = {
            name: bound.stream.pin(feed[name].shape, feed[name].dtype.name) for name in bound.inputs
        }
        self._landings = {
            name: (output, bound.stream.pin(output.shape, output.dtype))
            for name, output in bound.outputs.items()
            if isinstance(output, DeviceOutput)
        }
        super().__init__(bound, feed)

    def use(self, feed: Feed) -> None:
        """Run on another feed of the same shapes from now on."""
        self._feed = feed

    def start(self) -> None:
        for name, source in self._sources.items():
            np.copyto(source.array, self._feed[name])
        super().start()

    def wait(self) -> None:
        super().wait()
        others = self._bound.outputs.keys() - self._landings.keys()
        results = {name: landing.array.copy() for name, (_, landing) in self._landings.items()}
        results.update({name: self._bound.outputs[name].fetch() for name in others})
        if others:
            super().wait()
        self._results = {name: results[name] for name in self._bound.outputs}

    def outputs(self) -> dict[str, Array]:
        return dict(self._results)

    def _queue(self) -> None:
        for name, source in self._sources.items():
            self._stream.upload(self._bound.inputs[name], source.array)
        super()._queue()
        for output, landing in self._landings.values():
            self._stream.download(landing.array, output.buffer)
