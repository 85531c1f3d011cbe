"""Wide & Deep as data (Cheng et al. 2016, "Wide & deep learning for recommender systems"), for the census.

The columns and sizes are those of TensorFlow's official model, which AI Matrix runs (MODELS.md 16). Names of
tensors are those of its Estimator's checkpoints. Batches are not mentioned: every count is of one person.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model_zoo.census import AGE_BOUNDARIES, VOCABULARIES
from model_zoo.layers import Shape

BUCKETS = 1000
"""Of the hashed column and of each crossed one."""

COLUMNS: Mapping[str, int] = {
    **{name: len(words) for name, words in VOCABULARIES.items()},
    "occupation": BUCKETS,
    "age_bucketized": len(AGE_BOUNDARIES) + 1,
    "education_X_occupation": BUCKETS,
    "age_bucketized_X_education_X_occupation": BUCKETS,
}
"""The wide part's columns in the order of the input `ids`, and how many values each has, numbered from 0.

The number after the last says that the column has no value: a word that is in no vocabulary, or is missing.
"""

AGE_COLUMN = tuple(COLUMNS).index("age_bucketized")

UNITS: Mapping[str, float] = {
    "age": 64.0,
    "capital_gain": 8192.0,
    "capital_loss": 512.0,
    "education_num": 16.0,
    "hours_per_week": 64.0,
}
"""What numbers are measured in where they must be of one scale: powers of two near root mean squares.

A number divided by its unit, and the weights it meets multiplied with it, give the very same sums.
"""

EMBEDDING_SIZE = 8
"""Of an occupation."""

DEEP_INPUTS: Mapping[str, int] = {
    "age": 1,
    "capital_gain": 1,
    "capital_loss": 1,
    "education": COLUMNS["education"],
    "education_num": 1,
    "hours_per_week": 1,
    "marital_status": COLUMNS["marital_status"],
    "occupation_embedding": EMBEDDING_SIZE,
    "relationship": COLUMNS["relationship"],
    "workclass": COLUMNS["workclass"],
}
"""What the deep part reads, side by side, and how many values each brings: an Estimator sorts by name."""

HIDDEN = (100, 75, 50, 25)

BIAS = "linear/linear_model/bias_weights"
EMBEDDING = "dnn/input_from_feature_columns/input_layer/occupation_embedding/embedding_weights"
LOGITS = "dnn/logits"
LAYERS = tuple(f"dnn/hiddenlayer_{index}" for index in range(len(HIDDEN)))


def wide_name(column: str) -> str:
    """The tensor of a wide column's weights, [values, 1]."""
    return f"linear/linear_model/{column}/weights"


def shapes() -> dict[str, Shape]:
    """Every tensor and its shape; kernels are [inputs, outputs]."""
    found: dict[str, Shape] = {wide_name(column): (size, 1) for column, size in COLUMNS.items()}
    found |= {BIAS: (1,), EMBEDDING: (BUCKETS, EMBEDDING_SIZE)}
    widths = (sum(DEEP_INPUTS.values()), *HIDDEN, 1)
    for name, inputs, outputs in zip((*LAYERS, LOGITS), widths[:-1], widths[1:], strict=True):
        found |= {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}
    return found


def parameters() -> int:
    """Learned parameters."""
    return sum(int(np.prod(shape)) for shape in shapes().values())


def macs() -> int:
    """Multiply-accumulates of one person: the deep part's, as the wide one adds up gathered weights."""
    return sum(int(np.prod(shape)) for name, shape in shapes().items() if name.endswith("kernel"))


def units_of_inputs() -> NDArray[np.float32]:
    """[51, 1]: the unit of each input of the deep part, 1 for all but the numbers."""
    units = [np.full(width, UNITS.get(name, 1.0), np.float32) for name, width in DEEP_INPUTS.items()]
    return np.concatenate(units)[:, np.newaxis]


def age_buckets(ages: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bucket of each age: a boundary belongs to what is above it."""
    return np.searchsorted(AGE_BOUNDARIES, ages, side="right")
