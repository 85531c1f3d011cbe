"""Proposal and ROIPooling: against NumPy, OpenCV and ONNX's own MaxRoiPool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from exporters.caffe.layers.proposal import Regions, anchors
from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import run_onnx, values
from tests.exporters.caffe.references import Proposals, proposals, roi_pooling, some_regions
from tests.exporters.caffe.runtimes import build_with_tensorrt, parse_with_tensorrt, run_openvino

PUBLISHED = (
    (-84, -40, 99, 55),
    (-176, -88, 191, 103),
    (-360, -184, 375, 199),
    (-56, -56, 71, 71),
    (-120, -120, 135, 135),
    (-248, -248, 263, 263),
    (-36, -80, 51, 95),
    (-80, -168, 95, 183),
    (-168, -344, 183, 359),
)
"""The nine anchors of py-faster-rcnn, ratios 0.5, 1, 2 by scales 8, 16, 32."""

MAP = (9, 12)
PYTHON = (
    "python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"'feat_stride': 16\" }"
)


def _input(name: str, *shape: int) -> str:
    return f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'


def _proposer(type_: str, parameters: str, count: int = 9, tops: str = 'top: "rois"') -> CaffeSource:
    bottoms = 'bottom: "scores" bottom: "deltas" bottom: "im_info"'
    text = (
        _input("scores", 1, 2 * count, *MAP)
        + _input("deltas", 1, 4 * count, *MAP)
        + _input("im_info", 1, 3)
        + f'layer {{ name: "proposal" type: "{type_}" {bottoms} {tops} {parameters} }}'
    )
    return CaffeSource(text, b"")


def _maps(batch: int = 1, count: int = 9, seed: int = 0) -> dict[str, Array]:
    """Scores that are all different, offsets of a trained network's size, images of various sizes."""
    scores = np.random.default_rng(seed).permutation(batch * 2 * count * MAP[0] * MAP[1])
    info = np.array([[140, 190, 1.25], [144, 150, 0.5], [100, 192, 2.0]], np.float32)
    return {
        "scores": (scores / len(scores)).astype(np.float32).reshape(batch, 2 * count, *MAP),
        "deltas": values(batch, 4 * count, *MAP, seed=seed) * np.float32(0.3),
        "im_info": info[:batch],
    }


def test_the_anchors_are_those_published() -> None:
    np.testing.assert_array_equal(anchors(Regions()), PUBLISHED)


def test_the_python_layer_proposes_what_its_numpy_does() -> None:
    feed = _maps()
    made = run_onnx(_proposer("Python", PYTHON).to_onnx(), feed)["rois"]
    expected, _ = proposals(feed["scores"], feed["deltas"], feed["im_info"], Proposals(anchors=PUBLISHED))
    assert 50 < len(expected) <= 300
    np.testing.assert_allclose(made, expected, atol=2e-4)


@settings(max_examples=8, deadline=None)
@given(
    before=st.sampled_from([20, 300, 6000]),
    after=st.sampled_from([1, 30, 300]),
    overlap=st.sampled_from([0.3, 0.7]),
    least=st.sampled_from([0, 16, 60]),
    seed=st.integers(0, 100),
)
def test_the_compiled_layer_proposes_the_same(
    before: int, after: int, overlap: float, least: int, seed: int
) -> None:
    parameters = (
        f"proposal_param {{ pre_nms_topn: {before} post_nms_topn: {after} nms_thresh: {overlap}"
        f" min_size: {least} }}"
    )
    source = _proposer("Proposal", parameters, tops='top: "rois" top: "points"')
    feed = _maps(seed=seed)
    made = run_onnx(source.to_onnx(), feed)
    layer = Proposals(before=before, after=after, overlap=overlap, least=least, anchors=PUBLISHED)
    rois, points = proposals(feed["scores"], feed["deltas"], feed["im_info"], layer)
    np.testing.assert_allclose(made["rois"], rois, atol=2e-4)
    np.testing.assert_array_equal(made["points"], points)


