"""What single-shot detectors learn by, held against Liu et al. 2015, section 2.2, followed box by box."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.detection_layers import PriorBoxes
from model_zoo.prior_boxes import prior_boxes
from model_zoo.single_shot_loss import encoded, matched
from runtime.tensors import Array

PRIORS = prior_boxes(
    [PriorBoxes(16, 32, (2.0,), 8), PriorBoxes(32, 64, (2.0,), 16)], [(8, 8), (4, 4)], (64, 64)
)


def boxes(number: int, seed: int) -> Array:
    """x1, y1, x2, y2 as fractions, of a twentieth at least."""
    generator = np.random.default_rng(seed)
    sizes = generator.uniform(0.05, 0.6, (number, 2))
    places = generator.uniform(0, 1, (number, 2)) * (1 - sizes)
    return np.concatenate([places, places + sizes], axis=1)


def corners_of(prior: Array) -> list[float]:
    y, x, height, width = prior.tolist()
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def followed(labels: list[int], table: Array) -> list[int]:
    """The two rules of the paper, from overlaps [objects, priors]."""
    found = [labels[row.argmax()] if row.max() > 0.5 else 0 for row in table.T]
    pairs = sorted(np.ndindex(table.shape), key=lambda pair: -table[pair])
    objects, priors = set(), set()
    for index, prior in pairs:
        if index not in objects and prior not in priors:
            objects.add(index)
            priors.add(prior)
            found[prior] = labels[index]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_prior_has_the_object_it_overlaps_most_and_every_object_has_a_prior(seed: int) -> None:
    corners, labels = boxes(4, seed), np.array([1, 2, 3, 4])
    corners[3] = corners[2] + 0.01  # two that are best with the same prior
    found, _ = matched(labels, corners, PRIORS)
    table = np.array([[overlap(row, corners_of(prior)) for prior in PRIORS] for row in corners.tolist()])
    expected = followed(labels.tolist(), np.round(table, 6))
    assert set(found.tolist()) == {0, 1, 2, 3, 4}
    assert sum(a != b for a, b in zip(found.tolist(), expected, strict=True)) <= ties(table)


def ties(table: Array) -> int:
    """Objects whose best priors are equally good: either may be taken, and another label be left there."""
    best = np.sort(np.round(table, 6), axis=1)
    return 2 * int(np.count_nonzero(best[:, -1] == best[:, -2]))


def test_a_small_object_that_no_prior_covers_still_has_one() -> None:
    found, offsets = matched(np.array([3]), np.array([[0.5, 0.5, 0.53, 0.53]]), PRIORS)
    assert np.count_nonzero(found) == 1
    assert found.max() == 3
    assert np.count_nonzero(offsets.any(axis=1)) == 1


def test_a_scene_without_objects_has_nothing_to_find() -> None:
    labels, offsets = matched(np.zeros(0, np.int64), np.zeros((0, 4)), PRIORS)
    assert labels.shape == (len(PRIORS),)
    assert offsets.shape == (len(PRIORS), 4)
    assert not labels.any()
    assert not offsets.any()


def test_offsets_of_a_box_from_a_prior_are_those_of_the_paper() -> None:
    """Equation 2, over the variances .1 and .2 of the authors' code: centre (.3, .6), 0.2 wide, 0.4 high."""
    box, prior = np.array([[0.2, 0.4, 0.4, 0.8]]), np.array([[0.5, 0.25, 0.2, 0.1]])
    by_hand = [(0.3 - 0.25) / 0.1 / 0.1, (0.6 - 0.5) / 0.2 / 0.1, np.log(2) / 0.2, np.log(2) / 0.2]
    np.testing.assert_allclose(encoded(box, prior), [by_hand])


def test_the_detectors_own_end_makes_the_boxes_of_their_offsets() -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.detection_tensorflow import decoded

    corners = boxes(1, 0)
    offsets = encoded(np.repeat(corners, len(PRIORS), axis=0), PRIORS).astype(np.float32)
    found = decoded(offsets[np.newaxis], PRIORS).numpy()[0]
    np.testing.assert_allclose(found, np.repeat(corners[:, [1, 0, 3, 2]], len(PRIORS), axis=0), atol=1e-5)


def by_hand(scores: Array, offsets: Array, labels: Array, wanted: Array) -> float:
    """Equations 1 to 3, prior by prior; of the negatives the worst three for each positive of the image."""
    total = 0.0
    for image in range(len(scores)):
        entropies = [
            float(np.log(np.exp(row).sum()) - row[label])
            for row, label in zip(scores[image].astype(float), labels[image], strict=True)
        ]
        positives = [place for place, label in enumerate(labels[image]) if label]
        negatives = sorted(entropies[place] for place, label in enumerate(labels[image]) if not label)
        total += sum(entropies[place] for place in positives)
        total += sum(negatives[::-1][: 3 * len(positives)])
        for place in positives:
            for distance in np.abs(offsets[image, place] - wanted[image, place]).tolist():
                total += distance**2 / 2 if distance < 1 else distance - 0.5
    return total / np.count_nonzero(labels)


@pytest.mark.parametrize(
    ("positives", "priors"), [((1, 4), 20), ((0, 2), 20), ((3, 3), 9)], ids=["both", "one", "few negatives"]
)
def test_the_loss_is_that_of_the_paper(positives: tuple[int, int], priors: int) -> None:
    pytest.importorskip("tensorflow")
    from model_zoo.single_shot_loss import loss

    generator = np.random.default_rng(0)
    scores = generator.normal(0, 2, (2, priors, 5)).astype(np.float32)
    offsets, wanted = generator.normal(0, 1, (2, 2, priors, 4)).astype(np.float32)
    labels = np.zeros((2, priors), np.int32)
    for row, number in zip(labels, positives, strict=True):
        row[:number] = generator.integers(1, 5, number)
    found = float(loss(scores, offsets, labels, wanted))
    assert found == pytest.approx(by_hand(scores, offsets, labels, wanted), rel=1e-5)


def test_a_batch_without_objects_teaches_nothing() -> None:
    tf = pytest.importorskip("tensorflow")
    from model_zoo.single_shot_loss import loss

    scores = tf.Variable(np.random.default_rng(0).normal(size=(1, 6, 3)).astype(np.float32))
    nothing = np.zeros((1, 6, 4), np.float32)
    with tf.GradientTape() as tape:
        value = loss(scores, nothing, np.zeros((1, 6), np.int32), nothing)
    assert float(value) == 0
    assert not np.any(tape.gradient(value, scores))
