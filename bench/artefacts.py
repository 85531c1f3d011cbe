"""The graphs of one subject: taken from the store, or exported and converted into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.calibrated import Calibrated
from bench.exporting import export_fp32, feeds_of, source_of
from bench.manifest import MANIFEST, GraphEntry, KeptFacts, read_manifest
from bench.plan import CalibrationPlan
from bench.progress import Display
from bench.provenance import changes, nearest
from bench.store import Entry, StoredGraph, digest_of
from bench.subject import Subject
from calibration.precision import Precision
from model_zoo.spec import FeedSource
from runtime.errors import UsageError
from runtime.tensors import TensorSpec

if TYPE_CHECKING:
    from calibration.mixture import Apart
    from calibration.write import PrecisionReport
    from exporters.source import Source


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
    def calibrated(self) -> Calibrated:
        """What calibration finds out about the FP32 graph, each when it is first asked for."""
        return Calibrated(
            self.subject,
            self._plan,
            self._entry,
            self.base,
            self.inputs,
            lambda: self.feeds,
            self._display,
        )

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
        if precision is Precision.INT8_MIXED:
            return self._newest_mixed()
        provenance = self.calibrated.provenance(precision)
        name = self.calibrated.name(precision)
        self._tell_changes(name, precision, provenance)
        if precision is Precision.INT8 and self._entry.present(name, self.base.entry.sha256) is None:
            self.calibrated.rescaled()

        def build(out: Path) -> GraphEntry:
            return self._convert(precision, provenance, out, lambda: self._written(precision, out))

        return self._entry.ensure(name, build, parent_sha256=self.base.entry.sha256)

    def put_mixed(self, kept: Sequence[str], kept_in: Precision, facts: Mapping[str, str]) -> StoredGraph:
        """Write and store INT8 with the nodes `kept` in a float; from then on it is what `at` gives.

        facts: what its provenance tells besides that of INT8.
        """
        mixed = Precision.INT8_MIXED
        provenance = {**self.calibrated.provenance(Precision.INT8), **facts}
        self.calibrated.rescaled()
        apart = self.calibrated.apart(kept, kept_in)

        def build(out: Path) -> GraphEntry:
            return self._convert(mixed, provenance, out, lambda: self.write_int8(out, apart))

        return self._entry.put(f"{mixed}-{digest_of(provenance)[:12]}", build)

    def _newest_mixed(self) -> StoredGraph:
        found = self._entry.newest(Precision.INT8_MIXED, self.base.entry.sha256)
        if found is None:
            raise UsageError(
                f"{self.subject.title} has no {Precision.INT8_MIXED} graph yet; `bench sensitivity"
                f" {self._flags()} --gate G` finds the layers to keep in float and writes one: run that first"
            )
        return found

    def _flags(self) -> str:
        """What names the subject on the command line."""
        if self.subject.ready:
            bundled = (self.base.path.parent / MANIFEST).exists()
            return f"--model {self.base.path.parent if bundled else self.base.path}"
        identity = self.subject.identity
        variant = f" --variant {identity.variant}" if identity.variant else ""
        return f"--model {identity.model}{variant} --framework {identity.framework}"

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

    def write_int8(self, out: Path, apart: Apart) -> PrecisionReport:
        """Write INT8, but for what is `apart`, to any file; raises as `at`."""
        from calibration.write import write_int8

        return write_int8(self.calibrated.quantisable, out, apart)

    def _convert(
        self,
        precision: Precision,
        provenance: Mapping[str, str],
        out: Path,
        write: Callable[[], PrecisionReport],
    ) -> GraphEntry:
        began = time.perf_counter()
        with self._display.step(f"writing {self.subject.title} at {precision}"):
            report = write()
            facts = self.calibrated.facts(precision) if precision.needs_ranges else None
        if report.skipped:
            both = len(report.skipped) + len(report.converted)
            self._display.note(f"{len(report.skipped)} of {both} nodes are not in {precision}:")
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
                "kept": tuple(map(KeptFacts.from_kept, report.kept)),
                "provenance": dict(provenance),
            }
        )

    def _written(self, precision: Precision, out: Path) -> PrecisionReport:
        from calibration.mixture import NOTHING_APART
        from calibration.write import write_precision

        if precision is Precision.INT8:
            return self.write_int8(out, NOTHING_APART)
        ranges = self.calibrated.ranges if precision.needs_ranges else None
        magnitudes = self.calibrated.magnitudes if precision.is_half else None
        return write_precision(self.base.path, precision, out, ranges, magnitudes=magnitudes)

    def _tell_changes(self, name: str, precision: Precision, provenance: Mapping[str, str]) -> None:
        """Say why a graph of this precision that is in the store does not serve."""
        manifest = read_manifest(self._entry.folder / MANIFEST)
        graphs = manifest.graphs if manifest else {}
        others = [entry.provenance for entry in graphs.values() if entry.precision == precision]
        closest = nearest(provenance, others)
        if name not in graphs and closest is not None:
            self._display.note(
                f"the stored {precision} graph does not serve, writing another:"
                f" {changes(closest, provenance)}"
            )


def _by_reason(skipped: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A line a reason, with its first node and how many more there are."""
    nodes: dict[str, list[str]] = {}
    for node, reason in skipped:
        nodes.setdefault(reason, []).append(node)
    for reason, names in nodes.items():
        yield f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
