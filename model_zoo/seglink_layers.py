"""SegLink (Shi et al. 2017, "Detecting oriented text in natural images by linking segments") as data.

VGG-16 as in SSD, six feature maps, and on each the scores and shapes of segments of text and the scores of
links between them (MODELS.md 12). The network decodes them; joining segments to boxes is left to the host
(`text_boxes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from model_zoo.layers import (
    SAME,
    Convolution,
    FeatureMap,
    Layer,
    Normalize,
    Pool,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Head,
    Network,
)
from model_zoo.vgg_layers import convolutions, rectified

CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red (MODELS.md 12)."""

SEGMENTS = "segments"
GEOMETRY = "geometry"
LOCAL_LINKS = "local_links"
CROSS_LINKS = "cross_links"

NEIGHBOURS = 8
"""Cells around a cell that it may be linked to."""

FINER = 4
"""Cells of the next finer map that a cell may be linked to."""

_EXTRAS = (  # name, channels of the 1x1 (0: there is none) and of the 3x3, which halves the size
    ("conv8", 256, 512),
    ("conv9", 128, 256),
    ("conv10", 128, 256),
    ("conv11", 0, 256),
)
_PLACES = (  # name, layer that gives the features, size of a segment in pixels of the image
    ("conv4_3", "conv4_3_norm", 11.84210526),
    ("fc7", "relu7", 23.68421053),
    ("conv8_2", "conv8_2_relu", 45.0),
    ("conv9_2", "conv9_2_relu", 90.0),
    ("conv10_2", "conv10_2_relu", 150.0),
    ("conv11", "conv11_relu", 285.0),
)
_GEOMETRY_VALUES = 6
_COSINE = 5

# Chosen by what they lead to on photographs: segments in a few cells of a hundred, links between a part of
# them, sizes within a factor of two of the map's own, and lines that rise or fall by up to 20 degrees.
_SCORES_DEVIATION = 2.0
_NO_SEGMENT = 4.0
_NO_LINK = 3.0
_GEOMETRY_DEVIATION = 2.0
_MEAN_COSINE = 10.0


@dataclass(frozen=True)
class Sizes:
    """All that may differ between SegLink and a relative of it.

    narrower:   divides all channels but those of the heads.
    normalised: a batch normalisation stands behind every convolution but those of the heads, so that the
                network can be taught from nothing.
    statistics: name of the file with what photographs give in it.
    """

    name: str = "seglink"
    narrower: int = 1
    input_size: tuple[int, int] = (1280, 768)
    normalised: bool = False
    statistics: str = "seglink"


@dataclass(frozen=True)
class Cells(Layer):
    """The cells of all bottoms, row by row and one map after the other: [batch, cells, channels].

    Of the bottoms' channels `count` from `first` on.
    """

    first: int
    count: int

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return FeatureMap(self.count, sum(bottom.pixels for bottom in bottoms), 1)


