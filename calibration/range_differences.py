"""Two sets of ranges beside each other: which tensors' magnitudes differ, and by what factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from calibration.ranges import Ranges


@dataclass(frozen=True)
class RangeDifference:
    """One tensor's clipping magnitudes; `ratio` is the first to the second, inf or 0 where one is zero."""

    tensor: str
    amax: float
    other: float

    @property
    def ratio(self) -> float:
        if self.amax == self.other:
            return 1.0
        return self.amax / self.other if self.other else math.inf

    @property
    def factor(self) -> float:
        """How many times the one is the other, whichever is greater."""
        return max(self.ratio, 1 / self.ratio if self.ratio else math.inf)


@dataclass(frozen=True)
class RangeDifferences:
    """same_graph: whether both belong to one graph file.

    missing, added: tensors of the other ranges alone, and of these alone.
    tensors:        those of both, the greatest factor first.
    """

    same_graph: bool
    missing: tuple[str, ...]
    added: tuple[str, ...]
    tensors: tuple[RangeDifference, ...]

    @property
    def comparable(self) -> bool:
        """Whether both are ranges of the same tensors of the same graph."""
        return self.same_graph and not self.missing and not self.added


def compare_ranges(ranges: Ranges, other: Ranges) -> RangeDifferences:
    """`ranges` beside `other`."""
    both = sorted(_differences(ranges, other), key=lambda found: (-found.factor, found.tensor))
    return RangeDifferences(
        same_graph=ranges.graph == other.graph,
        missing=tuple(sorted(set(other.tensors) - set(ranges.tensors))),
        added=tuple(sorted(set(ranges.tensors) - set(other.tensors))),
        tensors=tuple(both),
    )


def _differences(ranges: Ranges, other: Ranges) -> Iterator[RangeDifference]:
    for name, found in ranges.tensors.items():
        if name in other.tensors:
            yield RangeDifference(name, found.amax, other.tensors[name].amax)
