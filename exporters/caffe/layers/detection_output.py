"""DetectionOutput: offsets and scores of prior boxes to a list of detections (SSD, DSSD).

What is kept, and in which order, follows DetectionOutputLayer of weiliu89/caffe, branch ssd: for each class
but the background the `top_k` best scores above the threshold, suppressed among themselves, and of all
classes together the `keep_top_k` best; rows by image, then class, then falling score.

Where nothing is found Caffe makes a row of -1 for each image; here there are no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import FLOAT, Term, concat, constant, times, volume
from exporters.caffe.layers.box_codes import decode, decode_again, may_be_inside_out
from exporters.caffe.shapes import dims
from exporters.caffe.suppression import Suppression, places_above
from runtime.tensors import Array

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import DetectionOutputParameter

_LOWEST = float(np.finfo(np.float32).min)
_OF_SSD = 3
"""How many bottoms SSD's layer has."""

_ETA_MATTERS_ABOVE = 0.5
"""Caffe tightens the overlap (eta) only while it is above this."""


@dataclass(frozen=True)
class _Candidates:
    """The best boxes of every image and class: scores [batch, classes * each], boxes [.., 4].

    A score that is not above `threshold` stands for no box.
    """

    scores: Term
    boxes: Term
    labels: Array
    each: int
    threshold: float


def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """[1, 1, rows, 7]: image, label, score, x1, y1, x2, y2 (fractions of the image).

    RefineDet has two more bottoms: how sure its first half is that a box has an object, and how it moves the
    priors before the offsets do.
    """
    parameter = build.parameter.detection_output_param
    _check(build, parameter)
    priors = _priors(build, bottoms[2])
    labels = _labels(parameter)
    offsets, confidences = _offsets(build, bottoms[0], priors), _confidences(build, bottoms[1], priors)
    if len(bottoms) > _OF_SSD:
        confidences = _of_objects(build, confidences, bottoms[3])
    if len(bottoms) > _OF_SSD + 1:
        first = decode(build, _first_offsets(build, bottoms[4], priors), priors, parameter)
        boxes = decode_again(offsets, first, priors, parameter)
    else:
        boxes = decode(build, offsets, priors, parameter)
    scores = confidences.gather(labels, axis=2).transpose(0, 2, 1)
    candidates = _suppressed(parameter, boxes, scores, labels)
    return [_rows(candidates, parameter.keep_top_k).value]


def _check(build: LayerBuilder, parameter: DetectionOutputParameter) -> None:
    suppression = parameter.nms_param
    build.limit("classes", parameter.num_classes)
    if parameter.num_classes < 1 or not _labels(parameter).size:
        raise build.error(f"num_classes is {parameter.num_classes}; give it, the background included")
    if suppression.eta != 1 and suppression.nms_threshold > _ETA_MATTERS_ABOVE:
        raise build.error(
            f"eta {suppression.eta:g} changes the overlap {suppression.nms_threshold:g} from box to box,"
            " which ONNX cannot say; leave eta out"
        )
    if suppression.nms_threshold < 0:
        raise build.error(f"nms_threshold {suppression.nms_threshold:g} must not be negative")
    for name, count in (("top_k", suppression.top_k), ("keep_top_k", parameter.keep_top_k)):
        if count == 0 and (name == "keep_top_k" or suppression.HasField("top_k")):
            raise build.error(f"{name}: 0 keeps nothing; give -1 to keep all")


def _labels(parameter: DetectionOutputParameter) -> Array:
    labels = [label for label in range(parameter.num_classes) if label != parameter.background_label_id]
    return np.array(labels, np.int64)


def _priors(build: LayerBuilder, bottom: ir.Value) -> Array:
    """Corners and variances, [2, boxes, 4]."""
    shape = dims(bottom)
    if bottom.const_value is None or len(shape) != 3 or shape[:2] != (1, 2) or volume(shape) % 8:
        raise build.error(
            f"bottom 2 must be made by PriorBox layers, [1, 2, boxes * 4]; got {list(shape)}"
            f"{'' if bottom.const_value is None else ' of fixed numbers'}"
        )
    return bottom.const_value.numpy().reshape(2, -1, 4)


def _offsets(build: LayerBuilder, bottom: ir.Value, priors: Array) -> Term:
    """[batch, boxes, classes with offsets of their own, 4]."""
    parameter = build.parameter.detection_output_param
    kinds = 1 if parameter.share_location else parameter.num_classes
    return _split_up(build, bottom, "num_classes" if kinds > 1 else "1", (priors.shape[1], kinds, 4))


def _confidences(build: LayerBuilder, bottom: ir.Value, priors: Array) -> Term:
    """[batch, boxes, classes]."""
    classes = build.parameter.detection_output_param.num_classes
    return _split_up(build, bottom, "num_classes", (priors.shape[1], classes))


