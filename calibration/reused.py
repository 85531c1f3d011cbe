"""Runs a segment so that its outputs land in the same memory for every sample.

Fresh memory costs as much as what is made of the values in it: the system hands it out page by page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from runtime.tensors import Array, Feed

_ALIGNMENT = 16
"""float32 values of a cache line."""

Shape = tuple[int, ...]


class Memory:
    """Room for the outputs of one run; the next run's are written over them."""

    def __init__(self) -> None:
        self._values: Array = np.empty(0, np.float32)

    def arrays(self, shapes: Mapping[str, Shape]) -> dict[str, Array]:
        """float32 arrays of these shapes, none over another; they are worth nothing after the next call."""
        sizes = [prod(shape) for shape in shapes.values()]
        ends = list(accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes))
        if ends and ends[-1] > self._values.size:
            self._values = np.empty(ends[-1], np.float32)
        starts = [0, *ends[:-1]] if ends else []
        cut = zip(shapes.items(), starts, sizes, strict=True)
        return {name: self._values[at : at + size].reshape(shape) for (name, shape), at, size in cut}


@dataclass(frozen=True)
class Runner:
    """An ONNX Runtime session whose `settled` outputs go to `memory`.

    settled: float32 outputs whose shapes follow from the inputs' shapes alone.
    """

    session: Any
    outputs: tuple[str, ...]
    settled: frozenset[str]
    memory: Memory
    _shapes: dict[tuple[Shape, ...], dict[str, Shape]] = field(default_factory=dict)

    def run(self, inputs: Feed) -> dict[str, Array]:
        """The outputs by name; the settled ones are worth nothing after the next run into the same memory."""
        shape = tuple(array.shape for array in inputs.values())
        if shape in self._shapes:
            return self._run_into(self.memory.arrays(self._shapes[shape]), inputs)
        made = dict(zip(self.outputs, self.session.run(self.outputs, dict(inputs)), strict=True))
        self._shapes[shape] = {name: made[name].shape for name in self.outputs if name in self.settled}
        return made

    def _run_into(self, places: Mapping[str, Array], inputs: Feed) -> dict[str, Array]:
        binding = self.session.io_binding()
        held = list(self._bound(binding, places, inputs))
        self.session.run_with_iobinding(binding)
        del held  # the binding does not hold on to what it points to
        found = zip(self.outputs, binding.get_outputs(), strict=True)
        return {name: places[name] if name in places else value.numpy() for name, value in found}

    def _bound(self, binding: Any, places: Mapping[str, Array], inputs: Feed) -> Iterator[object]:
        from onnxruntime import OrtValue

        for name, array in inputs.items():
            given = np.ascontiguousarray(array)
            binding.bind_cpu_input(name, given)
            yield given
        for name in self.outputs:
            if name not in places:
                binding.bind_output(name)
                continue
            value = OrtValue.ortvalue_from_numpy(places[name])
            binding.bind_ortvalue_output(name, value)
            yield value
