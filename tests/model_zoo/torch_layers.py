"""Torch's layers in NumPy, at double precision, from their documentation: images and maps are NCHW."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
StateDict = Mapping[str, Values]


def conv2d(x: Values, state: StateDict, scope: str, padding: int) -> Values:
    """Stride 1."""
    weight = state[f"{scope}.weight"]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    result: Values = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    return result + state[f"{scope}.bias"][:, None, None] if f"{scope}.bias" in state else result


def batch_norm2d(x: Values, state: StateDict, scope: str) -> Values:
    """In evaluation, with the default epsilon of 1e-5."""
    weight, bias, mean, variance = (
        state[f"{scope}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def max_pool2d(x: Values, height: int, width: int) -> Values:
    """Windows side by side; sizes they do not divide are cut."""
    number, channels, rows, columns = x.shape
    x = x[:, :, : rows // height * height, : columns // width * width]
    result: Values = x.reshape(number, channels, rows // height, height, columns // width, width).max((3, 5))
    return result


def linear(x: Values, state: StateDict, scope: str) -> Values:
    return x @ state[f"{scope}.weight"].T + state[f"{scope}.bias"]


def bidirectional_lstm(x: Values, state: StateDict, scope: str) -> Values:
    """[batch, time, 2 * units] of x [batch, time, inputs]."""
    ahead = _lstm(x, state, scope, "l0")
    back = _lstm(x[:, ::-1], state, scope, "l0_reverse")[:, ::-1]
    return np.concatenate((ahead, back), axis=2)


def _lstm(x: Values, state: StateDict, scope: str, ending: str) -> Values:
    """i, f, g, o = W_ih x + b_ih + W_hh h + b_hh; c = f * c + i * g; h = o * tanh(c)."""
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (state[f"{scope}.{part}_{ending}"] for part in parts)
    hidden = cell = np.zeros((len(x), w_hh.shape[1]))
    said = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ w_ih.T + b_ih + hidden @ w_hh.T + b_hh, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        said.append(hidden)
    return np.stack(said, axis=1)


def sigmoid(x: Values) -> Values:
    return 1 / (1 + np.exp(-x))