def _of_objects(build: LayerBuilder, confidences: Term, bottom: ir.Value) -> Term:
    """The confidences; of a box that is hardly an object, one for class 0 and none for all others."""
    boxes, classes = int(confidences.shape[1]), int(confidences.shape[2])
    objectness = _split_up(build, bottom, "2", (boxes, 2)).slice(2, 1, 2)
    least = build.parameter.detection_output_param.objectness_score
    nothing = np.eye(1, classes, dtype=np.float32)[0]
    return (objectness >= least).where(confidences, nothing)


def _first_offsets(build: LayerBuilder, bottom: ir.Value, priors: Array) -> Term:
    """[batch, boxes, 1, 4]."""
    if not build.parameter.detection_output_param.share_location:
        raise build.error("share_location: false cannot be where a fifth bottom moves the priors first")
    return _split_up(build, bottom, "1", (priors.shape[1], 1, 4))


def _split_up(build: LayerBuilder, bottom: ir.Value, kinds: str, shape: tuple[int, ...]) -> Term:
    held = volume(tuple(build.sizes(bottom, 1)))
    if held != volume(shape):
        raise build.error(
            f"a bottom has {held} values a sample, {shape[0]} prior boxes with {kinds} want {volume(shape)}"
            " (forks whose PriorBox makes more boxes, as TextBoxes and FaceBoxes, cannot be told from Caffe)"
        )
    return Term(build, bottom).reshape(dims(bottom)[0], *shape)


def _suppressed(parameter: DetectionOutputParameter, boxes: Term, scores: Term, labels: Array) -> _Candidates:
    """Each class on its own: the best `top_k`, less those that overlap a better one."""
    batch, classes, priors = scores.shape
    top_k = parameter.nms_param.top_k if parameter.nms_param.HasField("top_k") else -1
    each = min(top_k, int(priors)) if top_k > 0 else int(priors)
    threshold = parameter.confidence_threshold if parameter.HasField("confidence_threshold") else _LOWEST
    best, places = scores.largest(each)
    chosen = _boxes_at(boxes, places, labels)
    lists = times(int(classes), batch)
    flat, corners = best.reshape(lists, each), chosen.reshape(lists, each, 4)
    if may_be_inside_out(parameter):  # ONNX sorts the corners; to Caffe such a box overlaps nothing
        start, end = corners.slice(2, 0, 2), corners.slice(2, 2, 4)
        corners = concat([start, end.maximum(start)], axis=2)
    kept = Suppression(each, parameter.nms_param.nms_threshold, threshold).keep(corners, flat)
    nothing = (flat * 0.0) + threshold
    survivors = nothing.make("ScatterND", [kept, flat.gather_rows(kept)], nothing.shape)
    width = int(classes) * each
    best.build.limit("boxes of all classes together", width)
    return _Candidates(
        survivors.reshape(batch, width), chosen.reshape(batch, width, 4), labels, each, threshold
    )


def _boxes_at(boxes: Term, places: Term, labels: Array) -> Term:
    """Boxes [batch, priors, kinds, 4] at `places` [batch, classes, each] of each class."""
    batch, priors, kinds, _ = boxes.shape
    _, classes, each = places.shape
    if kinds == 1:
        flat = boxes.reshape(batch, priors, 4)
        rows = places.reshape(batch, times(int(classes), int(each)), 1)
    else:
        flat = boxes.reshape(batch, int(priors) * int(kinds), 4)
        shifted = places * int(kinds) + labels[:, np.newaxis]
        rows = shifted.reshape(batch, int(classes) * int(each), 1)
    return flat.gather_rows(rows, batch_dims=1)


def _rows(candidates: _Candidates, keep: int) -> Term:
    """One row for each box that is left, of each image the best `keep` (-1: all)."""
    build = candidates.scores.build
    _, width = candidates.scores.shape
    if 0 < keep < int(width):
        scores, places = candidates.scores.largest(keep)
        # Falling keys: Caffe's order is by class and then score, which is the order of the places.
        last = float(int(width))
        keys = (scores > candidates.threshold).where(Term.cast(places, FLOAT) * -1.0 + last, 0.0)
        found = places_above(keys, 0.0)
        place = places.gather_rows(found)
    else:
        order = np.arange(int(width), 0, -1, dtype=np.float32)
        keys = (candidates.scores > candidates.threshold).where(constant(build, "keys", order), 0.0)
        found = places_above(keys, 0.0)
        place = found.slice(1, 1, 2).reshape(found.shape[0])
    image, rows = found.slice(1, 0, 1), found.shape[0]
    at = concat([image, place.reshape(rows, 1)], axis=1)
    label = constant(build, "labels", candidates.labels.astype(np.float32)).gather(
        place.divided_down(candidates.each)
    )
    row = concat(
        [
            image.cast(FLOAT),
            label.reshape(rows, 1),
            candidates.scores.gather_rows(at).reshape(rows, 1),
            candidates.boxes.gather_rows(at),
        ],
        axis=1,
    )
    return row.reshape(1, 1, rows, 7)
