"""The clipping threshold with the least mean squared error of the quantised values.

Entropy keeps the shape of a distribution, which suits activations behind a ReLU; where a few large
values carry meaning, as in transformers, it clips them away. The squared error weighs them.
"""

from __future__ import annotations

import numpy as np

from calibration.ranges import INT8_MAX
from runtime.tensors import Array


def bins_to_keep(counts: Array) -> int:
    """How many of the first bins to keep: the greatest of equally good numbers."""
    used = int(np.flatnonzero(counts)[-1]) + 1
    errors = _squared_errors(counts[:used].astype(np.float64))
    return used - int(np.argmin(errors[::-1]))


def _squared_errors(counts: Array) -> Array:
    """Sum of squared errors for every number of kept bins at once, in units of a squared bin width.

    A value, taken to lie in the middle of its bin, is off by its distance from the threshold if beyond
    it; by itself if it rounds to zero; else by an error spread evenly over a step, of mean square
    step**2 / 12.
    """
    middles = np.arange(len(counts)) + 0.5
    number, first, second = (_running(counts * middles**power) for power in range(3))
    kept = np.arange(1, len(counts) + 1)
    steps = kept / INT8_MAX
    zeroed = np.minimum(np.floor(steps / 2).astype(np.intp), kept)
    clipped = (
        (second[-1] - second[kept])
        - 2 * kept * (first[-1] - first[kept])
        + kept**2 * (number[-1] - number[kept])
    )
    errors: Array = clipped + second[zeroed] + (number[kept] - number[zeroed]) * steps**2 / 12
    return errors


def _running(values: Array) -> Array:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
