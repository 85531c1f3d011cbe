"""Outputs with as many rows as the data says, such as detections: which rows of two answers are the same.

Two correct programs can order rows otherwise where scores are nearly equal, and a box at a threshold can be
in one answer alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array

MOST_UNMATCHED = 0.02
"""Share of rows without a counterpart that is put down to thresholds.

Of OpenCV and MNN against Caffe, 199 of 200 detections and 298 of 300 regions were the same (CAFFE.md 2, 3);
an overlap of 0.5 in place of 0.45 changes a tenth of them and more.
"""

MOST_MOVED = 0.05
"""Share of rows in another order that is put down to nearly equal scores."""


@dataclass(frozen=True)
class RowParity:
    """How two sets of rows compare.

    rows:      of the reference.
    unmatched: of either side, without a counterpart.
    tied:      that have one in another order than the rest, among rows that are ordered alike: equal scores.
    moved:     that have one in another order, and there is no such reason.
    absolute, relative: the largest difference within pairs, and that over the largest of its columns.
    """

    rows: int
    unmatched: int
    tied: int
    moved: int
    absolute: float
    relative: float

    @property
    def within_limits(self) -> bool:
        return self.unmatched <= MOST_UNMATCHED * self.rows and self.moved <= MOST_MOVED * self.rows


def rows_of_lists(scores: Array, *parts: Array) -> Array:
    """Of lists [..., rows] the rows with a score above 0: the list's number, the score, what `parts` say.

    Each of `parts` is [..., rows, width].
    """
    flat = scores.reshape(-1, scores.shape[-1])
    number, row = np.nonzero(flat > 0)
    wide = [part.reshape(*flat.shape, -1)[number, row] for part in parts]
    return np.concatenate([number[:, np.newaxis], flat[number, row][:, np.newaxis], *wide], axis=1).astype(
        scores.dtype
    )


def widths_of_lists(scores: Array, *parts: Array) -> tuple[int, ...]:
    """How many columns of `rows_of_lists` go together: the list's number, the score, and each part."""
    return (1, 1, *(part.size // max(scores.size, 1) for part in parts))


def compare_rows(
    reference: Array, got: Array, tolerance: float, widths: Sequence[int] | None = None
) -> RowParity:
    """Pair rows of [n, width] with rows of [m, width] whose columns differ relatively by `tolerance` or less.

    Each column is measured by its own largest magnitude in the reference, or by that of all that `widths`
    says go together, such as the pixels of a mask. NaN pairs with nothing.
    """
    scale = _scales(reference, widths or (1,) * reference.shape[1])
    pairs = _pairs(reference / scale, got / scale, tolerance)
    apart = [np.abs(reference[a].astype(np.float64) - got[b]) for a, b in pairs]
    elsewhere = len(pairs) - _longest_rise([b for _, b in pairs])
    keys = _ordering_columns(reference)
    places = np.array(pairs, int).reshape(-1, 2)
    in_order = reference[places[:, 0], :keys], got[np.sort(places[:, 1]), :keys]
    alike = keys > 0 and bool((np.abs(in_order[0] - in_order[1]) <= tolerance * scale[:keys]).all())
    return RowParity(
        rows=len(reference),
        unmatched=len(reference) + len(got) - 2 * len(pairs),
        tied=elsewhere if alike else 0,
        moved=0 if alike else elsewhere,
        absolute=max((float(row.max(initial=0.0)) for row in apart), default=0.0),
        relative=max((float((row / scale).max(initial=0.0)) for row in apart), default=0.0),
    )


def _scales(reference: Array, widths: Sequence[int]) -> NDArray[np.float64]:
    largest = np.abs(reference).max(axis=0, initial=0.0).astype(np.float64)
    of_groups = [part.max(initial=0.0) for part in np.split(largest, np.cumsum(widths)[:-1])]
    scale: NDArray[np.float64] = np.repeat(of_groups, widths)
    scale[scale == 0] = 1.0
    return scale


def _pairs(reference: Array, got: Array, tolerance: float) -> list[tuple[int, int]]:
    """Each row of the reference with the nearest that is still free, of equally near ones the first."""
    free = np.ones(len(got), bool)
    pairs = []
    for index, row in enumerate(reference):
        distance = np.abs(got - row).max(axis=1, initial=0.0)
        distance[~free] = np.inf
        if not len(distance) or not np.nanmin(distance, initial=np.inf) <= tolerance:
            continue
        nearest = int(np.nanargmin(distance))
        free[nearest] = False
        pairs.append((index, nearest))
    return pairs


def _ordering_columns(reference: Array) -> int:
    """How many of the first columns the rows are ordered by; 0 if that cannot be seen.

    The last of them is a score: it falls wherever those before it stay the same.
    """
    steps = np.diff(reference, axis=0)
    for column in range(reference.shape[1]):
        within = steps[(steps[:, :column] == 0).all(axis=1), column]
        if (within <= 0).all() and (within < 0).any():
            return column + 1
    return 0


def _longest_rise(numbers: list[int]) -> int:
    """Length of the longest rising subsequence (Fredman 1975)."""
    ends: list[int] = []
    for number in numbers:
        ends[bisect.bisect_left(ends, number) : bisect.bisect_left(ends, number) + 1] = [number]
    return len(ends)
