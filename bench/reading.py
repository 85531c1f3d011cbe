"""What a network's outputs say of the photograph it was given: one reader a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.findings import (
    ClassProbability,
    Finding,
    KeyPoint,
    ObjectBox,
    ObjectMask,
    Person,
    Point,
    RunLengths,
    TextOutline,
    Word,
)
from model_zoo import keypoints
from model_zoo.detection import REGIONS, Detection, Found, single_shot
from model_zoo.exam_frames import in_photograph
from model_zoo.framing import Box, Frame
from model_zoo.instances import instances, pasted
from model_zoo.keypoints import KeyPoints
from model_zoo.labels import CHARACTERS, COCO_CLASSES, VOC_CLASSES
from model_zoo.spec import Task
from model_zoo.tasks import Classification
from model_zoo.text_boxes import TextBoxes, corners
from model_zoo.text_recognition import PADDING, BestPath, texts
from runtime.tensors import Array

_BEST = 5
"""Classes shown: top-5 is what ImageNet's networks are judged by."""

_HIGHEST_SUM = 1.01
"""Of probabilities: in BF16 each is off by 2^-9 of itself at most, so their sum is too."""

_SURE = 0.75
"""Score of a key point whose heat map reaches a quarter of what it is trained to have there."""


@dataclass(frozen=True)
class View:
    """Where what a network sees lies in a photograph.

    size:       of the photograph, width and height.
    input_size: of the network's input, height and width.
    """

    frame: Frame
    size: tuple[int, int]
    input_size: tuple[int, int]

    @property
    def part(self) -> Box | None:
        """What the network sees, in pixels of the photograph; None where it sees all."""
        return None if self.frame.box == (0, 0, *self.size) else self.frame.box

    def in_photograph(self, points: Array) -> NDArray[np.float64]:
        """Points [..., 2], x and y in pixels of the input, as pixels of the photograph."""
        return in_photograph(points, self.frame)


@dataclass(frozen=True)
class Answer:
    """What was found, the best first; `remark` says what was left out, or how it was read."""

    findings: tuple[Finding, ...]
    remark: str = ""


Outputs = Mapping[str, Array]


def probabilities(scores: Array) -> NDArray[np.float64]:
    """Scores [classes] as probabilities, which they are already where the graph ends with a softmax.

    The logits that other graphs end at add up to no such sum. It may be below 1: INT8 loses small ones.
    """
    values = scores.astype(np.float64)
    if values.min() >= 0 and values.sum() <= _HIGHEST_SUM:
        return values
    powers = np.exp(values - values.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def _classes(task: Classification, outputs: Outputs, view: View) -> Answer:
    task.answers(outputs)  # raises for outputs that are no classifier's
    shares = probabilities(next(iter(outputs.values())).reshape(-1))
    best = np.argsort(-shares, kind="stable")[:_BEST]
    return Answer(tuple(ClassProbability(int(index), float(shares[index])) for index in best))


def _corners_in_pixels(found: Found, view: View) -> Array:
    return found.corners


def _corners_in_fractions(found: Found, view: View) -> Array:
    """Of the input: SSD's."""
    corners: Array = found.corners * (view.input_size[::-1] * 2)
    return corners


def _corners_between_middles(found: Found, view: View) -> Array:
    """Fractions again, but 0 and 1 are the middles of the first and the last pixel (FoundInstances)."""
    height, width = view.input_size
    corners: Array = found.corners * ((width - 1, height - 1) * 2) + (0, 0, 1, 1)
    return corners


def _objects(
    names: Sequence[str],
    corners_of: Callable[[Found, View], Array],
    task: Detection,
    outputs: Outputs,
    view: View,
) -> Answer:
    shown, remark = _shown(task, outputs)
    return Answer(tuple(_boxes(task.names or names, shown, _placed(corners_of(shown, view), view))), remark)


def _instances(task: Detection, outputs: Outputs, view: View) -> Answer:
    shown, remark = _shown(task, outputs)
    edges = _placed(_corners_between_middles(shown, view), view)
    boxes = _boxes(task.names or COCO_CLASSES, shown, edges)
    width, height = view.size
    scale = np.maximum((width - 1, height - 1) * 2, 1)
    there = replace(shown, corners=(edges - (0, 0, 1, 1)) / scale)
    masks = pasted(there, height, width)
    return Answer(
        tuple(ObjectMask(box, RunLengths.of(mask)) for box, mask in zip(boxes, masks, strict=True)), remark
    )


def _shown(task: Detection, outputs: Outputs) -> tuple[Any, str]:
    """What the task's reader found and is shown, the likeliest first, and how much that leaves out."""
    (found,) = task.read(outputs, 1)
    ordered = found.at(np.argsort(-found.scores, kind="stable"))
    shown = ordered.at(ordered.scores >= task.shown)
    left_out = len(found.scores) - len(shown.scores)
    return shown, f"objects: {len(shown.scores)}; with a score below {task.shown}, not shown: {left_out}"


def _placed(corners: Array, view: View) -> NDArray[np.float64]:
    """Corners [boxes, 4] in pixels of the input as pixels of the photograph, cut off at its edges."""
    places = view.in_photograph(corners.reshape(-1, 2, 2))
    inside: NDArray[np.float64] = np.clip(places, 0, view.size).reshape(-1, 4)
    return inside


def _boxes(names: Sequence[str], found: Found, edges: NDArray[np.float64]) -> Iterator[ObjectBox]:
    for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), edges.tolist(), strict=True):
        left, top, right, bottom = box
        yield ObjectBox(label, names[label], score, (left, top, right, bottom))


