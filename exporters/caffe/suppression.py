"""Non-maximum suppression in ONNX's one operator for it, and what else that operator can do.

It is the only operator with an output of open length that ONNX Runtime, OpenVINO and TensorRT all run, and it
orders what it keeps: batch by batch, scores falling, ties by index (ONNX Runtime, OpenVINO).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporters.caffe.formula import INT64, Term, constant

_ANY_OVERLAP = 0.5
"""Between 0 and 1: boxes side by side overlap by 0, and OpenVINO drops what overlaps by the limit itself."""


@dataclass(frozen=True)
class Suppression:
    """Boxes that overlap a better one by more than `overlap` (intersection over union) are left out.

    At most `limit` are kept of each batch entry, and only scores above `threshold`.
    """

    limit: int
    overlap: float
    threshold: float

    def keep(self, boxes: Term, scores: Term) -> Term:
        """Corners [B, K, 4] and scores [B, K] to the kept ones' places, [rows, 2]: batch entry, box."""
        build = boxes.build
        batch, count = scores.shape
        # NOTE: an overlap above 1 is never reached; ONNX allows none above 1.
        arguments = [
            constant(build, "limit", np.array([min(self.limit, int(count))], np.int64)),
            constant(build, "overlap", np.array([min(self.overlap, 1)], np.float32)),
            constant(build, "threshold", np.array([self.threshold], np.float32)),
        ]
        one_class = scores.reshape(batch, 1, count)
        shape = (build.dimension("rows"), 3)
        kept = boxes.make("NonMaxSuppression", [one_class, *arguments], shape, dtype=INT64)
        return kept.gather(np.array([0, 2], np.int64), axis=1)


def places_above(scores: Term, threshold: float) -> Term:
    """Places [rows, 2] of the scores [N, K] above `threshold`, in order of row and falling score.

    NOTE: Compress and NonZero say this too, but TensorRT-RTX takes neither. Boxes side by side overlap
    nowhere, so suppression only drops what lies below the threshold.
    """
    batch, count = scores.shape
    left = np.arange(int(count), dtype=np.float32)
    corners = np.stack([2 * left, 0 * left, 2 * left + 1, 0 * left + 1], axis=-1)
    # An open batch is stretched by adding zeros of its length.
    stretch = scores.reshape(batch, count, 1) * 0.0
    boxes = stretch + corners
    return Suppression(int(count), _ANY_OVERLAP, threshold).keep(boxes, scores)
