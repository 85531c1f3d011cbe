"""What a detector with proposals learns by, held against the papers' rules followed box by box."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from model_zoo.instances import FoundInstances, pasted
from model_zoo.mask_rcnn_tensorflow import anchors
from model_zoo.region_loss import (
    Drawn,
    Objects,
    anchors_on_objects,
    drawn_anchors,
    drawn_regions,
    encoded,
    mask_loss,
    mask_targets,
    matched,
    object_loss,
    overlaps,
    region_loss,
)
from runtime.tensors import Array
from tests.model_zoo.test_mask_rcnn import moved, overlap

tf = pytest.importorskip("tensorflow")

SEED = np.array([7, 3], np.int32)
ANCHORS = anchors([(16, 16), (8, 8)], (8, 16), (24, 48), (128, 128))
SIDE = 128


def boxes(number: int, seed: int, least: float = 0.1) -> Array:
    """y, x, y, x [1, number, 4] as fractions."""
    generator = np.random.default_rng(seed)
    sizes = generator.uniform(least, 0.5, (number, 2))
    places = generator.uniform(0, 1, (number, 2)) * (1 - sizes)
    return np.concatenate([places, places + sizes], axis=1).astype(np.float32)[np.newaxis]


def objects(number: int, seed: int, padding: int = 2) -> Objects:
    """Of one image, behind which are empty ones."""
    real = boxes(number, seed)
    labels = np.concatenate([np.arange(1, number + 1), np.zeros(padding, int)]).astype(np.int32)[np.newaxis]
    whole = np.concatenate([real, np.zeros((1, padding, 4), np.float32)], axis=1)
    return Objects(labels, whole, np.zeros((1, number + padding, SIDE, SIDE), bool))


def around(box: Array, number: int, seed: int, far: float) -> Array:
    """[number, 4], moved by up to `far` of its sides."""
    sides = np.tile(box[2:] - box[:2], 2)
    found: Array = box + np.random.default_rng(seed).uniform(-far, far, (number, 4)) * sides
    return found.astype(np.float32)


def test_overlaps_are_pycocotools_own() -> None:
    one, other = boxes(7, 0), boxes(5, 1)
    upright = [
        np.concatenate([each[0, :, [1, 0]].T, (each[0, :, 2:] - each[0, :, :2])[:, ::-1]], axis=1)
        for each in (one, other)
    ]
    expected = coco_mask.iou(*(each.astype(np.float64) for each in upright), [0] * 5)
    assert (expected > 0).sum() > 5
    np.testing.assert_allclose(overlaps(one, other)[0], expected, atol=1e-6)


def test_an_empty_box_overlaps_nothing() -> None:
    empty = np.zeros((1, 1, 4), np.float32)
    assert not np.any(overlaps(empty, empty))
    assert not np.any(overlaps(empty, np.array([[[0, 0, 1, 1]]], np.float32)))


def test_offsets_make_the_object_of_the_box_as_the_reference_decodes_them() -> None:
    given, wanted = boxes(20, 2), boxes(20, 3)
    np.testing.assert_allclose(moved(given[0], np.asarray(encoded(given, wanted))[0]), wanted[0], atol=1e-5)


def test_offsets_are_those_of_the_paper_over_the_reference_s_deviations() -> None:
    """Girshick et al. 2014, appendix C: from .4 x .2 around (.5, .3) to .4 x .4 around (.6, .4)."""
    given = np.array([0.3, 0.2, 0.7, 0.4], np.float32)
    wanted = np.array([0.4, 0.2, 0.8, 0.6], np.float32)
    by_hand = (0.1 / 0.4 / 0.1, 0.1 / 0.2 / 0.1, 0, math.log(2) / 0.2)
    np.testing.assert_allclose(encoded(given, wanted), by_hand, rtol=1e-5, atol=1e-5)


def test_an_empty_box_has_finite_offsets() -> None:
    assert np.isfinite(encoded(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32))).all()


@pytest.mark.parametrize("seed", range(4))
def test_anchors_are_on_objects_and_on_nothing_by_the_rules_of_the_paper(seed: int) -> None:
    """Ren et al. 2015, section 3.1.2: (i) the best with an object, (ii) 0.7 or more; nothing below 0.3."""
    given = objects(4, seed)
    over = np.asarray(overlaps(ANCHORS[np.newaxis], given.boxes))
    positive, negative = (np.asarray(kind)[0] for kind in anchors_on_objects(over, given.boxes))
    table = np.array([[overlap(anchor, box) for box in given.boxes[0, :4]] for anchor in ANCHORS])
    best = {int(place) for column in table.T for place in np.flatnonzero(column > column.max() - 1e-6)}
    on_object = best | set(np.flatnonzero(table.max(axis=1) >= 0.7).tolist())
    assert set(np.flatnonzero(positive).tolist()) == on_object
    on_nothing = set(np.flatnonzero(table.max(axis=1) < 0.3).tolist()) - on_object
    assert set(np.flatnonzero(negative).tolist()) == on_nothing
    assert 4 <= len(on_object) < len(on_nothing)


def test_without_an_object_no_anchor_is_on_one() -> None:
    given = objects(0, 0)
    positive, negative = anchors_on_objects(overlaps(ANCHORS[np.newaxis], given.boxes), given.boxes)
    assert not np.any(positive)
    assert np.all(negative)


@pytest.mark.parametrize(("positives", "expected"), [(5, 5), (32, 32), (200, 32)])
def test_half_of_the_anchors_drawn_are_on_objects_at_most(positives: int, expected: int) -> None:
    kinds = np.arange(600)[np.newaxis] % 600
    on_object, on_nothing = kinds < positives, kinds >= 250
    first, second = (np.asarray(part) for part in drawn_anchors(on_object, on_nothing, SEED))
    assert (first.sum(), second.sum()) == (expected, 64 - expected)
    assert not (first & ~on_object).any()
    assert not (second & ~on_nothing).any()


def test_draws_are_the_same_for_the_same_seed_and_differ_between_images() -> None:
    all_of_them = np.ones((2, 500), bool)
    nothing = ~all_of_them
    first, again, other = (
        np.asarray(drawn_anchors(all_of_them, nothing, SEED + shift)[0]) for shift in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])


def test_every_anchor_is_drawn_as_often_as_any_other() -> None:
    """32 of 128 a time: within five deviations of the binomial distribution."""
    counts = np.zeros(128)
    for number in range(400):
        first, _ = drawn_anchors(np.ones((1, 128), bool), np.zeros((1, 128), bool), SEED + number)
        counts += np.asarray(first)[0]
    assert np.abs(counts - 100).max() < 5 * math.sqrt(400 * 0.25 * 0.75)


def test_of_the_regions_some_on_objects_and_some_on_nothing_are_drawn() -> None:
    given = objects(2, 5)
    near = np.concatenate([around(given.boxes[0, place], 10, place, 0.15) for place in (0, 1)])
    far = boxes(30, 6, least=0.3)[0]
    regions = np.concatenate([near, far, np.zeros((4, 4), np.float32)])[np.newaxis]
    found = np.asarray(drawn_regions(regions, given, Drawn(6, 12, 6), SEED))[0]
    most = [max(overlap(box, each) for each in given.boxes[0, :2]) for box in found]
    assert min(most[:6]) >= 0.5 > max(most[6:])
    assert len({box.tobytes() for box in found}) == 18
    assert ((found[:, 2:] - found[:, :2]) > 0).all()
    again = np.asarray(drawn_regions(regions, given, Drawn(6, 12, 6), SEED))[0]
    np.testing.assert_array_equal(found, again)


def test_where_no_region_is_on_an_object_the_objects_themselves_are_taken_in_turn() -> None:
    given = objects(2, 5)
    regions = np.array([[[0, 0, 0.01, 0.01], [0.99, 0.99, 1, 1]]], np.float32)
    found = np.asarray(drawn_regions(regions, given, Drawn(6, 4, 6), SEED))[0]
    rows = [box.tobytes() for box in found]
    assert {rows.count(box.tobytes()) for box in given.boxes[0, :2]} == {3}
    assert {rows.count(box.tobytes()) for box in regions[0]} == {2}


def test_nothing_is_learned_through_the_places_of_regions() -> None:
    given, regions = objects(1, 0), tf.Variable(boxes(3, 1))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(drawn_regions(regions, given, Drawn(2, 2, 2), SEED))
    assert tape.gradient(value, regions) is None


def test_a_region_has_the_label_of_the_object_that_it_overlaps_most_by_half() -> None:
    given = objects(3, 8)
    regions = np.concatenate([around(box, 12, 9, 0.35) for box in given.boxes[0, :3]])[np.newaxis]
    labels, nearest = (np.asarray(part)[0] for part in matched(regions, given))
    table = np.array([[overlap(region, box) for box in given.boxes[0, :3]] for region in regions[0]])
    np.testing.assert_array_equal(labels, np.where(table.max(axis=1) >= 0.5, table.argmax(axis=1) + 1, 0))
    np.testing.assert_array_equal(nearest, table.argmax(axis=1))
    assert {0, 1, 2, 3} == set(labels.tolist())


def normalised(*pixels: int) -> Any:
    """Edges top, left, bottom, right, as the one box [1, 1, 4] of an image."""
    return tf.constant([[(np.array(pixels) - (0, 0, 1, 1)) / (SIDE - 1)]], tf.float32)


def disc(row: float, column: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside: NDArray[np.bool_] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside


def test_a_box_as_large_as_the_target_has_the_mask_s_own_pixels() -> None:
    masks = np.stack([disc(40, 50, 11.3), disc(90, 90, 20)])[np.newaxis]
    region = normalised(30, 31, 58, 59)
    given = Objects(np.array([[1, 2]]), np.zeros((1, 2, 4)), masks)
    for nearest in (0, 1):
        found = np.asarray(mask_targets(region, np.array([[nearest]]), given, 28))[0, 0]
        np.testing.assert_array_equal(found, masks[0, nearest, 30:58, 31:59])


@pytest.mark.parametrize("edges", [(20, 30, 61, 70), (10, 12, 90, 100), (31, 41, 50, 60), (0, 0, 128, 128)])
def test_pasted_into_the_image_a_target_is_the_mask_again(edges: tuple[int, int, int, int]) -> None:
    top, left, bottom, right = edges
    whole = disc((top + bottom - 1) / 2, (left + right - 1) / 2, 0.4 * min(bottom - top, right - left))
    given = Objects(np.array([[1]]), np.zeros((1, 1, 4)), whole[np.newaxis, np.newaxis])
    box = normalised(*edges)
    target = np.asarray(mask_targets(box, np.array([[0]]), given, 28))[0]
    found = FoundInstances(np.array([1]), np.ones(1), np.asarray(box)[0][:, [1, 0, 3, 2]], target)
    (again,) = pasted(found, SIDE, SIDE)
    assert (again & whole).sum() / (again | whole).sum() > 0.94


def entropy(logits: Array, label: int) -> float:
    return math.log(sum(math.exp(value) for value in logits.tolist())) - float(logits[label])


def smooth(values: Array) -> float:
    """Girshick 2015, equation 3, meant over a box's four offsets."""
    sizes = np.abs(values).tolist()
    return math.fsum(0.5 * size**2 if size < 1 else size - 0.5 for size in sizes) / 4


