"""What seeded ResNet weights need to know of real photographs, kept as small files in `statistics/`.

The numbers come from `python -m model_zoo.batch_norm_statistics`, once. They are stored at reduced
precision and used at that precision, so nothing has to be measured again where the weights are made.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.resnet import ResNet
from model_zoo.seeded import seeded_normal, seeded_uniform
from runtime.files import replacing_file

DIRECTIONS = 16
"""Principal directions of the pooled features that the classifier looks at."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can hold


@dataclass(frozen=True)
class Statistics:
    """Batch-norm statistics, and where photographs differ in the pooled features.

    moving_mean, moving_variance: float16, of all convolutions' output channels, one after the other.
    directions: int8 [features, DIRECTIONS].
    scale:      float32 [DIRECTIONS]; with `origin` it makes the coordinates of a feature vector f,
                scale * (f @ directions) - origin, which have mean 0 and equal variances over photographs.
    origin:     float32 [DIRECTIONS].
    """

    moving_mean: NDArray[np.float16]
    moving_variance: NDArray[np.float16]
    directions: NDArray[np.int8]
    scale: NDArray[np.float32]
    origin: NDArray[np.float32]

    def of_channels(self, network: ResNet) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Name of the batch normalisation, its mean and its variance, in the network's order."""
        start = 0
        for part in network.convolutions:
            channels = slice(start, start + part.output_channels)
            start = channels.stop
            yield (
                part.batch_norm,
                self.moving_mean[channels].astype(np.float32),
                self.moving_variance[channels].astype(np.float32),
            )


def statistics_of(network: ResNet) -> Statistics:
    """The stored statistics of a reference network; neutral ones for any other size."""
    path = path_of(network)
    return load(path) if path.exists() else neutral(network)


def path_of(network: ResNet) -> Path:
    """Where a network's statistics are kept; only the reference networks have any."""
    return Path(__file__).parent / "statistics" / f"{network.name}.npz"


def neutral(network: ResNet) -> Statistics:
    """What holds about enough for a network of a few blocks: no offsets to speak of, variances near 1."""
    channels = sum(part.output_channels for part in network.convolutions)
    name = f"{network.name}/neutral"
    return Statistics(
        (seeded_normal(f"{name}/mean", (channels,)) * np.float32(0.1)).astype(np.float16),
        seeded_uniform(f"{name}/variance", (channels,), 0.5, 1.5).astype(np.float16),
        (seeded_normal(f"{name}/directions", (network.features, DIRECTIONS)) * np.float32(32)).astype(
            np.int8
        ),
        np.full(DIRECTIONS, 1 / (32 * DIRECTIONS), np.float32),
        np.zeros(DIRECTIONS, np.float32),
    )


def load(path: Path) -> Statistics:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Statistics(**{field.name: arrays[field.name] for field in fields(Statistics)})


def save(statistics: Statistics, path: Path) -> None:
    """Write an .npz with a fixed date, so that equal statistics are equal bytes."""
    with replacing_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for field in fields(Statistics):
            entry = zipfile.ZipInfo(f"{field.name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _npy(getattr(statistics, field.name)), compresslevel=9)


def _npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
