"""What a reference model is: data that the table of models is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from exporters.source import Source


class Split(StrEnum):
    """Which samples: those that ranges are found on, or those that results are judged on."""

    CALIBRATION = "calibration"
    EVALUATION = "evaluation"


class FeedSource(Protocol):
    """Samples of one model, preprocessed and batched."""

    @property
    def origin(self) -> str:
        """One line for the record: what the samples are made of, or "synthetic (seed 0): why"."""

    @property
    def synthetic(self) -> bool: ...

    @property
    def digest(self) -> str:
        """Covers the raw samples and the preprocessing; part of the calibration's provenance."""

    def batches(self, batch_size: int, split: Split) -> Iterator[Feed]:
        """An endless stream, the same at every call, of feeds with `batch_size` samples.

        The k-th sample of a split does not depend on the batch size; the splits share no sample.
        """


class Task(Protocol):
    """What a model's outputs mean."""

    @property
    def name(self) -> str: ...

    @property
    def agreement(self) -> str:
        """What equal answers are called ("top-1 agreement")."""

    @property
    def numeric(self) -> bool:
        """Whether two runs' outputs can be subtracted: boxes come in a number and order of their own."""

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """For each of the `samples` in a batch how far, 0 to 1, a user would act alike on both outputs."""


@dataclass(frozen=True)
class Counts:
    """Learned parameters, and multiply-accumulates of one sample (MODELS.md)."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class PaperRow:
    """The model's row in Table I of the AI Matrix paper; flops and seconds are of one batch."""

    batch_size: int
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class Variant:
    """One network: how to build it per framework, what it counts, what it is fed.

    build:  framework name to a function from a weights file (None: seeded weights) to a Source.
    counts: framework name to the figures of MODELS.md.
    feeds:  from a framework name (preprocessing differs) to the samples.
    task:   what its outputs mean.
    calibration_method: how INT8 ranges are found unless the user says otherwise; measured to suit it.
    trained: whose weights it has where a user gives none; "" where those are seeded.
    """

    description: str
    build: Mapping[str, Callable[[Path | None], Source]]
    counts: Mapping[str, Counts]
    feeds: Callable[[str], FeedSource]
    task: Task
    calibration_method: str = "entropy"
    trained: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """A reference model; `variants` maps a name to a network.

    The first framework of a variant's `build` is the default one.

    reference: the variant that is meant where none is named.
    at_size:   a variant for images of any height and width, called "600x800", where the network allows it.
    """

    name: str
    title: str
    paper: PaperRow | None
    variants: Mapping[str, Variant]
    reference: str = ""
    at_size: Callable[[int, int], Variant] | None = None
