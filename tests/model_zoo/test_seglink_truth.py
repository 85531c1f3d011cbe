"""What SegLink should say of known text, against the paper's construction with shapely and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.layers import BatchNorm, Convolution, Layer
from model_zoo.metrics import get_measure
from model_zoo.metrics.objects import TrueText
from model_zoo.network import Network
from model_zoo.seglink_cells import Ends, cross_ends, local_ends
from model_zoo.seglink_layers import SegmentGeometry, Sizes, map_sizes, seglink_network
from model_zoo.seglink_truth import Truth, truth_of
from model_zoo.text_boxes import Boxes, TextBoxes, corners
from runtime.tensors import Array

SIDE = 192
MAPS = ((24, 24), (12, 12), (6, 6), (3, 3), (2, 2), (1, 1))
ANCHORS = (11.84210526, 23.68421053, 45.0, 90.0, 150.0, 285.0)
CELLS = [
    ((column + 0.5) * SIDE / width, (row + 0.5) * SIDE / height, anchor)
    for (height, width), anchor in zip(MAPS, ANCHORS, strict=True)
    for row in range(height)
    for column in range(width)
]
GEOMETRY = SegmentGeometry("geometry", ("reg",), MAPS, ANCHORS, (SIDE, SIDE))
LOGIT = 12.0

tf = pytest.importorskip("tensorflow")
affinity = pytest.importorskip("shapely.affinity")
shapely = pytest.importorskip("shapely")


def words(seed: int) -> Boxes:
    """One in the upper half of the image, and one in the lower half."""
    generator = np.random.default_rng(seed)
    number = 2
    return np.stack(
        [
            generator.uniform(86, 106, number),
            np.array([48, 144]) + generator.uniform(-8, 8, number),
            generator.uniform(40, 140, number),
            generator.uniform(9, 36, number),
            np.radians(generator.uniform(-20, 20, number)),
        ],
        axis=1,
    )


def segment_of(word: Array, x: float, y: float, anchor: float) -> Array:
    """Section 3.2, step by step: centre, width, height and angle."""
    level = affinity.rotate(shapely.Polygon(corners(word[np.newaxis])[0]), -np.degrees(word[4]), (x, y))
    cut = level.intersection(shapely.box(x - anchor / 2, -1e4, x + anchor / 2, 1e4))
    left, top, right, bottom = cut.bounds
    centre = affinity.rotate(cut, np.degrees(word[4]), (x, y)).centroid
    return np.array([centre.x, centre.y, right - left, bottom - top, word[4]])


@pytest.mark.parametrize("seed", range(12))
def test_segments_are_those_of_the_paper(seed: int) -> None:
    from model_zoo.seglink_tensorflow import segment_geometry

    boxes = words(seed)
    truth = truth_of(boxes, GEOMETRY)
    decoded = np.asarray(segment_geometry(GEOMETRY, [truth.offsets[np.newaxis]], {}))[0]
    outlines = [shapely.Polygon(outline) for outline in corners(boxes)]
    for (x, y, anchor), there, (*place, sine, cosine) in zip(CELLS, truth.segments, decoded, strict=True):
        holding = [
            index
            for index, outline in enumerate(outlines)
            if outline.contains(shapely.Point(x, y)) and 1 / 1.5 <= anchor / boxes[index, 3] <= 1.5
        ]
        assert there == len(holding)
        for index in holding:
            expected = segment_of(boxes[index], x, y, anchor)
            np.testing.assert_allclose([*place, np.arctan2(sine, cosine)], expected, atol=1e-3)
            assert np.hypot(sine, cosine) == pytest.approx(1, abs=1e-5)
    assert truth.segments.any()


@pytest.mark.parametrize(
    ("height", "maps"), [(8.0, [0]), (15.7, [0]), (17.0, [0, 1]), (17.8, [1]), (33.0, [1, 2]), (36.0, [2])]
)
def test_a_word_has_segments_on_the_maps_of_its_height(height: float, maps: list[int]) -> None:
    """11.84 * 1.5 = 17.76, 23.68 / 1.5 = 15.79, 23.68 * 1.5 = 35.53 and 45 / 1.5 = 30."""
    truth = truth_of(np.array([[96, 100, 150, height, 0.0]]), GEOMETRY)
    sizes = [rows * columns for rows, columns in MAPS]
    parts = np.split(truth.segments, np.cumsum(sizes)[:-1])
    assert [index for index, part in enumerate(parts) if part.any()] == maps


def test_a_level_word_is_worked_out_by_hand() -> None:
    """11.84 high about the row of cells 1.5 * 8 = 12 down, from 15 to 33 across: centres at 20 and 28."""
    truth = truth_of(np.array([[24, 13, 18, ANCHORS[0], 0.0]]), GEOMETRY)
    first = 24 + 2
    assert np.flatnonzero(truth.segments).tolist() == [first, first + 1]
    half = ANCHORS[0] / 2
    lefts, rights = (15, 28 - half), (20 + half, 33)
    for cell, x, left, right in zip((first, first + 1), (20, 28), lefts, rights, strict=True):
        expected = [(left + right) / 2 - x, 1, np.log((right - left) / ANCHORS[0]), 0, 0, 1]
        expected[:2] = [value / ANCHORS[0] for value in expected[:2]]
        np.testing.assert_allclose(truth.offsets[cell], np.array(expected) * 10, atol=1e-4)
    assert np.argwhere(truth.local).tolist() == [[first, 4], [first + 1, 3]]  # right, and left
    assert not truth.cross.any()
    assert not truth.offsets[truth.segments == 0].any()


@pytest.mark.parametrize("seed", range(6))
def test_links_join_segments_of_one_word(seed: int) -> None:
    boxes = words(seed)
    boxes[1] = boxes[0] + np.array([0, boxes[0, 3] / np.cos(boxes[0, 4]), 0, 0, 0])  # right below it
    boxes[:, 3] = 17  # of which both the first and the second map have segments
    truth = truth_of(boxes, GEOMETRY)
    owners = [
        next((index for index, box in enumerate(boxes) if there and _inside(box, x, y)), -1)
        for (x, y, _), there in zip(CELLS, truth.segments, strict=True)
    ]
    for links, ends in ((truth.local, local_ends(MAPS)), (truth.cross, cross_ends(MAPS))):
        first = len(CELLS) - len(links)
        for (row, place), link in np.ndenumerate(links):
            end = int(ends[row, place])
            assert link == (end >= 0 and owners[first + row] == owners[end] >= 0)
    assert truth.local.any()
    assert truth.cross.any()


def _inside(box: Array, x: float, y: float) -> bool:
    return bool(shapely.Polygon(corners(box[np.newaxis])[0]).contains(shapely.Point(x, y)))


def test_cells_that_links_lead_to_are_those_around_and_below() -> None:
    maps = ((5, 4), (3, 2))
    cells = [
        (index, *divmod(k, width))
        for index, (height, width) in enumerate(maps)
        for k in range(height * width)
    ]
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    for (index, row, column), ends in zip(cells, local_ends(maps), strict=True):
        assert _named(cells, ends) == [
            (index, row + dy, column + dx) if (index, row + dy, column + dx) in cells else None
            for dy, dx in steps
        ]
    below = [_named(cells, ends) for ends in cross_ends(maps)]
    assert below[1] == [(0, 0, 2), (0, 0, 3), (0, 1, 2), (0, 1, 3)]
    assert below[4] == [(0, 3, 0), (0, 3, 1), (0, 4, 0), (0, 4, 1)]  # row 2 of five rows: the last two


def _named(cells: list[tuple[int, int, int]], ends: Ends) -> list[tuple[int, int, int] | None]:
    return [cells[end] if end >= 0 else None for end in ends.tolist()]


def test_what_the_truth_says_comes_back_as_the_words_boxes() -> None:
    """Through the network's own end, whose heads say it and are sure of it."""
    network = seglink_network(Sizes("little", narrower=32, input_size=(SIDE, SIDE), normalised=True))
    assert map_sizes(network) == MAPS
    metric = get_measure("text-f-measure").make()
    angles = []
    for seed in range(40):
        boxes = words(seed)
        (found,) = TextBoxes(MAPS).read(said(network, truth_of(boxes, GEOMETRY)), 1)
        metric.add(TrueText(tuple(corners(boxes)), np.ones(2, np.bool_)), list(corners(found)))
        assert len(found) == 2
        ordered = found[np.argsort(found[:, 1])]
        angles += np.abs(ordered[:, 4] - boxes[:, 4]).tolist()
        np.testing.assert_allclose(ordered[:, 3], boxes[:, 3], rtol=1e-3)
    assert metric.value() == 1
    assert max(angles) < 1e-3


