"""Second moments of what a layer's weights are multiplied with: of rows, and of a convolution's patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from calibration.observers.contract import not_finite
from runtime.tensors import Array

MOST_ROWS = 256
"""Of one sample, evenly spread: neighbouring patches of an image tell little more than one of them."""


@dataclass(frozen=True)
class Window:
    """A two-dimensional convolution's geometry, as ONNX's Conv has it; sizes are (height, width).

    pads: (top, left, bottom, right); None for `auto_pad` SAME, with the odd one behind if `upper`.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] | None = (0, 0, 0, 0)
    upper: bool = True

    def patches(self, images: Array) -> Array:
        """float32[positions, channels * kernel height * kernel width] of float32[N, C, H, W]."""
        top, left, bottom, right = self.pads or self._same(images.shape[2:])
        padded = np.pad(images, ((0, 0), (0, 0), (top, bottom), (left, right)))
        reach = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        views = sliding_window_view(padded, reach, axis=(2, 3))
        views = views[
            :, :, :: self.strides[0], :: self.strides[1], :: self.dilations[0], :: self.dilations[1]
        ]
        views = views.transpose(0, 2, 3, 1, 4, 5)
        count, height, width = views.shape[:3]
        at = _spread(count * height * width)
        chosen: Array = views[at // (height * width), at // width % height, at % width]
        return chosen.reshape(len(at), -1)

    def _same(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Pads of `auto_pad`: as many outputs as strides fit into the input, rounded up."""
        before, after = [], []
        for size, kernel, stride, dilation in zip(
            shape, self.kernel, self.strides, self.dilations, strict=True
        ):
            reach = (kernel - 1) * dilation + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            less = total // 2
            before.append(less if self.upper else total - less)
            after.append(total - less if self.upper else less)
        return before[0], before[1], after[0], after[1]


MOST_INPUTS = 1152
"""Of a block. A layer of 4,608 inputs, a 3x3 convolution of 512 channels, costs a sixteenth in four blocks of
what it costs in one, and the answers of ResNet50 and CRNN are as close."""


class Moments:
    """Keeps the sum of x xᵀ over the rows, or patches, x that it saw, and how many; in blocks of neighbours.

    Products of inputs of different blocks are not kept. Unlike ranges, a sum of products is rounded: the same
    samples in another order differ in the last bits.
    """

    def __init__(self, window: Window | None = None) -> None:
        self._window = window
        self._sums: list[Array] = []
        self.rows = 0

    def observe(self, values: Array) -> None:
        rows = _rows(values, self._window)
        parts = (np.ascontiguousarray(rows[:, block], np.float32) for block in blocks(rows.shape[1]))
        products = [part.T @ part for part in parts]
        if not all(np.isfinite(product).all() for product in products):
            raise not_finite(values)
        self._take(products, len(rows))

    def merge(self, other: Self) -> None:
        if other._sums:
            self._take(other._sums, other.rows)

    @property
    def means(self) -> list[Array]:
        """The mean of x xᵀ of each of `blocks`, float64[block, block]; none before the first row."""
        return [total / self.rows for total in self._sums]

    def _take(self, sums: Sequence[Array], rows: int) -> None:
        if not self._sums:
            self._sums = [np.zeros(each.shape) for each in sums]
        self._sums = [total + each for total, each in zip(self._sums, sums, strict=True)]
        self.rows += rows


def blocks(inputs: int) -> list[slice]:
    """So many inputs in the fewest blocks of about one size, none with more than MOST_INPUTS."""
    count = -(-inputs // MOST_INPUTS)
    edges = [inputs * index // count for index in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


class MeanRow:
    """Keeps the sum of the rows, or patches, that it saw, and how many."""

    def __init__(self, window: Window | None = None) -> None:
        self._window = window
        self._sum: Array = np.zeros(())
        self._rows = 0

    def observe(self, values: Array) -> None:
        rows = _rows(values, self._window)
        total = rows.sum(axis=0, dtype=np.float64)
        if not np.isfinite(total).all():
            raise not_finite(values)
        self._sum, self._rows = self._sum + total, self._rows + len(rows)

    def merge(self, other: Self) -> None:
        self._sum, self._rows = self._sum + other._sum, self._rows + other._rows

    @property
    def mean(self) -> Array:
        """float64[inputs]; NaN before the first row."""
        result: Array = self._sum / self._rows if self._rows else np.array(np.nan)
        return result


def _rows(values: Array, window: Window | None) -> Array:
    if window is not None:
        return window.patches(values)
    rows = values.reshape(-1, values.shape[-1])
    return rows[_spread(len(rows))]


def _spread(count: int) -> Array:
    """At most MOST_ROWS indices of so many."""
    return np.arange(count) if count <= MOST_ROWS else np.arange(MOST_ROWS) * count // MOST_ROWS
