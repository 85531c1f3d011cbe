"""Outputs that hold NaN or infinity mean nothing, whatever the task."""

from __future__ import annotations

import numpy as np

from runtime.errors import CheckFailed
from runtime.tensors import Array


def finite(name: str, array: Array, consequence: str) -> Array:
    """`array` itself; raises CheckFailed for NaN or infinity, with what follows ("it finds nothing")."""
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise CheckFailed(
            f"output {name!r} holds {bad} NaN or infinite values of {array.size}, so {consequence};"
            " a precision that overflows does this: try bf16, or keep the layer in float32"
        )
    return array
