"""Caffe's post-processing layers in plain NumPy, written from the semantics of the originals, loops and all.

They are the oracles of layers that OpenCV lacks, or whose order of rows it changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.tensors import Array


@dataclass(frozen=True)
class Detection:
    """The parameters of a DetectionOutput layer."""

    classes: int
    background: int = 0
    shared: bool = True
    overlap: float = 0.45
    top_k: int = 400
    keep: int = 200
    threshold: float = 0.01
    code: str = "CENTER_SIZE"
    in_target: bool = False


def decode(offset: Array, prior: Array, variance: Array, detection: Detection) -> Array:
    """One box: four offsets, a prior's corners and its variances to corners."""
    v = np.ones(4, np.float32) if detection.in_target else variance
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if detection.code == "CORNER":
        return np.asarray(prior + v * offset)
    if detection.code == "CORNER_SIZE":
        return np.asarray(prior + v * offset * np.array([width, height, width, height], np.float32))
    x = v[0] * offset[0] * width + (prior[0] + prior[2]) / 2
    y = v[1] * offset[1] * height + (prior[1] + prior[3]) / 2
    w, h = np.exp(v[2] * offset[2]) * width, np.exp(v[3] * offset[3]) * height
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)


def overlap(a: Array, b: Array, pixel: float) -> float:
    """Intersection over union; `pixel` is what an end lies behind a start of the same pixel (0 or 1)."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + pixel) * (box[3] - box[1] + pixel) for box in (a, b)]
    return float(width * height / (areas[0] + areas[1] - width * height))


def suppress(boxes: Array, order: list[int], limit: float, pixel: float = 0.0) -> list[int]:
    """Of the boxes in `order` those that overlap no kept one by more than `limit`."""
    kept: list[int] = []
    for index in order:
        if all(overlap(boxes[index], boxes[other], pixel) <= limit for other in kept):
            kept.append(index)
    return kept


@dataclass(frozen=True)
class FirstStage:
    """What RefineDet's first half says: offsets of the priors [N, P * 4], objectness [N, P * 2]."""

    loc: Array | None
    conf: Array
    least: float = 0.01


def refined(loc: Array, conf: Array, priors: Array, detection: Detection, first: FirstStage) -> Array:
    """DetectionOutput with RefineDet's two bottoms more, image by image."""
    corners, variances = priors.reshape(2, -1, 4)
    rows = []
    for image in range(len(loc)):
        scores = conf[image].reshape(len(corners), detection.classes).copy()
        scores[first.conf[image].reshape(-1, 2)[:, 1] < np.float32(first.least)] = np.eye(
            1, detection.classes, dtype=np.float32
        )[0]
        boxes = corners
        if first.loc is not None:
            offsets = first.loc[image].reshape(-1, 4)
            boxes = np.array(
                [decode(*one, detection) for one in zip(offsets, corners, variances, strict=True)]
            )
        both = np.stack([boxes, variances]).astype(np.float32)
        found = detection_output(loc[image : image + 1], scores.reshape(1, -1), both, detection)
        found[:, 0] = image
        rows.append(found)
    return np.concatenate(rows)


def detection_output(loc: Array, conf: Array, priors: Array, detection: Detection) -> Array:
    """Rows of image, label, score, corners; none where nothing is found."""
    corners, variances = priors.reshape(2, -1, 4)
    kinds = 1 if detection.shared else detection.classes
    rows: list[list[float]] = []
    offsets_of = loc.reshape(len(loc), len(corners), kinds, 4)
    scores_of = conf.reshape(len(conf), len(corners), detection.classes)
    for image, (offsets, scores) in enumerate(zip(offsets_of, scores_of, strict=True)):
        rows += [[image, *row] for row in _of_one_image(offsets, scores, corners, variances, detection)]
    return np.array(rows, np.float32).reshape(-1, 7)


def _of_one_image(
    offsets: Array, scores: Array, corners: Array, variances: Array, detection: Detection
) -> list[list[float]]:
    found: list[tuple[int, int, Array]] = []
    for label in range(detection.classes):
        if label == detection.background:
            continue
        kind = 0 if detection.shared else label
        boxes = np.array(
            [decode(offsets[p, kind], corners[p], variances[p], detection) for p in range(len(corners))]
        )
        order = [int(p) for p in np.argsort(-scores[:, label], kind="stable")]
        order = [p for p in order if scores[p, label] > np.float32(detection.threshold)]
        order = order[: detection.top_k] if detection.top_k > -1 else order
        found += [(label, p, boxes[p]) for p in suppress(boxes, order, detection.overlap)]
    if -1 < detection.keep < len(found):
        best = sorted(found, key=lambda item: -scores[item[1], item[0]])[: detection.keep]
        found = sorted(best, key=lambda item: item[0])
    return [[label, scores[p, label], *box] for label, p, box in found]


