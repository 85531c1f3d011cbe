"""The graphs of one subject: taken from the store, or exported and converted into it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import calibration
from bench.environment import package_versions
from bench.exporting import export_fp32, feeds_of, source_of
from bench.feeds import available, fixed_batch
from bench.manifest import GraphEntry
from bench.plan import CalibrationPlan
from bench.progress import Display
from bench.record import CalibrationFacts
from bench.store import Entry, StoredGraph, digest_of
from bench.subject import Subject
from calibration.precision import Precision
from model_zoo.spec import FeedSource, Split
from runtime.errors import UsageError
from runtime.tensors import Feed, TensorSpec

if TYPE_CHECKING:
    from exporters.source import Source

_CONVERSION_TOOLS = ("ml-dtypes", "numpy", "onnx", "onnx-ir", "onnxscript")
_RANGE_TOOLS = ("onnxruntime", "onnxruntime-gpu")
"""The runtime that computes the activations which the ranges are found on."""


_TOGETHER = 64
"""Samples of a calibration batch where they depend on each other: enough for the statistics of a batch."""


class Artefacts:
    """A subject's graph files at each precision.

    allow_unchecked: a graph whose framework cannot run it is exported all the same; its entry says so.
    """

    def __init__(
        self,
        subject: Subject,
        root: Path,
        plan: CalibrationPlan,
        display: Display,
        *,
        allow_unchecked: bool = False,
    ) -> None:
        self.subject = subject
        self._plan = plan
        self._display = display
        self._entry = Entry(root, subject.identity, display)
        self._allow_unchecked = allow_unchecked
        self._told: set[str] = set()

    @cached_property
    def base(self) -> StoredGraph:
        """The graph at the subject's own precision, of which others are made; raises as an export."""
        graph = self.subject.ready.get(self.subject.own) or self._entry.ensure("fp32", self._export)
        self._warn(graph.entry.warnings)
        self._warn(filter(None, [graph.entry.unchecked]))
        return graph

    @property
    def fp32_sha256(self) -> str | None:
        """The digest of the FP32 graph; None where a file of the user's came without it."""
        return self.base.entry.sha256 if self.subject.own is Precision.FP32 else None

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(spec.name, spec.dtype, spec.shape) for spec in self.base.entry.inputs)

    @cached_property
    def feeds(self) -> FeedSource:
        return feeds_of(self.subject, self.inputs, self._display)

    @cached_property
    def _calibration_samples(self) -> int:
        return available(self.feeds, Split.CALIBRATION, self._plan.samples)

    def at(self, precision: Precision) -> StoredGraph:
        """The graph at `precision`; raises UsageError, CalibrationError and what a conversion raises."""
        own = self.subject.own
        if precision is own:
            return self.base
        if own is not Precision.FP32:
            raise UsageError(
                f"{self.base.path.name} is an {own} graph already: measure it with --precision {own}, or give"
                f" the fp32 graph it was made from to get {precision}"
            )
        if precision in self.subject.ready:
            return self.subject.ready[precision]
        provenance = self._provenance(precision)
        name = f"{precision}-{digest_of(provenance)[:12]}"

        def build(out: Path) -> GraphEntry:
            return self._convert(precision, provenance, out)

        return self._entry.ensure(name, build, parent_sha256=self.base.entry.sha256)

    def source(self) -> Source:
        """The subject's source model, made anew, what its files say in vain told; raises as making it."""
        source = source_of(self.subject)
        self._warn(source.warnings)
        return source

    def _export(self, out: Path) -> GraphEntry:
        began = time.perf_counter()
        with self._display.step(f"exporting {self.subject.title} to ONNX"):
            entry = export_fp32(
                self.subject, self.source(), out, self._display, allow_unchecked=self._allow_unchecked
            )
        return entry.model_copy(update={"build_seconds": time.perf_counter() - began})

    def _warn(self, lines: Iterable[str]) -> None:
        """Tell each line once, whether the graph was made now or taken from the store."""
        for line in lines:
            if line not in self._told:
                self._display.warn(f"{self.subject.title}: {line}")
                self._told.add(line)

    def _convert(self, precision: Precision, provenance: Mapping[str, str], out: Path) -> GraphEntry:
        from calibration.collect import calibrate
        from calibration.write import write_precision

        began = time.perf_counter()
        with self._display.step(f"writing {self.subject.title} at {precision}"):
            ranges, facts = None, None
            if precision is Precision.INT8:
                ranges = calibrate(
                    self.base.path,
                    self._calibration_feeds(),
                    self._method,
                    self._display,
                    together=self.subject.batch_dependent,
                )
                facts = self._calibration_facts()
            report = write_precision(self.base.path, precision, out, ranges)
        if report.skipped:
            both = len(report.skipped) + len(report.converted)
            self._display.note(f"{len(report.skipped)} of {both} nodes stay in fp32:")
            for line in _by_reason(report.skipped):
                self._display.note(f"  {line}")
        seconds = time.perf_counter() - began
        return GraphEntry.of_file(out, precision, seconds, self.subject.sizes).model_copy(
            update={
                "parent_sha256": self.base.entry.sha256,
                # Q/DQ and casts are no work of the network: both counts are the FP32 graph's.
                "macs": self.base.entry.macs,
                "parameters": self.base.entry.parameters,
                "calibration": facts,
                "provenance": dict(provenance),
            }
        )

    def _provenance(self, precision: Precision) -> dict[str, str]:
        tools = _CONVERSION_TOOLS + (_RANGE_TOOLS if precision is Precision.INT8 else ())
        facts = {"code": _code_digest(), **{f"tool {n}": v for n, v in package_versions(tools).items()}}
        if precision is Precision.INT8:
            facts |= {
                "method": self._method,
                "samples": str(self._calibration_samples),
                "feeds": self.feeds.digest,
            }
        return facts

    @property
    def _method(self) -> str:
        return self._plan.method or self.subject.calibration_method

    def _calibration_feeds(self) -> Iterable[Feed]:
        most = _TOGETHER if self.subject.batch_dependent else 1
        size = fixed_batch(self.inputs) or min(most, self._calibration_samples)
        return _Sized(self.feeds.batches(size, Split.CALIBRATION), -(-self._calibration_samples // size))

    def _calibration_facts(self) -> CalibrationFacts:
        return CalibrationFacts(
            method=self._method,
            samples=self._calibration_samples,
            feeds=self.feeds.origin,
            feeds_digest=self.feeds.digest,
            synthetic=self.feeds.synthetic,
        )


class _Sized:
    """The first `count` feeds of a stream, with a length, so that progress can tell how far it is."""

    def __init__(self, feeds: Iterator[Feed], count: int) -> None:
        self._feeds = feeds
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Feed]:
        return islice(self._feeds, self._count)


def _by_reason(skipped: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line a reason, with its first node and how many more there are."""
    nodes: dict[str, list[str]] = {}
    for node, reason in skipped:
        nodes.setdefault(reason, []).append(node)
    for reason, names in nodes.items():
        yield f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"


def _code_digest() -> str:
    """SHA-256 over the source of `calibration`, whose every change may change the bytes it writes."""
    total = hashlib.sha256()
    for path in sorted(Path(*calibration.__path__).rglob("*.py")):
        total.update(f"{path.name}\n".encode() + path.read_bytes())
    return total.hexdigest()
