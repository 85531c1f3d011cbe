"""`bench show`: a model on one photograph of the user's, and a picture of what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.chosen import ChosenNetwork
from bench.findings import Finding
from bench.opening import check_fits, opened, usable_backend
from bench.pictures import picture_of
from bench.plan import CalibrationPlan
from bench.progress import Display
from bench.reading import Reader, View, reader_of
from bench.store import StoredGraph
from bench.subject import Subject, find_subject, weights_named
from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.framing import Frame
from model_zoo.photographs import decode
from runtime.backend import Backend, Executed, SessionOptions
from runtime.errors import UsageError
from runtime.files import replacing_file
from runtime.isolation import LIMIT_SECONDS
from runtime.tensors import Array, Feed, TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG"}
_JPEG_QUALITY = 92

_CHANNELS = (1, 3)  # grey, and in colour


@runtime_checkable
class ImageTaking(Protocol):
    """Feeds that can be made of any image (ImageFeeds, LineFeeds)."""

    def of_image(self, image: Image) -> tuple[Feed, Frame]:
        """A batch of the one image, and where it lies in the network's input."""


@dataclass(frozen=True, kw_only=True)
class ShowPlan(ChosenNetwork):
    """One `bench show` command with a photograph; raises UsageError for files that cannot be meant.

    image: the photograph.
    out:   the picture to write; its suffix is its format.
    """

    image: Path
    out: Path

    def __post_init__(self) -> None:
        if not self.image.is_file():
            raise UsageError(f"--image {self.image}: no such file; give a photograph")
        if self.out.suffix.lower() not in _FORMATS:
            raise UsageError(
                f"--out {self.out}: a picture is written as {', '.join(sorted(_FORMATS))}; give such a name"
            )
        if not self.out.parent.is_dir():
            raise UsageError(f"--out {self.out}: there is no folder {self.out.parent}; make it first")
        if self.out.is_dir() or (self.out.exists() and self.out.samefile(self.image)):
            what = "is a folder" if self.out.is_dir() else "is the photograph itself"
            raise UsageError(f"--out {self.out} {what}; give another name")


@dataclass(frozen=True)
class Shown:
    """What a model says of a photograph, and what made it say so.

    width, height: of the photograph as it is seen, turned as its camera says; findings are in its pixels.
    part:          left, top, right and bottom of what the network sees of it; None where that is all.
    remark:        what was left out of the findings, or how they were read.
    """

    model: str
    variant: str
    framework: str
    precision: str
    backend: str
    device: str
    graph_sha256: str
    weights: str
    image: str
    width: int
    height: int
    part: tuple[float, float, float, float] | None
    findings: tuple[Finding, ...]
    remark: str
    warnings: tuple[str, ...]

    def captions(self) -> Iterator[str]:
        """What stands below the picture."""
        name = "-".join(filter(None, (self.model, self.variant)))
        yield f"{name} ({self.framework}), {self.precision}, {self.backend} on {self.device}"
        yield self.weights
        if self.remark:
            yield self.remark
        if self.part is not None:
            yield "the network sees what is inside the thin outline"
        yield from (f"warning: {line}" for line in self.warnings)

    def lines(self) -> Iterator[str]:
        """All of it, to be read."""
        yield from self.captions()
        for finding in self.findings:
            yield from finding.lines()

    def as_json(self) -> str:
        """One indented object with the fields of this class."""
        return json.dumps(asdict(self), indent=2)


def show_photograph(plan: ShowPlan, home: Path, display: Display) -> Shown:
    """Write the picture, and return what is on it; raises HarnessError where any of it cannot be done."""
    photograph = decode(plan.image)
    backend, _ = usable_backend(plan.backend, [plan.device])
    subject = find_subject(plan.as_bench_plan(), plan.model, plan.framework)
    read = _reader_of(subject)
    artefacts = Artefacts(subject, home, CalibrationPlan(), display)
    shown = _Run(plan, photograph, backend, artefacts, display).shown(read)
    picture = picture_of(photograph, shown.findings, tuple(shown.captions()), shown.part)
    with replacing_file(plan.out) as temporary:
        picture.save(temporary, _FORMATS[plan.out.suffix.lower()], quality=_JPEG_QUALITY)
    display.note(f"saved {plan.out}")
    return shown


def image_size(inputs: Sequence[TensorSpec]) -> tuple[int, int]:
    """Height and width of the only image among a graph's inputs, whose channels come first or last."""
    (shape,) = (spec.shape for spec in inputs if len(spec.shape) == 4)
    height, width = shape[1:3] if shape[3] in _CHANNELS else shape[2:]
    return int(height), int(width)


def _reader_of(subject: Subject) -> Reader:
    reader = reader_of(subject.task)
    if reader is None:
        task = subject.task
        says = f"answers with {task.name}" if task else "has outputs that nothing describes"
        raise UsageError(
            f"--model: {subject.title} {says}, which cannot be drawn on a photograph; give one of"
            f" {', '.join(_drawable())}"
        )
    return reader


def _drawable() -> Iterator[str]:
    for name, spec in catalog.MODELS.items():
        if any(reader_of(variant.task) for variant in spec().variants.values()):
            yield name


@dataclass(frozen=True)
class _Run:
    """A network on a backend, and the photograph it is shown."""

    plan: ShowPlan
    photograph: Image
    backend: Backend
    artefacts: Artefacts
    display: Display

    def shown(self, read: Reader) -> Shown:
        """What `read` makes of the network's outputs for the photograph."""
        identity = self.artefacts.subject.identity
        graph = self.artefacts.at(self._precision)
        feed, view = self._seen()
        outputs, executed = self._outputs(graph, feed)
        warned = attest(
            executed,
            self._precision,
            self.plan.device,
            written=graph.entry.macs_by_type,
            allow_emulation=True,
        )
        answer = read(self.artefacts.subject.task, outputs, view)
        return Shown(
            model=identity.model,
            variant=identity.variant,
            framework=identity.framework,
            precision=self._precision.value,
            backend=self.backend.version(),
            device=self.plan.device,
            graph_sha256=graph.entry.sha256,
            weights=weights_named(self.artefacts.subject, self.plan.weights),
            image=self.plan.image.name,
            width=self.photograph.width,
            height=self.photograph.height,
            part=view.part,
            findings=answer.findings,
            remark=answer.remark,
            warnings=tuple(warning.message for warning in warned),
        )

    @property
    def _precision(self) -> Precision:
        return self.plan.precision or self.artefacts.subject.own

    def _seen(self) -> tuple[Feed, View]:
        """The photograph as the network takes it, and where in the photograph that lies."""
        feeds = self.artefacts.subject.feeds(self.artefacts.inputs)
        if not isinstance(feeds, ImageTaking):
            title = self.artefacts.subject.title
            raise UsageError(f"--model: {title} takes no photograph; give one of {', '.join(_drawable())}")
        feed, frame = feeds.of_image(self.photograph)
        return feed, View(frame, self.photograph.size, image_size(self.artefacts.inputs))

    def _outputs(self, graph: StoredGraph, feed: Feed) -> tuple[dict[str, Array], Executed]:
        what = f"{self.artefacts.subject.title} {self._precision}"
        check_fits([graph], self.plan.device, 1, what)
        with (
            self.display.step(f"running {what} on {self.plan.device}"),
            opened(self.backend, graph.path, self.plan.device, SessionOptions(), LIMIT_SECONDS) as session,
        ):
            return session.run(feed), session.executed()