def _person(task: KeyPoints, outputs: Outputs, view: View) -> Answer:
    maps = keypoints.heatmaps_of(outputs)
    places = keypoints.key_points(maps, task.taps)
    scores = keypoints.scores(maps, places)[0].tolist()
    points = _points(view.in_photograph(keypoints.in_image(places[0])))
    return Answer(
        (
            Person(
                tuple(
                    KeyPoint(name, score, point, score >= _SURE)
                    for name, score, point in zip(task.points, scores, points, strict=True)
                ),
                task.limbs,
            ),
        ),
        f"what is seen is taken for one {task.what}; a ring is a key point the network is unsure of",
    )


def _lines_of_text(task: TextBoxes, outputs: Outputs, view: View) -> Answer:
    (boxes,) = task.read(outputs, 1)
    outlines = view.in_photograph(corners(boxes))
    found = [_points(outline) for outline in outlines]
    return Answer(tuple(TextOutline((a, b, c, d)) for a, b, c, d in found), f"lines of text: {len(found)}")


def _word(task: BestPath, outputs: Outputs, view: View) -> Answer:
    answers = task.answers(outputs)
    characters = tuple(int(number) for number in answers[0] if number != PADDING)
    (text,) = texts(answers, task.characters or CHARACTERS)
    supposed = f"read with the characters {CHARACTERS}; weights with another order say something else"
    return Answer((Word(text, characters),), "" if task.characters else supposed)


def _points(places: NDArray[np.float64]) -> list[Point]:
    return [(x, y) for x, y in places.tolist()]


Reader = Callable[[Any, Outputs, View], Answer]

READERS: Mapping[object, Reader] = {
    Classification: _classes,
    single_shot: partial(_objects, VOC_CLASSES, _corners_in_fractions),
    REGIONS.read: partial(_objects, VOC_CLASSES, _corners_in_pixels),
    instances: _instances,
    KeyPoints: _person,
    TextBoxes: _lines_of_text,
    BestPath: _word,
}
"""By the kind of a task, or by what reads a detector's outputs. Others cannot be drawn on an image."""


def reader_of(task: Task | None) -> Reader | None:
    """Gives what a task's outputs for one photograph say, and raises what the task does for other outputs."""
    return READERS.get(task.read if isinstance(task, Detection) else type(task))
