"""Runs a graph in FP32 on a stream of feeds and hands the values of its tensors to observers.

Knows neither what an observer makes of the values nor where the feeds came from.
"""

from __future__ import annotations

import gc
import math
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import onnx_ir as ir

from calibration.graphs import open_float_graph
from calibration.observers.contract import AnyOrder, NotFiniteError, Observer
from calibration.segments import Segment, open_segment, write_segments
from runtime.errors import CalibrationError, unknown_name
from runtime.graphs import input_specs
from runtime.memory import MemoryEstimate, available_bytes, check_memory, estimate_of_feeds
from runtime.progress import Progress, silent
from runtime.tensors import Array, Feed, TensorSpec, batch_size, check_feed, open_dimensions

_FLOAT_BYTES = 4

_FLOOR = 64 * 2**20
"""Bytes of observed values that a segment may give at once in any case.

ResNet50 then is one segment; four more, of 16 MiB each, cost 1 ms an image where plain inference takes 17.
"""


_AT_ONCE = 2
"""Samples that are run at a time, if they fit, each on its share of the cores: while one is
seen, the other computes.

On 2 cores ResNet50's min-max takes 1.15 times what plain inference does; one sample after the other, each
on both cores, 1.22 times.
"""

_HELD_TWICE = 2
"""What a segment is given and hands out is there beside what it computes with: a sample of SegLink takes
1.3 GB at 1280x768, where its tensors alone are 0.65 GB."""

_MOST_THREADS = 8
"""More would wait for memory: seeing a value takes less time than reading it."""

_WORTH_A_THREAD = 1 << 16
"""Values that take longer to see than to hand over."""


def observe(
    graph: Path,
    feeds: Iterable[Feed],
    observers: Mapping[str, Observer],
    what: str = "calibrating",
    progress: Progress = silent,
    *,
    together: bool = False,
) -> int:
    """Show each observer the values of the float32 tensor it is named after; returns the number of samples.

    Tensors are named as in `open_float_graph(graph)`; inputs of the graph may be among them, tensors inside
    of a Loop's or an If's body not. A feed of several samples is cut into single ones where the
    graph's batch dimension is open, so the values do not depend on how the samples were batched; not so
    where a sample's answer depends on the others of its batch: those stay `together`.
    Raises CalibrationError (no feeds, NaN or infinity in a tensor), FeedError, GraphError, UsageError
    (no tensor of that name), UnavailableError (ONNX Runtime is not installed), UnsupportedError (not even one
    sample fits into the memory).
    """
    model = _opened(graph, observers)
    inputs = input_specs(model)
    samples = whole(feeds, inputs) if together else single(feeds, inputs)
    count, runner = 0, None
    with (
        tempfile.TemporaryDirectory(prefix="calibration-") as folder,
        ThreadPoolExecutor(_AT_ONCE) as runs,
        ThreadPoolExecutor(_threads()) as pool,
    ):
        pending: deque[Future[None]] = deque()
        for sample in progress(samples, what):
            if runner is None:
                at_once = _at_once(model, graph, sample)
                runner = _Runner(model, observers, Path(folder), sample, pool, at_once)
                del model
                gc.collect()  # graphs are full of cycles, and hold on to the pages of their weights' files
            if len(pending) == runner.at_once:
                pending.popleft().result()
            pending.append(runs.submit(runner.run, sample, count + 1, *runner.next_turns()))
            count += batch_size(sample)
        for run in pending:
            run.result()
    if count == 0:
        raise CalibrationError(f"no feeds to calibrate {graph} on; give at least one sample")
    return count


def _cores() -> int:
    """As many as this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _at_once(model: ir.Model, graph: Path, sample: Feed) -> int:
    """How many feeds like this one are run at a time; raises UnsupportedError where not one fits."""
    size = batch_size(sample)
    plain = estimate_of_feeds(model, open_dimensions(input_specs(model), sample), size)
    needed = MemoryEstimate(plain.fixed, _HELD_TWICE * plain.per_sample)
    check_memory(needed, size, f"to calibrate {graph.name}", any_batch=False)
    return _AT_ONCE if needed.at(_AT_ONCE * size) <= available_bytes() else 1


def _threads() -> int:
    """That see one sample: one core is left to the sample after it."""
    return max(1, min(_cores() - 1, _MOST_THREADS))


def whole(feeds: Iterable[Feed], specs: Sequence[TensorSpec]) -> Iterator[Feed]:
    """The feeds as they are; raises FeedError for one that does not fit."""
    for feed in feeds:
        check_feed(feed, specs)
        yield feed


def single(feeds: Iterable[Feed], specs: Sequence[TensorSpec]) -> Iterator[Feed]:
    """The feeds cut into single samples where the graph's batch dimension is open; raises FeedError."""
    first_dimensions = {spec.shape[0] if spec.shape else None for spec in specs}
    may_cut = len(first_dimensions) == 1 and "batch" in str(first_dimensions.pop()).lower()
    for feed in whole(feeds, specs):
        if not may_cut:
            yield feed
            continue
        for row in range(batch_size(feed)):
            yield {name: array[row : row + 1] for name, array in feed.items()}


