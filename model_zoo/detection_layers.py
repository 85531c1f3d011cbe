"""The layers at the end of a detector, each of which is several of Caffe's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from model_zoo.layers import (
    FeatureMap,
    Layer,
)
from model_zoo.network import Head

KEPT = 200
"""Boxes of an image that a single-shot detector answers with at most (MODELS.md 6.2)."""

LISTS = ("scores", "boxes")
"""What a detector in TensorFlow gives: lists by class, in the order of the tensors (MODELS.md 6.3)."""

REGIONS = 300
"""Regions of an image that Faster R-CNN looks at, at most (MODELS.md 10)."""

ANCHORS = 9
"""Boxes in each cell of Faster R-CNN's region proposal network."""

_CORNERS = 4
_ROW = 7  # image, label, score, corners

# Chosen by what they lead to on photographs: 10 to 50 boxes with a probability above one half, and thousands
# above the threshold of 0.01, so that a detector's 200 rows are full (CAFFE.md 2).
_SCORES_DEVIATION = 2.0
_BACKGROUND = 10.0
_OFFSETS_DEVIATION = 1.0
_OBJECTNESS_DEVIATION = 1.5
_NO_OBJECT = 3.0
_CLASS_BACKGROUND = 6.0
_REFINEMENT_DEVIATION = 0.1  # of Faster R-CNN's class-specific offsets, as its training scales them


@dataclass(frozen=True)
class PriorBoxes:
    """The boxes in each cell of one feature map; sizes in pixels of the image.

    min_size, max_size: as the prototxt has them; Caffe's layer cuts them down to whole pixels.
    ratios: width to height of the boxes that are not square; each has its inverse, too.
    step:   from one cell's centre to the next; the first is at `offset` steps.
    """

    min_size: float
    max_size: float
    ratios: tuple[float, ...]
    step: int
    offset: float = 0.5

    @property
    def count(self) -> int:
        """In a cell: two square ones, and one for each ratio and its inverse."""
        return 2 + 2 * len(self.ratios)


@dataclass(frozen=True)
class Source:
    """A feature map that boxes are found on, and the convolutions that find them."""

    features: str
    offsets: str
    scores: str
    boxes: PriorBoxes


@dataclass(frozen=True)
class Detections(Layer):
    """Prior boxes, offsets and scores to at most KEPT rows an image (SSD's DetectionOutput).

    The bottoms are those of `detections`: features, offsets and scores of each source, then the image.
    """

    sources: tuple[Source, ...]
    classes: int

    post_processing: ClassVar[bool] = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(_ROW, 1, 1, regions=KEPT)

    def priors(self, maps: Mapping[str, FeatureMap]) -> int:
        """How many boxes there are on all sources together."""
        return sum(source.boxes.count * maps[source.features].pixels for source in self.sources)


@dataclass(frozen=True)
class ListedDetections(Detections):
    """The same, but of each class the best KEPT, whatever the others have (TensorFlow's SSD)."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(1 + _CORNERS, 1, 1, regions=(self.classes - 1) * KEPT)


@dataclass(frozen=True)
class Part(Layer):
    """One of the tensors that its bottom gives."""

    index: int


@dataclass(frozen=True)
class Proposals(Layer):
    """Objectness and offsets of ANCHORS boxes a cell, and `im_info`, to regions (py-faster-rcnn's layer).

    stride: pixels of the image for one of the map.
    """

    stride: int

    post_processing: ClassVar[bool] = True

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(1 + _CORNERS, 1, 1, regions=REGIONS)


@dataclass(frozen=True)
class RegionPool(Layer):
    """The features of each region, as the maxima of size x size bins (Caffe's ROIPooling).

    stride: pixels of the image, which regions are given in, for one of the map.
    """

    size: int
    stride: int

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        features, regions = bottoms
        return replace(features, height=self.size, width=self.size, regions=regions.regions)


def detections(
    name: str,
    sources: tuple[Source, ...],
    classes: int,
    image: str,
    kind: type[Detections] = Detections,
) -> Detections:
    """The layer over `sources`, with its bottoms in order."""
    bottoms = [part for source in sources for part in (source.features, source.offsets, source.scores)]
    return kind(name, (*bottoms, image), sources, classes)


def single_shot_heads(layer: Detections) -> Iterator[tuple[str, Head]]:
    """What the convolutions below `layer` give; channel b * classes + c is the score of class c in box b."""
    for source in layer.sources:
        background = tuple(box * layer.classes for box in range(source.boxes.count))
        yield source.offsets, Head(_OFFSETS_DEVIATION)
        yield source.scores, Head(_SCORES_DEVIATION, _BACKGROUND, background)


def region_heads(objectness: str, offsets: str, scores: str, refinements: str) -> dict[str, Head]:
    """What Faster R-CNN's four heads give, by the layers' names."""
    return {
        objectness: Head(_OBJECTNESS_DEVIATION, _NO_OBJECT, tuple(range(ANCHORS))),
        offsets: Head(_REFINEMENT_DEVIATION),
        scores: Head(_SCORES_DEVIATION, _CLASS_BACKGROUND, (0,)),
        refinements: Head(_REFINEMENT_DEVIATION),
    }
