"""Which cells SegLink's links lead to (Shi et al. 2017, section 3.1; MODELS.md 12).

Cells are numbered row by row, and one map after the other, the finest first.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Maps = tuple[tuple[int, int], ...]
"""Height and width of each map, the finest first."""

Ends = NDArray[np.int64]
"""[cells, places]: the numbers of the cells at the other end; -1 where there is none."""

_AROUND = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)
_FINER = tuple((down, right) for down in (0, 1) for right in (0, 1))


@cache
def local_ends(maps: Maps) -> Ends:
    """[cells, 8]: the cells around each, row by row."""
    return np.concatenate([_around(start, size) for start, size in zip(_starts(maps), maps, strict=True)])


@cache
def cross_ends(maps: Maps) -> Ends:
    """[cells of all maps but the finest, 4]: those of the next finer map; at its far edge, the last four."""
    pairs = zip(maps[1:], maps[:-1], strict=True)
    return np.concatenate(
        [_finer(start, *pair) for start, pair in zip(_starts(maps[:-1]), pairs, strict=True)]
    )


def _around(start: int, size: tuple[int, int]) -> Ends:
    rows, columns = (np.mgrid[: size[0], : size[1]]).reshape(2, -1)
    places = [_numbers(start, size, rows + down, columns + right) for down, right in _AROUND]
    return np.stack(places, axis=1)


def _finer(start: int, coarse: tuple[int, int], fine: tuple[int, int]) -> Ends:
    """`start`: the number of the first cell of `fine`."""
    rows, columns = (
        np.minimum(2 * place, max(side - 2, 0))
        for place, side in zip(np.mgrid[: coarse[0], : coarse[1]].reshape(2, -1), fine, strict=True)
    )
    return np.stack([_numbers(start, fine, rows + down, columns + right) for down, right in _FINER], axis=1)


def _numbers(start: int, size: tuple[int, int], rows: Ends, columns: Ends) -> Ends:
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    return np.where(inside, start + rows * size[1] + columns, -1)


def _starts(maps: Maps) -> list[int]:
    """The number of each map's first cell."""
    sizes = [height * width for height, width in maps]
    return [sum(sizes[:index]) for index in range(len(sizes))]