@dataclass(frozen=True)
class _Stage:
    """An opened segment, and when what is passed to it or by it is no longer needed."""

    segment: Segment
    session: Any
    outputs: tuple[str, ...]
    finished: tuple[str, ...]


class _Runner:
    """The graph cut into segments that fit the first sample, each in a session of its own."""

    def __init__(
        self,
        model: ir.Model,
        observers: Mapping[str, Observer],
        folder: Path,
        first: Feed,
        pool: Executor,
        at_once: int,
    ) -> None:
        self.at_once = at_once
        self._observers = observers
        self._pool = pool
        self._given = [name for name in observers if name in first]
        sizes = _sizes(model, observers, first)
        computed = {name: sizes[name] for name in observers if name not in first}
        any_order = frozenset(name for name in computed if isinstance(observers[name], AnyOrder))
        segments = write_segments(model, computed, any_order, folder, _FLOOR) if computed else []
        self._stages = tuple(_open(segments, max(1, _cores() // at_once)))
        self._ended = self._turns()
        for each in self._ended:
            each.set()

    def next_turns(self) -> tuple[list[Event], list[Event]]:
        """For `run`: what the sample before sets, and what this one does. Samples are seen in their order."""
        before, self._ended = self._ended, self._turns()
        return before, self._ended

    def run(self, sample: Feed, number: int, before: Sequence[Event], ended: Sequence[Event]) -> None:
        """Show each observer its values of one sample, the `number`th of the stream."""
        alive: dict[str, Array] = dict(sample)
        turns = zip(before, ended, strict=True)
        try:
            self._show({name: alive[name] for name in self._given}, number, *next(turns))
            for stage, turn in zip(self._stages, turns, strict=True):
                inputs = {name: alive[name] for name in stage.segment.inputs}
                made = dict(zip(stage.outputs, stage.session.run(stage.outputs, inputs), strict=True))
                alive.update((name, made[name]) for name in stage.segment.passed)
                self._show({name: made[at] for name, at in stage.segment.observed.items()}, number, *turn)
                for name in stage.finished:
                    del alive[name]
        finally:
            for each in ended:  # or the next sample would wait for ever for one that failed
                each.set()

    def _turns(self) -> list[Event]:
        """One for what is given, and one for each stage."""
        return [Event() for _ in range(1 + len(self._stages))]

    def _show(self, values: Mapping[str, Array], number: int, before: Event, ended: Event) -> None:
        before.wait()
        first, *others = _shares(values, _threads())
        pending = [self._pool.submit(self._show_share, values, names, number) for names in others]
        self._show_share(values, first, number)
        for each in pending:
            each.result()
        ended.set()

    def _show_share(self, values: Mapping[str, Array], names: Iterable[str], number: int) -> None:
        for name in names:
            _observe(self._observers[name], values[name], name, number)


def _shares(values: Mapping[str, Array], threads: int) -> list[list[str]]:
    """Names for each thread, about as much to see for all; one share where that is little."""
    names = sorted(values, key=lambda name: -values[name].size)
    total = sum(values[name].size for name in names)
    shares: list[list[str]] = [[] for _ in range(min(threads, 1 + total // _WORTH_A_THREAD))]
    loads = [0] * len(shares)
    for name in names:
        lightest = loads.index(min(loads))
        shares[lightest].append(name)
        loads[lightest] += values[name].size
    return shares


def _observe(observer: Observer, values: Array, name: str, sample: int) -> None:
    try:
        observer.observe(values)
    except NotFiniteError as error:
        raise CalibrationError(
            f"tensor {name!r} holds {error} in sample {sample} of the calibration;"
            " check the FP32 graph and the feeds"
        ) from error


def _open(segments: Sequence[Segment], threads: int) -> Iterator[_Stage]:
    last = {name: index for index, segment in enumerate(segments) for name in segment.inputs}
    for index, segment in enumerate(segments):
        outputs = tuple(dict.fromkeys([*segment.observed.values(), *segment.passed]))
        finished = tuple(name for name in segment.inputs if last[name] == index)
        session = open_segment(segment, threads)
        yield _Stage(segment, session, outputs, finished)


def _sizes(model: ir.Model, names: Iterable[str], feed: Feed) -> dict[str, int | None]:
    """Bytes of each named tensor when `feed` is run; None where the graph does not tell."""
    known = open_dimensions(input_specs(model), feed)
    values = _float_values(model.graph)
    return {name: _size(values[name].shape, known) for name in names}


def _size(shape: ir.Shape | None, known: Mapping[str, int]) -> int | None:
    if shape is None:
        return None
    sizes = [size if isinstance(size, int) else known.get(str(size.value)) for size in shape]
    return None if None in sizes else math.prod(size or 0 for size in sizes) * _FLOAT_BYTES


def _float_values(graph: ir.Graph) -> dict[str, ir.Value]:
    values = [value for value in graph.inputs if value.name not in graph.initializers]
    values += [value for node in graph for value in node.outputs]
    return {str(value.name): value for value in values if value.dtype == ir.DataType.FLOAT and value.name}


def _opened(graph: Path, observers: Mapping[str, Observer]) -> ir.Model:
    model = open_float_graph(graph)
    valid = _float_values(model.graph)
    for name in observers:
        if name not in valid:
            raise unknown_name("float32 tensor", name, valid)
    return model
