"""What a pose network's heat maps mean: where the key points of a person are (MODELS.md 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from model_zoo.cpn_layers import HEATMAPS, STRIDE
from model_zoo.finite import finite
from model_zoo.labels import COCO_KEY_POINTS, COCO_LIMBS
from runtime.errors import GraphError
from runtime.tensors import Array

COCO_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
"""Key points that a mirror image swaps: left and right eye, ear, shoulder, and so on."""

TAPS = 21
"""Pixels that tf-cpn blurs over, on maps of 96x72."""

_SHIFT = 0.25

HIGHEST = 255.0
"""What heat maps are trained to have at a key point."""


@dataclass(frozen=True)
class KeyPoints:
    """The share of key points that two runs place at most `within` pixels of the heat map apart.

    what:   a crop shows: one of these.
    taps:   pixels of a heat map that it is blurred over before it is read.
    points: names of its key points, in the order of the heat maps.
    limbs:  pairs of their numbers that a line is drawn between.
    """

    name: str = "keypoints"
    agreement: str = "key point agreement"
    numeric: bool = True
    within: float = 1.0
    what: str = "person"
    taps: int = TAPS
    points: tuple[str, ...] = COCO_KEY_POINTS
    limbs: tuple[tuple[int, int], ...] = COCO_LIMBS

    def agreeing(
        self, reference: Mapping[str, Array], outputs: Mapping[str, Array], samples: int
    ) -> NDArray[np.float64]:
        """[samples]; raises GraphError where there are no heat maps, CheckFailed for NaN in them."""
        places = [key_points(heatmaps_of(given), self.taps) for given in (reference, outputs)]
        apart = np.linalg.norm(places[0] - places[1], axis=-1)
        share: NDArray[np.float64] = (apart <= self.within).mean(axis=-1)
        return share


KEY_POINTS = KeyPoints()


def heatmaps_of(outputs: Mapping[str, Array]) -> Array:
    """`heatmaps` [samples, height, width, key points]; whatever else the graph gives is left alone."""
    maps = outputs.get(HEATMAPS)
    if maps is None or maps.ndim != 4 or not maps.size:
        raise GraphError(
            f"key points want an output {HEATMAPS!r} [samples, height, width, key points], the graph gives"
            f" { ({name: list(array.shape) for name, array in outputs.items()}) }"
        )
    return finite(HEATMAPS, maps, "it shows no key points")


def with_mirrored(heatmaps: Array, mirrored: Array) -> Array:
    """The mean of a crop's heat maps and those of its mirror image, mirrored back; 17 key points of COCO."""
    swapped = np.arange(heatmaps.shape[-1])
    for left, right in COCO_PAIRS:
        swapped[[left, right]] = right, left
    merged: Array = (heatmaps + mirrored[:, :, ::-1][..., swapped]) / 2
    return merged


def key_points(heatmaps: Array, taps: int = TAPS) -> NDArray[np.float64]:
    """Column and row [samples, key points, 2] in the heat maps [samples, height, width, key points].

    The highest pixel of a blurred map, and from it a quarter of a pixel towards the second highest. (tf-cpn
    first divides a map by its maximum, which moves neither.)
    """
    height, width = heatmaps.shape[1:3]
    blurred = np.moveaxis(heatmaps, -1, 1).astype(np.float64)
    # With a border of zeros, in which tf-cpn looks for the two pixels as well
    blurred = _blur(height, taps) @ blurred @ _blur(width, taps).T
    first = _highest(blurred)
    np.put_along_axis(blurred.reshape(*blurred.shape[:2], -1), _flat(first, blurred), -np.inf, axis=-1)
    step = (_highest(blurred) - first).astype(np.float64)
    places = first - taps // 2 + _SHIFT * step / np.linalg.norm(step, axis=-1, keepdims=True)
    inside: NDArray[np.float64] = np.clip(places, 0, (width - 1, height - 1))
    return inside


def scores(heatmaps: Array, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """[samples, key points]: how sure the network is of each of `key_points`, about 0.5 to 1.5."""
    columns, rows = np.moveaxis(np.rint(places).astype(np.int64), -1, 0)
    samples, points = np.ix_(range(len(heatmaps)), range(heatmaps.shape[-1]))
    found: NDArray[np.float64] = heatmaps[samples, rows, columns, points].astype(np.float64)
    return found / HIGHEST + 0.5


def in_image(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same places in pixels of the network's input."""
    return places * STRIDE + STRIDE / 2


def deviation_of(taps: int) -> float:
    """What OpenCV takes for a Gaussian of so many taps that is given none."""
    return 0.3 * ((taps - 1) * 0.5 - 1) + 0.8


@cache
def _blur(size: int, taps: int) -> NDArray[np.float64]:
    """[size + taps - 1, size]: one axis with a border of zeros, blurred as OpenCV does (reflecting)."""
    reach = taps // 2
    shares = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation_of(taps) ** 2))
    bordered = np.pad(np.eye(size), ((reach, reach), (0, 0)))
    padded = np.pad(bordered, ((reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)
    matrix: NDArray[np.float64] = windows @ (shares / shares.sum())
    return matrix


def _highest(maps: NDArray[np.float64]) -> NDArray[np.int64]:
    """Column and row [samples, key points, 2] of the largest value, the first of equals."""
    rows, columns = np.unravel_index(maps.reshape(*maps.shape[:2], -1).argmax(axis=-1), maps.shape[2:])
    return np.stack([columns, rows], axis=-1)


def _flat(places: NDArray[np.int64], maps: NDArray[np.float64]) -> NDArray[np.int64]:
    flat: NDArray[np.int64] = places[..., 1:] * maps.shape[-1] + places[..., :1]
    return flat
