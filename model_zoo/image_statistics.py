"""What seeded weights need to know of real photographs, kept as small files in `statistics/`.

The numbers come from `python -m model_zoo.batch_norm_statistics`, once a network. They are stored at reduced
precision and used at that precision, so nothing has to be measured again where the weights are made.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.seeded import seeded_normal, seeded_uniform
from runtime.files import replacing_file

DIRECTIONS = 16
"""Principal directions of the pooled features that the classifier looks at."""

Channels = tuple[str, int]
"""A layer's name, and how many channels of it are measured."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can hold


@dataclass(frozen=True)
class Statistics:
    """Means and variances of channels, and where photographs differ in the pooled features.

    moving_mean, moving_variance: float16, of all measured layers' channels, one after the other.
    directions: int8 [features, DIRECTIONS].
    scale:      float32 [DIRECTIONS]; with `origin` it makes the coordinates of a feature vector f,
                scale * (f @ directions) - origin, which have mean 0 and equal variances over photographs.
    origin:     float32 [DIRECTIONS].

    A detector has no pooled features: 0 of them, and zeros for the last two.
    """

    moving_mean: NDArray[np.float16]
    moving_variance: NDArray[np.float16]
    directions: NDArray[np.int8]
    scale: NDArray[np.float32]
    origin: NDArray[np.float32]

    def of_channels(
        self, measured: Iterable[Channels]
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Name, means and variances of each of the layers, which are in the order they were measured in."""
        start = 0
        for name, number in measured:
            channels = slice(start, start + number)
            start = channels.stop
            yield (
                name,
                self.moving_mean[channels].astype(np.float32),
                self.moving_variance[channels].astype(np.float32),
            )


def statistics_of(name: str, measured: Sequence[Channels], features: int) -> Statistics:
    """The stored statistics of a reference network; neutral ones for a network that has none."""
    path = path_of(name)
    return load(path) if path.exists() else neutral(name, measured, features)


def path_of(name: str) -> Path:
    """Where a network's statistics are kept; only the reference networks have any."""
    return Path(__file__).parent / "statistics" / f"{name}.npz"


def neutral(name: str, measured: Sequence[Channels], features: int) -> Statistics:
    """What holds about enough for a network of a few blocks: no offsets to speak of, variances near 1."""
    channels = (sum(number for _, number in measured),)
    stream = f"{name}/neutral"
    directions = seeded_normal(f"{stream}/directions", (features, DIRECTIONS)) * np.float32(32)
    return Statistics(
        (seeded_normal(f"{stream}/mean", channels) * np.float32(0.1)).astype(np.float16),
        seeded_uniform(f"{stream}/variance", channels, 0.5, 1.5).astype(np.float16),
        directions.astype(np.int8),
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
