"""Is the exported graph the same function as the source model?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from exporters.rows import MOST_MOVED, MOST_UNMATCHED, compare_rows, rows_of_lists, widths_of_lists
from exporters.source import Listing, Releasing, Source
from runtime.errors import CheckFailed
from runtime.graphs import load, output_specs
from runtime.progress import Progress, silent
from runtime.synthetic import synthetic_feed
from runtime.tensors import Array, Feed, TensorSpec

RELATIVE_TOLERANCE: Mapping[str, float] = {"float64": 1e-7, "float32": 1e-4, "float16": 2e-2}
"""Largest difference over largest magnitude of the reference, by the output's type; others are exact.

Two correct float32 programs differ because they sum in different orders: sqrt(n) u per sum of n
products (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci.
Comput. 41(5), 2019), with u = 6e-8, and n = 4608 for a 3x3 convolution of 512 channels: 4e-6 per
layer, and sqrt(50) times that, 3e-5, after fifty. Three times that is allowed. A batch-norm epsilon
of 1e-3 instead of 1e-5 gives 1e-2. float16 has u = 4.9e-4 but sums in float32; float64 has u = 1.1e-16,
yet constants are often computed in float32 first.
"""

_NOISE = 0.03

_TOGETHER = 4
"""Feeds whose answers are kept at a time; an export has three."""

RANDOM_BATCH = 2
"""Samples of the random feed: more than one, to see that the open dimension is open."""


@dataclass(frozen=True)
class OutputParity:
    """Worst difference of one output over all feeds; `relative` is to max |reference| of its feed.

    tied, moved, unmatched: most rows of a feed that stood elsewhere, with equal scores or for no such reason,
        or in one answer alone, where the number of rows depends on the data (exporters.rows); `relative` is
        then to the largest of a row's column, or of the columns of one output.
    """

    name: str
    absolute: float
    relative: float
    tied: int = 0
    moved: int = 0
    unmatched: int = 0

    def worse(self, other: OutputParity) -> OutputParity:
        """The worse of both in each respect."""
        return OutputParity(
            self.name,
            max(self.absolute, other.absolute),
            max(self.relative, other.relative),
            max(self.tied, other.tied),
            max(self.moved, other.moved),
            max(self.unmatched, other.unmatched),
        )


@dataclass(frozen=True)
class Parity:
    """How far the graph is from its source: per output, over `feeds` feeds."""

    outputs: tuple[OutputParity, ...]
    feeds: int


@dataclass(frozen=True)
class OpenGraph:
    """A graph that can be called with a feed; `shapes` of its outputs, open dimensions by name."""

    run: Callable[[Feed], Mapping[str, Array]]
    shapes: Mapping[str, tuple[int | str, ...]]

    def __call__(self, feed: Feed) -> Mapping[str, Array]:
        return self.run(feed)


def check_parity(source: Source, graph: Path, feeds: Iterable[Feed], progress: Progress = silent) -> Parity:
    """Run source and graph on `feeds`, and on a batch of two: of seeded samples, or of the first feeds.

    Raises CheckFailed, naming output, error and tolerance, where they differ by more than rounding.

    The source answers first and is let go of before the graph is opened: not both need memory at once.
    """
    lists = source.lists if isinstance(source, Listing) else ()
    worst: dict[str, OutputParity] = {}
    count = 0
    remaining = _with_a_batch(source.inputs, feeds)
    while together := tuple(islice(remaining, _TOGETHER)):
        answers = [source.run(feed) for feed in progress(together, "asking the source", len(together))]
        if isinstance(source, Releasing):
            source.release()
        run = open_graph(graph)
        rows = _row_axes(source.inputs, run.shapes)
        pairs = zip(together, answers, strict=True)
        for feed, expected in progress(pairs, "comparing with the source", len(together)):
            got = run(feed)
            for found in _compare_outputs(expected, got, rows, lists):
                worst[found.name] = found.worse(worst.get(found.name, found))
        del run  # before the source is asked again
        count += len(together)
    return Parity(tuple(worst.values()), count)


def _with_a_batch(inputs: Sequence[TensorSpec], feeds: Iterable[Feed]) -> Iterator[Feed]:
    """A feed of more than one sample, to see that the open dimension is open, and then `feeds`.

    It is made of the first two feeds where they have one sample: numbers of another size say little of a
    network, such as N(0, 1) of a detector that wants pixels, whose scores then are all the same. Of one feed
    alone the second sample is the first with noise.
    """
    rest = iter(feeds)
    given = tuple(islice(rest, RANDOM_BATCH))
    single = [feed for feed in given if _is_single(feed, inputs)]
    if not single or single[0] is not given[0]:
        yield synthetic_feed(inputs, RANDOM_BATCH, 0)
    elif len(single) == RANDOM_BATCH and _alike(*single):
        yield {name: np.concatenate([feed[name] for feed in single]) for name in single[0]}
    else:
        yield {name: _with_noise(array) for name, array in given[0].items()}
    yield from given
    yield from rest


def _is_single(feed: Feed, inputs: Sequence[TensorSpec]) -> bool:
    """One sample, of a graph that takes any number of them."""
    return all(spec.shape and isinstance(spec.shape[0], str) and len(feed[spec.name]) == 1 for spec in inputs)


def _alike(one: Feed, other: Feed) -> bool:
    return all(array.shape == other[name].shape for name, array in one.items())


def _with_noise(array: Array) -> Array:
    """[1, ...] to [2, ...]: the sample, and behind it one that differs by a few hundredths of each float."""
    if array.dtype.kind != "f":
        return np.concatenate([array, array])
    noise = np.random.default_rng(0).standard_normal(array.shape).astype(array.dtype)
    return np.concatenate([array, array * (1 + noise * array.dtype.type(_NOISE))])


def open_graph(graph: Path) -> OpenGraph:
    """ONNX Runtime on the CPU, or ONNX's own evaluator where it is not installed.

    The graph runs as the file says it: to rewrite it first takes time and memory, and can hide what is wrong.
    """
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(str(graph))
        names = evaluator.output_names
        shapes = {spec.name: spec.shape for spec in output_specs(load(graph))}
        return OpenGraph(lambda feed: dict(zip(names, evaluator.run(None, dict(feed)), strict=True)), shapes)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    shapes = {output.name: tuple(output.shape) for output in session.get_outputs()}
    outputs = list(shapes)
    return OpenGraph(lambda feed: dict(zip(outputs, session.run(outputs, dict(feed)), strict=True)), shapes)


def _row_axes(inputs: Iterable[TensorSpec], outputs: Mapping[str, tuple[int | str, ...]]) -> dict[str, int]:
    """Of each output whose size depends on the data, the axis that does: no input has that dimension."""
    fed = {size for spec in inputs for size in spec.shape}
    return {
        name: axis
        for name, shape in outputs.items()
        for axis, size in enumerate(shape)
        if isinstance(size, str) and size not in fed
    }


def _compare_outputs(
    expected: Mapping[str, Array],
    got: Mapping[str, Array],
    row_axes: Mapping[str, int],
    lists: Sequence[Sequence[str]],
) -> Iterator[OutputParity]:
    """Lists by their rows: a box that is suppressed in one answer alone moves all that stand behind it."""
    listed = {name: names for names in lists for name in names}
    for name, reference in expected.items():
        if name in listed:
            _of_form(name, reference, got.get(name))
        else:
            yield _compare(name, reference, got.get(name), row_axes.get(name))
    for names in lists:
        if expected:
            rows = [rows_of_lists(*(answer[name] for name in names)) for answer in (expected, got)]
            widths = widths_of_lists(*(expected[name] for name in names))
            found = _compare_rows(", ".join(names), rows[0], rows[1], widths)
            yield from (replace(found, name=name) for name in names)


def _compare(name: str, reference: Array, got: Array | None, row_axis: int | None) -> OutputParity:
    if got is not None and row_axis is not None and got.dtype == reference.dtype:
        got_rows, reference_rows = _rows(got, row_axis), _rows(reference, row_axis)
        if got.ndim == reference.ndim and got_rows.shape[1] == reference_rows.shape[1]:
            return _compare_rows(name, reference_rows, got_rows)
    got = _of_form(name, reference, got)
    absolute, scale = _largest_difference(reference, got), _largest(reference)
    relative = absolute / scale if scale else absolute
    tolerance = _tolerance(reference)
    if not relative <= tolerance:
        raise CheckFailed(
            f"parity: output {name!r} of the exported graph differs from the source by {absolute:.3g},"
            f" {relative:.3g} of the largest value; {tolerance:.3g} is allowed for {reference.dtype}"
        )
    return OutputParity(name, absolute, relative)


def _of_form(name: str, reference: Array, got: Array | None) -> Array:
    """`got`, if it has the reference's shape and type; raises CheckFailed."""
    if got is None or got.shape != reference.shape or got.dtype != reference.dtype:
        found = "nothing" if got is None else f"{got.dtype}{list(got.shape)}"
        raise CheckFailed(
            f"parity: output {name!r} of the exported graph is {found}, the source gives"
            f" {reference.dtype}{list(reference.shape)}; the export is wrong"
        )
    return got


