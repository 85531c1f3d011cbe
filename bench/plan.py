"""What the user asked for, as data; a plan expands to the cells that are measured one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from bench.measure import Limits
from calibration.precision import Precision
from runtime.backend import Boundary, SessionOptions
from runtime.errors import UsageError, unknown_name

SINGLE_STREAM = "single-stream"
"""One query after the other, the next one sent when the last is complete (MLPerf inference rules)."""

SCENARIOS = (SINGLE_STREAM, "multi-stream", "server", "offline")
"""The words of the MLPerf inference rules; those that are not measured yet are known by name."""

_WITHOUT_PROVIDERS = frozenset({"trt", "trt-rtx", "openvino", "reference", "null"})
"""Our backends that are not ONNX Runtime; what a vendor's does with the name is its own affair."""


def read_provider_options(texts: Iterable[str]) -> dict[str, str]:
    """From "name=value", each once; raises UsageError."""
    options: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in options:
            wrong = "is given twice" if name in options else "is no NAME=VALUE"
            raise UsageError(f"--provider-option {text} {wrong}; write it as device_id=0")
        options[name] = value
    return options


@dataclass(frozen=True)
class CalibrationPlan:
    """How INT8 ranges are found: over how many samples, and by which method (None: the model's own).

    method: as calibration.recipe reads it, such as `percentile:99.9` or `min-max+smooth:0.5`.
    ranges: a file of `bench calibrate` that holds them already.
    """

    samples: int = 64
    method: str | None = None
    ranges: Path | None = None

    def __post_init__(self) -> None:
        if self.method is None:
            return
        from calibration.recipe import Recipe

        Recipe.parse(self.method)
        if self.ranges is not None:
            raise UsageError(
                f"--ranges {self.ranges} and --calibration-method {self.method} are two answers to one"
                " question: give one"
            )


@dataclass(frozen=True)
class Cell:
    """One measurement: everything but the model that makes it differ from its neighbours.

    batch_size None: 1, or the graph's own where it leaves no choice.
    """

    precision: Precision
    device: str
    batch_size: int | None

    def __str__(self) -> str:
        batch = "" if self.batch_size is None else f" batch {self.batch_size}"
        return f"{self.precision} on {self.device}{batch}"


@dataclass(frozen=True)
class BenchPlan:
    """One `bench BACKEND` command; several values of a field mean their product.

    models:    names of the zoo, ONNX files, or bundle folders written by `bench export`.
    frameworks: names; none given means the model's first.
    weights:   a file or folder for the zoo's builders; None means seeded weights.
    precisions: none given means FP32, or the one that a graph of the user's has.
    feeds:     an .npz file of inputs; None means the zoo's own, and synthetic ones for the user's own graphs.
    data:      the user's own samples for models of the zoo; None means the zoo's.
    evaluation_samples: how many samples agreement with FP32 is judged on; 0 leaves it out.
    session:   what a session is opened with.
    allow_emulation: a session that did not execute what was asked for is measured all the same.
    limit_seconds: of each step of a session in a process of its own; None: sessions open in this process.
    """

    backend: str
    models: tuple[str, ...]
    variant: str = ""
    frameworks: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    batch_sizes: tuple[int, ...] = ()
    scenario: str = SINGLE_STREAM
    boundary: Boundary = Boundary.DEVICE
    weights: Path | None = None
    feeds: Path | None = None
    data: Path | None = None
    calibration: CalibrationPlan = field(default_factory=CalibrationPlan)
    evaluation_samples: int = 64
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    session: SessionOptions = field(default_factory=SessionOptions)
    allow_emulation: bool = False
    limit_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise unknown_name("scenario", self.scenario, SCENARIOS)
        if self.scenario != SINGLE_STREAM:
            raise UsageError(
                f"--scenario {self.scenario} is not measured yet, only {SINGLE_STREAM}; leave --scenario out"
            )
        if self.feeds is not None and self.data is not None:
            raise UsageError(
                f"--feeds {self.feeds} and --data {self.data} are two answers to one question: give one"
            )
        if self.session.provider and self.backend in _WITHOUT_PROVIDERS:
            raise UsageError(
                f"--provider {self.session.provider} is one of ONNX Runtime's: give it to `bench ort`"
            )
        if not self.models:
            raise UsageError(
                "no model given; name one with --model NAME or --model FILE.onnx (`bench list models`)"
            )

    def subjects(self) -> tuple[tuple[str, str | None], ...]:
        """Pairs of a model and a framework (None: the model's first), each met once."""
        return tuple(dict.fromkeys(product(self.models, self.frameworks or (None,))))

    def cells(self, own: Precision = Precision.FP32) -> tuple[Cell, ...]:
        """The cells of a subject, ordered so that a graph is built and opened once.

        own: the precision to measure where none was asked for.
        """
        precisions = self.precisions or (own,)
        batches = self.batch_sizes or (None,)
        return tuple(dict.fromkeys(Cell(*values) for values in product(precisions, self.devices, batches)))

    @property
    def size(self) -> int:
        return len(self.subjects()) * len(self.cells())
