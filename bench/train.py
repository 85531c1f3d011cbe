"""`bench train`: real weights from real data, and what they reach."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.environment import package_version
from bench.exporting import quieten_tensorflow
from bench.progress import Display
from bench.store import digest_of
from model_zoo import catalog
from model_zoo.spec import ModelSpec, Training
from model_zoo.training import teach, weights_of, write_arrays
from runtime.errors import UsageError
from runtime.files import sha256_of_file

_SUFFIX = ".npz"


@dataclass(frozen=True)
class TrainPlan:
    """One `bench train` command; raises UsageError for a file that cannot be meant.

    variant: "" means the only one there is data for.
    out:     None means a place in the store.
    epochs:  None means as many as the model's lesson says.
    """

    model: str
    variant: str = ""
    out: Path | None = None
    epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.out is not None and (self.out.suffix != _SUFFIX or self.out.is_dir()):
            raise UsageError(f"--out {self.out}: weights are written as {_SUFFIX}; give such a name")


@dataclass(frozen=True)
class Trained:
    """Weights, and what they reach on samples that were held out; `seconds` of this run alone."""

    model: str
    variant: str
    weights: str
    sha256: str
    data: str
    seed: int
    epochs: int
    loss: float | None
    scores: Mapping[str, float]
    seconds: float

    def lines(self) -> Iterator[str]:
        """All of it, to be read."""
        reached = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        yield f"{self.model}{f' --variant {self.variant}' if self.variant else ''}: {reached}"
        yield f"held out of {self.data}"
        yield f"{self.epochs} epochs, seed {self.seed}, {self.seconds:.0f} s"
        yield f"weights {self.weights}"
        variant = f" --variant {self.variant}" if self.variant else ""
        yield f"try: bench ort --model {self.model}{variant} --weights {self.weights}"

    def as_json(self) -> str:
        """One indented object with the fields of this class."""
        return json.dumps(asdict(self), indent=2)


def trained_weights(plan: TrainPlan, home: Path, display: Display) -> Path:
    """The weights that `train_model` makes: those in the store, or made now."""
    spec = catalog.get_model(plan.model)
    variant = plan.variant or _only_trainable(spec)
    training = _training_of(spec, variant)
    out = _place(spec, variant, digest_of(_facts(plan, variant)), home)
    if not out.exists():
        display.note(f"training {spec.name} {variant} from {training.data}")
        train_model(plan, home, display)
    return out


def train_model(plan: TrainPlan, home: Path, display: Display) -> Trained:
    """Train, and write the weights; raises HarnessError where that cannot be done."""
    began = time.perf_counter()
    spec = catalog.get_model(plan.model)
    variant = plan.variant or _only_trainable(spec)
    training = _training_of(spec, variant)
    quieten_tensorflow()
    lesson = training.lesson(plan.seed, display)
    epochs = plan.epochs or lesson.epochs
    key = digest_of(_facts(plan, variant))
    out = plan.out or _place(spec, variant, key, home)
    resume = out.with_name(f".{out.stem}.resume{_SUFFIX}")
    loss = None
    for report in teach(lesson, key, epochs, resume, display):
        loss = report.loss
        display.note(f"epoch {report.epoch} of {epochs}: loss {report.loss:.4f}")
    scores = dict(lesson.scores())
    write_arrays(out, weights_of(lesson))
    resume.unlink(missing_ok=True)
    return Trained(
        model=spec.name,
        variant="" if variant == spec.reference else variant,
        weights=str(out),
        sha256=sha256_of_file(out),
        data=training.data,
        seed=plan.seed,
        epochs=epochs,
        loss=loss,
        scores=scores,
        seconds=time.perf_counter() - began,
    )


def _place(spec: ModelSpec, variant: str, key: str, home: Path) -> Path:
    return home / "trained" / f"{spec.name}-{variant or 'reference'}-{key[:12]}{_SUFFIX}"


def _facts(plan: TrainPlan, variant: str) -> dict[str, str]:
    """All that decides the weights."""
    tools = {name: package_version(name) or "" for name in ("numpy", "tensorflow", "tensorflow-cpu")}
    run = {
        "model": plan.model,
        "variant": variant,
        "epochs": str(plan.epochs or "the lesson's"),
        "seed": str(plan.seed),
    }
    return {**run, "code": catalog.source_digest(), **tools}


def _only_trainable(spec: ModelSpec) -> str:
    """The reference, or the first other variant there is data for."""
    if spec.variants[spec.reference].training is not None:
        return spec.reference
    return next((name for name, variant in spec.variants.items() if variant.training), spec.reference)


def _training_of(spec: ModelSpec, variant: str) -> Training:
    training = catalog.get_variant(spec, variant).training
    if training is None:
        asked = f"{spec.name}{f' --variant {variant}' if variant else ''}"
        raise UsageError(f"there is no data to train {asked} from; there is for {', '.join(_trainable())}")
    return training


def _trainable() -> Iterator[str]:
    for name in sorted(catalog.MODELS):
        for variant, described in catalog.get_model(name).variants.items():
            if described.training is not None:
                yield f"{name} --variant {variant}" if variant else name