@dataclass(frozen=True)
class PairSoftmax(Layer):
    """Of each pair of a cell's channels ("no" and "yes") the probability of "yes"."""

    def output(self, *bottoms: FeatureMap) -> FeatureMap:
        return replace(bottoms[0], channels=bottoms[0].channels // 2)


@dataclass(frozen=True)
class SegmentGeometry(Layer):
    """Offsets to centre x and y, width, height (pixels of the image), sine and cosine of each cell's segment.

    maps:       height and width of each map that the cells are of.
    anchors:    for each map, width and height of a segment whose offsets are 0.
    image_size: height and width.
    """

    maps: tuple[tuple[int, int], ...]
    anchors: tuple[float, ...]
    image_size: tuple[int, int]


def seglink_network(sizes: Sizes) -> Network:
    """`images` BGR minus CAFFE_MEAN, to tensors of all cells of the six maps, the finest map first.

    segments [batch, cells, 1] and local_links [batch, cells, 8] are probabilities, so is cross_links
    [batch, cells of all maps but the finest, 4]; geometry is [batch, cells, 6] (SegmentGeometry).
    """
    features = tuple(_features(sizes))
    heads = tuple(layer for index in range(len(_PLACES)) for layer in _heads(index))
    layers = (*features, *heads)
    raw = Network(sizes.name, sizes.statistics, "images", sizes.input_size, PIXEL_DEVIATION, layers)
    return replace(
        raw,
        layers=(*raw.layers, *_decoded(map_sizes(raw), sizes.input_size)),
        heads=dict(_described_heads()),
        outputs={name: name for name in (SEGMENTS, GEOMETRY, LOCAL_LINKS, CROSS_LINKS)},
    )


def map_sizes(network: Network) -> tuple[tuple[int, int], ...]:
    """Height and width of each map, the finest first."""
    maps = [network.maps[features] for _, features, _ in _PLACES]
    return tuple((found.height, found.width) for found in maps)


def _features(sizes: Sizes) -> Iterator[Layer]:
    rectify = partial(rectified, normalised=sizes.normalised)
    yield from convolutions("images", sizes.narrower, normalised=sizes.normalised)
    yield Pool("pool5", ("relu5_3",), "MAX", 3, 1, 1)
    wide = 1024 // sizes.narrower
    yield from rectify(Convolution("fc6", ("pool5",), wide, 3, padding=SAME, dilation=6), "relu6")
    yield from rectify(Convolution("fc7", ("relu6",), wide, 1), "relu7")
    bottom = "relu7"
    for name, reduced, channels in _EXTRAS:
        last = f"{name}_2" if reduced else name
        if reduced:
            convolution = Convolution(f"{name}_1", (bottom,), reduced // sizes.narrower, 1)
            bottom = f"{name}_1_relu"
            yield from rectify(convolution, bottom)
        halving = Convolution(last, (bottom,), channels // sizes.narrower, 3, 2, SAME)
        bottom = f"{last}_relu"
        yield from rectify(halving, bottom)
    yield Normalize("conv4_3_norm", ("relu4_3",), clamped=True)


def _heads(index: int) -> Iterator[Layer]:
    """Three convolutions on a map: scores of its segments and of their links, and offsets."""
    name, features, _ = _PLACES[index]
    for part, channels in (("cls", 2), ("lnk", 2 * _links(index)), ("reg", _GEOMETRY_VALUES)):
        yield Convolution(f"{name}_{part}", (features,), channels, 3, padding=SAME)


def _decoded(maps: tuple[tuple[int, int], ...], image_size: tuple[int, int]) -> Iterator[Layer]:
    """What the heads say, as probabilities and in pixels."""
    names, anchors = zip(*((name, anchor) for name, _, anchor in _PLACES), strict=True)
    scores, links, offsets = ([f"{name}_{part}" for name in names] for part in ("cls", "lnk", "reg"))
    yield Cells("cls", tuple(scores), 0, 2)
    yield PairSoftmax(SEGMENTS, ("cls",))
    yield Cells("reg", tuple(offsets), 0, _GEOMETRY_VALUES)
    yield SegmentGeometry(GEOMETRY, ("reg",), maps, anchors, image_size)
    yield Cells("local_lnk", tuple(links), 0, 2 * NEIGHBOURS)
    yield PairSoftmax(LOCAL_LINKS, ("local_lnk",))
    yield Cells("cross_lnk", tuple(links[1:]), 2 * NEIGHBOURS, 2 * FINER)
    yield PairSoftmax(CROSS_LINKS, ("cross_lnk",))


def _described_heads() -> Iterator[tuple[str, Head]]:
    for index, (name, *_) in enumerate(_PLACES):
        yield f"{name}_cls", Head(_SCORES_DEVIATION, _NO_SEGMENT, (0,))
        yield f"{name}_lnk", Head(_SCORES_DEVIATION, _NO_LINK, tuple(range(0, 2 * _links(index), 2)))
        yield f"{name}_reg", Head(_GEOMETRY_DEVIATION, _MEAN_COSINE, (_COSINE,))


def _links(index: int) -> int:
    return NEIGHBOURS + (FINER if index else 0)
