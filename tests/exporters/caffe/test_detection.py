"""PriorBox and DetectionOutput: against OpenCV, and row by row against Caffe's order in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.caffe.source import CaffeSource
from runtime.errors import ExportError
from runtime.tensors import Array
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, prototxt, run_onnx, values
from tests.exporters.caffe.references import Detection, FirstStage, detection_output, refined
from tests.exporters.caffe.runtimes import parse_with_tensorrt, run_openvino

SSD_BOX = "min_size: 6.3 max_size: 12.8 aspect_ratio: 2 aspect_ratio: 3 flip: true"


def _layer(name: str, type_: str, bottoms: str, parameters: str = "") -> str:
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{type_}" {read} top: "{name}" {parameters} }}\n'


def _priors(parameters: str, cells: tuple[int, int] = (3, 4), image: tuple[int, int] = (24, 36)) -> Array:
    """What a PriorBox layer over `cells` of an image makes, [2, boxes, 4]."""
    text = f'input: "image" input_shape {{ dim: 1 dim: 3 dim: {image[0]} dim: {image[1]} }}' + _layer(
        "priors", "PriorBox", "data image", f"prior_box_param {{ {parameters} }}"
    )
    source = CaffeSource(prototxt(text, 1, 2, *cells), b"")
    feed = {"data": values(1, 2, *cells), "image": values(1, 3, *image)}
    made: Array = run_onnx(source.to_onnx(), feed)["priors"]
    return made.reshape(2, -1, 4)


@pytest.mark.parametrize(
    "parameters",
    [
        SSD_BOX,
        "min_size: 5 aspect_ratio: 2 flip: false clip: true",
        "min_size: 4 min_size: 8 max_size: 9 max_size: 11 aspect_ratio: 1.6 variance: 0.1 step: 8",
        "min_size: 30 aspect_ratio: 2 aspect_ratio: 2 variance: 0.1 variance: 0.2 variance: 0.2 variance: 1",
        "min_size: 7 step_h: 8 step_w: 9 offset: 2.5",
        "min_size: 7.9 max_size: 8.9 offset: 160.5 step: 321",  # DSSD's last level, far outside the image
    ],
)
def test_prior_boxes_are_those_of_opencv_given_whole_pixels(parameters: str) -> None:
    text = _layer("pool", "Pooling", "data", "pooling_param { kernel_size: 8 stride: 8 }") + _layer(
        "priors", "PriorBox", "pool data", f"prior_box_param {{ {parameters} }}"
    )
    source = CaffeSource(prototxt(text, 1, 3, 24, 40), b"")
    made = run_onnx(source.to_onnx(), {"data": values(1, 3, 24, 40)})["priors"]
    theirs = source.run({"data": values(1, 3, 24, 40)})["priors"]
    np.testing.assert_allclose(made, theirs, rtol=2e-7, atol=2e-7)


def test_box_sizes_are_cut_down_to_whole_pixels() -> None:
    boxes = _priors("min_size: 6.9 max_size: 12.9 step: 8", (1, 1), (16, 16))[0] * 16
    widths = boxes[:, 2] - boxes[:, 0]
    np.testing.assert_allclose(widths, [6, np.sqrt(6 * 12)], rtol=1e-6)


def test_a_cell_is_as_large_as_the_image_divided_by_the_cells_when_no_step_is_given() -> None:
    boxes = _priors("min_size: 2", (3, 4), (24, 36))[0]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * [36, 24]
    np.testing.assert_allclose(centres[:5], [[4.5, 4], [13.5, 4], [22.5, 4], [31.5, 4], [4.5, 12]], rtol=1e-6)


def test_the_image_size_can_be_said() -> None:
    said, read = _priors("min_size: 2 img_h: 24 img_w: 36"), _priors("min_size: 2")
    np.testing.assert_array_equal(said, read)
    square = _priors("min_size: 2 img_size: 50", (1, 1))[0, 0]
    np.testing.assert_allclose(square, [0.48, 0.48, 0.52, 0.52], rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("flip: true", "give one or more sizes above 0"),
        ("min_size: 0", "give one or more sizes above 0"),
        ("min_size: 5 max_size: 5", "a larger one for each"),
        ("min_size: 5 variance: 1 variance: 1", "give one number, or four"),
        ("min_size: 5 aspect_ratio: -1", "every ratio is above 0"),
        ("min_size: 5 step: 2 step_h: 2 step_w: 2", "give step, or both step_h and step_w"),
        ("min_size: 5 " + 1001 * "aspect_ratio: 2 ", "has 1001 aspect ratios, at most 1000"),
        ("min_size: nan", "min_size is infinite or not a number"),
        ("min_size: 5 offset: -inf", "offset is infinite or not a number"),
        ("min_size: 1e38", "give one or more sizes above 0, in pixels"),
        ("min_size: 5 aspect_ratio: 1e-45", "boxes that are not finite"),
        ("min_size: 5 img_h: 2", "give img_size, or both img_h and img_w"),
    ],
)
def test_boxes_that_caffe_refuses_are_refused(parameters: str, message: str) -> None:
    with pytest.raises(ExportError, match=rf"layer 'priors' \(PriorBox\): .*{message}"):
        _priors(parameters)


CELLS = 6
"""Cells a side of the feature map that the prior boxes below stand on."""


def _detector(detection: Detection, eta: float = 1) -> CaffeSource:
    """Offsets and scores are inputs; the prior boxes lie on CELLS x CELLS cells, three a cell."""
    boxes = CELLS * CELLS * 3
    kinds = 1 if detection.shared else detection.classes
    heads = "".join(
        f'input: "{name}" input_shape {{ dim: 1 dim: {boxes * count} }}'
        for name, count in (("loc", 4 * kinds), ("conf", detection.classes))
    )
    variance = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
    text = (
        heads
        + _layer("pool", "Pooling", "data", "pooling_param { kernel_size: 8 stride: 8 }")
        + _layer(
            "priors",
            "PriorBox",
            "pool data",
            f"prior_box_param {{ min_size: 12 aspect_ratio: 2 flip: true {variance} }}",
        )
        + _layer(
            "found",
            "DetectionOutput",
            "loc conf priors",
            f"detection_output_param {{ num_classes: {detection.classes} code_type: {detection.code}"
            f" share_location: {str(detection.shared).lower()} background_label_id: {detection.background}"
            f" nms_param {{ nms_threshold: {detection.overlap} top_k: {detection.top_k} eta: {eta} }}"
            f" keep_top_k: {detection.keep} confidence_threshold: {detection.threshold}"
            f" variance_encoded_in_target: {str(detection.in_target).lower()} }}",
        )
    )
    return CaffeSource(prototxt(text, 1, 3, 8 * CELLS, 8 * CELLS), b"")


def _heads(detection: Detection, batch: int, seed: int) -> dict[str, Array]:
    boxes = CELLS * CELLS * 3
    kinds = 1 if detection.shared else detection.classes
    spread = 1.0 if detection.code == "CENTER_SIZE" else 0.4
    scores = np.exp(3 * values(batch, boxes, detection.classes, seed=seed))
    scores /= scores.sum(axis=2, keepdims=True)
    return {
        "data": values(batch, 3, 8 * CELLS, 8 * CELLS),
        "loc": values(batch, boxes * kinds * 4, seed=seed + 1) * np.float32(spread),
        "conf": scores.reshape(batch, -1),
    }


def _expected(detection: Detection, feed: dict[str, Array]) -> Array:
    variance = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
    size = (8 * CELLS, 8 * CELLS)
    priors = _priors(f"min_size: 12 aspect_ratio: 2 flip: true {variance}", (CELLS, CELLS), size)
    return detection_output(feed["loc"], feed["conf"], priors, detection)


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 3),
    detection=st.builds(
        Detection,
        classes=st.integers(2, 5),
        background=st.sampled_from([0, 1]),
        shared=st.booleans(),
        overlap=st.sampled_from([0.0, 0.3, 0.45, 0.9]),
        top_k=st.sampled_from([-1, 1, 20, 1000]),
        keep=st.sampled_from([-1, 1, 7, 200, 5000]),
        threshold=st.sampled_from([0.01, 0.3, 0.6]),
        code=st.sampled_from(["CENTER_SIZE", "CORNER", "CORNER_SIZE"]),
        in_target=st.booleans(),
    ),
    seed=st.integers(0, 1000),
)
def test_detections_are_caffes_row_by_row(batch: int, detection: Detection, seed: int) -> None:
    feed = _heads(detection, batch, seed)
    made = run_onnx(_detector(detection).to_onnx(), feed)["found"]
    expected = _expected(detection, feed)
    assert made.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(made[0, 0], expected, rtol=2e-6, atol=2e-6)


def test_opencv_finds_the_same_detections() -> None:
    source, feed = _detector(Detection(4, keep=50)), _heads(Detection(4), 2, 5)
    made, theirs = run_onnx(source.to_onnx(), feed)["found"], source.run(feed)["found"]
    assert made.shape == theirs.shape == (1, 1, 100, 7)
    np.testing.assert_allclose(made, theirs, atol=2e-6)


def test_where_nothing_is_found_there_are_no_rows() -> None:
    source = _detector(Detection(3, threshold=0.99))
    feed = _heads(Detection(3), 2, 5)
    feed["conf"] = np.full_like(feed["conf"], 0.33)
    assert run_onnx(source.to_onnx(), feed)["found"].shape == (1, 1, 0, 7)
    assert source.run(feed)["found"].shape == (1, 1, 0, 7)


def test_a_score_that_is_the_threshold_is_not_above_it() -> None:
    source = _detector(Detection(2, threshold=0.5))
    feed = _heads(Detection(2), 1, 5)
    scores = np.full((1, CELLS * CELLS * 3, 2), 0.5, np.float32)
    scores[0, 40, 1] = np.nextafter(np.float32(0.5), np.float32(1))
    feed["conf"] = scores.reshape(1, -1)
    assert run_onnx(source.to_onnx(), feed)["found"].shape == (1, 1, 1, 7)


def test_equal_scores_are_kept_in_the_order_of_the_boxes() -> None:
    detection = Detection(2, overlap=0.1, keep=-1)
    feed = _heads(detection, 1, 3)
    feed["loc"][:] = 0
    feed["conf"][:] = 0.5
    made = run_onnx(_detector(detection).to_onnx(), feed)["found"]
    np.testing.assert_allclose(made[0, 0], _expected(detection, feed), atol=2e-6)


@pytest.mark.parametrize("code", ["CENTER_SIZE", "CORNER"])
def test_openvino_finds_the_same_and_tensorrt_takes_the_graph(code: str, tmp_path: Path) -> None:
    detection = Detection(4, keep=50, code=code)
    model, feed = _detector(detection).to_onnx(), _heads(detection, 2, 5)
    made = run_openvino(model, feed, tmp_path)["found"]
    np.testing.assert_allclose(made[0, 0], _expected(detection, feed), atol=3e-6)
    parse_with_tensorrt(model)


@pytest.mark.parametrize(
    ("detection", "eta", "message"),
    [
        (Detection(1), 1, "num_classes is 1; give it, the background included"),
        (Detection(3, overlap=0.7), 0.9, "eta 0.9 changes the overlap 0.7"),
        (Detection(3, overlap=-1), 1, "nms_threshold -1 must not be negative"),
        (Detection(3, keep=0), 1, "keep_top_k: 0 keeps nothing"),
        (Detection(3, top_k=0), 1, "top_k: 0 keeps nothing"),
    ],
)
def test_what_caffe_would_do_otherwise_is_refused(detection: Detection, eta: float, message: str) -> None:
    with pytest.raises(ExportError, match=rf"layer 'found' \(DetectionOutput\): .*{message}"):
        _detector(detection, eta).to_onnx()


def test_eta_below_a_half_changes_nothing() -> None:
    detection = Detection(3)
    feed = _heads(detection, 1, 4)
    made = run_onnx(_detector(detection, eta=0.5).to_onnx(), feed)["found"]
    np.testing.assert_allclose(made[0, 0], _expected(detection, feed), atol=2e-6)


def test_heads_that_do_not_fit_the_prior_boxes_are_refused() -> None:
    text = (
        'input: "loc" input_shape { dim: 1 dim: 8 } input: "conf" input_shape { dim: 1 dim: 9 }'
        + _layer("priors", "PriorBox", "data", "prior_box_param { min_size: 4 img_size: 9 }")
        + _layer("found", "DetectionOutput", "loc conf priors", "detection_output_param { num_classes: 3 }")
    )
    with pytest.raises(ExportError, match="has 8 values a sample, 4 prior boxes with 1 want 16"):
        CaffeSource(prototxt(text, 1, 1, 2, 2), b"").to_onnx()
    computed = text.replace('"loc conf priors"', '"loc conf data"').replace(
        'bottom: "priors"', 'bottom: "data"'
    )
    with pytest.raises(ExportError, match="bottom 2 must be made by PriorBox layers"):
        CaffeSource(prototxt(computed, 1, 1, 2, 2), b"").to_onnx()


def _refiner(detection: Detection, least: float, bottoms: str) -> CaffeSource:
    """RefineDet's layer: the detector above, its first half as inputs as well."""
    boxes = CELLS * CELLS * 3
    heads = "".join(
        f'input: "{name}" input_shape {{ dim: 1 dim: {boxes * count} }}'
        for name, count in (("arm_loc", 4), ("arm_conf", 2))
    )
    plain = _detector(detection).prototxt
    read = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    text = plain.replace('bottom: "priors"', f'bottom: "priors" {read}').replace(
        "detection_output_param {", f"detection_output_param {{ objectness_score: {least} "
    )
    return CaffeSource(heads + text, b"")


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 2),
    least=st.sampled_from([0.01, 0.4, 0.9]),
    code=st.sampled_from(["CENTER_SIZE", "CORNER", "CORNER_SIZE"]),
    in_target=st.booleans(),
    moved=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_boxes_are_refined_row_by_row(
    *, batch: int, least: float, code: str, in_target: bool, moved: bool, seed: int
) -> None:
    detection = Detection(3, code=code, in_target=in_target)
    feed = _heads(detection, batch, seed)
    boxes = CELLS * CELLS * 3
    feed["arm_conf"] = np.random.default_rng(seed).uniform(0, 1, (batch, boxes * 2)).astype(np.float32)
    feed["arm_loc"] = values(batch, boxes * 4, seed=seed + 2) * np.float32(0.3)
    source = _refiner(detection, least, "arm_conf arm_loc" if moved else "arm_conf")
    used = {spec.name: feed[spec.name] for spec in source.inputs}
    made = run_onnx(source.to_onnx(), used)["found"]
    variance = "variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2"
    priors = _priors(f"min_size: 12 aspect_ratio: 2 flip: true {variance}", (CELLS, CELLS), (8 * CELLS,) * 2)
    first = FirstStage(feed["arm_loc"] if moved else None, feed["arm_conf"], least)
    expected = refined(feed["loc"], feed["conf"], priors, detection, first)
    assert made.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(made[0, 0], expected, rtol=4e-6, atol=4e-6)


