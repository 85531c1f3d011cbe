"""From a subject's source to its FP32 graph: exported, and compared with its own framework."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bench.manifest import GraphEntry, OutputFacts, ParityFacts
from bench.progress import Display
from bench.subject import Subject
from calibration.precision import Precision
from model_zoo.samples import LazyFeeds
from model_zoo.spec import FeedSource, Split
from runtime.errors import ExportError, UnavailableError
from runtime.tensors import Array, Feed, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

    from exporters.parity import Parity
    from exporters.source import Source

PARITY_FEEDS = 2
"""Real samples an export is checked on; exporters.export adds a random one."""


class Unanswered:
    """A source whose framework may be unable to answer; fulfils exporters.source.Source.

    Where it is, that is UnavailableError with the way out, or, if `allowed`, an answer without outputs,
    which nothing is compared with; `reason` then says why.
    """

    def __init__(self, source: Source, *, allowed: bool) -> None:
        self._source = source
        self._allowed = allowed
        self.reason: str | None = None

    @property
    def framework(self) -> str:
        return self._source.framework

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._source.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._source.outputs

    @property
    def parameters(self) -> int:
        return self._source.parameters

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._source.warnings

    @property
    def lists(self) -> tuple[tuple[str, ...], ...]:
        from exporters.source import Listing

        return self._source.lists if isinstance(self._source, Listing) else ()

    def to_onnx(self) -> ir.Model:
        return self._source.to_onnx()

    def run(self, feed: Feed) -> dict[str, Array]:
        if self.reason is not None:
            return {}
        try:
            return self._source.run(feed)
        except UnavailableError as error:
            self.reason = told_unless_allowed(error, allowed=self._allowed)
            return {}

    def release(self) -> None:
        from exporters.source import Releasing

        if isinstance(self._source, Releasing):
            self._source.release()


def told_unless_allowed(error: UnavailableError, *, allowed: bool) -> str:
    """Why a framework could not be asked; raises UnavailableError with the way out unless it is `allowed`."""
    if not allowed:
        raise UnavailableError(
            f"{error}; `bench export --allow-unchecked` writes the graph all the same and says so"
        ) from error
    return str(error)


def source_of(subject: Subject) -> Source:
    """The subject's source model; raises ExportError where it has none, and what making one raises."""
    if subject.source is None:
        raise ExportError(f"{subject.title} has no FP32 graph and no source to export it from")
    quieten_tensorflow()
    return subject.source()


def quieten_tensorflow() -> None:
    """Its own notes drown ours; for the process, and only before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def feeds_of(subject: Subject, inputs: tuple[TensorSpec, ...], display: Display) -> FeedSource:
    """The subject's samples; a download is shown."""
    feeds = subject.feeds(inputs)
    if isinstance(feeds, LazyFeeds):
        feeds.prepare(display)
    return feeds


def export_fp32(
    subject: Subject, source: Source, out: Path, display: Display, *, allow_unchecked: bool
) -> GraphEntry:
    """Write `source` to `out`, checked against itself; raises what an export raises.

    allow_unchecked: where the framework cannot run the model, that is written down instead of raised.
    """
    from exporters.export import export

    asked = Unanswered(source, allowed=allow_unchecked)
    samples = _samples(feeds_of(subject, source.inputs, display))
    # Its shape inference logs a traceback where shapes are wrong; ONNX's checker says so in a line.
    with told_as_export_error(), _without_logs("onnx_ir.passes.common.shape_inference"):
        report = export(asked, out, samples, display)
    return GraphEntry.of_file(out, Precision.FP32, sizes=subject.sizes).model_copy(
        update={
            "parameters": report.parameters,
            "warnings": source.warnings,
            "parity": _facts(report.parity),
            "unchecked": asked.reason and f"not compared with its framework: {asked.reason}",
        }
    )


def _samples(feeds: FeedSource) -> Iterable[Feed]:
    return islice(feeds.batches(1, Split.EVALUATION), PARITY_FEEDS)


def _facts(parity: Parity) -> ParityFacts | None:
    if not parity.outputs:
        return None
    outputs = {
        each.name: OutputFacts(
            absolute=each.absolute,
            relative=each.relative,
            tied=each.tied,
            moved=each.moved,
            unmatched=each.unmatched,
        )
        for each in parity.outputs
    }
    return ParityFacts(feeds=parity.feeds, outputs=outputs)


@contextmanager
def _without_logs(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def told_as_export_error() -> Iterator[None]:
    """Raises ExportError where ONNX Runtime does not run a graph: nodes of the user's own can be such."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError:  # ONNX's own evaluator runs it then
        yield
        return
    refused = (errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.NotImplemented)
    try:
        yield
    except (*refused, errors.RuntimeException) as error:
        raise ExportError(
            f"ONNX Runtime does not run the exported graph: {' '.join(str(error).split())[:300]}; this is a"
            " defect of the exporter, or of a function given by --python-layer"
        ) from error
