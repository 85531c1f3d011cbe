"""Where OpenCV is not Caffe: what is said to it in other words, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from exporters.caffe import caffe_pb2
from exporters.caffe.oracle import _for_opencv
from exporters.caffe.reading import read_prototxt
from exporters.caffe.source import CaffeSource
from runtime.errors import FeedError, UnavailableError
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, one_layer, prototxt, values


def test_without_opencv_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UnavailableError, match=r"needs OpenCV 4 .* pip install '\.\[export\]'"):
        one_layer("ReLU", "", (1, 3)).run({"data": values(1, 3)})


def test_opencv_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    with pytest.raises(UnavailableError, match=r"OpenCV 5.0.0 has no Caffe importer .*\[export\]"):
        one_layer("ReLU", "", (1, 3)).run({"data": values(1, 3)})


@pytest.mark.parametrize(
    ("type_", "parameters"),
    [
        ("Deconvolution", "convolution_param { num_output: 1 kernel_size: 2 dilation: 2 }"),
        ("Proposal", "proposal_param { min_size: 16 }"),
    ],
)
def test_what_opencv_gets_wrong_is_not_asked(type_: str, parameters: str) -> None:
    with pytest.raises(UnavailableError, match=r"OpenCV cannot run this Caffe network.*'layer'"):
        one_layer(type_, parameters, (1, 3, 4, 4)).run({"data": values(1, 3, 4, 4)})


def test_what_opencv_cannot_read_is_one_line() -> None:
    with pytest.raises(UnavailableError, match="OpenCV cannot run this Caffe network") as caught:
        one_layer("Python", "", (1, 3)).run({"data": values(1, 3)})
    assert "\n" not in str(caught.value)


def test_prior_boxes_are_given_to_opencv_in_whole_pixels() -> None:
    text = 'layer { name: "p" type: "PriorBox" prior_box_param { min_size: 20.48 max_size: 51.2 } }'
    told = caffe_pb2.NetParameter()
    from google.protobuf import text_format

    text_format.Parse(_for_opencv(read_prototxt(text)), told)
    parameter = told.layer[0].prior_box_param
    assert [*parameter.min_size, *parameter.max_size] == [20, 51]


def test_a_wrong_feed_is_refused_before_it_is_run() -> None:
    source = one_layer("ReLU", "", (1, 3))
    with pytest.raises(FeedError, match="is float64, the graph wants float32"):
        source.run({"data": values(1, 3).astype(np.float64)})


def test_one_network_answers_feeds_of_several_batch_sizes() -> None:
    convolution = 'layer { name: "c" type: "Convolution" bottom: "data" top: "x" convolution_param {'
    source = CaffeSource(
        prototxt(f"{convolution} num_output: 4 kernel_size: 3 }} }}", 10, 3, 6, 6),
        caffemodel({"c": [values(4, 3, 3, 3), values(4)]}),
    )
    for batch in (3, 1, 2):
        assert_like_opencv(source, {"data": values(batch, 3, 6, 6, seed=batch)})


def test_an_input_that_nothing_reads_is_not_told_to_opencv() -> None:
    """PSPNet's has the image's size for a layer that was taken out."""
    text = prototxt('layer { name: "r" type: "ReLU" bottom: "data" top: "out" }', 1, 3, 4, 4)
    source = CaffeSource('input: "data_dim" input_shape { dim: 1 dim: 2 }' + text, b"")
    feed = {"data": values(2, 3, 4, 4), "data_dim": values(2, 2)}
    np.testing.assert_array_equal(source.run(feed)["out"], np.maximum(feed["data"], 0))


@pytest.mark.parametrize("image", [-1, 2])
def test_regions_of_an_image_that_is_not_there_are_not_asked_of_opencv(image: int) -> None:
    text = (
        'input: "rois" input_shape { dim: 1 dim: 5 }'
        'layer { name: "p" type: "PSROIPooling" bottom: "data" bottom: "rois" top: "out"'
        " psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 1 } }"
    )
    source = CaffeSource(prototxt(text, 1, 4, 6, 6), b"")
    feed = {"data": values(2, 4, 6, 6), "rois": np.array([[image, 0, 0, 3, 3]], np.float32)}
    with pytest.raises(UnavailableError, match=rf"'rois' has regions of images {image} .* has 0 to 1"):
        source.run(feed)
