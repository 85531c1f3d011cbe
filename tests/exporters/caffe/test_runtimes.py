"""Every layer's graph in the other runtimes: OpenVINO answers alike, TensorRT-RTX builds an engine of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from tests.exporters.caffe.networks import one_layer, run_onnx, values
from tests.exporters.caffe.runtimes import build_with_tensorrt, run_openvino
from tests.exporters.caffe.test_closed_forms import FORMULAS
from tests.exporters.caffe.test_detection import ssd
from tests.exporters.caffe.test_layers import IMAGE, ONE_BOTTOM

LAYERS = {name: (type_, text, blobs) for name, (type_, text, blobs) in ONE_BOTTOM.items()} | {
    name: (type_, text, ()) for name, (type_, text, _) in FORMULAS.items()
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_runs_elsewhere(case: str, tmp_path: Path) -> None:
    type_, parameters, blobs = LAYERS[case]
    model = one_layer(type_, parameters, IMAGE, blobs).to_onnx()
    feed = {"data": np.abs(values(2, *IMAGE[1:])) + np.float32(0.1)}
    expected = run_onnx(model, feed)["out"]
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(run_openvino(model, feed, tmp_path)["out"], expected, atol=1e-5 * scale)
    build_with_tensorrt(model, tmp_path, batch=2)


def test_detection_heads_build_where_suppression_does_not(tmp_path: Path) -> None:
    whole = ssd()
    heads = CaffeSource(whole.prototxt, whole.caffemodel, post_processing=False)
    build_with_tensorrt(heads.to_onnx(), tmp_path, batch=2)
