"""What a reference model is: data that the table of models is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.progress import Progress
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


class Lesson(Protocol):
    """A network being taught in TensorFlow: variables, and steps that change them (model_zoo.training).

    All that is random in it comes from the seed it was made with and the number of the epoch.
    """

    @property
    def weights(self) -> Mapping[str, Any]:
        """TensorFlow variables, by the names under which the network's `build` takes them from a file."""

    @property
    def state(self) -> Sequence[Any]:
        """Further variables that a step changes, always in the same order: the optimiser's."""

    @property
    def epochs(self) -> int:
        """Rounds over the training data that make a good network."""

    @property
    def steps(self) -> int:
        """Steps of an epoch."""

    def epoch(self, number: int) -> Iterator[float]:
        """Do the steps of epoch 0, 1, ... one by one; the loss of each."""

    def scores(self) -> Mapping[str, float]:
        """What the network reaches on held-out samples, by the metric's usual name ("HR@10")."""


@dataclass(frozen=True)
class Training:
    """How a variant gets real weights from real data in minutes.

    data:   one line: which data, and which of it is held out.
    lesson: from a seed to a network that knows nothing yet; fetches the data, showing progress.
    """

    data: str
    lesson: Callable[[int, Progress], Lesson]


@dataclass(frozen=True)
class Told:
    """One sample in words: what was asked, the answer, and what else there is to say: the next best, say."""

    asked: str
    answer: str
    more: tuple[str, ...] = ()


Ask = Callable[[Feed], Mapping[str, Array]]
"""Runs a network on a feed."""


@dataclass(frozen=True)
class Question:
    """One batch of labelled samples.

    truths: of each sample, as the exam's metrics take it.
    asked:  each sample in words, for a list of those that went wrong.
    pictures: each sample as a person sees it, uint8 [height, width, 3]; none where words say it all.
    """

    feed: Feed
    truths: Sequence[Any]
    asked: Sequence[str]
    pictures: Sequence[Array] = ()


class Labels(StrEnum):
    """What a labelled set is made of; every table says so."""

    REAL = "real labelled data"
    COMPOSED = "a composition of real pieces"


@dataclass(frozen=True)
class Exam:
    """Labelled samples, and what a network's answers to them are judged by.

    data:      one line: which samples, and that they were held out.
    metrics:   names out of model_zoo.metrics; the first is what a gate is about.
    questions: the samples in batches, always the same, from a data set in its official layout or (None) what
               the harness fetches itself; raises UnavailableError where it cannot be fetched.
    answers:   from a batch's feed and a network's outputs to an answer for each sample, as the metrics take
               it; None for one that cannot be read.
    say:       an answer, or a truth, in words.
    frameworks: whose networks take such feeds; () means all.
    """

    data: str
    labels: Labels
    metrics: tuple[str, ...]
    questions: Callable[[Path | None, Progress], Iterator[Question]]
    answers: Callable[[Feed, Mapping[str, Array]], Sequence[Any]]
    say: Callable[[Any], str] = str
    frameworks: tuple[str, ...] = ()


CLIPS_LITTLE = "percentile:99.9999+feedback"
"""One value in a million is clipped.

On 16 photographs seeded ResNet50 has 30 dB so; 28 with min-max and weights rounded to the nearest, 27 with
entropy, 29.5 with ONNX Runtime's best recipe. DenseNet121 has 20, with theirs 14.6.
"""

CENTRED = "percentile:99.9999+centre+feedback"
"""The same where 1x1 convolutions and products read what ReLUs make.

On 64 photographs seeded ResNet50 has 32.7 dB so and 30.1 without `centre`, 1 % faster on ONNX Runtime.
OpenVINO is faster on uint8: DenseNet121, where a BatchNormalization precedes its ReLUs, would take a fifth
longer there.
"""


@dataclass(frozen=True)
class Variant:
    """One network: how to build it per framework, what it counts, what it is fed.

    build:  framework name to a function from a weights file (None: seeded weights) to a Source.
    counts: framework name to the figures of MODELS.md.
    feeds:  from a framework name (preprocessing differs) to the samples.
    task:   what its outputs mean.
    calibration_method: how it is made INT8 unless the user says otherwise (calibration.recipe); measured to
                        suit it.
    trained: whose weights it has where a user gives none; "" where those are seeded.
    sizes:   of open dimensions besides the batch, by name: what they are in its feeds and its counts.
    batch_dependent: whether a sample's answer depends on the others of its batch, by their statistics.
    check:   raises FeedError for a feed that the reference would not take: an id beyond its table, a mask
             that disagrees with a length. Samples of a user's own go through it.
    training: how `bench train` makes weights for it; None where there is no data for that.
    tell:    what it says to one sample after the other, in words, to its own samples or those of a file or
             folder; None where that takes a picture.
    exams:   labelled samples it can be judged on.
    """

    description: str
    build: Mapping[str, Callable[[Path | None], Source]]
    counts: Mapping[str, Counts]
    feeds: Callable[[str], FeedSource]
    task: Task
    calibration_method: str = CLIPS_LITTLE
    trained: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    batch_dependent: bool = False
    check: Callable[[Feed], None] | None = None
    training: Training | None = None
    tell: Callable[[Path | None, Ask], Iterator[Told]] | None = None
    exams: tuple[Exam, ...] = ()


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
