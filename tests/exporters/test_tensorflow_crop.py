"""CropAndResize in ONNX, judged by TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from exporters.tensorflow_crop import LAST_INSIDE
from runtime.errors import ExportError
from runtime.tensors import Array, TensorSpec
from tests.exporters.graphs import operators

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

IMAGES, CHANNELS = 3, 5

# RoiAlign and TensorFlow round places in steps of their own: by 4 * 2 ** -24 of a map's width, times how far
# neighbouring pixels differ (here by 2 at most)
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """Sizes of map and crop; how boxes are prepared, and what a crop has outside of the image."""

    size: tuple[int, int] = (17, 23)
    crop: tuple[int, int] = (7, 7)
    prepare: Callable[[Any], Any] = lambda boxes: boxes
    outside: float = 0.0
    method: str = "bilinear"

    @property
    def source(self) -> TensorFlowSource:
        def function(images: Any, boxes: Any, indices: Any) -> tuple[Any, ...]:
            prepared = self.prepare(boxes)
            return (
                tf.image.crop_and_resize(
                    images, prepared, indices, self.crop, self.method, extrapolation_value=self.outside
                ),
            )

        specs = (
            TensorSpec("images", "float32", (IMAGES, *self.size, CHANNELS)),
            TensorSpec("boxes", "float32", ("number", 4)),
            TensorSpec("indices", "int32", ("number",)),
        )
        return TensorFlowSource(function, specs, ("crops",))


def cut(boxes: Any) -> Any:
    return tf.clip_by_value(boxes, 0.0, LAST_INSIDE)


def cut_at_one(boxes: Any) -> Any:
    return tf.clip_by_value(boxes, 0.0, 1.0)


CASES = {
    "inside": Case(prepare=cut),
    "as TensorFlow's mask heads have it": Case(crop=(14, 14), prepare=cut),
    "a crop wider than high": Case(crop=(3, 8), prepare=cut),
    "a crop of one pixel": Case(crop=(1, 1), prepare=cut),
    "a crop of one row": Case(crop=(1, 6)),
    "beyond the image": Case(),
    "beyond the image, with another constant": Case(outside=-1.5),
    "up to the last pixel": Case(prepare=cut_at_one),
}


def feed_of(case: Case, number: int = 40, low: float = -0.4, high: float = 1.4) -> dict[str, Array]:
    rng = np.random.default_rng(number)
    start = rng.uniform(low, high, (number, 2))
    boxes = np.concatenate([start, start + rng.uniform(0, 1, (number, 2)) * (high - start)], axis=1)
    return {
        "images": rng.uniform(-1, 1, (IMAGES, *case.size, CHANNELS)).astype(np.float32),
        "boxes": boxes.astype(np.float32),
        "indices": rng.integers(0, IMAGES, number, dtype=np.int32),
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_onnx_crops_what_tensorflow_crops(case: Case, tmp_path: Path) -> None:
    ir.save(optimise(case.source.to_onnx()), tmp_path / "model.onnx")
    feed = feed_of(case)
    expected = case.source.run(feed)["crops"]
    got = open_graph(tmp_path / "model.onnx")(feed)["crops"]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def test_boxes_without_extent_are_points(tmp_path: Path) -> None:
    case = CASES["inside"]
    ir.save(optimise(case.source.to_onnx()), tmp_path / "model.onnx")
    feed = feed_of(case)
    feed["boxes"][:, 2:] = feed["boxes"][:, :2]
    expected = case.source.run(feed)["crops"]
    assert np.ptp(expected, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(
        open_graph(tmp_path / "model.onnx")(feed)["crops"], expected, rtol=0, atol=TOLERANCE
    )


def test_there_is_one_region_alignment_and_no_loop() -> None:
    found = operators(optimise(CASES["inside"].source.to_onnx()))
    assert found["RoiAlign"] == 1
    assert not {"Loop", "If", "Scan", "Resize", "Where"} & found.keys()


@pytest.mark.parametrize("name", ["beyond the image", "up to the last pixel"])
def test_boxes_that_may_leave_the_image_are_looked_after(name: str) -> None:
    """1.0 is such a coordinate: rounding can take its last place behind the last pixel."""
    assert operators(optimise(CASES[name].source.to_onnx()))["Where"] == 1


def test_the_nearest_pixel_is_refused() -> None:
    with pytest.raises(ExportError, match=r"CropAndResize .* only bilinear interpolation is RoiAlign"):
        Case(method="nearest").source.to_onnx()
