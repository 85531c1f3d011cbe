"""Networks without their detection layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from model_zoo.layers_tensorflow import evaluate_several, tensorflow_source
from model_zoo.network import Network, without_post_processing
from runtime.graphs import load
from tests.model_zoo.layers_relatives import (
    DENSENET,
    SINGLE_SHOT_TENSORFLOW,
    noise,
    weights_of_relative,
)
from tests.model_zoo.test_mask_rcnn import RELATIVE as MASK_RCNN

LEVELS = (2, 3, 4, 5, 6)


def test_a_classifier_has_none() -> None:
    assert without_post_processing(DENSENET) is DENSENET


@pytest.mark.parametrize("network", SINGLE_SHOT_TENSORFLOW, ids=lambda network: network.name)
def test_a_single_shot_detector_ends_in_scores_and_offsets_of_its_maps(network: Network) -> None:
    (detections,) = (layer for layer in network.layers if layer.post_processing)
    cut = without_post_processing(network)
    heads = {name for name in detections.bottoms if name in network.heads}
    assert set(cut.outputs) == heads
    assert len(cut.layers) == len(network.layers) - 3  # the detections, their scores and their boxes


def test_mask_rcnn_ends_in_its_regions_and_the_features_that_are_looked_up_in_them() -> None:
    cut = without_post_processing(MASK_RCNN)
    suffixes = ["", *(f"_p{level}" for level in LEVELS[1:])]
    heads = {f"{head}{suffix}" for head in ("rpn_class_raw", "rpn_bbox_pred") for suffix in suffixes}
    assert set(cut.outputs) == heads | {f"fpn_p{level}" for level in LEVELS[:-1]}
    assert not cut.side_inputs
    assert not cut.listed


def test_what_is_left_exports_and_is_what_it_was(tmp_path: Path) -> None:
    weights = weights_of_relative(MASK_RCNN)
    cut = without_post_processing(MASK_RCNN)
    images = noise(MASK_RCNN, 2)
    source = tensorflow_source(cut, {name: weights[name] for name in cut.tensors()})
    report = export(source, tmp_path / "model.onnx", [{"images": images}])
    assert all(output.relative < 1e-4 for output in report.parity.outputs)
    operators = {node.op_type for node in load(tmp_path / "model.onnx").graph}
    assert not {"NonMaxSuppression", "RoiAlign", "TopK"} & operators
    name = "rpn_class_raw_p4"
    inputs = {"images": images, "window": np.zeros((2, 4), np.float32)}
    whole = evaluate_several(MASK_RCNN, inputs, weights, [name])[name]
    np.testing.assert_allclose(source.run({"images": images})[name], whole, rtol=1e-4, atol=1e-5)
