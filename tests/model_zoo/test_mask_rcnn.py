"""Mask R-CNN as layers and in TensorFlow.

Oracles: the counts of MODELS.md 9, its own layers written again in NumPy as Matterport's code goes through
them (image by image, class by class), and the names in Matterport's weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from exporters.export import export
from exporters.passes import optimise
from model_zoo.catalog import get_model, get_variant
from model_zoo.framing import Frame, Square
from model_zoo.layers import FeatureMap
from model_zoo.layers_tensorflow import evaluate, tensorflow_source
from model_zoo.layers_weights import weights_of
from model_zoo.mask_rcnn_layers import (
    OUTPUTS,
    RESNET50,
    ClassMasks,
    PyramidAlign,
    PyramidProposals,
    RefinedDetections,
    Sizes,
    mask_rcnn_network,
)
from model_zoo.mask_rcnn_tensorflow import OPERATIONS, anchors
from model_zoo.spec import Split
from runtime.errors import UsageError
from runtime.graphs import inspect, load
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.layers_relatives import noise, weights_of_relative

REFERENCE = mask_rcnn_network(Sizes())
SIZES = Sizes(
    "little-mask-rcnn",
    body=replace(RESNET50, depths=(1, 1, 1, 1), width=8),
    narrower=16,
    classes=5,
    input_size=(128, 192),
    candidates=200,
    regions=30,
    kept=10,
)
RELATIVE = mask_rcnn_network(SIZES)
IMAGE = (128, 192)

# float32: places in a map are worked out in another order
TOLERANCE = 1e-4


def test_parameters_and_multiply_accumulates_are_those_of_models_md() -> None:
    statistics = sum(math.prod(shape) for name, shape in REFERENCE.tensors().items() if "/moving_" in name)
    assert REFERENCE.parameters + statistics == 64_158_584
    parts = Counter(dict.fromkeys(("fpn", "rpn", "class", "mask", "body"), 0))
    for layer, of in REFERENCE.fed_layers():
        words = layer.name.removeprefix("mrcnn_").split("_")
        part = {"bbox": "class"}.get(words[0], words[0])
        parts[part if part in parts else "body"] += layer.macs(of)
    shares = {name: round(macs / 1e9, 2) for name, macs in parts.items()}
    assert shares == {"fpn": 59.39, "rpn": 103.78, "class": 14.31, "mask": 53.01, "body": 158.16}


def test_features_have_the_sizes_of_models_md() -> None:
    maps = REFERENCE.maps
    stages = {2: (256, 256), 3: (512, 128), 4: (1024, 64), 5: (2048, 32)}
    for stage, (channels, side) in stages.items():
        assert maps[Sizes().body.last(stage)] == FeatureMap(channels, side, side)
    levels = [maps[f"fpn_p{level}"] for level in range(2, 7)]
    assert levels == [FeatureMap(256, side, side) for side in (256, 128, 64, 32, 16)]
    assert maps["roi_align_classifier"] == FeatureMap(256, 7, 7, regions=1000)
    assert maps["masks"] == FeatureMap(1, 28, 28, regions=100)


def test_anchors_are_centred_on_the_first_pixel_of_their_cell() -> None:
    """Worked by hand: 32 pixels at the first cell of the finest map, twice as wide as high, and so on."""
    sizes = (256, 128, 64, 32, 16)
    found = anchors([(s, s) for s in sizes], (4, 8, 16, 32, 64), (32, 64, 128, 256, 512), (1024, 1024))
    assert found.shape == (261_888, 4)
    tall, wide = 32 * math.sqrt(2), 32 / math.sqrt(2)
    pixels = found * 1023 + (0, 0, 1, 1)
    np.testing.assert_allclose(pixels[0], (-tall / 2, -wide / 2, tall / 2, wide / 2), atol=1e-3)
    np.testing.assert_allclose(pixels[1], (-16, -16, 16, 16), atol=1e-3)
    np.testing.assert_allclose(pixels[5], (-wide / 2, 4 - tall / 2, wide / 2, 4 + tall / 2), atol=1e-3)
    np.testing.assert_allclose(pixels[-2], (704, 704, 1216, 1216), atol=1e-3)


def moved(boxes: Array, offsets: Array) -> Array:
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + 0.5 * sides + offsets[:, :2] * 0.1 * sides
    sides = sides * np.exp(offsets[:, 2:] * 0.2)
    return np.concatenate([centres - 0.5 * sides, centres + 0.5 * sides], axis=1)


def overlap(one: Array, other: Array) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0


def survivors(boxes: Array, scores: Array, limit: float, most: int) -> list[int]:
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if all(overlap(boxes[index], boxes[other]) <= limit for other in kept):
            kept.append(int(index))
    return kept[:most]


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def padded(rows: Sequence[Any] | Array, count: int, width: int) -> Array:
    whole = np.zeros((count, width))
    whole[: len(rows)] = np.array(rows).reshape(len(rows), width)
    return whole


def test_regions_are_those_of_the_reference() -> None:
    layer = PyramidProposals("ROI", (), IMAGE, 150, 60, (16, 32), (32, 64))
    maps, rng = [(8, 12), (4, 6)], np.random.default_rng(0)
    scores = [rng.normal(size=(2, *size, 6)).astype(np.float32) for size in maps]
    offsets = [rng.normal(size=(2, *size, 12)).astype(np.float32) for size in maps]
    got = np.asarray(OPERATIONS[PyramidProposals](layer, [*scores, *offsets], {}))
    boxes = anchors(maps, (16, 32), (32, 64), IMAGE)
    assert got.shape == (2, 60, 4)
    for image in range(2):
        likely = softmax(np.concatenate([x[image].reshape(-1, 2) for x in scores]))[:, 1]
        best = np.argsort(-likely, kind="stable")[:150]
        all_offsets = np.concatenate([x[image].reshape(-1, 4) for x in offsets])
        candidates = np.clip(moved(boxes[best], all_offsets[best]), 0, 1)
        kept = survivors(candidates, likely[best], 0.7, 60)
        assert len(kept) > 20
        np.testing.assert_allclose(got[image], padded(candidates[kept], 60, 4), atol=1e-5)


def test_objects_are_those_of_the_reference() -> None:
    layer = RefinedDetections("mrcnn_detection", (), IMAGE, 12)
    rng = np.random.default_rng(1)
    start = rng.uniform(0, 0.7, (2, 40, 2))
    regions = np.concatenate([start, start + rng.uniform(0.05, 0.3, start.shape)], -1).astype(np.float32)
    logits = rng.normal(0, 2, (80, 5)).astype(np.float32)
    logits[40:, 0] += 4  # most of the second image is background: its lists end early
    offsets = rng.normal(size=(80, 20)).astype(np.float32)
    windows = np.array([[0, 0, 128, 192], [16, 0, 112, 192]], np.float32)
    tensors = OPERATIONS[RefinedDetections](layer, [regions, logits, offsets, windows], {})
    answer = [np.asarray(tensor) for tensor in tensors]
    counts = []
    for image in range(2):
        mine = slice(40 * image, 40 * (image + 1))
        likely = softmax(logits[mine])
        classes = likely.argmax(axis=1)
        own = offsets[mine].reshape(40, 5, 4)[np.arange(40), classes]
        window = (windows[image] - (0, 0, 1, 1)) / (127, 191, 127, 191)
        boxes = moved(regions[image], own)
        boxes = np.maximum(np.minimum(boxes, np.tile(window[2:], 2)), np.tile(window[:2], 2))
        found = []
        for label in range(1, 5):
            (rows,) = np.nonzero(classes == label)
            kept = rows[survivors(boxes[rows], likely[rows, label], 0.3, 12)]
            found += [(likely[row, label], *boxes[row], label) for row in kept]
        found = sorted(found, key=lambda row: -row[0])[:12]
        counts.append(len(found))
        expected = padded(found, 12, 6)
        np.testing.assert_allclose(answer[0][image], expected[:, 0], atol=1e-5)
        np.testing.assert_allclose(answer[1][image], expected[:, 1:5], atol=1e-5)
        np.testing.assert_array_equal(answer[2][image], expected[:, 5])
    assert counts[0] == 12
    assert 0 < counts[1] < 12


def bilinear(features: Array, row: float, column: float) -> Array:
    top, left = min(int(row), features.shape[0] - 2), min(int(column), features.shape[1] - 2)
    down, across = row - top, column - left
    upper = features[top, left] * (1 - across) + features[top, left + 1] * across
    lower = features[top + 1, left] * (1 - across) + features[top + 1, left + 1] * across
    result: Array = upper * (1 - down) + lower * down
    return result


def test_features_of_a_box_come_from_the_level_of_its_size() -> None:
    rng = np.random.default_rng(2)
    image = (1024, 1024)
    sides = np.array([40, 100, 111, 113, 200, 225, 440, 460, 900, 1023]) / 1023  # either side of each limit
    boxes = np.stack([np.zeros(10), np.zeros(10), sides, sides], axis=1).astype(np.float32)
    boxes[:5] += (0, 0.3, 0, 0.3)
    given = np.stack([boxes, boxes[::-1]])
    levels = [rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32) for side in (32, 16, 8, 4)]
    layer = PyramidAlign("align", (), image, 3)
    got = np.asarray(OPERATIONS[PyramidAlign](layer, [given, *levels], {})).reshape(2, 10, 3, 3, 3)
    chosen = set()
    for picture in range(2):
        for index, (top, left, bottom, right) in enumerate(given[picture].astype(float)):
            size = math.sqrt((bottom - top) * (right - left)) / (224 / 1024)
            level = min(5, max(2, 4 + round(math.log2(size))))
            features = levels[level - 2][picture]
            last = features.shape[0] - 1
            for row, column in np.ndindex(3, 3):
                place = (
                    (top + (bottom - top) * row / 2) * last,
                    (left + (right - left) * column / 2) * last,
                )
                expected = bilinear(features, *place)
                np.testing.assert_allclose(got[picture, index, row, column], expected, atol=TOLERANCE)
            chosen.add(level)
    assert chosen == {2, 3, 4, 5}


def test_a_box_without_extent_has_the_features_of_a_point() -> None:
    rng = np.random.default_rng(3)
    levels = [rng.normal(size=(1, side, side, 2)).astype(np.float32) for side in (8, 4, 2, 2)]
    layer = PyramidAlign("align", (), (64, 64), 3)
    got = np.asarray(OPERATIONS[PyramidAlign](layer, [np.zeros((1, 4, 4), np.float32), *levels], {}))
    np.testing.assert_allclose(got, np.broadcast_to(levels[0][0, 0, 0], (4, 3, 3, 2)), atol=TOLERANCE)


def test_each_object_gets_the_mask_of_its_class() -> None:
    logits = np.random.default_rng(4).normal(size=(6, 2, 2, 5)).astype(np.float32)
    classes = np.array([[1, 4, 0], [2, 2, 3]], np.float32)
    layer = ClassMasks("masks", ())
    got = np.asarray(OPERATIONS[ClassMasks](layer, [logits, classes], {}))
    for image, number in np.ndindex(2, 3):
        own = logits[3 * image + number, :, :, int(classes[image, number])]
        np.testing.assert_allclose(got[image, number], 1 / (1 + np.exp(-own)), rtol=1e-5)


def test_upsampling_doubles_pixels() -> None:
    features = weights_of_relative(RELATIVE)
    images = noise(RELATIVE, 1)
    below = np.asarray(evaluate(RELATIVE, images, features, "fpn_c5p5"))
    doubled = np.asarray(evaluate(RELATIVE, images, features, "fpn_p5upsampled"))
    np.testing.assert_array_equal(doubled, below.repeat(2, axis=1).repeat(2, axis=2))


def test_a_relative_exports_like_tensorflow_runs_it(tmp_path: Path) -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    windows = np.array([[0, 0, 128, 192], [16, 0, 112, 192]], np.float32)
    report = export(source, tmp_path / "model.onnx", [{"images": noise(RELATIVE, 2, 1), "window": windows}])
    assert [output.name for output in report.parity.outputs] == list(OUTPUTS)
    assert all(output.unmatched == output.moved == 0 for output in report.parity.outputs)
    assert all(output.relative < TOLERANCE for output in report.parity.outputs)
    assert source.parameters == RELATIVE.parameters
    facts = inspect(tmp_path / "model.onnx")
    assert facts.macs == RELATIVE.macs
    assert facts.inputs[1] == TensorSpec("window", "float32", ("batch", 4))
    assert facts.outputs[3] == TensorSpec("masks", "float32", ("batch", 10, 28, 28))


def test_the_graph_aligns_each_level_once_and_has_no_loop(tmp_path: Path) -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    feed = {"images": noise(RELATIVE, 1, 1), "window": np.array([[0, 0, 128, 192]], np.float32)}
    export(source, tmp_path / "model.onnx", [feed])
    found = Counter(node.op_type for node in load(tmp_path / "model.onnx").graph.all_nodes())
    assert (found["RoiAlign"], found["NonMaxSuppression"], found["ConvTranspose"]) == (8, 2, 1)
    assert not {"Loop", "If", "Scan", "NonZero", "Unique", "BatchNormalization"} & set(found)
    # the image's own, one for each head on each level, and the scores of the second suppression
    assert found["Transpose"] == 1 + 2 * 5 + 1


def test_the_same_bytes_come_out_every_time() -> None:
    """Four levels are aligned by the same boxes: nodes that are equal, of which always the same one stays."""
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    first, second = (ir.to_proto(optimise(source.to_onnx())).SerializeToString() for _ in range(2))
    assert first == second


def test_weights_of_matterport_fit(tmp_path: Path) -> None:
    """Keras 2: a group for each layer, one for the whole region network, and outputs before inputs in the
    transposed convolution."""
    weights = weights_of_relative(RELATIVE)
    with h5py.File(tmp_path / "mask_rcnn_coco.h5", "w") as file:
        for name, array in weights.items():
            layer, part = name.split("/")
            group = "rpn_model" if layer.startswith("rpn_") else layer
            stored = array.swapaxes(2, 3) if name == "mrcnn_mask_deconv/kernel" else array
            file[f"{group}/{layer}/{part}:0"] = stored
    assert {
        "conv1/bias",
        "bn2a_branch2c/moving_variance",
        "res3a_branch1/kernel",
        "fpn_c5p5/kernel",
        "rpn_class_raw/bias",
        "mrcnn_class_bn2/gamma",
        "mrcnn_bbox_fc/kernel",
        "mrcnn_mask_conv4/bias",
        "mrcnn_mask/kernel",
    } <= weights.keys()
    found = weights_of(RELATIVE, tmp_path / "mask_rcnn_coco.h5")
    assert found.keys() == weights.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, weights[name])


def test_the_region_network_has_one_set_of_weights() -> None:
    names = [name for name in RELATIVE.tensors() if name.startswith("rpn_")]
    assert names == [
        f"{layer}/{part}"
        for layer in ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")
        for part in ("kernel", "bias")
    ]


def test_stage_4_has_the_blocks_a_to_w() -> None:
    assert Sizes().body.last(4) == "res4w_relu"


@pytest.mark.parametrize(
    ("width", "height", "frame"),
    [
        (640, 480, Frame((0, 0, 640, 480), 768, 1024, 128, 0)),  # the longer side decides
        (500, 500, Frame((0, 0, 500, 500), 800, 800, 112, 112)),
        (900, 1000, Frame((0, 0, 900, 1000), 1000, 900, 12, 62)),  # large enough as it is
        (4000, 3000, Frame((0, 0, 4000, 3000), 768, 1024, 128, 0)),
    ],
)
def test_images_are_framed_as_in_the_reference(width: int, height: int, frame: Frame) -> None:
    """scale = max(1, 800 / shorter side), or 1024 / longer side where that is less."""
    assert Square().whole(width, height, (1024, 1024)) == frame
    assert frame.window == (frame.top, frame.left, frame.top + frame.height, frame.left + frame.width)


def test_feeds_are_photographs_with_black_around_them() -> None:
    feeds = get_variant(get_model("mask-rcnn"), "256x320").feeds("tensorflow")
    feed = next(feeds.batches(2, Split.EVALUATION))
    assert feed["images"].shape == (2, 256, 320, 3)
    black: NDArray[Any] = -np.array([123.7, 116.8, 103.9], np.float32)
    for image, window in zip(feed["images"], feed["window"], strict=True):
        top, left, bottom, right = window.astype(int)
        outside = np.ones(image.shape[:2], bool)
        outside[top:bottom, left:right] = False
        assert (image[outside] == black).all()
        assert (image[top:bottom, left:right] != black).mean() > 0.9
        assert bottom - top == 256 or right - left == 320


@pytest.mark.parametrize("name", ["1000x1024", "64x100"])
def test_a_size_that_the_levels_do_not_divide_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"input size {name} of mask-rcnn: both must be multiples of 64"):
        get_variant(get_model("mask-rcnn"), name)
