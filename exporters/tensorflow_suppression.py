"""TensorFlow's CombinedNonMaxSuppression as one NonMaxSuppression over all images and classes.

tf2onnx 1.17 says it with a square matrix of the batch's length and cumulative sums, which no accelerator
takes. Here what is kept goes back to where it stood, and TopK puts it in front: every shape but that of the
list of what is kept stays fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.tensorflow_building import Builder

_LAST = -1


@dataclass(frozen=True)
class _Sizes:
    """Boxes and classes of an image, most boxes of one class, and the answer's length."""

    boxes: int
    classes: int
    per_class: int
    total: int

    @property
    def found(self) -> int:
        """At most, before the answer is filled up with zeros."""
        return min(self.total, self.boxes * self.classes)


def combined_suppression(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replace `node`; raises ValueError where classes have boxes of their own or sizes are not fixed.

    As in TensorFlow, what overlaps a better box by more than the limit is left out, scores must be above the
    threshold, and an answer's rows fall by score, with zeros behind them.
    """
    sizes = _sizes(graph, node)
    overlap, threshold = (
        np.array([node.inputs[index].get_tensor_value()], np.float32).reshape(1) for index in (4, 5)
    )
    build = Builder(graph, name)
    corners = build.node("Squeeze", [node.input[0], build.integers("shared", 2)])
    scores = build.node("Transpose", [node.input[1]], perm=[0, 2, 1])
    least = build.constant("threshold", threshold)
    limits = [build.integers("limit", sizes.per_class), build.constant("overlap", overlap), least]
    kept = build.node("NonMaxSuppression", [corners, scores, *limits])
    answer = _in_order(build, corners, scores, kept, least, sizes)
    if node.get_attr_value("clip_boxes", True):
        edges = [build.constant(edge, np.array(at, np.float32)) for edge, at in (("low", 0), ("high", 1))]
        answer["boxes"] = build.node("Clip", [answer["boxes"], *edges])
    _replace(graph, node, _filled_up(build, answer, sizes))


def _sizes(graph: Any, node: Any) -> _Sizes:
    boxes, scores = (graph.get_shape(name) for name in node.input[:2])
    if boxes is None or scores is None or boxes[2] != 1 or min(boxes[1], scores[2]) < 1:
        raise ValueError(
            f"{node.name} has boxes {boxes}, scores {scores}; wanted is a fixed number of boxes"
            " [batch, number, 1, 4] that all classes share"
        )
    per_class, total = (int(node.inputs[index].get_tensor_value()) for index in (2, 3))
    if node.get_attr_value("pad_per_class", False):
        total = min(total, per_class * scores[2])
    return _Sizes(boxes[1], scores[2], per_class, total)


def _in_order(
    build: Builder, corners: str, scores: str, kept: str, least: str, sizes: _Sizes
) -> dict[str, str]:
    """Boxes, scores and classes of what is kept, the best first, then zeros; and how many those are."""
    zero = build.constant("zero", np.zeros(1, np.float32))
    nothing = build.node("Add", [build.node("Mul", [scores, zero]), least])
    survivors = build.node("ScatterND", [nothing, kept, build.node("GatherND", [scores, kept])])
    width = sizes.boxes * sizes.classes
    rows = build.node("Reshape", [survivors, build.integers("row", _LAST, width)])
    best, places = build.node("TopK", [rows, build.integers("found", sizes.found)], count=2, axis=1)
    found = build.node("Greater", [best, least])
    last, each = build.integers("last", _LAST), build.integers("each", sizes.boxes)
    boxes = places if sizes.classes == 1 else build.node("Mod", [places, each])
    chosen = build.node("GatherND", [corners, build.node("Unsqueeze", [boxes, last])], batch_dims=1)
    classes = build.node("Cast", [build.node("Div", [places, each])], to=1)
    return {
        "boxes": build.node("Where", [build.node("Unsqueeze", [found, last]), chosen, zero]),
        "scores": build.node("Where", [found, best, zero]),
        "classes": build.node("Where", [found, classes, zero]),
        "count": build.node(
            "ReduceSum", [build.node("Cast", [found], to=6), build.integers("axis", 1)], keepdims=0
        ),
    }


def _filled_up(build: Builder, answer: Mapping[str, str], sizes: _Sizes) -> Mapping[str, str]:
    missing = sizes.total - sizes.found
    if missing < 1:
        return answer
    flat, cornered = (0, 0, 0, missing), (0, 0, 0, 0, missing, 0)
    pads = {"boxes": cornered, "scores": flat, "classes": flat}
    filled = {
        name: build.node("Pad", [answer[name], build.integers(f"{name}_pads", *pad)])
        for name, pad in pads.items()
    }
    return {**answer, **filled}


def _replace(graph: Any, node: Any, answer: Mapping[str, str]) -> None:
    outputs = list(node.output)
    shapes, types = node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    parts = (answer[part] for part in ("boxes", "scores", "classes", "count"))
    for part, output, shape, dtype in zip(parts, outputs, shapes, types, strict=True):
        graph.make_node("Identity", [part], outputs=[output], shapes=[shape], dtypes=[dtype])
