"""Graphs that run step after step, some of their outputs being inputs of the next: decoders.

Where a session can, what is carried stays where it is, in the device's memory: there are two sets of buffers,
and a step reads one and writes the other. Nothing is allocated or copied for them but at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from runtime.backend import Session
from runtime.errors import UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed

Carried = Mapping[str, str]
"""Name of an output to that of the input it is in the next step; both of one shape and type."""


class Stepper(Protocol):
    """A graph between two steps."""

    def step(self, feed: Feed) -> dict[str, Array]:
        """Run once, on the inputs of `feed`, on what the last step left, and for the rest on what was before.

        Returns the outputs that are not carried. Raises FeedError for inputs that do not fit.
        """

    def carried(self) -> dict[str, Array]:
        """What the last step left, by the names of the inputs; copies in host memory."""


@runtime_checkable
class Stepping(Protocol):
    """A session that keeps what is carried on its device."""

    def stepper(self, feed: Feed, carried: Carried) -> Stepper: ...


def stepper(session: Session, feed: Feed, carried: Carried) -> Stepper:
    """Ready for the first step of a session, whose inputs are `feed`.

    Raises FeedError for a feed that does not fit, UsageError where `carried` names what the graph has not.
    """
    check_feed(feed, session.inputs)
    _check_carried(session, carried)
    if isinstance(session, Stepping):
        return session.stepper(feed, carried)
    return HostStepper(session, feed, carried)


class _CheckedStepper:
    """What every stepper of ours does alike: check what a step is given."""

    def __init__(self, inputs: tuple[TensorSpec, ...], feed: Feed, carried: Carried) -> None:
        given = {name: array.shape for name, array in feed.items() if name not in carried.values()}
        self._specs = {
            spec.name: TensorSpec(spec.name, spec.dtype, given[spec.name])
            for spec in inputs
            if spec.name in given
        }

    def _check(self, feed: Feed) -> None:
        unknown = sorted(feed.keys() - self._specs.keys())
        if unknown:
            raise UsageError(f"a step is given {unknown}; expected some of {sorted(self._specs)}")
        check_feed(feed, [self._specs[name] for name in feed])


class HostStepper(_CheckedStepper):
    """Through host memory, for sessions that know no better."""

    def __init__(self, session: Session, feed: Feed, carried: Carried) -> None:
        super().__init__(session.inputs, feed, carried)
        self._session = session
        self._feed = dict(feed)
        self._carried = carried

    def step(self, feed: Feed) -> dict[str, Array]:
        self._check(feed)
        self._feed.update(feed)
        outputs = self._session.run(self._feed)
        self._feed.update({name: outputs.pop(output) for output, name in self._carried.items()})
        return outputs

    def carried(self) -> dict[str, Array]:
        return {name: self._feed[name].copy() for name in self._carried.values()}


class OrtStepper(_CheckedStepper):
    """ONNX Runtime: two bindings, each writing what the other reads.

    session: an InferenceSession.     memory: the name and the number of its device.
    """

    def __init__(
        self,
        session: Any,
        memory: tuple[str, int],
        inputs: tuple[TensorSpec, ...],
        feed: Feed,
        carried: Carried,
    ) -> None:
        import onnxruntime

        def place(name: str) -> Any:
            # NOTE: on the CPU such a value is the array's own memory
            return onnxruntime.OrtValue.ortvalue_from_numpy(feed[name].copy(), *memory)

        super().__init__(inputs, feed, carried)
        self._session = session
        self._turn = 0
        self._given = {name: place(name) for name in self._specs}
        self._buffers = [{name: place(name) for name in carried.values()} for _ in range(2)]
        self._answers = [o.name for o in session.get_outputs() if o.name not in carried]
        self._bindings = [self._bound(turn, carried) for turn in range(2)]

    def _bound(self, turn: int, carried: Carried) -> Any:
        binding = self._session.io_binding()
        for name, value in {**self._given, **self._buffers[turn]}.items():
            binding.bind_ortvalue_input(name, value)
        for output in self._session.get_outputs():
            if output.name in carried:
                binding.bind_ortvalue_output(output.name, self._buffers[1 - turn][carried[output.name]])
            else:
                binding.bind_output(output.name)
        return binding

    def step(self, feed: Feed) -> dict[str, Array]:
        self._check(feed)
        for name, array in feed.items():
            self._given[name].update_inplace(np.ascontiguousarray(array))
        binding = self._bindings[self._turn]
        self._session.run_with_iobinding(binding)
        self._turn = 1 - self._turn
        outputs = zip(self._session.get_outputs(), binding.get_outputs(), strict=True)
        return {each.name: value.numpy().copy() for each, value in outputs if each.name in self._answers}

    def carried(self) -> dict[str, Array]:
        return {name: value.numpy().copy() for name, value in self._buffers[self._turn].items()}


class OpenVINOStepper(_CheckedStepper):
    """OpenVINO: two requests of one compiled model, each writing the tensors that the other reads."""

    def __init__(
        self,
        compiled: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        feed: Feed,
        carried: Carried,
    ) -> None:
        import openvino

        super().__init__(inputs, feed, carried)
        self._turn = 0
        self._outputs = [spec.name for spec in outputs]
        self._answers = [name for name in self._outputs if name not in carried]
        self._given = {name: openvino.Tensor(feed[name].copy()) for name in self._specs}
        self._buffers = [
            {name: openvino.Tensor(feed[name].copy()) for name in carried.values()} for _ in range(2)
        ]
        self._requests = [self._bound(compiled, turn, carried) for turn in range(2)]

    def _bound(self, compiled: Any, turn: int, carried: Carried) -> Any:
        request = compiled.create_infer_request()
        for name, tensor in {**self._given, **self._buffers[turn]}.items():
            request.set_tensor(name, tensor)
        for port, output in enumerate(self._outputs):
            if output in carried:
                request.set_output_tensor(port, self._buffers[1 - turn][carried[output]])
        return request

    def step(self, feed: Feed) -> dict[str, Array]:
        self._check(feed)
        for name, array in feed.items():
            self._given[name].data[...] = array
        request = self._requests[self._turn]
        request.infer(share_inputs=True, share_outputs=True)
        self._turn = 1 - self._turn
        ports = {name: self._outputs.index(name) for name in self._answers}
        return {name: np.array(request.get_output_tensor(port).data) for name, port in ports.items()}

    def carried(self) -> dict[str, Array]:
        return {name: np.array(tensor.data) for name, tensor in self._buffers[self._turn].items()}


def _check_carried(session: Session, carried: Carried) -> None:
    inputs = {spec.name: spec for spec in session.inputs}
    outputs = {spec.name: spec for spec in session.outputs}
    for output, name in carried.items():
        if output not in outputs or name not in inputs:
            raise UsageError(
                f"output {output!r} is to be input {name!r} of the next step; the graph has outputs"
                f" {sorted(outputs)} and inputs {sorted(inputs)}"
            )
        if outputs[output].dtype != inputs[name].dtype:
            raise UsageError(
                f"{outputs[output]} cannot be {inputs[name]} of the next step: another type; export the graph"
                " with both alike"
            )
