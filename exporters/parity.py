"""Is the exported graph the same function as the source model?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.source import Source
from runtime.errors import CheckFailed
from runtime.progress import Progress, silent
from runtime.synthetic import synthetic_feed
from runtime.tensors import Array, Feed

RELATIVE_TOLERANCE: Mapping[str, float] = {"float64": 1e-7, "float32": 1e-4, "float16": 2e-2}
"""Largest difference over largest magnitude of the reference, by the output's type; others are exact.

Two correct float32 programs differ because they sum in different orders: sqrt(n) u per sum of n
products (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci.
Comput. 41(5), 2019), with u = 6e-8, and n = 4608 for a 3x3 convolution of 512 channels: 4e-6 per
layer, and sqrt(50) times that, 3e-5, after fifty. Three times that is allowed. A batch-norm epsilon
of 1e-3 instead of 1e-5 gives 1e-2. float16 has u = 4.9e-4 but sums in float32; float64 has u = 1.1e-16,
yet constants are often computed in float32 first.
"""

RANDOM_BATCH = 2
"""Samples of the random feed: more than one, to see that the open dimension is open."""


@dataclass(frozen=True)
class OutputParity:
    """Worst difference of one output over all feeds; `relative` is to max |reference| of its feed."""

    name: str
    absolute: float
    relative: float


@dataclass(frozen=True)
class Parity:
    """How far the graph is from its source: per output, over `feeds` feeds."""

    outputs: tuple[OutputParity, ...]
    feeds: int


Run = Callable[[Feed], Mapping[str, Array]]


def check_parity(source: Source, graph: Path, feeds: Iterable[Feed], progress: Progress = silent) -> Parity:
    """Run source and graph on `feeds` and one random feed.

    Raises CheckFailed, naming output, error and tolerance, where they differ by more than rounding.
    """
    run = open_graph(graph)
    random = synthetic_feed(source.inputs, RANDOM_BATCH, 0)
    worst: dict[str, OutputParity] = {}
    count = 0
    for feed in progress(itertools.chain((random,), feeds), "comparing with the source"):
        expected, got = source.run(feed), run(feed)
        for name, reference in expected.items():
            found = _compare(name, reference, got.get(name))
            before = worst.get(name, found)
            worst[name] = OutputParity(
                name, max(before.absolute, found.absolute), max(before.relative, found.relative)
            )
        count += 1
    return Parity(tuple(worst.values()), count)


def open_graph(graph: Path) -> Run:
    """ONNX Runtime on the CPU, or ONNX's own evaluator where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(str(graph))
        names = evaluator.output_names
        return lambda feed: dict(zip(names, evaluator.run(None, dict(feed)), strict=True))
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    return lambda feed: dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))


def _compare(name: str, reference: Array, got: Array | None) -> OutputParity:
    if got is None or got.shape != reference.shape or got.dtype != reference.dtype:
        found = "nothing" if got is None else f"{got.dtype}{list(got.shape)}"
        raise CheckFailed(
            f"parity: output {name!r} of the exported graph is {found}, the source gives"
            f" {reference.dtype}{list(reference.shape)}; the export is wrong"
        )
    absolute, scale = _largest_difference(reference, got), _largest(reference)
    relative = absolute / scale if scale else absolute
    tolerance = RELATIVE_TOLERANCE.get(reference.dtype.name, 0.0)
    if not relative <= tolerance:
        raise CheckFailed(
            f"parity: output {name!r} of the exported graph differs from the source by {absolute:.3g},"
            f" {relative:.3g} of the largest value; {tolerance:.3g} is allowed for {reference.dtype}"
        )
    return OutputParity(name, absolute, relative)


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
