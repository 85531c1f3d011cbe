"""What detectors' outputs mean, against boxes worked by hand and plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.detection import (
    REGIONS,
    SINGLE_SHOT,
    RegionClasses,
    overlaps,
    refined,
    single_shot,
    suppressed,
)
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array

BOX = (0.1, 0.1, 0.5, 0.5)
BESIDE = (0.12, 0.1, 0.52, 0.5)  # over BOX by 0.38 * 0.4 / (2 * 0.16 - 0.152) = 0.9
ELSEWHERE = (0.6, 0.6, 0.9, 0.9)
LIMIT = 0.3001  # no ratio of areas below 10 000 is this very number


def rows(*found: tuple[float, ...]) -> dict[str, Array]:
    """Image, label, score, corners each."""
    return {"detection_out": np.array(found, np.float32).reshape(1, 1, -1, 7)}


def agree(reference: dict[str, Array], outputs: dict[str, Array], samples: int = 1) -> list[float]:
    found: list[float] = SINGLE_SHOT.agreeing(reference, outputs, samples).tolist()
    return found


def test_rows_go_to_their_images_and_a_row_of_minus_one_is_none() -> None:
    found = single_shot(rows((0, 3, 0.9, *BOX), (2, 5, 0.8, *ELSEWHERE), (1, -1, -1, *[-1.0] * 4)), 3)
    assert [part.labels.tolist() for part in found] == [[3], [], [5]]
    np.testing.assert_allclose(found[2].corners, [ELSEWHERE], rtol=1e-6)


def test_the_same_objects_agree_in_any_order() -> None:
    one, other = (0, 3, 0.9, *BOX), (0, 5, 0.8, *ELSEWHERE)
    assert agree(rows(one, other), rows(other, (0, 3, 0.85, *BESIDE))) == [1]


@pytest.mark.parametrize(
    "changed",
    [(0, 4, 0.9, *BOX), (0, 3, 0.9, *ELSEWHERE), (0, 3, 0.2, *BOX)],
    ids=["another class", "another place", "not seen"],
)
def test_an_object_that_only_one_run_shows_disagrees_either_way(changed: tuple[float, ...]) -> None:
    kept = (0, 3, 0.9, *BOX)
    other = (0, 7, 0.9, 0.7, 0.1, 0.9, 0.2)
    assert agree(rows(kept), rows(changed)) == agree(rows(changed), rows(kept)) == [0]
    shown = 4 if changed[2] > 0.5 else 3
    assert agree(rows(kept, other), rows(changed, other)) == pytest.approx([2 / shown])


def test_a_box_at_the_edge_of_being_shown_decides_nothing() -> None:
    assert agree(rows((0, 3, 0.51, *BOX)), rows((0, 3, 0.49, *BOX))) == [1]
    assert agree(rows((0, 3, 0.49, *BOX)), rows((0, 3, 0.1, *BOX))) == [1]


def test_images_are_judged_apart_and_nothing_equals_nothing() -> None:
    reference = rows((0, 3, 0.9, *BOX), (1, 3, 0.9, *BOX))
    assert agree(reference, rows((0, 3, 0.9, *BOX)), samples=3) == [1, 0, 1]


def test_lists_by_class_go_to_their_images_without_the_zeros_behind_them() -> None:
    """Two images, three classes but the background, four rows each; corners begin with y."""
    scores, boxes = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4, 4), np.float32)
    scores[0, 2, :2], boxes[0, 2, 0], boxes[0, 2, 1] = (0.9, 0.8), (0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8)
    scores[1, 0, 0], boxes[1, 0, 0] = 0.7, (0.1, 0.2, 0.3, 0.4)
    first, second = single_shot({"scores": scores, "boxes": boxes}, 2)
    assert (first.labels.tolist(), second.labels.tolist()) == ([3, 3], [1])
    np.testing.assert_allclose(first.corners, [[0.2, 0.1, 0.4, 0.3], [0.6, 0.5, 0.8, 0.7]], rtol=1e-6)
    np.testing.assert_allclose(second.scores, [0.7], rtol=1e-6)
    with pytest.raises(CheckFailed, match="output 'scores' holds 1 NaN"):
        single_shot({"scores": np.where(scores == 0.7, np.nan, scores).astype("f"), "boxes": boxes}, 2)


def test_other_outputs_than_a_detectors_are_refused() -> None:
    with pytest.raises(
        GraphError, match=r"wants one output \[1, 1, rows, 7\], or scores and boxes; the graph"
    ):
        single_shot({"prob": np.zeros((2, 1000), np.float32)}, 2)
    with pytest.raises(GraphError, match="regions want outputs rois, cls_prob, bbox_pred"):
        REGIONS.read(rows((0, 3, 0.9, *BOX)), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_finds_nothing(bad: float) -> None:
    broken = rows((0, 3, bad, *BOX))
    with pytest.raises(CheckFailed, match=r"'detection_out' holds 1 NaN or infinite values of 7"):
        agree(broken, broken)


def test_regions_are_moved_by_the_offsets_of_their_class() -> None:
    """Worked by hand: 11 pixels wide, centre 5.5; a tenth to the right, and twice as high."""
    offsets = np.zeros((1, 2, 4), np.float32)
    offsets[0, 1] = [0.1, 0, 0, np.log(2)]
    boxes = refined(np.array([[0, 0, 10, 10]], np.float32), offsets)
    np.testing.assert_allclose(boxes[0, 0], [0, 0, 11, 11], atol=1e-5)
    np.testing.assert_allclose(boxes[0, 1], [1.1, -5.5, 12.1, 16.5], atol=1e-5)


def test_the_best_of_overlapping_regions_is_kept_in_each_class() -> None:
    outputs = _regions(
        [(0, 0, 0, 99, 99), (0, 2, 0, 101, 99), (0, 200, 200, 299, 299), (1, 0, 0, 99, 99)],
        [(0.1, 0.8, 0.1), (0.1, 0.7, 0.2), (0.3, 0.04, 0.66), (0.9, 0.0, 0.1)],
    )
    first, second = RegionClasses()(outputs, 2)
    assert first.labels.tolist() == [1, 2, 2]
    np.testing.assert_allclose(first.scores, [0.8, 0.66, 0.2], rtol=1e-6)
    assert (second.labels.tolist(), len(second.corners)) == ([2], 1)


def test_an_image_keeps_its_best_boxes_and_may_have_none() -> None:
    corners = [(0, 200 * i, 0, 200 * i + 99, 99) for i in range(5)]
    scores = [(0.0, 0.5 + i / 20, 0.0) for i in range(5)]
    (found,) = RegionClasses(most=3)(_regions(corners, scores), 1)
    np.testing.assert_allclose(found.scores, [0.7, 0.65, 0.6], rtol=1e-6)
    (nothing,) = RegionClasses()(_regions([], []), 1)
    assert len(nothing.labels) == 0


@given(st.integers(0, 2**32 - 1))
def test_suppression_is_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 40, (12, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 30, (12, 2))], axis=1).astype(np.float32)
    kept: list[int] = []
    for index in range(12):
        if all(_overlap(boxes[index], boxes[other]) <= LIMIT for other in kept):
            kept.append(index)
    assert suppressed(boxes, LIMIT).tolist() == kept


def test_overlaps_are_areas_shared_over_areas_covered() -> None:
    boxes = np.array([BOX, BESIDE, ELSEWHERE, (0.5, 0.5, 0.4, 0.4)], np.float32)
    found = overlaps(boxes, boxes)
    assert found[0, 1] == pytest.approx(0.38 * 0.4 / (2 * 0.16 - 0.38 * 0.4), rel=1e-5)
    assert (found[0, 2], found[3, 3]) == (0, 0)  # a box inside out covers nothing
    assert all(found[a, b] == found[b, a] for a, b in itertools.product(range(4), repeat=2))


def _regions(corners: Sequence[tuple[float, ...]], scores: Sequence[tuple[float, ...]]) -> dict[str, Array]:
    return {
        "rois": np.array(corners, np.float32).reshape(-1, 5),
        "cls_prob": np.array(scores, np.float32).reshape(-1, 3),
        "bbox_pred": np.zeros((len(corners), 12), np.float32),
    }


def _overlap(a: Array, b: Array) -> float:
    """With the last pixel counted."""
    across = min(a[2], b[2]) - max(a[0], b[0]) + 1
    down = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if across <= 0 or down <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return float(across * down / (areas[0] + areas[1] - across * down))
