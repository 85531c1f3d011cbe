"""Every blob of a network, exported and in OpenCV, side by side: where the two begin to differ."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exporters.caffe.convert import to_onnx
from exporters.export import LARGEST_FILE, write
from exporters.parity import open_graph

if TYPE_CHECKING:
    from exporters.caffe.network import Layer, Network
    from exporters.caffe.source import CaffeSource
    from runtime.tensors import Array, Feed


_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class BlobDifference:
    """How far one blob is from OpenCV's. `relative` is to the largest magnitude of OpenCV's values.

    Both are infinite where the number of values differs, and where one has a NaN.
    """

    blob: str
    layer: str
    type: str
    absolute: float
    relative: float


def compare_blobs(source: CaffeSource, feed: Feed) -> tuple[BlobDifference, ...]:
    """One entry for each blob that a layer makes, in the order in which Caffe makes them.

    The exported graph has every blob as an output here, so a Scale is not joined to its BatchNorm.
    Raises UnavailableError where OpenCV or ONNX Runtime is missing, or OpenCV cannot run the network.
    """
    network = with_every_blob(source.network)
    expected = source.oracle_of(network).run(feed)
    got = _run(network, source, feed)
    makers = {top: layer for layer in network.layers for top in layer.tops}
    return tuple(_difference(makers[name], name, got[name], expected[name]) for name in network.outputs)


def first_difference(found: Sequence[BlobDifference], tolerance: float) -> BlobDifference | None:
    """The first blob that is off by more than `tolerance`, relatively; None where none is."""
    return next((difference for difference in found if not difference.relative <= tolerance), None)


def with_every_blob(network: Network) -> Network:
    """The same network, every top an output."""
    return replace(network, outputs=tuple(top for layer in network.layers for top in layer.tops))


def _run(network: Network, source: CaffeSource, feed: Feed) -> dict[str, Array]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "every_blob.onnx"
        write(to_onnx(network, source.python_layers), path, LARGEST_FILE)
        return dict(open_graph(path)(feed))


def _difference(layer: Layer, name: str, got: Array, expected: Array) -> BlobDifference:
    absolute = relative = float("inf")
    if got.size == expected.size:
        apart = np.abs(got.reshape(-1).astype(np.float64) - expected.reshape(-1))
        absolute = float(apart.max(initial=0.0))
        relative = absolute / max(float(np.abs(expected).max(initial=0.0)), _SMALLEST)
    if np.isnan(absolute):
        absolute = relative = float("inf")
    return BlobDifference(name, layer.name, layer.type, absolute, relative)