def test_the_loss_of_regions_is_that_of_the_paper() -> None:
    generator = np.random.default_rng(4)
    given = objects(3, 4)
    scores = generator.normal(0, 2, (1, len(ANCHORS), 2)).astype(np.float32)
    offsets = generator.normal(0, 2, (1, len(ANCHORS), 4)).astype(np.float32)
    over = overlaps(ANCHORS[np.newaxis], given.boxes)
    positive, negative = (
        np.asarray(part)[0] for part in drawn_anchors(*anchors_on_objects(over, given.boxes), SEED)
    )
    table = np.asarray(over)[0]
    total, boxes_total = 0.0, 0.0
    for place in np.flatnonzero(positive | negative):
        total += entropy(scores[0, place].astype(float), int(positive[place]))
        if positive[place]:
            wanted = np.asarray(encoded(ANCHORS[place], given.boxes[0, table[place].argmax()]))
            boxes_total += smooth(offsets[0, place] - wanted)
    expected = total / 64 + boxes_total / positive.sum()
    assert float(region_loss(scores, offsets, ANCHORS, given, SEED)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_objects_is_that_of_their_own_class() -> None:
    generator = np.random.default_rng(5)
    scores = generator.normal(0, 2, (2, 6, 4)).astype(np.float32)
    offsets = generator.normal(0, 1, (2, 6, 4, 4)).astype(np.float32)
    labels = np.array([[1, 3, 0, 0, 2, 0], [0, 0, 0, 2, 2, 0]], np.int32)
    regions, wanted = boxes(12, 6).reshape(2, 6, 4), boxes(12, 7).reshape(2, 6, 4)
    classes, moves = [], []
    for image, place in np.ndindex(2, 6):
        label = int(labels[image, place])
        classes.append(entropy(scores[image, place].astype(float), label))
        if label:
            target = np.asarray(encoded(regions[image, place], wanted[image, place]))
            moves.append(smooth(offsets[image, place, label] - target))
    expected = np.mean(classes) + np.mean(moves)
    assert float(object_loss(scores, offsets, regions, labels, wanted)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_masks_is_that_of_their_own_class() -> None:
    generator = np.random.default_rng(6)
    logits = generator.normal(0, 2, (2, 3, 4, 5, 3)).astype(np.float32)
    wanted = (generator.random((2, 3, 4, 5)) < 0.5).astype(np.float32)
    labels = np.array([[1, 0, 2], [2, 1, 0]], np.int32)
    found = []
    for image, place in np.ndindex(2, 3):
        if label := int(labels[image, place]):
            shares = 1 / (1 + np.exp(-logits[image, place, :, :, label].astype(float)))
            right = np.where(wanted[image, place] > 0, shares, 1 - shares)
            found.append(-np.log(right).mean())
    assert float(mask_loss(logits, labels, wanted)) == pytest.approx(np.mean(found), rel=1e-5)


def test_a_batch_without_objects_teaches_only_that_there_is_nothing() -> None:
    given, count = objects(0, 0), len(ANCHORS)
    scores, offsets = (tf.Variable(np.zeros((1, count, width), np.float32)) for width in (2, 4))
    with tf.GradientTape() as tape:
        value = region_loss(scores, offsets, ANCHORS, given, SEED)
    of_scores, of_offsets = tape.gradient(value, [scores, offsets])
    assert float(value) == pytest.approx(math.log(2))
    assert np.count_nonzero(np.asarray(of_scores)[0, :, 0]) == 64
    assert not np.any(of_offsets)
    masks: Any = tf.Variable(np.ones((1, 2, 4, 4, 3), np.float32))
    with tf.GradientTape() as tape:
        value = mask_loss(masks, np.zeros((1, 2), np.int32), np.zeros((1, 2, 4, 4), np.float32))
    assert float(value) == 0
    assert not np.any(tape.gradient(value, masks))
