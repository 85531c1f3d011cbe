"""The clipping threshold that a given percentage of the magnitudes does not exceed.

Exact zeros are not counted, as with the other criteria: behind a ReLU, or in a sparse input, they would
move the threshold without being clipped by any.
"""

from __future__ import annotations

import math

import numpy as np

from runtime.tensors import Array

DEFAULT_PERCENTAGE = 99.99
"""What TensorRT's and ONNX Runtime's percentile calibration have, too."""


def bins_to_keep(counts: Array, percentage: float = DEFAULT_PERCENTAGE) -> int:
    """How many of the first bins to keep: the fewest that hold `percentage` of the counts."""
    running = np.cumsum(counts)
    wanted = math.ceil(int(running[-1]) * percentage / 100)
    return int(np.searchsorted(running, wanted)) + 1
