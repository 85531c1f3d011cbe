"""What every metric of a task can do: take samples in one by one, and be evaluated on any of them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UnavailableError

Weights = NDArray[np.float64]
"""[samples]: how often each sample counts; whole numbers, 0 and more."""


class Metric(Protocol):
    """How good answers are, of the samples taken in so far.

    Of a sample is kept what `value` needs and no more: counts, a score, which boxes were hits.
    """

    @property
    def samples(self) -> int: ...

    @property
    def broken(self) -> int:
        """Answers that were None, or held NaN or infinity; each counts as the worst there is."""

    def add(self, truth: Any, answer: Any) -> None:
        """Take in one sample; what the two are is said where the metric is made."""

    def value(self, weights: Weights | None = None) -> float:
        """The metric's usual value as a share (0.7646, not 76.46); NaN where it is not defined.

        weights: evaluates a multiset of the samples: a bootstrap's draw.
        """

    def scores(self) -> NDArray[np.float64] | None:
        """[samples], 0 to 1, where `value` is the mean of such scores; None where it is no such mean."""


@dataclass(frozen=True)
class Measure:
    """A metric by its name.

    title:  what it is called in tables.
    source: whose definition it follows.
    truth, answer: what `Metric.add` takes, in words.
    make:   one that has no samples yet.
    lower_is_better: of an error rate; what is kept of a model then is 1 - value, as MLPerf has it for WER.
    ranks_within: whether an answer orders the candidates of its own sample, the right one at a place that is
                  always the same: then another sample's answer is as good as a right one.
    """

    name: str
    title: str
    source: str
    truth: str
    answer: str
    make: Callable[[], Metric]
    lower_is_better: bool = False
    ranks_within: bool = False

    def quality(self, value: float) -> float:
        """The same value where higher is better."""
        return 1 - value if self.lower_is_better else value


def is_broken(answer: Any) -> bool:
    """Whether an answer is None, or NaN or infinity is in it, in any of its fields."""
    if answer is None:
        return True
    if is_dataclass(answer):
        return any(is_broken(getattr(answer, field.name)) for field in fields(answer))
    if isinstance(answer, str):
        return False
    if isinstance(answer, list | tuple):
        return any(map(is_broken, answer))
    array = np.asarray(answer)
    return array.dtype.kind == "f" and not bool(np.isfinite(array).all())


def not_installed(error: ImportError) -> UnavailableError:
    """What to say where a metric's reference implementation is missing."""
    return UnavailableError(
        f"this metric needs the package {error.name!r}, which is not installed;"
        " pip install '.[accuracy]' in the clone"
    )