def roi_pooling(features: Array, rois: Array, size: tuple[int, int], scale: float) -> Array:
    """The largest value in each bin of each region; 0 in an empty bin."""
    _, channels, height, width = features.shape
    pooled = np.zeros((len(rois), channels, *size), np.float32)
    for index, roi in enumerate(rois):
        x1, y1, x2, y2 = (_round_away(np.float32(value) * np.float32(scale)) for value in roi[1:])
        bins_y = _bins(y1, y2, size[0], height)
        bins_x = _bins(x1, x2, size[1], width)
        for row, (top, bottom) in enumerate(bins_y):
            for column, (left, right) in enumerate(bins_x):
                if bottom > top and right > left:
                    window = features[int(roi[0]), :, top:bottom, left:right]
                    pooled[index, :, row, column] = window.max(axis=(1, 2))
    return pooled


def psroi_pooling(features: Array, rois: Array, kinds: int, bins: int, scale: float) -> Array:
    """The mean of each bin of each region, from the channels of that bin; 0 in an empty bin."""
    _, _, height, width = features.shape
    pooled = np.zeros((len(rois), kinds, bins, bins), np.float32)
    for index, roi in enumerate(rois):
        x1, y1, x2, y2 = (_round_away(value) for value in roi[1:])
        rows = _psroi_bins(y1, y2, bins, scale, height)
        columns = _psroi_bins(x1, x2, bins, scale, width)
        for kind, row, column in np.ndindex(kinds, bins, bins):
            (top, bottom), (left, right) = rows[row], columns[column]
            if bottom > top and right > left:
                channel = (kind * bins + row) * bins + column
                window = features[int(roi[0]), channel, top:bottom, left:right].astype(np.float64)
                pooled[index, kind, row, column] = window.mean()
    return pooled


def _psroi_bins(start: int, end: int, count: int, scale: float, size: int) -> list[tuple[int, int]]:
    single = np.float32
    first, last = single(start) * single(scale), single(end + 1) * single(scale)
    step = max(last - first, single(0.1)) / single(count)
    limits = [
        (int(np.floor(single(i) * step + first)), int(np.ceil(single(i + 1) * step + first)))
        for i in range(count)
    ]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in limits]


def _round_away(value: np.float32) -> int:
    whole = np.floor(np.abs(value))
    whole += np.abs(value) - whole >= np.float32(0.5)
    return int(np.sign(value) * whole)


def _bins(start: int, end: int, count: int, size: int) -> list[tuple[int, int]]:
    step = np.float32(max(end - start + 1, 1)) / np.float32(count)
    limits = [
        (int(np.floor(np.float32(i) * step)) + start, int(np.ceil(np.float32(i + 1) * step)) + start)
        for i in range(count)
    ]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in limits]


@dataclass(frozen=True)
class Proposals:
    """The parameters of a Proposal layer, with py-faster-rcnn's TEST values."""

    stride: int = 16
    before: int = 6000
    after: int = 300
    overlap: float = 0.7
    least: float = 16
    anchors: tuple[tuple[float, float, float, float], ...] = ()


def proposals(scores: Array, deltas: Array, info: Array, layer: Proposals) -> tuple[Array, Array]:
    """Rows of 0, x1, y1, x2, y2 in pixels by falling score, and the scores."""
    _, channels, height, width = scores.shape
    count = channels // 2
    boxes, points = [], []
    for y in range(height):
        for x in range(width):
            for a in range(count):
                anchor = np.array(layer.anchors[a], np.float32) + np.float32(layer.stride) * np.array(
                    [x, y, x, y], np.float32
                )
                boxes.append(_moved(anchor, deltas[0, 4 * a : 4 * a + 4, y, x]))
                points.append(scores[0, count + a, y, x])
    every, score = np.array(boxes, np.float32), np.array(points, np.float32)
    limits = np.array([info[0, 1], info[0, 0]] * 2, np.float32) - 1
    every = np.maximum(np.minimum(every, limits), 0)
    sides = every[:, 2:] - every[:, :2] + 1
    large = (sides >= np.float32(layer.least) * info[0, 2]).all(axis=1)
    order = [int(i) for i in np.argsort(-score, kind="stable") if large[i]][: layer.before]
    kept = suppress(every, order, layer.overlap, pixel=1.0)[: layer.after]
    return np.concatenate([np.zeros((len(kept), 1), np.float32), every[kept]], axis=1), score[kept]


def _moved(anchor: Array, delta: Array) -> Array:
    width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    x = delta[0] * width + anchor[0] + width / 2
    y = delta[1] * height + anchor[1] + height / 2
    w, h = np.exp(delta[2]) * width, np.exp(delta[3]) * height
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)


def some_regions(count: int, images: int, extent: float, seed: int) -> Array:
    """Anywhere, also outside, inside out and on the halves where rounding decides."""
    random = np.random.default_rng(seed)
    corners = random.uniform(-0.5 * extent, 1.5 * extent, (count, 4))
    corners[::2] = np.round(corners[::2] / 8) * 8
    return np.concatenate([random.integers(0, images, (count, 1)), corners], axis=1).astype(np.float32)
