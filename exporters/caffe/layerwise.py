"""Every blob of a network, exported and in OpenCV, side by side: where the two begin to differ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.convert import to_onnx
from exporters.export import LARGEST_FILE, write
from exporters.parity import RELATIVE_TOLERANCE, open_graph
from runtime.progress import Progress, silent

if TYPE_CHECKING:
    from exporters.caffe.network import Layer, Network
    from exporters.caffe.source import CaffeSource
    from runtime.tensors import Array, Feed


_SMALLEST = float(np.finfo(np.float32).tiny)

_CANCELLED = float(np.finfo(np.float32).eps) / RELATIVE_TOLERANCE["float32"]
"""Share of what a layer reads below which what it makes is what is left when numbers cancel out.

Where the true answer is 0, one program says 0 and another, which sums in another order, the rounding of what
it summed: relative to the answer that is without bound. One rounding of the largest number read is just
within the tolerance.
"""


@dataclass(frozen=True)
class BlobDifference:
    """How far one blob is from OpenCV's. `relative` is to the largest magnitude of OpenCV's values.

    It is to a thousandth (_CANCELLED) of the largest that the layer reads where that is more.
    Both are infinite where the number of values differs, and where one has a NaN.
    """

    blob: str
    layer: str
    type: str
    absolute: float
    relative: float


def compare_blobs(source: CaffeSource, feed: Feed, progress: Progress = silent) -> tuple[BlobDifference, ...]:
    """One entry for each blob that a layer makes, in the order in which Caffe makes them.

    The exported graph has every blob as an output here, so a Scale is not joined to its BatchNorm.
    Raises UnavailableError where OpenCV or ONNX Runtime is missing, or OpenCV cannot run the network.
    """
    network = with_every_blob(source.network)
    expected, got = progress(_answers(network, source, feed), "making every blob twice", 2)
    largest = {name: _largest(array) for name, array in {**feed, **expected}.items()}
    makers = {top: layer for layer in network.layers for top in layer.tops}
    found = []
    for name in network.outputs:
        read = max((largest[bottom] for bottom in makers[name].bottoms), default=0.0)
        scale = max(largest[name], _CANCELLED * read, _SMALLEST)
        found.append(_difference(makers[name], name, got.pop(name), expected[name], scale))
    return tuple(found)


def first_difference(found: Sequence[BlobDifference], tolerance: float) -> BlobDifference | None:
    """The first blob that is off by more than `tolerance`, relatively; None where none is."""
    return next((difference for difference in found if not difference.relative <= tolerance), None)


def with_every_blob(network: Network) -> Network:
    """The same network, every top an output."""
    return replace(network, outputs=tuple(top for layer in network.layers for top in layer.tops))


def _answers(network: Network, source: CaffeSource, feed: Feed) -> Iterator[dict[str, Array]]:
    """OpenCV's, which has let go of its weights when ours is asked, and ours."""
    yield source.oracle_of(network).run(feed)
    yield _run(network, source, feed)


def _run(network: Network, source: CaffeSource, feed: Feed) -> dict[str, Array]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "every_blob.onnx"
        write(to_onnx(network, source.python_layers), path, LARGEST_FILE)
        return dict(open_graph(path)(feed))


def _difference(layer: Layer, name: str, got: Array, expected: Array, scale: float) -> BlobDifference:
    absolute = relative = float("inf")
    if got.size == expected.size:
        apart = np.abs(got.reshape(-1).astype(np.float64) - expected.reshape(-1))
        absolute = float(apart.max(initial=0.0))
        relative = absolute / scale
    if np.isnan(absolute):
        absolute = relative = float("inf")
    return BlobDifference(name, layer.name, layer.type, absolute, relative)


def _largest(array: Array) -> float:
    """The largest finite magnitude."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
