"""CombinedNonMaxSuppression in ONNX, judged by TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from exporters.parity import open_graph
from exporters.passes import optimise
from exporters.tensorflow import TensorFlowSource
from runtime.errors import ExportError
from runtime.tensors import Array, TensorSpec
from tests.exporters.graphs import operators

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

OUTPUTS = ("boxes", "scores", "classes", "count")
OVERLAP, LEAST = 0.45, 0.2


@dataclass(frozen=True)
class Case:
    """Boxes and classes of an image, how many of a class and in all are kept, and TensorFlow's switches."""

    boxes: int
    classes: int
    per_class: int
    total: int
    pad_per_class: bool = False
    clip: bool = False

    @property
    def source(self) -> TensorFlowSource:
        def function(boxes: Any, scores: Any) -> tuple[Any, ...]:
            kept = tf.image.combined_non_max_suppression(
                boxes[:, :, None, :],
                scores,
                self.per_class,
                self.total,
                OVERLAP,
                LEAST,
                pad_per_class=self.pad_per_class,
                clip_boxes=self.clip,
            )
            return kept.nmsed_boxes, kept.nmsed_scores, kept.nmsed_classes, kept.valid_detections

        specs = (
            TensorSpec("given", "float32", ("batch", self.boxes, 4)),
            TensorSpec("likely", "float32", ("batch", self.boxes, self.classes)),
        )
        return TensorFlowSource(function, specs, OUTPUTS)

    def feed(self, batch_size: int, likely: float = 1.0) -> dict[str, Array]:
        rng = np.random.default_rng(batch_size)
        start = rng.uniform(-0.2, 0.7, (batch_size, self.boxes, 2))
        corners = np.concatenate([start, start + rng.uniform(0.1, 0.5, start.shape)], axis=-1)
        scores = rng.uniform(0, likely, (batch_size, self.boxes, self.classes))
        return {"given": corners.astype(np.float32), "likely": scores.astype(np.float32)}


CASES = {
    "one class, as in SSD's lists": Case(50, 1, 20, 20),
    "several classes, filled up with zeros": Case(30, 3, 10, 40, clip=True),
    "a longer answer than there are boxes": Case(8, 2, 3, 20),
    "padded by class": Case(8, 2, 3, 20, pad_per_class=True, clip=True),
    "more found than wanted": Case(40, 4, 10, 12),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
def test_onnx_keeps_the_boxes_that_tensorflow_keeps(case: Case, tmp_path: Path) -> None:
    ir.save(optimise(case.source.to_onnx()), tmp_path / "model.onnx")
    run = open_graph(tmp_path / "model.onnx")
    for batch_size in (1, 3):
        feed = case.feed(batch_size)
        expected, got = case.source.run(feed), run(feed)
        assert 0 < expected["count"].min() <= expected["count"].max() <= case.total
        for name in OUTPUTS:
            np.testing.assert_array_equal(got[name], expected[name])


def test_nothing_above_the_threshold_gives_zeros(tmp_path: Path) -> None:
    case = Case(8, 2, 3, 5)
    ir.save(optimise(case.source.to_onnx()), tmp_path / "model.onnx")
    answer = open_graph(tmp_path / "model.onnx")(case.feed(2, likely=LEAST / 2))
    assert not any(array.any() for array in answer.values())
    assert answer["boxes"].shape == (2, 5, 4)


@every_case
def test_there_is_one_suppression_for_all_images_and_every_output_has_a_fixed_size(case: Case) -> None:
    model = optimise(case.source.to_onnx())
    found = operators(model)
    assert found["NonMaxSuppression"] == 1
    assert not {"Loop", "If", "Shape", "CumSum", "EyeLike"} & found.keys()
    length = min(case.total, case.per_class * case.classes) if case.pad_per_class else case.total
    shapes = [str(value.shape) for value in model.graph.outputs]
    assert shapes == [f"[batch,{length},4]", f"[batch,{length}]", f"[batch,{length}]", "[batch]"]


def test_boxes_of_their_own_for_each_class_are_refused() -> None:
    def function(boxes: Any, scores: Any) -> tuple[Any, ...]:
        return tuple(tf.image.combined_non_max_suppression(boxes, scores, 3, 5)[:2])

    specs = (
        TensorSpec("given", "float32", ("batch", 8, 2, 4)),
        TensorSpec("likely", "float32", ("batch", 8, 2)),
    )
    with pytest.raises(ExportError, match=r"CombinedNonMaxSuppression .* that all classes share"):
        TensorFlowSource(function, specs, ("boxes", "scores")).to_onnx()
