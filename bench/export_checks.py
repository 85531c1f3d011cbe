"""What `bench export` compares besides a network's outputs, when it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isinf
from types import MappingProxyType
from typing import TYPE_CHECKING

from runtime.errors import CheckFailed, UnavailableError, UsageError

if TYPE_CHECKING:
    from bench.artefacts import Artefacts
    from bench.manifest import BlobFacts, LayersFacts
    from bench.progress import Display
    from bench.subject import Subject
    from exporters.caffe.layerwise import BlobDifference
    from exporters.caffe.network import Layer
    from exporters.caffe.source import CaffeSource


class Check(StrEnum):
    """A check, by its name on the command line, which is that of its facts in a graph's entry too."""

    LAYERS = "layers"


@dataclass(frozen=True)
class Checked:
    """What the checks found; `unchecked` has a line for each that could not be made."""

    facts: dict[str, LayersFacts] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()


def run_checks(
    artefacts: Artefacts, checks: Sequence[Check], display: Display, *, allow_unchecked: bool
) -> Checked:
    """Make each check once.

    Raises CheckFailed where one says no, UsageError where it is not for this subject, and UnavailableError
    where the framework cannot run it, unless that is allowed.
    """
    from bench.exporting import told_unless_allowed

    facts, unchecked = {}, []
    for check in dict.fromkeys(checks):
        try:
            facts[check.value] = CHECKS[check](artefacts, display)
        except UnavailableError as error:
            reason = told_unless_allowed(error, allowed=allow_unchecked)
            unchecked.append(f"--check {check} was not made: {reason}")
            display.warn(f"{artefacts.subject.title}: {unchecked[-1]}")
    return Checked(facts, tuple(unchecked))


def _layers(artefacts: Artefacts, display: Display) -> LayersFacts:
    """Every blob of a Caffe network beside OpenCV's, on one of the subject's own samples."""
    from bench.exporting import feeds_of, told_as_export_error
    from bench.manifest import LayersFacts
    from exporters.caffe.layerwise import compare_blobs, first_difference
    from exporters.parity import RELATIVE_TOLERANCE
    from model_zoo.spec import Split

    _check_framework(artefacts.subject)
    with display.step(f"comparing every blob of {artefacts.subject.title} with OpenCV's"):
        source = _caffe_source(artefacts)
        feeds = feeds_of(artefacts.subject, source.inputs, display)
        with told_as_export_error():
            found = compare_blobs(source, next(feeds.batches(1, Split.EVALUATION)), display)
    tolerance = RELATIVE_TOLERANCE["float32"]
    makers = {top: layer for layer in source.network.layers for top in layer.tops}
    first = first_difference(found, tolerance)
    if first is not None:
        raise CheckFailed(_difference(found, first, makers[first.blob], tolerance))
    worst = max(found, key=lambda difference: difference.relative)
    display.note(
        f"{len(found)} blobs agree with OpenCV's within {tolerance:.3g} of the largest value of each; worst:"
        f" blob {worst.blob!r} of {makers[worst.blob]}, {worst.relative:.2g}"
    )
    return LayersFacts(
        blobs=len(found), tolerance=tolerance, worst=_facts(worst, makers[worst.blob]), feeds=feeds.origin
    )


CHECKS: Mapping[Check, Callable[[Artefacts, Display], LayersFacts]] = MappingProxyType(
    {Check.LAYERS: _layers}
)


def _check_framework(subject: Subject) -> None:
    if subject.identity.framework != "caffe" or subject.source is None:
        kind = subject.title if subject.source else f"{subject.title}, a graph without its source"
        raise UsageError(f"--check layers compares blobs of Caffe networks only, got {kind}; leave it out")


def _caffe_source(artefacts: Artefacts) -> CaffeSource:
    from exporters.caffe.source import CaffeSource

    source = artefacts.source()
    if not isinstance(source, CaffeSource):
        raise UsageError(f"--check layers knows sources of exporters.caffe only, got {type(source).__name__}")
    return source


def _difference(
    found: Sequence[BlobDifference], first: BlobDifference, layer: Layer, tolerance: float
) -> str:
    """What is said of a network that differs: its first layer that does, since the rest may just follow."""
    many = sum(not difference.relative <= tolerance for difference in found)
    apart = f"is off by {first.absolute:.3g}, {first.relative:.3g} of its largest value"
    if isinf(first.absolute):
        apart = "has another number of values, or a NaN"
    return (
        f"layers: {layer} is the first that differs from OpenCV: its blob {first.blob!r} {apart};"
        f" {tolerance:.3g} is allowed; {found.index(first)} blobs before it agree, {many} of {len(found)}"
        " differ; nothing is written: check that layer's fields, and report it"
    )


def _facts(difference: BlobDifference, layer: Layer) -> BlobFacts:
    from bench.manifest import BlobFacts

    return BlobFacts(
        absolute=difference.absolute,
        relative=difference.relative,
        blob=difference.blob,
        layer=difference.layer,
        type=difference.type,
        line=layer.line,
    )
