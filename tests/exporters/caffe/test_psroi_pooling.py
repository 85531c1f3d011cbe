"""PSROIPooling against NumPy, and what it shares with ROIPooling: how regions are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from tests.exporters.caffe.networks import run_onnx, values
from tests.exporters.caffe.references import psroi_pooling, some_regions
from tests.exporters.caffe.runtimes import build_with_tensorrt, run_openvino


def _input(name: str, *shape: int) -> str:
    return f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'


def _voter(shape: tuple[int, ...], kinds: int, bins: int, scale: float) -> CaffeSource:
    text = (
        _input("x", *shape)
        + _input("rois", 1, 5)
        + 'layer { name: "vote" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "out"'
        + f" psroi_pooling_param {{ output_dim: {kinds} group_size: {bins} spatial_scale: {scale} }} }}"
    )
    return CaffeSource(text, b"")


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    kinds=st.integers(1, 3),
    bins=st.integers(1, 7),
    scale=st.sampled_from([0.0625, 0.125, 1.0]),
    seed=st.integers(0, 1000),
)
def test_every_bin_of_a_region_is_the_mean_of_its_own_channels(
    height: int, width: int, kinds: int, bins: int, scale: float, seed: int
) -> None:
    shape = (kinds * bins * bins, height, width)
    source = _voter((1, *shape), kinds, bins, scale)
    feed = {"x": values(2, *shape), "rois": some_regions(24, 2, 20 / scale, seed)}
    made = run_onnx(source.to_onnx(), feed)["out"]
    np.testing.assert_allclose(made, psroi_pooling(feed["x"], feed["rois"], kinds, bins, scale), atol=2e-6)


def test_openvino_votes_alike_and_tensorrt_builds_an_engine(tmp_path: Path) -> None:
    model = _voter((1, 3 * 49, 13, 17), 3, 7, 0.0625).to_onnx()
    feed = {"x": values(2, 3 * 49, 13, 17), "rois": some_regions(200, 2, 300, 0)}
    expected = psroi_pooling(feed["x"], feed["rois"], 3, 7, 0.0625)
    np.testing.assert_allclose(run_openvino(model, feed, tmp_path)["out"], expected, atol=2e-6)
    build_with_tensorrt(model, tmp_path, batch=2, regions=50)


@pytest.mark.parametrize(
    ("kinds", "bins", "scale", "message"),
    [(0, 7, 1.0, "all above 0"), (3, 7, 0.0, "all above 0"), (2, 7, 1.0, "want 98 channels, got 147")],
)
def test_votes_that_do_not_fit_their_channels_are_refused(
    kinds: int, bins: int, scale: float, message: str
) -> None:
    with pytest.raises(ExportError, match=rf"layer 'vote' \(PSROIPooling\): .*{message}"):
        _voter((1, 147, 8, 8), kinds, bins, scale).to_onnx()


def test_regions_may_come_in_four_dimensions() -> None:
    """As R-FCN's prototxts give them."""
    source = _voter((1, 9, 8, 8), 1, 3, 0.5)
    text = source.prototxt.replace("dim: 1 dim: 5", "dim: 1 dim: 5 dim: 1 dim: 1")
    feed = {"x": values(1, 9, 8, 8), "rois": some_regions(6, 1, 16, 3)}
    flat = run_onnx(source.to_onnx(), feed)["out"]
    deep = run_onnx(CaffeSource(text, b"").to_onnx(), feed | {"rois": feed["rois"].reshape(6, 5, 1, 1)})
    np.testing.assert_array_equal(deep["out"], flat)


def _pooler() -> CaffeSource:
    text = (
        _input("x", 1, 9, 8, 8)
        + _input("rois", 1, 5)
        + 'layer { name: "pool" type: "ROIPooling" bottom: "x" bottom: "rois" top: "out"'
        + " roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 } }"
    )
    return CaffeSource(text, b"")


def test_the_number_of_an_image_is_cut_down_to_a_whole_one() -> None:
    for source in (_pooler(), _voter((1, 9, 8, 8), 1, 3, 0.5)):
        feed = {"x": values(2, 9, 8, 8), "rois": some_regions(6, 2, 16, 3)}
        whole = run_onnx(source.to_onnx(), feed)["out"]
        feed["rois"][:, 0] += np.float32(0.75)
        np.testing.assert_array_equal(run_onnx(source.to_onnx(), feed)["out"], whole)
