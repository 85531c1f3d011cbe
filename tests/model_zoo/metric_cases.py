"""Seeded samples for every metric: truths, answers that are mostly right, and answers of zeros."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.detection import Found
from model_zoo.metrics.objects import FoundMasks, FoundPersons, TrueObjects, TrueText

SIDE = 48
"""Height and width of the images."""


@dataclasses.dataclass(frozen=True)
class Case:
    """As many truths as answers; `zero` is an answer of the same form in which all is 0 or empty."""

    truths: list[Any]
    answers: list[Any]
    zero: Any


Maker = Callable[[np.random.Generator, int], Case]


def case(metric: str, samples: int, seed: int = 0) -> Case:
    return MAKERS[metric](np.random.default_rng(seed), samples)


def corners(generator: np.random.Generator, number: int) -> NDArray[np.float64]:
    """Boxes [number, 4] of 8 to 20 pixels."""
    low = generator.integers(0, SIDE - 20, (number, 2)).astype(np.float64)
    return np.concatenate([low, low + generator.integers(8, 20, (number, 2))], axis=1)


def true_objects(generator: np.random.Generator, classes: int = 3) -> TrueObjects:
    number = int(generator.integers(1, 4))
    return TrueObjects(
        labels=generator.integers(1, classes + 1, number),
        corners=corners(generator, number),
        ignored=generator.random(number) < 0.1,
        size=(SIDE, SIDE),
    )


def found(generator: np.random.Generator, truth: TrueObjects, jitter: float = 1.0) -> Found:
    """All objects within about `jitter` pixels, the scores two digits long so that some are the same."""
    moved = truth.corners + generator.normal(0, jitter, truth.corners.shape)
    scores = np.round(generator.uniform(0.5, 1, len(truth)), 2)
    return Found(truth.labels.copy(), scores, moved)


def box_mask(box: NDArray[np.float64]) -> NDArray[np.bool_]:
    left, top, right, bottom = np.rint(box).astype(int)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return mask


def outlined(truth: TrueObjects) -> TrueObjects:
    """With the rectangle of each box as its polygon."""
    outlines = tuple(
        [[left, top, right, top, right, bottom, left, bottom]] for left, top, right, bottom in truth.corners
    )
    return dataclasses.replace(truth, outlines=outlines)


def masks_of(answer: Found) -> FoundMasks:
    return FoundMasks(answer.labels, answer.scores, tuple(map(box_mask, answer.corners)))


def persons(generator: np.random.Generator) -> TrueObjects:
    truth = dataclasses.replace(true_objects(generator), labels=np.ones(0, np.int64))
    number = len(truth.corners)
    sizes = truth.corners[:, 2:] - truth.corners[:, :2]
    places = truth.corners[:, None, :2] + generator.random((number, 17, 2)) * sizes[:, None]
    visible = generator.integers(0, 3, (number, 17, 1))
    return dataclasses.replace(
        truth, labels=np.ones(number, np.int64), key_points=np.concatenate([places, visible], axis=-1)
    )


def found_persons(generator: np.random.Generator, truth: TrueObjects, jitter: float = 0.3) -> FoundPersons:
    assert truth.key_points is not None
    places = truth.key_points[..., :2] + generator.normal(0, jitter, (len(truth), 17, 2))
    return FoundPersons(generator.random(len(truth)), places)


def quadrilateral(box: NDArray[np.float64]) -> NDArray[np.float64]:
    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _classes(generator: np.random.Generator, samples: int) -> Case:
    truths = generator.integers(0, 20, samples)
    scores = generator.random((samples, 20)) + 2 * np.eye(20)[truths]
    return Case(truths.tolist(), list(scores), np.zeros(20))


def _outcomes(generator: np.random.Generator, samples: int) -> Case:
    truths = generator.random(samples) < 0.5
    return Case(truths.tolist(), (0.1 + 0.8 * truths - 0.05 * generator.random(samples)).tolist(), 0.0)


def _candidates(generator: np.random.Generator, samples: int) -> Case:
    scores = generator.random((samples, 100))
    scores[:, 0] += 1
    return Case([0] * samples, list(scores), np.zeros(100))


def _pairs(generator: np.random.Generator, samples: int) -> Case:
    scores = generator.random((samples, 2)) + np.array([1, 0])
    return Case([np.array([True, False])] * samples, list(scores), np.zeros(2))


def _words(generator: np.random.Generator, samples: int) -> Case:
    letters = generator.choice(list("abcdefghij"), (samples, 6))
    words = ["".join(row) for row in letters]
    return Case(words, list(words), "")


def _sentences(generator: np.random.Generator, samples: int) -> Case:
    words = [f"w{number}" for number in range(60)]
    rows = [" ".join(generator.choice(words, 10)) for _ in range(samples)]
    return Case(rows, [row.replace("w1 ", "w2 ") for row in rows], "")


def _people_answered(generator: np.random.Generator, samples: int) -> Case:
    given = _words(generator, samples)
    truths = [(f"the {word} house", f"{word}!") for word in given.truths]
    return Case(truths, [f"{word} house" for word in given.truths], "")


def _boxes(generator: np.random.Generator, samples: int) -> Case:
    truths = [true_objects(generator) for _ in range(samples)]
    zero = Found(np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 4)))
    return Case(truths, [found(generator, truth) for truth in truths], zero)


def _masks(generator: np.random.Generator, samples: int) -> Case:
    boxes = _boxes(generator, samples)
    zero = FoundMasks(np.zeros(1, np.int64), np.zeros(1), (np.zeros((SIDE, SIDE), bool),))
    return Case([outlined(truth) for truth in boxes.truths], [masks_of(box) for box in boxes.answers], zero)


def _poses(generator: np.random.Generator, samples: int) -> Case:
    truths = [persons(generator) for _ in range(samples)]
    zero = FoundPersons(np.zeros(1), np.zeros((1, 17, 2)))
    return Case(truths, [found_persons(generator, truth) for truth in truths], zero)


def _points(generator: np.random.Generator, samples: int) -> Case:
    """Of one object in each image."""
    persons_ = [persons(generator) for _ in range(samples)]
    truths = [
        dataclasses.replace(truth, labels=truth.labels[:1], corners=truth.corners[:1], key_points=points[:1])
        for truth, points in ((each, each.key_points) for each in persons_)
        if points is not None
    ]
    return Case(
        truths,
        [found_persons(generator, truth) for truth in truths],
        FoundPersons(np.zeros(1), np.zeros((1, 17, 2))),
    )


def _texts(generator: np.random.Generator, samples: int) -> Case:
    boxes = _boxes(generator, samples)
    truths = [TrueText(tuple(map(quadrilateral, truth.corners)), ~truth.ignored) for truth in boxes.truths]
    answers = [[quadrilateral(box) for box in answer.corners] for answer in boxes.answers]
    return Case(truths, answers, [np.zeros((4, 2))])


MAKERS: Mapping[str, Maker] = {
    "top-1": _classes,
    "top-5": _classes,
    "node-accuracy": _classes,
    "binary-accuracy": _outcomes,
    "voc-map": _boxes,
    "coco-box-ap": _boxes,
    "coco-box-ap50": _boxes,
    "coco-mask-ap": _masks,
    "coco-mask-ap50": _masks,
    "coco-keypoint-ap": _poses,
    "pck@0.1": _points,
    "pck@0.05": _points,
    "text-f-measure": _texts,
    "word-accuracy": _words,
    "character-accuracy": _words,
    "character-error-rate": _words,
    "auc": _outcomes,
    "gauc": _pairs,
    "hr@10": _candidates,
    "ndcg@10": _candidates,
    "bleu": _sentences,
    "squad-exact-match": _people_answered,
    "squad-f1": _people_answered,
}
