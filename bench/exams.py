"""Which exams a model has, and the weights it takes them with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.plan import BenchPlan
from bench.progress import Display
from bench.subject import Subject
from bench.train import TrainPlan, trained_weights
from model_zoo import catalog
from model_zoo.spec import Exam, Variant
from runtime.errors import UsageError


def exams_of(model: str, variant: str, framework: str) -> tuple[Exam, ...]:
    """Those of a model of the zoo; none where it has no labelled samples, or is the user's."""
    found = _variant(model, variant)
    exams = found.exams if found else ()
    return tuple(exam for exam in exams if not exam.frameworks or framework in exam.frameworks)


def _variant(model: str, variant: str) -> Variant | None:
    """None for what is not of the zoo."""
    if model not in catalog.MODELS:
        return None
    spec = catalog.get_model(model)
    return catalog.get_variant(spec, variant)


def with_weights(network: BenchPlan, home: Path, display: Display) -> BenchPlan:
    """The same with trained weights, taken from the store or trained now, where the user gives none."""
    variant = _variant(network.models[0], network.variant)
    if network.weights is not None or variant is None or variant.training is None:
        return network
    weights = trained_weights(TrainPlan(network.models[0], network.variant), home, display)
    return replace(network, weights=weights)


def has_learned(network: BenchPlan, subject: Subject) -> bool:
    """Whether its weights are somebody's, and no seed's."""
    return network.weights is not None or bool(subject.trained)


def check_weights(network: BenchPlan, subject: Subject) -> None:
    """Raises UsageError for a network that has learned nothing."""
    if not has_learned(network, subject):
        raise UsageError(
            f"{subject.title} has seeded weights, which know nothing: give trained ones with --weights"
        )
