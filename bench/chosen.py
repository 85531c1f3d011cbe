"""Which network a command runs, where it runs one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.plan import BenchPlan
from calibration.precision import Precision


@dataclass(frozen=True, kw_only=True)
class ChosenNetwork:
    """A network, and where it runs.

    model:     a name of the zoo, or a folder written by `bench export`.
    framework: None means the model's first.
    weights:   None means seeded ones.
    precision: None means FP32.
    """

    model: str
    variant: str = ""
    framework: str | None = None
    weights: Path | None = None
    backend: str = "ort"
    precision: Precision | None = None
    device: str = "cpu"

    def as_bench_plan(self) -> BenchPlan:
        """The plan that finds the same graph as `bench BACKEND` does."""
        return BenchPlan(
            backend=self.backend, models=(self.model,), variant=self.variant, weights=self.weights
        )