def test_offsets_of_each_class_cannot_be_refined() -> None:
    source = _refiner(Detection(3, shared=False), 0.1, "arm_conf arm_loc")
    with pytest.raises(ExportError, match="share_location: false cannot be where a fifth bottom moves"):
        source.to_onnx()


def ssd() -> CaffeSource:
    """The tail of SSD over two feature maps, each with its heads."""
    heads = ""
    for name, bottom, kernel in (("a", "data", 4), ("b", "a", 2)):
        heads += _layer(
            name, "Pooling", bottom, f"pooling_param {{ kernel_size: {kernel} stride: {kernel} }}"
        )
        heads += _layer(f"{name}p", "PriorBox", f"{name} data", f"prior_box_param {{ {SSD_BOX} }}")
        for kind, count in (("loc", 24), ("conf", 18)):
            window = f"convolution_param {{ num_output: {count} kernel_size: 3 pad: 1 }}"
            order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
            heads += _layer(f"{name}{kind}", "Convolution", name, window)
            heads += _layer(f"{name}{kind}t", "Permute", f"{name}{kind}", order)
            heads += _layer(f"{name}{kind}f", "Flatten", f"{name}{kind}t")
    heads += _layer("loc", "Concat", "alocf blocf") + _layer("conf", "Concat", "aconff bconff")
    heads += _layer("priors", "Concat", "ap bp", "concat_param { axis: 2 }")
    heads += _layer("rows", "Reshape", "conf", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }")
    heads += _layer("softmax", "Softmax", "rows", "softmax_param { axis: 2 }") + _layer(
        "scores", "Flatten", "softmax"
    )
    heads += _layer(
        "found",
        "DetectionOutput",
        "loc scores priors",
        "detection_output_param { num_classes: 3 nms_param { nms_threshold: 0.45 top_k: 100 }"
        " code_type: CENTER_SIZE keep_top_k: 30 confidence_threshold: 0.01 }",
    )
    blobs = {
        f"{name}{kind}": [values(count, 3, 3, 3, seed=seed), values(count, seed=seed + 1)]
        for seed, (name, kind, count) in enumerate(
            (name, kind, count) for name in "ab" for kind, count in (("loc", 24), ("conf", 18))
        )
    }
    return CaffeSource(prototxt(heads, 1, 3, 16, 16), caffemodel(blobs))


