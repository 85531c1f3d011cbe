"""What calibration finds out about one FP32 graph: kept in the store beside it, or found now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import calibration
from bench.environment import package_versions
from bench.feeds import available, fixed_batch
from bench.manifest import GraphEntry
from bench.plan import CalibrationPlan
from bench.progress import Display
from bench.record import CalibrationFacts
from bench.store import Entry, StoredGraph, digest_of
from bench.stored_ranges import given_ranges, stored_ranges
from bench.subject import Subject
from calibration.precision import Precision
from model_zoo.spec import FeedSource, Split
from runtime.errors import UnavailableError, UsageError
from runtime.tensors import Feed, TensorSpec

if TYPE_CHECKING:
    from calibration.half_ranges import Magnitudes
    from calibration.mixture import Apart
    from calibration.prepare import Quantisable
    from calibration.ranges import Ranges
    from calibration.recipe import Recipe
    from runtime.tensors import Array

_CONVERSION_TOOLS = ("ml-dtypes", "numpy", "onnx", "onnx-ir", "onnxscript")
_RANGE_TOOLS = ("onnxruntime", "onnxruntime-gpu")
"""The runtime that computes the activations which the ranges are found on."""

_MAGNITUDE_SAMPLES = 16
"""Samples on which FP16 and BF16 find what overflows; calibration.half_ranges.HEADROOM is for all others."""

_ROUNDING_SAMPLES = 32
"""Samples on which the rounding of weights is found: 8,192 rows for a layer with many positions."""

_TOGETHER = 64
"""Samples of a calibration batch where they depend on each other: enough for the statistics of a batch."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The findings on a subject's FP32 graph `base`, of which other precisions are made.

    entry: where they are kept; inputs: the graph's; source: gives the subject's samples.
    """

    subject: Subject
    plan: CalibrationPlan
    entry: Entry
    base: StoredGraph
    inputs: Sequence[TensorSpec]
    source: Callable[[], FeedSource]
    display: Display

    @cached_property
    def _feeds(self) -> FeedSource:
        return self.source()

    @cached_property
    def recipe(self) -> Recipe:
        """The user's, or the model's own; of ranges that were given only how they were found."""
        from calibration.recipe import Recipe

        if self.plan.ranges is not None:
            return Recipe(self.ranges.method)
        return Recipe.parse(self.plan.method or self.subject.calibration_method)

    @cached_property
    def ranges(self) -> Ranges:
        """Those of the FP32 graph's tensors: given by the user, stored, or found now and stored.

        Raises UsageError (a graph that is none of FP32, ranges of another graph), CalibrationError and what
        `calibrate` raises.
        """
        if self.subject.own is not Precision.FP32:
            raise UsageError(
                f"{self.base.path.name} is an {self.subject.own} graph: ranges are those of the fp32 graph"
                " it was made from, give that"
            )
        if self.plan.ranges is not None:
            return given_ranges(self.plan.ranges, self.base)
        return self._ranges_of(self.base)

    @cached_property
    def quantisable(self) -> Quantisable:
        """What INT8 is made of, as the recipe says; raises as `ranges`."""
        from calibration.prepare import Quantisable

        rescaled = self.rescaled()
        graph = self.base.path if rescaled is None else rescaled.path
        ranges = self.ranges if rescaled is None else self._ranges_of(rescaled)
        rounded = self._rounded(graph)
        return Quantisable(graph, ranges, rounded, self._biases(graph, rounded))

    @cached_property
    def magnitudes(self) -> Mapping[str, Magnitudes] | None:
        """Of the FP32 graph's tensors; None where nothing here can run it."""
        return self._magnitudes_of(self.base.path)

    def apart(self, layers: Sequence[str], precision: Precision) -> Apart:
        """`layers` of what INT8 is made of, at a float precision; raises as `ranges`."""
        from calibration.mixture import Apart

        return Apart(layers, precision, self._quantisable_magnitudes if precision.is_half else None)

    @cached_property
    def _quantisable_magnitudes(self) -> Mapping[str, Magnitudes] | None:
        graph = self.quantisable.graph
        return self.magnitudes if graph == self.base.path else self._magnitudes_of(graph)

    def _magnitudes_of(self, graph: Path) -> Mapping[str, Magnitudes] | None:
        from calibration.half_ranges import observe_magnitudes

        feeds = self.feeds(self._magnitude_samples)
        try:
            return observe_magnitudes(graph, feeds, self.display, together=self.subject.batch_dependent)
        except UnavailableError as error:
            self.display.warn(
                f"{error}; without, what would overflow is told by operators and constants alone"
            )
            return None

    def feeds(self, samples: int) -> Iterable[Feed]:
        """The first `samples` of those that ranges are found on, or as many as there are."""
        samples = available(self._feeds, Split.CALIBRATION, samples)
        most = _TOGETHER if self.subject.batch_dependent else 1
        size = fixed_batch(self.inputs) or min(most, samples)
        return _Sized(self._feeds.batches(size, Split.CALIBRATION), -(-samples // size))

    def provenance(self, precision: Precision) -> dict[str, str]:
        """Everything that the bytes of a graph at `precision` depend on, besides the FP32 graph's."""
        facts = {"code": _code_digest(), **_versions(_CONVERSION_TOOLS)}
        if precision.is_half:
            return {**self._magnitude_facts(), **facts}
        if not precision.needs_ranges:
            return facts
        if self.plan.ranges is not None:
            return {**facts, **_told_by(self.ranges)}
        method = self.recipe.method if precision is Precision.FP8 else str(self.recipe)
        return {**self._range_facts(self.base), **facts, "method": method}

    def facts(self, precision: Precision) -> CalibrationFacts:
        """For the manifest of a graph that needs ranges."""
        ranges, given = self.ranges, self.plan.ranges
        return CalibrationFacts(
            method=ranges.method if precision is Precision.FP8 else str(self.recipe),
            samples=ranges.samples,
            feeds=f"those of {given.name}, given by --ranges" if given else self._feeds.origin,
            feeds_digest=ranges.feeds,
            synthetic=ranges.provenance.get("synthetic") == "yes",
        )

    def _all_feeds(self) -> Iterable[Feed]:
        return self.feeds(self._samples)

    def _rounding_feeds(self) -> Iterable[Feed]:
        return self.feeds(min(_ROUNDING_SAMPLES, self._samples))

    def _ranges_of(self, graph: StoredGraph) -> Ranges:
        from calibration.collect import calibrate

        def make() -> Ranges:
            together = self.subject.batch_dependent
            return calibrate(
                graph.path, self._all_feeds(), self.recipe.method, self.display, together=together
            )

        return stored_ranges(self.entry.folder, self._range_facts(graph), make, self.display)

    def rescaled(self) -> StoredGraph | None:
        """The float graph with its channels evened out, where the recipe says so; in the store.

        NOTE: it is written under the store's lock, as any graph: ask for it before another one is.
        """
        from calibration.prepare import rescale

        if not self.recipe.changes_graph:
            return None
        provenance = {**self._range_facts(self.base), "method": str(self.recipe)}

        def build(out: Path) -> GraphEntry:
            together = self.subject.batch_dependent
            rescale(self.base.path, out, self._all_feeds, self.recipe, self.display, together=together)
            entry = GraphEntry.of_file(out, Precision.FP32, sizes=self.subject.sizes)
            changes = {"parent_sha256": self.base.entry.sha256, "provenance": provenance}
            return entry.model_copy(update=changes)

        name = f"rescaled-{digest_of(provenance)[:12]}"
        return self.entry.ensure(name, build, parent_sha256=self.base.entry.sha256)

    def _rounded(self, graph: Path) -> Mapping[str, Array]:
        """From the INT8 graph where that is stored: finding them takes longer than all else."""
        from calibration.rounding import round_weights, stored_weights

        if not self.recipe.feedback:
            return {}
        stored = self._stored_int8()
        if stored is not None:
            return stored_weights(stored.path)
        feeds, together = self._rounding_feeds, self.subject.batch_dependent
        return round_weights(graph, feeds, self.display, together=together)

    def _biases(self, graph: Path, rounded: Mapping[str, Array]) -> Mapping[str, Array]:
        """From the INT8 graph where that is stored."""
        from calibration.bias import corrected_biases, stored_biases

        if not self.recipe.correct:
            return {}
        stored = self._stored_int8()
        if stored is not None:
            return stored_biases(stored.path)
        feeds, together = self._rounding_feeds, self.subject.batch_dependent
        return corrected_biases(graph, feeds, rounded, self.display, together=together)

    def _stored_int8(self) -> StoredGraph | None:
        return self.entry.present(self.name(Precision.INT8), self.base.entry.sha256)

    def name(self, precision: Precision) -> str:
        """What a graph at `precision` is called in the store."""
        return f"{precision}-{digest_of(self.provenance(precision))[:12]}"

    @cached_property
    def _samples(self) -> int:
        return available(self._feeds, Split.CALIBRATION, self.plan.samples)

    @property
    def _magnitude_samples(self) -> int:
        return min(_MAGNITUDE_SAMPLES, self._samples)

    def _magnitude_facts(self) -> dict[str, str]:
        """What the magnitudes depend on, besides the graph."""
        return {
            "feeds": self._feeds.digest,
            "samples": str(self._magnitude_samples),
            "together": "yes" if self.subject.batch_dependent else "no",
            **_versions(_RANGE_TOOLS),
        }

    def _range_facts(self, graph: StoredGraph) -> dict[str, str]:
        """Everything the ranges of a graph depend on."""
        return {
            "graph": graph.entry.sha256,
            "feeds": self._feeds.digest,
            "synthetic": "yes" if self._feeds.synthetic else "no",
            "method": self.recipe.method,
            "samples": str(self._samples),
            "together": "yes" if self.subject.batch_dependent else "no",
            "code": _code_digest(),
            **_versions((*_CONVERSION_TOOLS, *_RANGE_TOOLS)),
        }


class _Sized:
    """The first `count` feeds of a stream, with a length, so that progress can tell how far it is."""

    def __init__(self, feeds: Iterator[Feed], count: int) -> None:
        self._feeds = feeds
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Feed]:
        return islice(self._feeds, self._count)


def _told_by(ranges: Ranges) -> dict[str, str]:
    """The facts of ranges that the user gave."""
    return {
        "ranges": ranges.digest,
        "graph": ranges.graph,
        "feeds": ranges.feeds,
        "method": ranges.method,
        "samples": str(ranges.samples),
    }


def _versions(tools: tuple[str, ...]) -> dict[str, str]:
    return {f"tool {name}": version for name, version in package_versions(tools).items()}


def _code_digest() -> str:
    """SHA-256 over the source of `calibration`, whose every change may change the bytes it writes."""
    total = hashlib.sha256()
    for path in sorted(Path(*calibration.__path__).rglob("*.py")):
        total.update(f"{path.name}\n".encode() + path.read_bytes())
    return total.hexdigest()