def test_without_a_least_size_opencv_proposes_the_same() -> None:
    source = _proposer(
        "Proposal", "proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 8 scale: 16 scale: 32 min_size: 0 }"
    )
    feed = _maps()
    made, theirs = run_onnx(source.to_onnx(), feed)["rois"], source.run(feed)["rois"]
    np.testing.assert_allclose(made, theirs[: len(made)], atol=2e-4)
    assert not theirs[len(made) :].any()


def test_each_image_of_a_batch_has_its_own_proposals() -> None:
    feed = _maps(batch=3)
    made = run_onnx(_proposer("Python", PYTHON).to_onnx(), feed)["rois"]
    for image in range(3):
        alone = {name: array[image : image + 1] for name, array in feed.items()}
        expected, _ = proposals(
            alone["scores"], alone["deltas"], alone["im_info"], Proposals(anchors=PUBLISHED)
        )
        np.testing.assert_allclose(made[made[:, 0] == image][:, 1:], expected[:, 1:], atol=2e-4)


@pytest.mark.parametrize(
    "text",
    [
        "'feat_stride': 8\\n'scales': [4, 8]",
        "{feat_stride: 8, scales: (4, 8)}",
        "'feat_stride': 8 \\n'scales': !!python/tuple [4, 8]",
        "{'feat_stride': 8, 'num_classes': 21, 'ratios': [0.5, 1, 2], 'scales': [4, 8]}",
    ],
)
def test_the_python_layer_reads_stride_and_scales(text: str) -> None:
    parameters = (
        f"python_param {{ module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"{text}\" }}"
    )
    feed = _maps(count=6)
    made = run_onnx(_proposer("Python", parameters, 6).to_onnx(), feed)["rois"]
    known = tuple(map(tuple, anchors(Regions(scales=(4, 8)))))
    layer = Proposals(stride=8, anchors=known)
    expected, _ = proposals(feed["scores"], feed["deltas"], feed["im_info"], layer)
    np.testing.assert_allclose(made, expected, atol=2e-4)


def test_the_python_layer_of_pvanet_reads_ratios() -> None:
    text = "{'feat_stride': 16, 'ratios': [0.333, 1.5], 'scales': [3, 6, 9]}"
    parameters = (
        f"python_param {{ module: 'rpn.proposal_layer' layer: 'ProposalLayer' param_str: \"{text}\" }}"
    )
    feed = _maps(count=6)
    made = run_onnx(_proposer("Python", parameters, 6).to_onnx(), feed)["rois"]
    # generate_anchors: a 16 x 16 box's area by the ratio, width and height rounded one after the other.
    cells = []
    for ratio in (0.333, 1.5):
        width = round((256 / ratio) ** 0.5)
        height = round(width * ratio)
        for scale in (3, 6, 9):
            w, h = width * scale, height * scale
            cells.append((7.5 - (w - 1) / 2, 7.5 - (h - 1) / 2, 7.5 + (w - 1) / 2, 7.5 + (h - 1) / 2))
    expected, _ = proposals(feed["scores"], feed["deltas"], feed["im_info"], Proposals(anchors=tuple(cells)))
    np.testing.assert_allclose(made, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("type_", "parameters", "count", "message"),
    [
        ("Python", PYTHON, 8, "9 anchors want 18 scores and 36 offsets in each cell"),
        ("Python", PYTHON.replace("feat_stride", "stride"), 9, "param_str says stride; .*, scales are known"),
        ("Python", PYTHON.replace("16", "x y"), 9, "is not of the form 'feat_stride': 16"),
        ("Python", PYTHON.replace("16", "'a'"), 9, "feat_stride is a whole number"),
        ("Python", PYTHON.replace("16", "16, 'scales': 8"), 9, "scales is a list of numbers above 0"),
        ("Python", PYTHON.replace("16", "16, 'ratios': [1, 0]"), 9, "ratios is a list of numbers above 0"),
        ("Proposal", "proposal_param { post_nms_topn: 0 }", 9, "takes positive counts"),
    ],
)
def test_proposals_that_cannot_be_made_are_refused(
    type_: str, parameters: str, count: int, message: str
) -> None:
    with pytest.raises(ExportError, match=rf"layer 'proposal' .*{message}"):
        _proposer(type_, parameters, count).to_onnx()


