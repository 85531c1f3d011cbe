"""Text boxes of segments and links, against boxes worked by hand, plain loops and OpenCV's corners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_zoo.text_boxes import TextBoxes, box_of, components, corners, upright
from runtime.errors import CheckFailed, GraphError
from runtime.tensors import Array

MAPS = ((4, 6), (2, 3), (1, 2))
CELLS, FINEST = 24 + 6 + 2, 24
TASK = TextBoxes(MAPS)


def test_segments_that_links_join_are_one_box() -> None:
    outputs = _outputs({7: (24, 24), 8: (40, 24), 9: (56, 24), 20: (120, 100)}, local=[(7, 8), (9, 8)])
    (boxes,) = TASK.read(outputs, 1)
    np.testing.assert_allclose(boxes, [(40, 24, 48, 10, 0), (120, 100, 16, 10, 0)], atol=1e-9)


@pytest.mark.parametrize(("segment", "link"), [(0.89, 0.95), (0.95, 0.69)])
def test_a_link_needs_both_segments_and_a_probability(segment: float, link: float) -> None:
    outputs = _outputs({7: (24, 24), 8: (40, 24)}, local=[(7, 8)])
    outputs["segments"][0, 8] = segment
    outputs["local_links"][outputs["local_links"] > 0] = link
    (boxes,) = TASK.read(outputs, 1)
    assert len(boxes) == (1 if segment < 0.9 else 2)
    np.testing.assert_allclose(boxes[0], (24, 24, 16, 10, 0), atol=1e-9)


def test_a_cell_is_linked_to_four_cells_of_the_finer_map() -> None:
    """Cell 28 is row 1, column 1 of the second map: rows 2 and 3, columns 2 and 3 of the first."""
    for place, below in enumerate((14, 15, 20, 21)):
        outputs = _outputs({28: (24, 24), below: (40, 24)})
        assert len(TASK.read(outputs, 1)[0]) == 2
        outputs["cross_links"][0, 28 - FINEST, place] = 0.8
        assert len(TASK.read(outputs, 1)[0]) == 1


def test_cross_links_at_the_far_edge_go_to_the_last_cells() -> None:
    """Of a map whose size rounded up: column 1 of the third map stands for column 2 alone of the second."""
    outputs = _outputs({31: (24, 24), 25: (40, 24)})  # row 0, columns 1 and 2 for the four
    outputs["cross_links"][0, 31 - FINEST, 0] = 0.8
    assert len(TASK.read(outputs, 1)[0]) == 1


def test_a_link_that_leaves_the_map_joins_nothing() -> None:
    """Cell 5 is the last of row 0; its right neighbour is none, and not cell 6 of row 1."""
    outputs = _outputs({5: (24, 24), 6: (40, 24)})
    outputs["local_links"][0, 5, :] = 0.9
    assert len(TASK.read(outputs, 1)[0]) == 2


def test_a_sloping_line_of_text_has_a_turned_box() -> None:
    """Centres on a line of slope 3/4, 25 apart; sine and cosine in the same ratio whatever their length."""
    segments = np.array([(10, 20, 8, 6, 0.3, 0.4), (30, 35, 12, 10, 0.6, 0.8)])
    np.testing.assert_allclose(box_of(segments), (20, 27.5, 25 + 10, 8, np.arctan(0.75)))


def test_centres_beside_the_line_are_projected_onto_it() -> None:
    segments = np.array([(10, 18, 8, 6, 0, 1), (30, 22, 8, 6, 0, 1)])
    np.testing.assert_allclose(box_of(segments), (20, 20, 28, 6, 0))


@given(st.integers(0, 2**32 - 1))
def test_components_are_those_of_a_flood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, 12, (rng.integers(0, 14), 2))
    found = [group.tolist() for group in components(12, edges)]
    assert found == _flooded(12, edges)


def test_corners_are_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    boxes = np.array([(40, 30, 20, 8, 0.3), (12, 90, 33, 14, -1.1), (0, 0, 2, 2, 0)], np.float64)
    for box, found in zip(boxes, corners(boxes), strict=True):
        expected = cv2.boxPoints(((box[0], box[1]), (box[2], box[3]), float(np.degrees(box[4]))))
        np.testing.assert_allclose(_sorted(found), _sorted(expected), atol=1e-4)
    np.testing.assert_allclose(upright(boxes)[2], [-1, -1, 1, 1])


def test_agreement_is_the_share_of_boxes_that_both_know() -> None:
    places = {7: (24.0, 24.0), 20: (120.0, 100.0)}
    reference = _outputs(places)
    assert TASK.agreeing(reference, _outputs({7: (26, 24), 20: (120, 100)}), 1) == [1]
    assert TASK.agreeing(reference, _outputs({7: (24, 24), 20: (160, 100)}), 1) == [0.5]
    assert TASK.agreeing(reference, _outputs({7: (24, 24)}), 1) == pytest.approx([2 / 3])
    assert TASK.agreeing(_outputs({}), _outputs({}), 1) == [1]
    assert TASK.agreeing(_outputs({}), reference, 1) == [0]


def test_samples_are_judged_apart() -> None:
    one, other = _outputs({7: (24, 24)}), _outputs({7: (90, 90)})
    both = {name: np.concatenate([one[name], other[name]]) for name in one}
    twice = {name: np.concatenate([one[name], one[name]]) for name in one}
    assert TASK.agreeing(both, twice, 2).tolist() == [1, 0]


def test_other_outputs_than_seglinks_are_refused() -> None:
    outputs = _outputs({})
    with pytest.raises(GraphError, match=r"want an output 'segments' \[2, 32, 1\], the graph gives"):
        TASK.read(outputs, 2)
    del outputs["cross_links"]
    with pytest.raises(GraphError, match=r"want an output 'cross_links' \[1, 8, 4\]"):
        TASK.read(outputs, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_finds_no_text(bad: float) -> None:
    outputs = _outputs({})
    outputs["geometry"][0, 3, 2] = bad
    with pytest.raises(CheckFailed, match="output 'geometry' holds 1 NaN or infinite values of 192"):
        TASK.read(outputs, 1)


def _outputs(
    places: dict[int, tuple[float, float]], local: list[tuple[int, int]] | None = None
) -> dict[str, Array]:
    """Segments of 16 x 10 pixels in some cells, by their centres; links within the finest map."""
    geometry = np.tile(np.array([0, 0, 16, 10, 0, 1], np.float32), (1, CELLS, 1))
    outputs: dict[str, Array] = {
        "segments": np.zeros((1, CELLS, 1), np.float32),
        "geometry": geometry,
        "local_links": np.zeros((1, CELLS, 8), np.float32),
        "cross_links": np.zeros((1, CELLS - FINEST, 4), np.float32),
    }
    for cell, centre in places.items():
        outputs["segments"][0, cell] = 0.95
        geometry[0, cell, :2] = centre
    neighbours = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    for start, end in local or []:
        step = (end // 6 - start // 6, end % 6 - start % 6)
        outputs["local_links"][0, start, neighbours.index(step)] = 0.8
    return outputs


def _flooded(number: int, edges: NDArray[np.int64]) -> list[list[int]]:
    groups: list[list[int]] = []
    for node in range(number):
        if any(node in group for group in groups):
            continue
        group = {node}
        for _ in range(number):
            group |= {b for a, b in edges.tolist() if a in group} | {
                a for a, b in edges.tolist() if b in group
            }
        groups.append(sorted(group))
    return groups


def _sorted(points: Array) -> Array:
    rounded = np.round(points, 2)
    return points[np.lexsort((rounded[:, 1], rounded[:, 0]))]