def _compare_rows(
    name: str, reference: Array, got: Array, widths: Sequence[int] | None = None
) -> OutputParity:
    tolerance = _tolerance(reference)
    found = compare_rows(reference, got, tolerance, widths)
    if not found.within_limits:
        raise CheckFailed(
            f"parity: output {name!r} of the exported graph has {len(got)} rows, the source {found.rows};"
            f" {found.unmatched} have no counterpart within {tolerance:.3g}, {found.moved} stand elsewhere;"
            f" at most {MOST_UNMATCHED:.0%} and {MOST_MOVED:.0%} may"
        )
    return OutputParity(name, found.absolute, found.relative, found.tied, found.moved, found.unmatched)


def _rows(array: Array, axis: int) -> Array:
    """One row for each place on `axis`."""
    width = math.prod(size for place, size in enumerate(array.shape) if place != axis)
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], width)


def _tolerance(reference: Array) -> float:
    return RELATIVE_TOLERANCE.get(reference.dtype.name, 0.0)


def _largest_difference(reference: Array, got: Array) -> float:
    """NaN counts as different from everything but NaN, and infinity from all but itself."""
    same = reference == got
    if reference.dtype.kind == "f":
        same |= np.isnan(reference) & np.isnan(got)
    if same.all():
        return 0.0
    difference = np.abs(reference[~same].astype(np.float64) - got[~same].astype(np.float64))
    return float("inf") if not np.isfinite(difference).all() else float(difference.max())


def _largest(reference: Array) -> float:
    finite = reference[np.isfinite(reference)] if reference.dtype.kind == "f" else reference
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size else 0.0