def test_the_tail_of_ssd_over_two_maps_finds_what_opencv_finds() -> None:
    source, data = ssd(), values(2, 3, 16, 16, seed=9)
    made, theirs = run_onnx(source.to_onnx(), {"data": data})["found"], source.run({"data": data})["found"]
    np.testing.assert_allclose(made, theirs, atol=4e-6)


def test_prior_boxes_of_several_layers_are_one_constant() -> None:
    graph = ssd().to_onnx().graph
    assert sum(node.op_type == "Concat" and "prior" in str(node.name) for node in graph) == 0


def test_without_post_processing_the_heads_are_the_outputs() -> None:
    whole = ssd()
    source = CaffeSource(whole.prototxt, whole.caffemodel, post_processing=False)
    assert [str(spec) for spec in source.outputs] == [
        "loc: float32[batch,480]",
        "priors: float32[1,2,480]",
        "scores: float32[batch,360]",
    ]
    assert not any(node.op_type == "NonMaxSuppression" for node in source.to_onnx().graph)
    model, data = source.to_onnx(), values(2, 3, 16, 16)
    made, theirs = run_onnx(model, {"data": data}), source.run({"data": data})
    for name, array in theirs.items():
        np.testing.assert_allclose(made[name], array, atol=4e-6)


def test_a_network_without_post_processing_keeps_all() -> None:
    text = _layer("relu", "ReLU", "data")
    source = CaffeSource(prototxt(text, 1, 3), b"", post_processing=False)
    assert_like_opencv(source, {"data": values(2, 3)})


def test_absurd_numbers_of_boxes_and_classes_cost_no_memory() -> None:
    with pytest.raises(ExportError, match=r"would need 67108864 corners of prior boxes, at most 16777216"):
        _priors("min_size: 5", (4096, 2048))
    text = _detector(Detection(3)).prototxt.replace("num_classes: 3", "num_classes: 4000000000")
    with pytest.raises(ExportError, match=r"would need 4000000000 classes"):
        CaffeSource(text, b"").to_onnx()
