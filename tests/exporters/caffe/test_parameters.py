"""Every parameter of the layers that most networks are made of, drawn at random, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from tests.exporters.caffe.networks import answer, caffemodel, fields, prototxt, run_onnx, values, vector

IMAGE = (1, 4, 5, 6)
Pair = tuple[int, int]

few = settings(max_examples=25, deadline=None)


@few
@given(axis=st.integers(-3, 3), transpose=st.booleans(), bias=st.booleans())
def test_an_inner_product_over_any_axes(axis: int, transpose: bool, bias: bool) -> None:
    assume(axis != 0)
    data = values(2, *IMAGE[1:])
    lead = data.shape[:axis]
    rows = data.reshape(*lead, -1)
    weight, shift = values(3, rows.shape[-1], seed=1), values(3, seed=2)
    text = fields(num_output=3, axis=axis, transpose=transpose, bias_term=bias)
    blobs = [weight.T if transpose else weight, *([shift] if bias else [])]
    expected = rows @ weight.T + (shift if bias else 0)
    made = answer("InnerProduct", f"inner_product_param {{ {text} }}", data, blobs)
    np.testing.assert_allclose(made, expected, atol=2e-5)


@few
@given(axis=st.integers(-3, 3), num_axes=st.integers(-1, 3), bias=st.booleans())
def test_a_scale_and_a_bias_over_any_axes(axis: int, num_axes: int, bias: bool) -> None:
    first = axis % 4
    end = 4 if num_axes == -1 else first + num_axes
    assume(end <= 4 and (first > 0 or num_axes == 0))
    data = values(2, *IMAGE[1:])
    shape = data.shape[first:end]
    gamma, beta = values(*shape, seed=1), values(*shape, seed=2)
    wide = (*shape, *[1] * (4 - end))
    text = fields(axis=axis, num_axes=num_axes)
    blobs = [gamma, *([beta] if bias else [])]
    scaled = answer("Scale", f"scale_param {{ {text} {fields(bias_term=bias)} }}", data, blobs)
    expected = data * gamma.reshape(wide) + (beta.reshape(wide) if bias else 0)
    np.testing.assert_allclose(scaled, expected, atol=1e-6)
    shifted = answer("Bias", f"bias_param {{ {text} }}", data, [beta])
    np.testing.assert_allclose(shifted, data + beta.reshape(wide), atol=1e-6)


@few
@given(start=st.integers(-3, 3), end=st.integers(-3, 3))
def test_any_run_of_dimensions_is_flattened(start: int, end: int) -> None:
    first, last = start % 4, end % 4
    assume(0 < first <= last)
    data = values(2, *IMAGE[1:])
    made = answer("Flatten", f"flatten_param {{ {fields(axis=start, end_axis=end)} }}", data)
    np.testing.assert_array_equal(made, data.reshape(*data.shape[:first], -1, *data.shape[last + 1 :]))


@few
@given(order=st.permutations(range(4)), said=st.integers(0, 4))
def test_dimensions_come_in_any_order(order: list[int], said: int) -> None:
    data = values(2, *IMAGE[1:])
    named = order[:said]
    full = named + [axis for axis in range(4) if axis not in named]
    made = answer("Permute", f"permute_param {{ {fields(order=named)} }}", data)
    np.testing.assert_array_equal(made, data.transpose(full))


@few
@given(
    axis=st.integers(-4, 3),
    of=st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]),
    coeff=st.sampled_from([1, -2.5]),
)
def test_any_axes_are_reduced(axis: int, of: str, coeff: float) -> None:
    data = values(2, *IMAGE[1:])
    axes = tuple(range(axis % 4, 4))
    kinds = {
        "SUM": data.sum(axes),
        "ASUM": np.abs(data).sum(axes),
        "SUMSQ": (data**2).sum(axes),
        "MEAN": data.mean(axes),
    }
    made = answer("Reduction", f"reduction_param {{ {fields(axis=axis, operation=of, coeff=coeff)} }}", data)
    assert made.shape == kinds[of].shape
    np.testing.assert_allclose(made, kinds[of] * coeff, atol=2e-4)


@few
@given(
    size=st.sampled_from([1, 3, 5, 7]),
    alpha=st.sampled_from([1e-4, 0.5, 3.0]),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    k=st.sampled_from([1.0, 2.0]),
    within=st.booleans(),
)
def test_lrn_of_any_size_in_either_region(
    size: int, alpha: float, beta: float, k: float, within: bool
) -> None:
    data = values(2, *IMAGE[1:])
    reach = size // 2
    region = "WITHIN_CHANNEL" if within else "ACROSS_CHANNELS"
    text = fields(local_size=size, alpha=alpha, beta=beta, k=k, norm_region=region)
    made = answer("LRN", f"lrn_param {{ {text} }}", data)
    squares = data.astype(np.float64) ** 2
    if within:
        padded = np.pad(squares, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
        total = sum(padded[:, :, i : i + 5, j : j + 6] for i in range(size) for j in range(size))
        expected = data * (1 + alpha * total / size**2) ** -beta
    else:
        padded = np.pad(squares, ((0, 0), (reach, reach), (0, 0), (0, 0)))
        total = sum(padded[:, i : i + 4] for i in range(size))
        expected = data / (k + alpha / size * total) ** beta
    np.testing.assert_allclose(made, expected, atol=2e-6)


@few
@given(axis=st.integers(-3, 3))
def test_a_softmax_along_any_axis(axis: int) -> None:
    data = values(2, *IMAGE[1:])
    powers = np.exp(data - data.max(axis, keepdims=True))
    made = answer("Softmax", f"softmax_param {{ axis: {axis} }}", data)
    np.testing.assert_allclose(made, powers / powers.sum(axis, keepdims=True), atol=1e-6)


@few
@given(
    power=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, -1.0]),
    scale=st.sampled_from([1.0, 0.5, 0.0]),
    shift=st.sampled_from([0.0, 3.0]),
)
def test_any_power(power: float, scale: float, shift: float) -> None:
    data = np.abs(values(2, *IMAGE[1:])) + np.float32(0.5)
    assume(scale or shift or power >= 0)
    made = answer("Power", f"power_param {{ {fields(power=power, scale=scale, shift=shift)} }}", data)
    np.testing.assert_allclose(made, (shift + scale * data.astype(np.float64)) ** power, rtol=4e-6)


@few
@given(
    base=st.sampled_from([None, -1, 2, 10]),
    scale=st.sampled_from([1.0, -0.5]),
    shift=st.sampled_from([0.0, 1.5]),
)
def test_exponentials_and_logarithms_to_any_base(base: float | None, scale: float, shift: float) -> None:
    data = np.abs(values(2, *IMAGE[1:])) + np.float32(0.5)
    text = fields(base=base, scale=scale, shift=shift)
    root = math.e if base in (None, -1) else float(base or 0)
    made = answer("Exp", f"exp_param {{ {text} }}", data)
    np.testing.assert_allclose(made, root ** (shift + scale * data.astype(np.float64)), rtol=1e-5)
    inside = shift + scale * data.astype(np.float64)
    assume((inside > 0).all())
    made = answer("Log", f"log_param {{ {text} }}", data)
    np.testing.assert_allclose(made, np.log(inside) / np.log(root), rtol=1e-5, atol=1e-5)


@few
@given(across=st.booleans(), shared=st.booleans(), eps=st.sampled_from([1e-10, 0.5]))
def test_normalize_with_any_flags(across: bool, shared: bool, eps: float) -> None:
    data = values(2, *IMAGE[1:])
    scale = values(1 if shared else 4, seed=1)
    text = fields(across_spatial=across, channel_shared=shared, eps=eps)
    made = answer("Normalize", f"norm_param {{ {text} }}", data, [scale])
    total = (data.astype(np.float64) ** 2).sum((1, 2, 3) if across else 1, keepdims=True)
    np.testing.assert_allclose(made, data / np.sqrt(total + eps) * scale[:, None, None], atol=2e-6)


@few
@given(variance=st.booleans(), across=st.booleans(), eps=st.sampled_from([None, 0.25]))
def test_mvn_with_any_flags(variance: bool, across: bool, eps: float | None) -> None:
    data = values(2, *IMAGE[1:])
    text = fields(normalize_variance=variance, across_channels=across, eps=eps)
    axes = (1, 2, 3) if across else (2, 3)
    centred = data - data.mean(axes, keepdims=True, dtype=np.float64)
    expected = centred
    if variance:
        expected = centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + (eps or 1e-9))
    np.testing.assert_allclose(answer("MVN", f"mvn_param {{ {text} }}", data), expected, atol=4e-6)


@few
@given(
    operation=st.sampled_from(["SUM", "PROD", "MAX"]),
    coeff=st.lists(st.sampled_from([1.0, -1.0, 0.5, 0.0]), min_size=2, max_size=4),
    weighted=st.booleans(),
)
def test_any_number_of_blobs_is_combined(operation: str, coeff: list[float], weighted: bool) -> None:
    assume(operation == "SUM" or not weighted)
    powers = "".join(
        f'layer {{ name: "b{i}" type: "Power" bottom: "data" top: "b{i}" power_param {{ shift: {i} }} }}'
        for i in range(len(coeff))
    )
    read = " ".join(f'bottom: "b{i}"' for i in range(len(coeff)))
    text = fields(operation=operation, coeff=coeff if weighted else None)
    layer = f'layer {{ name: "x" type: "Eltwise" {read} top: "out" eltwise_param {{ {text} }} }}'
    data = values(2, *IMAGE[1:])
    blobs = [data + i for i in range(len(coeff))]
    expected = {
        "SUM": sum(
            blob * factor for blob, factor in zip(blobs, coeff if weighted else [1.0] * 9, strict=False)
        ),
        "PROD": np.prod(blobs, axis=0),
        "MAX": np.max(blobs, axis=0),
    }[operation]
    source = CaffeSource(prototxt(powers + layer, *IMAGE), b"")
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    np.testing.assert_allclose(made, expected, rtol=2e-6, atol=4e-6)


@few
@given(
    axis=st.integers(-3, 3),
    cut=st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
    offsets=st.integers(0, 3),
)
def test_a_crop_from_any_axis_on(axis: int, cut: tuple[int, int, int], offsets: int) -> None:
    """The second blob is smaller by `cut` along channels, rows and columns; no offset, one, or one each."""
    first = axis % 4
    assume(first > 0)
    held = [4 - first]
    assume(offsets in (0, 1, held[0]))
    wanted = [*IMAGE[1:]]
    kept = [size - less for size, less in zip(wanted, cut, strict=True)]
    offset = [min(cut[first - 1 :])] if offsets == 1 else list(cut[first - 1 :]) if offsets else []
    text = "".join(
        f'input: "{name}" input_shape {{ {fields(dim=[1, *sizes])} }}'
        for name, sizes in (("data", wanted), ("like", kept))
    )
    text += 'layer { name: "c" type: "Crop" bottom: "data" bottom: "like" top: "out"'
    text += f" crop_param {{ {fields(axis=axis, offset=offset or None)} }} }}"
    data = values(2, *wanted)
    made = run_onnx(CaffeSource(text, b"").to_onnx(), {"data": data, "like": values(2, *kept)})["out"]
    starts = [0] * (first - 1) + (offset * held[0] if len(offset) == 1 else offset or [0] * held[0])
    ends = [start + (kept[i] if i >= first - 1 else wanted[i]) for i, start in enumerate(starts)]
    expected = data[(slice(None), *(slice(a, b) for a, b in zip(starts, ends, strict=True)))]
    np.testing.assert_array_equal(made, expected)


@few
@given(axis=st.integers(-3, 3), points=st.sets(st.integers(1, 5), max_size=3), old=st.booleans())
def test_a_blob_is_cut_at_any_points(axis: int, points: set[int], old: bool) -> None:
    first, cuts = axis % 4, sorted(points)
    assume(first > 0 and all(point < IMAGE[first] for point in cuts) and cuts)
    said = {"slice_dim": first} if old else {"axis": axis}
    tops = " ".join(f'top: "part{i}"' for i in range(len(cuts) + 1))
    text = f'layer {{ name: "cut" type: "Slice" bottom: "data" {tops}'
    text += f" slice_param {{ {fields(**said, slice_point=cuts)} }} }}"
    data = values(2, *IMAGE[1:])
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), b"").to_onnx(), {"data": data})
    for index, part in enumerate(np.split(data, cuts, axis=first)):
        np.testing.assert_array_equal(made[f"part{index}"], part)


@few
@given(axis=st.integers(1, 3), tiles=st.integers(1, 3), shared=st.booleans(), slope=st.booleans())
def test_tiles_and_slopes(axis: int, tiles: int, shared: bool, slope: bool) -> None:
    data = values(2, *IMAGE[1:])
    made = answer("Tile", f"tile_param {{ {fields(axis=axis, tiles=tiles)} }}", data)
    np.testing.assert_array_equal(made, np.concatenate([data] * tiles, axis=axis))
    below = np.minimum(data, 0)
    learned = values(1 if shared else 4, seed=1)
    made = answer("PReLU", f"prelu_param {{ {fields(channel_shared=shared)} }}", data, [learned])
    np.testing.assert_allclose(made, np.maximum(data, 0) + learned[:, None, None] * below, atol=1e-6)
    rate = 0.25 if slope else 0
    made = answer("ReLU", f"relu_param {{ {fields(negative_slope=rate)} }}", data)
    np.testing.assert_allclose(made, np.maximum(data, 0) + rate * below, atol=1e-6)


@few
@given(
    factor=st.sampled_from([0.0, 1.0, 999.98]),
    eps=st.sampled_from([1e-5, 1e-3, 0.1]),
    said=st.sampled_from([None, True]),
    rank=st.integers(2, 5),
)
def test_batch_norm_of_any_rank_and_factor(factor: float, eps: float, said: bool | None, rank: int) -> None:
    data = values(2, 4, *[3] * (rank - 2))
    mean, variance = values(4, seed=1), np.abs(values(4, seed=2)) + np.float32(0.25)
    text = f"batch_norm_param {{ {fields(eps=eps, use_global_stats=said)} }}"
    made = answer("BatchNorm", text, data, [mean, variance, vector(factor)])
    inverse = 1 / factor if factor else 0.0
    m, v = (array.reshape(4, *[1] * (rank - 2)) * inverse for array in (mean, variance))
    np.testing.assert_allclose(made, (data - m) / np.sqrt(v + eps), rtol=1e-5, atol=1e-5)


def test_learned_arrays_of_old_files_have_four_dimensions() -> None:
    """Caffe before 2014-12 wrote a bias as [1, 1, 1, n] and a fully connected weight as [1, 1, out, in]."""
    weight, bias = values(3, 120), values(3, seed=1)
    data = values(2, *IMAGE[1:])
    text = (
        'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "out"'
        " inner_product_param { num_output: 3 } }"
    )
    blobs = caffemodel({"fc": [weight.reshape(1, 1, 3, 120), bias.reshape(1, 1, 1, 3)]})
    made = run_onnx(CaffeSource(prototxt(text, *IMAGE), blobs).to_onnx(), {"data": data})["out"]
    np.testing.assert_allclose(made, data.reshape(2, -1) @ weight.T + bias, atol=2e-5)


def test_blobs_of_other_ranks_are_not_joined() -> None:
    text = (
        'layer { name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param { axis: 1 } }'
        'layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }'
        'layer { name: "both" type: "Concat" bottom: "flat" bottom: "sum" top: "out" }'
    )
    with pytest.raises(
        ExportError, match=r"layer 'both' \(Concat\): shapes \['batch', 120\] and \['batch'\]"
    ):
        CaffeSource(prototxt(text, *IMAGE), b"").to_onnx()


def test_one_factor_scales_a_blob_of_one_dimension() -> None:
    text = (
        'layer { name: "sum" type: "Reduction" bottom: "data" top: "sum" reduction_param { axis: 1 } }'
        'layer { name: "scale" type: "Scale" bottom: "sum" top: "out" scale_param { axis: 0 num_axes: 0 } }'
    )
    data = values(3, *IMAGE[1:])
    source = CaffeSource(prototxt(text, *IMAGE), caffemodel({"scale": [vector(2).reshape(())]}))
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    np.testing.assert_allclose(made, 2 * data.sum((1, 2, 3)), atol=2e-4)


def test_batches_are_joined() -> None:
    """Regions of several maps (FPN), or one batch behind the other."""
    text = (
        'layer { name: "half" type: "Power" bottom: "data" top: "half" power_param { scale: 0.5 } }'
        'layer { name: "both" type: "Concat" bottom: "data" bottom: "half" top: "out"'
        " concat_param { axis: 0 } }"
    )
    source = CaffeSource(prototxt(text, *IMAGE), b"")
    assert source.outputs[0].shape == ("2*batch", 4, 5, 6)
    data = values(3, *IMAGE[1:])
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    np.testing.assert_array_equal(made, np.concatenate([data, data / 2]))
