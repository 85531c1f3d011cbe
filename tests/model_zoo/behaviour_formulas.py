"""DIN's and DIEN's formulas in NumPy and float64, one sample and one step at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.tensors import Array

Vector = NDArray[np.float64]
Weights = Mapping[str, Array]


def sigmoid(x: Vector) -> Vector:
    return 1 / (1 + np.exp(-x))


def softmax(x: Vector) -> Vector:
    raised = np.exp(x - x.max())
    shares: Vector = raised / raised.sum()
    return shares


def dense(x: Vector, name: str, weights: Weights) -> Vector:
    return x @ weights[f"{name}/kernel"].astype(np.float64) + weights[f"{name}/bias"]


def batch_norm(x: Vector, name: str, weights: Weights) -> Vector:
    gamma, beta, mean, variance = (
        weights[f"{name}/{part}"].astype(np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return gamma * (x - mean) / np.sqrt(variance + 0.001) + beta


def attention_score(query: Vector, key: Vector, names: tuple[str, str, str], weights: Weights) -> float:
    x = np.concatenate([query, key, query - key, query * key])
    for name in names[:2]:
        x = sigmoid(dense(x, name, weights))
    return float(dense(x, names[2], weights)[0])


def masked_shares(scores: list[float], length: int) -> Vector:
    """Softmax over the behaviours alone; over everything where there is none."""
    if not length:
        return np.full(len(scores), 1 / len(scores))
    return np.concatenate([softmax(np.array(scores[:length])), np.zeros(len(scores) - length)])
