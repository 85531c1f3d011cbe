"""`bench show` without a photograph: what a model says, in words, to one sample after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from bench.artefacts import Artefacts
from bench.attestation import attest
from bench.chosen import ChosenNetwork
from bench.opening import check_fits, opened, usable_backend
from bench.plan import CalibrationPlan
from bench.progress import Display
from bench.subject import find_subject, weights_named
from model_zoo import catalog
from model_zoo.spec import Told
from runtime.backend import SessionOptions
from runtime.errors import UsageError
from runtime.isolation import LIMIT_SECONDS
from runtime.tensors import Array, Feed


@dataclass(frozen=True, kw_only=True)
class TellPlan(ChosenNetwork):
    """One `bench show` command without a photograph.

    samples: how many are told.
    data:    a file or folder of the user's samples; None means the zoo's.
    """

    samples: int
    data: Path | None = None


@dataclass(frozen=True)
class Answers:
    """What a model says, and what made it say so."""

    model: str
    variant: str
    framework: str
    precision: str
    backend: str
    device: str
    graph_sha256: str
    weights: str
    told: tuple[Told, ...]
    warnings: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """All of it, to be read."""
        name = "-".join(filter(None, (self.model, self.variant)))
        yield f"{name} ({self.framework}), {self.precision}, {self.backend} on {self.device}"
        yield self.weights
        yield from (f"warning: {line}" for line in self.warnings)
        for told in self.told:
            yield ""
            yield told.asked
            yield f"  {told.answer}"
            yield from (f"    {line}" for line in told.more)

    def as_json(self) -> str:
        """One indented object with the fields of this class."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)


def answers_in_words(plan: TellPlan, home: Path, display: Display) -> Answers:
    """What the model says to the first samples; raises HarnessError where that cannot be found out."""
    backend, _ = usable_backend(plan.backend, [plan.device])
    subject = find_subject(plan.as_bench_plan(), plan.model, plan.framework)
    if subject.tell is None:
        raise UsageError(
            f"--model: {subject.title} says nothing in words: show it a photograph with --image and --out, or"
            f" give one of {', '.join(_telling())}"
        )
    artefacts = Artefacts(subject, home, CalibrationPlan(), display)
    precision = plan.precision or subject.own
    graph = artefacts.at(precision)
    check_fits([graph], plan.device, 1, f"{subject.title} {precision}")
    with opened(backend, graph.path, plan.device, SessionOptions(), LIMIT_SECONDS) as session:

        def ask(feed: Feed) -> Mapping[str, Array]:
            return session.run(feed)

        told = tuple(
            display(islice(subject.tell(plan.data, ask), plan.samples), "asking the network", plan.samples)
        )
        warned = attest(
            session.executed(),
            precision,
            plan.device,
            written=graph.entry.macs_by_type,
            allow_emulation=True,
        )
    identity = subject.identity
    return Answers(
        model=identity.model,
        variant=identity.variant,
        framework=identity.framework,
        precision=precision.value,
        backend=backend.version(),
        device=plan.device,
        graph_sha256=graph.entry.sha256,
        weights=weights_named(subject, plan.weights),
        told=told,
        warnings=tuple(warning.message for warning in warned),
    )


def _telling() -> Iterator[str]:
    for name, spec in catalog.MODELS.items():
        if any(variant.tell for variant in spec().variants.values()):
            yield name
