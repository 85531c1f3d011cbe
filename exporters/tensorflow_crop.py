"""TensorFlow's CropAndResize as RoiAlign; tf2onnx 1.17 says it with a Loop of Resize nodes.

RoiAlign with one sample a bin reads the middle of each bin, CropAndResize the box from edge to edge: moved
outwards by half a step, the two read the same places (MODELS.md 2.4). Beyond the image they differ: RoiAlign
goes on with the pixels at the edge, TensorFlow takes a constant; so there the answer is replaced, unless the
boxes are seen to stay inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.tensorflow_building import Builder
from runtime.tensors import Array

LAST_INSIDE = 1 - 2**-21
"""The largest coordinate that float32's rounding takes to no place behind the last pixel.

TensorFlow works places out in four steps, each of which may be off by 2 ** -24 of the result.
"""

_AXES = ("x", "y")
_X_BEFORE_Y = {"start": (1, 0), "end": (3, 2)}
_PASSED_ON = frozenset({"Identity", "Reshape", "Squeeze", "StopGradient", "Unsqueeze"})


@dataclass(frozen=True)
class _Sizes:
    """Of one CropAndResize, for width and height in this order: the image's last pixel, and the crop."""

    last: tuple[int, int]
    crop: tuple[int, int]

    @property
    def steps(self) -> Array:
        """From a crop's first to its last pixel; a crop of one pixel is the middle of the box."""
        steps: Array = np.maximum(np.array(self.crop, np.float32) - 1, 1)
        return steps

    @property
    def single(self) -> Array:
        """Half of a step where the crop has one pixel: how far behind the box's edge that is."""
        halves: Array = (np.array(self.crop) == 1).astype(np.float32) / 2
        return halves


def crop_and_resize(graph: Any, node: Any, name: str, _: Any) -> None:
    """Replace `node`; raises ValueError where sizes are not fixed, or for the nearest pixel's value."""
    sizes = _sizes(graph, node)
    outside = float(node.get_attr_value("extrapolation_value", 0.0))
    images, boxes, image_of_box = node.input[:3]
    build = Builder(graph, name)
    start, end = (
        build.node("Gather", [boxes, build.integers(corner, *at)], axis=1)
        for corner, at in _X_BEFORE_Y.items()
    )
    last = build.constant("last", np.array(sizes.last, np.float32))
    first = build.node("Mul", [start, last])
    reach = build.node("Mul", [build.node("Sub", [end, start]), last])
    step = build.node("Div", [reach, build.constant("steps", sizes.steps)])
    width, height = sizes.crop
    crops = build.node(
        "RoiAlign",
        [
            build.node("Transpose", [images], perm=[0, 3, 1, 2]),
            _regions(build, first, step, sizes),
            build.node("Cast", [image_of_box], to=7),
        ],
        coordinate_transformation_mode="half_pixel",
        mode="avg",
        output_height=height,
        output_width=width,
        sampling_ratio=1,
        spatial_scale=1.0,
    )
    if not _stay_inside(graph, boxes):
        inside = _inside(build, first, step, last, sizes)
        crops = build.node("Where", [inside, crops, build.constant("outside", np.float32(outside))])
    output, shape, dtype = node.output[0], node.output_shapes[0], node.output_dtypes[0]
    graph.remove_node(node.name)
    graph.make_node(
        "Transpose", [crops], attr={"perm": [0, 2, 3, 1]}, outputs=[output], shapes=[shape], dtypes=[dtype]
    )


def _sizes(graph: Any, node: Any) -> _Sizes:
    method = node.get_attr_value("method", b"bilinear")
    shape = graph.get_shape(node.input[0])
    if method not in (b"bilinear", "bilinear"):
        raise ValueError(f"{node.name} takes the {method!r} pixel; only bilinear interpolation is RoiAlign")
    if shape is None or min(shape[1:3]) < 1 or not node.inputs[3].is_const():
        raise ValueError(f"{node.name} has images {shape}; wanted are images and crops of fixed sizes")
    height, width = (int(size) for size in node.inputs[3].get_tensor_value())
    return _Sizes((shape[2] - 1, shape[1] - 1), (width, height))


def _regions(build: Builder, first: str, step: str, sizes: _Sizes) -> str:
    """Corners x, y, x, y [boxes, 4], in pixels that are counted from the image's edge."""
    before = build.constant("before", np.float32(0.5) - sizes.single)
    corner = build.node("Sub", [first, build.node("Mul", [step, before])])
    start = build.node("Add", [corner, build.constant("half", np.float32(0.5))])
    across = build.node("Mul", [step, build.constant("crop", np.array(sizes.crop, np.float32))])
    return str(build.node("Concat", [start, build.node("Add", [start, across])], axis=1))


def _inside(build: Builder, first: str, step: str, last: str, sizes: _Sizes) -> str:
    """Whether each pixel of each crop lies in the image: [boxes, 1, height, width]."""
    zero = build.constant("zero", np.float32(0))
    of_axes = []
    for axis, name in enumerate(_AXES):
        at = build.integers(name, axis)
        begin, each, end = (
            build.node("Gather", [value, at], axis=value_axis)
            for value, value_axis in ((first, 1), (step, 1), (last, 0))
        )
        counted = np.arange(sizes.crop[axis], dtype=np.float32) + sizes.single[axis]
        places = build.node(
            "Add", [begin, build.node("Mul", [each, build.constant(f"counted_{name}", counted)])]
        )
        within = [build.node("GreaterOrEqual", [places, zero]), build.node("LessOrEqual", [places, end])]
        both = build.node("And", within)
        of_axes.append(build.node("Unsqueeze", [both, build.integers(f"beside_{name}", 1, 2 + axis)]))
    return str(build.node("And", of_axes))


def _stay_inside(graph: Any, boxes: str) -> bool:
    """Whether boxes are seen to be cut to 0 .. LAST_INSIDE or less."""
    limits: dict[str, float] = {}
    node = graph.get_node_by_output(boxes)
    while node is not None and node.inputs and node.inputs[0] is not None:
        operator = {"Minimum": "Min", "Maximum": "Max"}.get(node.type, node.type)
        if operator in ("Min", "Max"):
            bound = next((each for each in node.inputs[1:] if each.is_const()), None)
            if bound is None:
                break
            loosest = np.max if operator == "Min" else np.min
            limits.setdefault(operator, float(loosest(bound.get_tensor_value(as_list=False))))
        elif operator not in _PASSED_ON:
            break
        node = node.inputs[0]
    least, most = limits.get("Max", -np.inf), limits.get("Min", np.inf)
    return least >= 0 and most <= LAST_INSIDE
