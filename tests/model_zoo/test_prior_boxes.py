"""Prior boxes in numbers. Oracles: OpenCV's PriorBox layer, and MODELS.md 6.2 to 6.4 worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from model_zoo.detection_layers import Detections, PriorBoxes
from model_zoo.layers_caffe import caffe_source
from model_zoo.network import Network
from model_zoo.prior_boxes import prior_boxes
from runtime.tensors import Array
from tests.model_zoo.layers_relatives import SINGLE_SHOT, channels_first, noise, weights_of_relative


def boxes_of(network: Network) -> Array:
    (last,) = (layer for layer in network.layers if isinstance(layer, Detections))
    maps = [network.maps[source.features] for source in last.sources]
    return prior_boxes(
        [source.boxes for source in last.sources],
        [(of.height, of.width) for of in maps],
        network.input_size,
    )


@pytest.mark.parametrize("network", SINGLE_SHOT[:3], ids=lambda network: network.name)
def test_boxes_are_those_of_caffes_layer(network: Network) -> None:
    source = caffe_source(network, weights_of_relative(network))
    assert isinstance(source, CaffeSource)
    answers = source.without_post_processing().run({"data": channels_first(noise(network))})
    corners = answers["mbox_priorbox"][0, 0].reshape(-1, 4)[:, [1, 0, 3, 2]]
    boxes = boxes_of(network)
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    np.testing.assert_allclose(
        np.concatenate([centres - halves, centres + halves], axis=1), corners, rtol=1e-5, atol=1e-6
    )


def test_a_cell_has_a_square_a_larger_one_and_each_ratio_with_its_inverse() -> None:
    (least, larger, wide, high) = prior_boxes([PriorBoxes(21, 45, (2.0,), 8)], [(1, 1)], (300, 300))
    assert least.tolist() == pytest.approx([4 / 300, 4 / 300, 21 / 300, 21 / 300])
    assert larger[2:].tolist() == pytest.approx([30.740852 / 300] * 2)  # sqrt(21 * 45)
    assert wide[2:].tolist() == pytest.approx([14.849242 / 300, 29.698485 / 300])
    assert high[2:].tolist() == pytest.approx([29.698485 / 300, 14.849242 / 300])


def test_rows_come_before_columns_and_sides_have_their_own_scale() -> None:
    boxes = prior_boxes([PriorBoxes(10, 20, (), 8)], [(2, 3)], (16, 32))
    centres = boxes[::2, :2] * (16, 32)
    assert centres.tolist() == [[4, 4], [4, 12], [4, 20], [12, 4], [12, 12], [12, 20]]
    assert boxes[0, 2:].tolist() == [10 / 16, 10 / 32]