def _pooler(shape: tuple[int, ...], size: tuple[int, int], scale: float) -> CaffeSource:
    text = (
        _input("x", *shape)
        + _input("rois", 1, 5)
        + 'layer { name: "pool" type: "ROIPooling" bottom: "x" bottom: "rois" top: "out" roi_pooling_param'
        f" {{ pooled_h: {size[0]} pooled_w: {size[1]} spatial_scale: {scale} }} }}"
    )
    return CaffeSource(text, b"")


@settings(max_examples=12, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    scale=st.sampled_from([0.0625, 0.125, 1.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_regions_are_pooled_exactly(
    height: int, width: int, size: tuple[int, int], scale: float, seed: int
) -> None:
    source = _pooler((1, 3, height, width), size, scale)
    feed = {"x": values(2, 3, height, width), "rois": some_regions(24, 2, 20 / scale, seed)}
    made = run_onnx(source.to_onnx(), feed)["out"]
    np.testing.assert_array_equal(made, roi_pooling(feed["x"], feed["rois"], size, scale))


def test_onnx_runtimes_own_operator_says_the_same() -> None:
    import onnxruntime

    feed = {"x": values(2, 8, 38, 50), "rois": some_regions(100, 2, 800, 1)}
    made = run_onnx(_pooler((1, 8, 38, 50), (7, 7), 0.0625).to_onnx(), feed)["out"]
    node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=[7, 7], spatial_scale=0.0625)
    of_float = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info(name, of_float, array.shape) for name, array in feed.items()],
        [helper.make_tensor_value_info("y", of_float, made.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(made, session.run(None, feed)[0])


def test_openvino_pools_exactly_and_tensorrt_builds_an_engine(tmp_path: Path) -> None:
    # Seven pixels by six bins: OpenVINO's own division would move the last bin's edge.
    model = _pooler((1, 8, 13, 17), (7, 6), 0.0625).to_onnx()
    feed = {"x": values(2, 8, 13, 17), "rois": some_regions(200, 2, 300, 0)}
    made = run_openvino(model, feed, tmp_path)["out"]
    np.testing.assert_array_equal(made, roi_pooling(feed["x"], feed["rois"], (7, 6), 0.0625))
    build_with_tensorrt(model, tmp_path, batch=2, regions=50)


def test_openvino_proposes_the_same_and_tensorrt_takes_the_graph(tmp_path: Path) -> None:
    feed, model = _maps(), _proposer("Python", PYTHON).to_onnx()
    expected, _ = proposals(feed["scores"], feed["deltas"], feed["im_info"], Proposals(anchors=PUBLISHED))
    np.testing.assert_allclose(run_openvino(model, feed, tmp_path)["rois"], expected, atol=2e-4)
    parse_with_tensorrt(model)


def test_regions_and_images_are_counted_apart() -> None:
    source = _pooler((1, 3, 8, 8), (2, 2), 0.5)
    assert [str(spec) for spec in source.inputs] == ["x: float32[batch,3,8,8]", "rois: float32[regions,5]"]
    assert [str(spec) for spec in source.outputs] == ["out: float32[regions,3,2,2]"]


@pytest.mark.parametrize(
    ("size", "scale", "message"), [((0, 2), 1.0, "all above 0"), ((2, 2), 0.0, "all above 0")]
)
def test_pooling_to_nothing_is_refused(size: tuple[int, int], scale: float, message: str) -> None:
    with pytest.raises(ExportError, match=rf"layer 'pool' \(ROIPooling\): .*{message}"):
        _pooler((1, 3, 8, 8), size, scale).to_onnx()


def test_regions_of_several_maps_are_joined() -> None:
    parameters = "proposal_param { post_nms_topn: 20 }"
    one = _proposer("Proposal", parameters).prototxt
    other = one[one.index("layer {") :].replace('"proposal"', '"other"').replace('top: "rois"', 'top: "more"')
    join = (
        'layer { name: "join" type: "Concat" bottom: "rois" bottom: "more" top: "all"'
        " concat_param { axis: 0 } }"
    )
    source = CaffeSource(one + other + join, b"")
    assert source.outputs[-1].shape == ("join/joined", 5)
    made = run_onnx(source.to_onnx(), _maps())["all"]
    np.testing.assert_array_equal(made[: len(made) // 2], made[len(made) // 2 :])


def test_regions_have_five_columns() -> None:
    source = _pooler((1, 3, 8, 8), (2, 2), 1.0)
    text = source.prototxt.replace("dim: 1 dim: 5", "dim: 1 dim: 4")
    with pytest.raises(ExportError, match="bottom 1 has five columns"):
        CaffeSource(text, b"").to_onnx()


FASTER_RCNN = (
    _input("data", 1, 3, 144, 192)
    + _input("im_info", 1, 3)
    + """
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 16 stride: 16 } }
layer { name: "score" type: "Convolution" bottom: "pool" top: "score"
  convolution_param { num_output: 18 kernel_size: 1 } }
layer { name: "delta" type: "Convolution" bottom: "pool" top: "delta"
  convolution_param { num_output: 36 kernel_size: 1 } }
layer { name: "two" type: "Reshape" bottom: "score" top: "two"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "prob" type: "Softmax" bottom: "two" top: "prob" }
layer { name: "back" type: "Reshape" bottom: "prob" top: "back"
  reshape_param { shape { dim: 0 dim: 18 dim: -1 dim: 0 } } }
layer { name: "proposal" type: "Python" bottom: "back" bottom: "delta" bottom: "im_info" top: "rois" """
    + PYTHON
    + """ }
layer { name: "roi" type: "ROIPooling" bottom: "pool" bottom: "rois" top: "roi"
  roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.0625 } }
layer { name: "class" type: "InnerProduct" bottom: "roi" top: "class" inner_product_param { num_output: 4 } }
layer { name: "class_prob" type: "Softmax" bottom: "class" top: "class_prob" }
"""
)


def faster_rcnn(post_processing: bool = True) -> CaffeSource:
    from tests.exporters.caffe.networks import caffemodel

    blobs = {
        "score": [values(18, 3, 1, 1), values(18)],
        "delta": [values(36, 3, 1, 1) / 8, values(36) / 8],
        "class": [values(4, 27), values(4)],
    }
    return CaffeSource(FASTER_RCNN, caffemodel(blobs), post_processing=post_processing)


def test_a_small_faster_rcnn_runs_from_image_to_classes() -> None:
    feed = {"data": values(1, 3, 144, 192), "im_info": np.array([[144, 192, 1]], np.float32)}
    maps = run_onnx(faster_rcnn(post_processing=False).to_onnx(), {"data": feed["data"]})
    made = run_onnx(faster_rcnn().to_onnx(), feed)["class_prob"]
    rois, _ = proposals(maps["back"], maps["delta"], feed["im_info"], Proposals(anchors=PUBLISHED))
    pooled = roi_pooling(feed["data"].reshape(1, 3, 9, 16, 12, 16).max(axis=(3, 5)), rois, (3, 3), 0.0625)
    logits = pooled.reshape(len(rois), -1) @ values(4, 27).T + values(4)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(made, expected, atol=2e-6)


def test_without_post_processing_the_proposal_networks_maps_are_left() -> None:
    source = faster_rcnn(post_processing=False)
    assert [spec.name for spec in source.inputs] == ["data"]
    assert [str(spec) for spec in source.outputs] == [
        "delta: float32[batch,36,9,12]",
        "back: float32[batch,18,9,12]",
    ]
    data = values(2, 3, 144, 192)
    made, theirs = run_onnx(source.to_onnx(), {"data": data}), source.run({"data": data})
    for name, array in theirs.items():
        np.testing.assert_allclose(made[name], array, atol=2e-6)
