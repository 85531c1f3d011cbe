"""Layers that OpenCV's Caffe importer lacks, in plain NumPy, for it to call.

Written from the semantics of the originals (CAFFE.md 7), apart from the exporter's own handlers, which they
are to judge.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, ModuleType

import numpy as np

from runtime.tensors import Array


@dataclass(frozen=True)
class Proposing:
    """What a proposal layer is told; the defaults are py-faster-rcnn's configuration at test time."""

    stride: int = 16
    base: int = 16
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    least_side: float = 16.0
    before: int = 6000
    after: int = 300
    overlap: float = 0.7


class Proposal:
    """Regions of any number of images, and their scores where a second top wants them.

    OpenCV wants to know beforehand how many rows a layer makes: there are `after` for each image, and `real`
    tells which of the last run's are regions and which only fill up.
    """

    real: Array = np.zeros(0, bool)

    def __init__(self, parameters: Mapping[str, object], _: object) -> None:
        self._told = self.told(parameters)

    @staticmethod
    def told(parameters: Mapping[str, object]) -> Proposing:
        """From `proposal_param` (the C++ layer)."""
        names = {"feat_stride": "stride", "base_size": "base", "min_size": "least_side"}
        names |= {"pre_nms_topn": "before", "post_nms_topn": "after", "nms_thresh": "overlap"}
        single = {ours: parameters[name] for name, ours in names.items()}
        several = {"ratios": _numbers(parameters, "ratio"), "scales": _numbers(parameters, "scale")}
        return Proposing(**single, **{name: found for name, found in several.items() if found})  # type: ignore[arg-type]

    def getMemoryShapes(self, inputs: Sequence[Sequence[int]]) -> list[list[int]]:  # noqa: N802 - OpenCV's name
        """The shapes of the regions, [images * after, 5], and of their scores."""
        rows = inputs[0][0] * self._told.after
        return [[rows, 5], [rows, 1]]

    def forward(self, inputs: Sequence[Array]) -> list[Array]:
        """Scores [N, 2A, H, W], offsets [N, 4A, H, W] and im_info [N, 3] to regions, image by image."""
        scores, offsets, info = inputs
        each = self._told.after
        rows, points = (np.zeros((len(scores) * each, width), np.float32) for width in (5, 1))
        Proposal.real = np.zeros(len(rows), bool)
        for image in range(len(scores)):
            boxes, best = self._of_one(scores[image], offsets[image], info[image])
            start, end = image * each, image * each + len(boxes)
            rows[start : start + each, 0] = image
            rows[start:end, 1:], points[start:end, 0] = boxes, best
            Proposal.real[start:end] = True
        return [rows, points]

    def _of_one(self, scores: Array, offsets: Array, info: Array) -> tuple[Array, Array]:
        told = self._told
        cell = base_anchors(told)
        count, (height, width) = len(cell), scores.shape[1:]
        down, across = np.mgrid[0:height, 0:width] * told.stride
        shifts = np.stack([across, down, across, down], axis=-1)[:, :, np.newaxis]
        boxes = moved(
            (shifts + cell).reshape(-1, 4).astype(np.float32),
            offsets.transpose(1, 2, 0).reshape(-1, 4),
        )
        last = np.array([info[1] - 1, info[0] - 1] * 2, np.float32)
        boxes = np.maximum(np.minimum(boxes, last), 0).astype(np.float32)
        foreground = scores[count:].transpose(1, 2, 0).reshape(-1)
        # PVANET tells the scales of height and width apart.
        least = told.least_side * np.array([info[3] if len(info) > 3 else info[2], info[2]], np.float32)
        large: Array = np.asarray((boxes[:, 2:] - boxes[:, :2] + 1 >= least).all(axis=1))
        order = np.argsort(-foreground, kind="stable")
        order = order[large[order]][: told.before]
        kept = order[_kept(boxes[order], told)]
        return boxes[kept], foreground[kept]


class PythonProposal(Proposal):
    """py-faster-rcnn's rpn.proposal_layer.ProposalLayer."""

    @staticmethod
    def told(parameters: Mapping[str, object]) -> Proposing:
        """From `param_str`: a dictionary in YAML or Python, of which stride and scales are read."""
        text = str(parameters.get("param_str", "")).strip().strip("{}")
        told = ast.literal_eval("{" + text + "}")
        named = {"feat_stride": "stride", "scales": "scales"}
        return Proposing(**{ours: told[name] for name, ours in named.items() if name in told})


TYPES: Mapping[str, type[Proposal]] = MappingProxyType(
    {"rpn.proposal_layer.ProposalLayer": PythonProposal, "aimatrix.Proposal": Proposal}
)
"""What the oracle calls layers in the text that OpenCV reads, to the class that computes them."""


@cache
def register(cv2: ModuleType) -> None:
    """Tell OpenCV of TYPES."""
    for name, layer in TYPES.items():
        cv2.dnn_registerLayer(name, layer)


def base_anchors(told: Proposing) -> Array:
    """[ratios * scales, 4]: corners of the boxes of the first cell; of each ratio every scale."""
    found = []
    centre = (told.base - 1) / 2
    for ratio in told.ratios:
        width = np.round(np.sqrt(told.base * told.base / ratio))
        height = np.round(width * ratio)
        for scale in told.scales:
            half = (np.array([width, height]) * scale - 1) / 2
            found.append(np.concatenate([centre - half, centre + half]))
    return np.array(found)


def moved(boxes: Array, offsets: Array) -> Array:
    """Boxes [n, 4] by offsets [n, 4] (bbox_transform_inv): sizes count the last pixel, new corners do not."""
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    centres = boxes[:, :2] + sizes / 2 + offsets[:, :2] * sizes
    halves = np.exp(offsets[:, 2:]) * sizes / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def _kept(boxes: Array, told: Proposing) -> list[int]:
    """Of boxes by falling score, those that overlap no kept one before by more than the limit; the first."""
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    free = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not free[index]:
            continue
        kept.append(index)
        if len(kept) == told.after:
            break
        low = np.maximum(boxes[index, :2], boxes[:, :2])
        high = np.minimum(boxes[index, 2:], boxes[:, 2:])
        shared = np.maximum(high - low + 1, 0).prod(axis=1)
        free &= shared / (areas[index] + areas - shared) <= told.overlap
    return kept


def _numbers(parameters: Mapping[str, object], name: str) -> tuple[float, ...]:
    """A repeated field, which OpenCV gives as a number where it has one value."""
    value = parameters.get(name, ())
    return tuple(value) if isinstance(value, list | tuple) else (float(value),)  # type: ignore[arg-type]
