"""How much memory a graph takes to run, before it is run: a process that takes too much is killed unheard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import psutil

from runtime.errors import UnsupportedError
from runtime.sizing import UnknownSizeError, size_of, with_sizes

_CGROUPS = (  # folder, and its files of the limit and the use, of version 2 and of version 1
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_FILE_CACHE = "inactive_file"
_GIBIBYTE = 2**30

# ONNX Runtime 1.32 and OpenVINO 2026.4 keep weights as the file has them and as their kernels want them, and
# more than the tensors that are alive. Of what these factors give, GoogLeNet and ResNet50 take 0.8 at a batch
# of 64, SSD300 1.15 at 16.
_COPIES_OF_WEIGHTS = 2.5
_BESIDE_TENSORS = 1.3


@dataclass(frozen=True)
class MemoryEstimate:
    """About how many bytes a graph takes: `fixed` at any batch size, and `per_sample` for each sample.

    That is for weights, and for all tensors at once that somebody still has to read.
    """

    fixed: int
    per_sample: int

    def __add__(self, other: MemoryEstimate) -> MemoryEstimate:
        return MemoryEstimate(self.fixed + other.fixed, self.per_sample + other.per_sample)

    def at(self, batch_size: int) -> int:
        return self.fixed + batch_size * self.per_sample

    def largest_batch(self, available: int) -> int:
        """The most samples that fit; 0 where not one does."""
        return max(0, (available - self.fixed) // max(self.per_sample, 1))


def estimate(model: ir.Model, sizes: Mapping[str, int] | None = None) -> MemoryEstimate:
    """What `model` takes; the batch is the first dimension of its inputs, where they leave that open.

    sizes: of other open dimensions, by name; 1 unless given.
    """
    others = sizes or {}
    batch = _batch_dimension(model)
    one = _most_alive(model, others)
    two = one if batch is None else _most_alive(model, {**others, batch: 2})
    fixed = _of_weights(model) + _BESIDE_TENSORS * max(0, 2 * one - two)
    return MemoryEstimate(round(fixed), round(_BESIDE_TENSORS * (two - one)))


def estimate_of_feeds(model: ir.Model, sizes: Mapping[str, int], batch_size: int) -> MemoryEstimate:
    """What `model` takes for feeds of `batch_size` samples that give all open dimensions these `sizes`."""
    alive = _BESIDE_TENSORS * _most_alive(model, sizes)
    return MemoryEstimate(round(_of_weights(model)), round(alive / batch_size))


def check_memory(needed: MemoryEstimate, batch_size: int, what: str, *, any_batch: bool = True) -> None:
    """Raises UnsupportedError where `what` does not fit into this machine's memory; says which batch would.

    any_batch: False where the batch is not the user's to choose.
    """
    available = available_bytes()
    if needed.at(batch_size) <= available:
        return
    fits = needed.largest_batch(available) if needed.per_sample and any_batch else 0
    advice = f"a batch of {fits} would fit" if fits else "take a machine with more, or smaller inputs"
    raise UnsupportedError(
        f"{what} at batch {batch_size} needs about {needed.at(batch_size) / _GIBIBYTE:.1f} GiB of memory,"
        f" {available / _GIBIBYTE:.1f} are available: {advice}"
    )


def available_bytes() -> int:
    """What this process may still take, by the machine's account and by its control group's (Linux)."""
    available = int(psutil.virtual_memory().available)
    for folder, limit, use in _CGROUPS:
        allowed, used = _number_in(Path(folder, limit)), _number_in(Path(folder, use))
        if allowed is not None and used is not None:
            available = min(available, allowed - used + _file_cache(Path(folder, "memory.stat")))
    return available


def _batch_dimension(model: ir.Model) -> str | None:
    firsts = (
        value.shape[0]
        for value in model.graph.inputs
        if value.shape is not None and len(value.shape) and not value.is_initializer()
    )
    return next((first.value for first in firsts if not isinstance(first, int)), None)


def _of_weights(model: ir.Model) -> float:
    constants = (value.const_value for value in model.graph.initializers.values())
    return _COPIES_OF_WEIGHTS * sum(constant.nbytes for constant in constants if constant is not None)


def _most_alive(model: ir.Model, dims: Mapping[str, int]) -> int:
    """The largest sum of the tensors, weights aside, that are there at once in the graph's order."""
    graph = with_sizes(model, dims).graph
    readers = Counter(value for node in graph for value in set(node.inputs) if value is not None)
    readers.update(graph.outputs)
    alive = most = sum(_bytes(value) for value in graph.inputs)
    for node in graph:
        alive += sum(_bytes(value) for value in node.outputs)
        most = max(most, alive)
        for value in {value for value in node.inputs if value is not None}:
            readers[value] -= 1
            if not readers[value] and not value.is_initializer():
                alive -= _bytes(value)
    return most


def _bytes(value: ir.Value) -> int:
    """0 where nobody knows the size."""
    if value.const_value is not None or value.dtype is None:
        return 0
    try:
        return math.ceil(math.prod(size_of(value)) * value.dtype.itemsize)
    except (UnknownSizeError, TypeError):
        return 0


def _number_in(path: Path) -> int | None:
    text = _text_of(path)
    return int(text) if text.isdecimal() else None


def _file_cache(path: Path) -> int:
    """Bytes of files that the kernel keeps until somebody wants the memory; a group's use counts them."""
    words = _text_of(path).split()
    counts = dict(zip(words[::2], words[1::2], strict=False))
    return int(counts.get(_FILE_CACHE, "0"))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
