"""Convolutions and deconvolutions of any window, stride, pad, dilation and group, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import answer, fields, one_layer, values

Pair = tuple[int, int]

few = settings(max_examples=25, deadline=None)


def _convolved(x: Array, weight: Array, window: tuple[Pair, Pair, Pair], group: int) -> Array:
    """Cross-correlation in double precision, by a loop over the kernel; window: stride, pad, dilation."""
    stride, pad, dilation = window
    n, _, *size = x.shape
    outputs, each, *kernel = weight.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), *((p, p) for p in pad)))
    made = [(size[i] + 2 * pad[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)]
    out = np.zeros((n, outputs, *made))
    for row, column in np.ndindex(*kernel):
        top, left = row * dilation[0], column * dilation[1]
        seen = padded[:, :, top :: stride[0], left :: stride[1]][:, :, : made[0], : made[1]]
        for g in range(group):
            to, of = slice(g * outputs // group, (g + 1) * outputs // group), slice(g * each, (g + 1) * each)
            out[:, to] += np.einsum(
                "oi,nihw->nohw", weight[to, :, row, column].astype(np.float64), seen[:, of]
            )
    return out


def _deconvolved(x: Array, weight: Array, window: tuple[Pair, Pair, Pair], group: int) -> Array:
    """Every pixel spread over its kernel, in double precision."""
    stride, pad, dilation = window
    n, channels, *size = x.shape
    _, each, *kernel = weight.shape
    full = [stride[i] * (size[i] - 1) + dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    out = np.zeros((n, each * group, *full))
    for row, column in np.ndindex(*kernel):
        rows = row * dilation[0] + stride[0] * np.arange(size[0])
        columns = column * dilation[1] + stride[1] * np.arange(size[1])
        for g in range(group):
            of = slice(g * channels // group, (g + 1) * channels // group)
            part = np.einsum("io,nihw->nohw", weight[of, :, row, column].astype(np.float64), x[:, of])
            out[:, g * each : (g + 1) * each, rows[:, np.newaxis], columns] += part
    return out[:, :, pad[0] : full[0] - pad[0], pad[1] : full[1] - pad[1]]


PAIRS = {
    "size": st.tuples(st.integers(2, 7), st.integers(2, 7)),
    "kernel": st.tuples(st.integers(1, 3), st.integers(1, 4)),
    "stride": st.tuples(st.integers(1, 3), st.integers(1, 2)),
    "pad": st.tuples(st.integers(0, 2), st.integers(0, 2)),
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 3)),
    "group": st.sampled_from([1, 2, 4]),
    "by_name": st.booleans(),
}


def _window(kernel: Pair, stride: Pair, pad: Pair, dilation: Pair, *, by_name: bool) -> str:
    """As height and width, or as two numbers of one field."""
    pairs = {"kernel": kernel, "stride": stride, "pad": pad}
    if by_name:
        sizes = fields(**{f"{k}_{side}": v[i] for k, v in pairs.items() for i, side in enumerate("hw")})
    else:
        sizes = fields(kernel_size=[*kernel], stride=[*stride], pad=[*pad])
    return f"{sizes} {fields(dilation=[*dilation])}"


@few
@given(**PAIRS)
def test_a_convolution_that_is_not_square(
    *, size: Pair, kernel: Pair, stride: Pair, pad: Pair, dilation: Pair, group: int, by_name: bool
) -> None:
    assume(all(size[i] + 2 * pad[i] > dilation[i] * (kernel[i] - 1) for i in range(2)))
    data, weight = values(2, 4, *size), values(8, 4 // group, *kernel, seed=1)
    window = _window(kernel, stride, pad, dilation, by_name=by_name)
    text = f"convolution_param {{ num_output: 8 group: {group} bias_term: false {window} }}"
    expected = _convolved(data, weight, (stride, pad, dilation), group)
    np.testing.assert_allclose(answer("Convolution", text, data, [weight]), expected, atol=1e-5)


@few
@given(**PAIRS)
def test_a_deconvolution_of_any_window_and_group(
    *, size: Pair, kernel: Pair, stride: Pair, pad: Pair, dilation: Pair, group: int, by_name: bool
) -> None:
    made = [stride[i] * (size[i] - 1) + dilation[i] * (kernel[i] - 1) + 1 - 2 * pad[i] for i in range(2)]
    assume(min(made) > 0)
    data, weight = values(2, 4, *size), values(4, 2, *kernel, seed=1)
    bias = values(2 * group, seed=2)
    window = _window(kernel, stride, pad, dilation, by_name=by_name)
    text = f"convolution_param {{ num_output: {2 * group} group: {group} {window} }}"
    expected = _deconvolved(data, weight, (stride, pad, dilation), group) + bias[:, None, None]
    np.testing.assert_allclose(answer("Deconvolution", text, data, [weight, bias]), expected, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 3])
def test_convolutions_of_other_ranks(rank: int) -> None:
    """Along one dimension, and through three; ONNX has both."""
    data, weight, bias = values(2, 3, *[5] * rank), values(4, 3, *[3] * rank, seed=1), values(4, seed=2)
    text = "convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 }"
    made = answer("Convolution", text, data, [weight, bias])
    padded = np.pad(data, ((0, 0), (0, 0), *[(1, 1)] * rank))
    expected = np.empty((2, 4, *[3] * rank))
    for place in np.ndindex(*[3] * rank):
        window = padded[(slice(None), slice(None), *(slice(2 * i, 2 * i + 3) for i in place))]
        expected[(slice(None), slice(None), *place)] = window.reshape(2, -1) @ weight.reshape(4, -1).T + bias
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_depthwise_convolutions_need_as_many_outputs_as_channels() -> None:
    source = one_layer(
        "ConvolutionDepthwise",
        "convolution_param { num_output: 2 kernel_size: 1 }",
        (1, 4, 5, 6),
        [values(2, 1, 1, 1)],
    )
    with pytest.raises(ExportError, match="num_output 2 must be the number of channels, 4"):
        source.to_onnx()