def said(network: Network, truth: Truth) -> dict[str, Array]:
    """The network's outputs, given what its heads say."""
    from model_zoo.layers_tensorflow import evaluate_several

    maps = heads(truth)

    def head(layer: Convolution, bottoms: Any, _: Any) -> Array:
        of = network.maps[layer.name]
        return maps.get(layer.name, np.zeros((1, of.height, of.width, of.channels), np.float32))

    def nothing(layer: Layer, bottoms: Any, _: Any) -> Any:
        return bottoms[0]

    weights = {name: np.ones(shape, np.float32) for name, shape in network.tensors().items()}
    images = np.zeros((1, SIDE, SIDE, 3), np.float32)
    stand_ins = {Convolution: head, BatchNorm: nothing}
    inputs = {network.input_name: images}
    found = evaluate_several(network, inputs, weights, network.outputs, stand_ins=stand_ins)
    return {name: np.asarray(array) for name, array in found.items()}


def heads(truth: Truth) -> dict[str, Array]:
    """By the names of the layers: scores of "no" and "yes" in turn, and offsets."""
    maps, start, first = {}, 0, 24 * 24
    for name, (height, width) in zip(
        ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11"), MAPS, strict=True
    ):
        cells = slice(start, start + height * width)
        links = truth.local[cells]
        if start:
            links = np.concatenate([links, truth.cross[start - first : cells.stop - first]], axis=1)
        maps[f"{name}_cls"] = _logits(truth.segments[cells, np.newaxis]).reshape(1, height, width, -1)
        maps[f"{name}_lnk"] = _logits(links).reshape(1, height, width, -1)
        maps[f"{name}_reg"] = truth.offsets[cells].reshape(1, height, width, 6)
        start = cells.stop
    return maps


def _logits(flags: Array) -> Array:
    return np.stack([np.zeros_like(flags), (2 * flags - 1) * LOGIT], axis=-1).astype(np.float32)
