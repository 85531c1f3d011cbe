"""Objects with masks: closed forms, and Pillow's resizing."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from model_zoo.instances import INSTANCES, FoundInstances, instances, pasted
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array


def outputs(**changes: Array) -> dict[str, Array]:
    """Two images; the first has two objects and one with an empty box, the second none."""
    boxes = np.zeros((2, 3, 4), np.float32)
    boxes[0] = [(0, 0, 0.5, 0.25), (0.5, 0.5, 0.5, 0.9), (0.2, 0.4, 1, 1)]
    answer: dict[str, Array] = {
        "scores": np.array([[0.9, 0.8, 0.6], [0, 0, 0]], np.float32),
        "boxes": boxes,
        "classes": np.array([[3, 1, 7], [0, 0, 0]], np.float32),
        "masks": np.ones((2, 3, 4, 4), np.float32),
    }
    return answer | changes


def found(corners: tuple[float, ...], mask: Array) -> FoundInstances:
    return FoundInstances(np.array([1]), np.array([1.0]), np.array([corners], np.float32), mask[np.newaxis])


def test_objects_are_read_without_empty_boxes_and_zeros_behind_them() -> None:
    first, second = instances(outputs(), 2)
    assert first.labels.tolist() == [3, 7]
    np.testing.assert_allclose(first.corners, [(0, 0, 0.25, 0.5), (0.4, 0.2, 1, 1)], rtol=1e-6)
    assert first.masks.shape == (2, 4, 4)
    assert len(second.scores) == 0


def test_agreement_is_the_share_of_objects_both_runs_show() -> None:
    one = outputs()
    assert INSTANCES.agreeing(one, one, 2).tolist() == [1, 1]
    other = outputs(classes=np.array([[3, 1, 8], [0, 0, 0]], np.float32))
    assert INSTANCES.agreeing(one, other, 2).tolist() == [0.5, 1]


def test_other_outputs_are_refused() -> None:
    with pytest.raises(
        GraphError, match=r"want outputs scores, boxes, classes, masks; the graph gives \['y'\]"
    ):
        instances({"y": np.zeros(1)}, 1)
    with pytest.raises(CheckFailed, match="finds nothing"):
        instances(outputs(scores=np.full((2, 3), np.nan, np.float32)), 2)


def test_a_full_mask_fills_its_box() -> None:
    """0 is the first pixel and 1 the last; a box ends in front of its second corner."""
    (whole,) = pasted(found((0.25, 0.5, 0.75, 1), np.ones((28, 28))), 101, 201)
    rows, columns = np.nonzero(whole)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (50, 101, 50, 151)
    assert whole.sum() == 51 * 101


def test_what_lies_outside_of_the_image_is_left_out() -> None:
    left_half = np.zeros((2, 2))
    left_half[:, 0] = 1
    (whole,) = pasted(found((-0.52, 0, 0.48, 1), left_half), 11, 101)
    assert not whole.any()
    (whole,) = pasted(found((-0.52, 0, 0.48, 1), 1 - left_half), 11, 101)
    np.testing.assert_array_equal(np.nonzero(whole.all(axis=0))[0], np.arange(49))


def test_masks_are_resized_as_by_pillow() -> None:
    mask = np.random.default_rng(0).uniform(size=(28, 28)).astype(np.float32)
    (whole,) = pasted(found((0, 0, 1, 1), mask), 97, 150)
    size = (150, 97)
    expected = np.asarray(PIL.Image.fromarray(mask).resize(size, PIL.Image.Resampling.BILINEAR)) >= 0.5
    assert (whole == expected).mean() > 0.999  # rounding, at the threshold


def test_an_empty_box_has_no_pixel() -> None:
    (whole,) = pasted(found((0.5, 0.5, 0.501, 0.501), np.ones((4, 4))), 11, 11)
    assert not whole[6:].any()
    (whole,) = pasted(found((0.5, 0.5, 0.3, 0.3), np.ones((4, 4))), 11, 11)
    assert not whole.any()
