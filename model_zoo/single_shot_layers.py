"""What SSD and DSSD share: encoders, prior boxes, and the heads on top (MODELS.md 6 to 8).

VGG-16's encoder is weiliu89's for 300x300 images; the residual ones are DSSD's library's for 321x321. Layers
bear the names of those prototxts, so that their caffemodels fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from model_zoo.detection_layers import (
    LISTS,
    Detections,
    ListedDetections,
    Part,
    PriorBoxes,
    Source,
    detections,
    single_shot_heads,
)
from model_zoo.layers import (
    BatchNorm,
    Convolution,
    Layer,
    Normalize,
    Pool,
    Relu,
)
from model_zoo.network import (
    PIXEL_DEVIATION,
    Network,
    in_rgb,
)
from model_zoo.residual_layers import EPSILON, RESNET18, RESNET50, RESNET101, Body, body, bottleneck
from model_zoo.vgg_layers import convolutions

VOC_CLASSES = 21
"""The background, and twenty kinds of objects of PASCAL VOC."""

CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red (MODELS.md 6.2)."""

TENSORFLOW_MEAN = (123.0, 117.0, 104.0)
"""Red, green, blue (MODELS.md 6.3)."""

IMAGE = "data"

BACKBONES = {
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
}
"""Names of the encoders, and what people call them."""

_SQUARE = (2.0,)
_WIDE = (2.0, 3.0)
_VGG16_BOXES = (
    PriorBoxes(30, 60, _SQUARE, 8),
    PriorBoxes(60, 111, _WIDE, 16),
    PriorBoxes(111, 162, _WIDE, 32),
    PriorBoxes(162, 213, _WIDE, 64),
    PriorBoxes(213, 264, _SQUARE, 100),
    PriorBoxes(264, 315, _SQUARE, 300),
)
_VGG16_BOXES_IN_TENSORFLOW = (
    PriorBoxes(21, 45, _SQUARE, 8),
    PriorBoxes(45, 99, _WIDE, 16),
    PriorBoxes(99, 153, _WIDE, 32),
    PriorBoxes(153, 207, _WIDE, 64),
    PriorBoxes(207, 261, _SQUARE, 100),
    PriorBoxes(261, 315, _SQUARE, 300),
)
_VGG16_FEATURES = ("conv4_3_norm", "relu7", "conv6_2_relu", "conv7_2_relu", "conv8_2_relu", "conv9_2_relu")
_VGG16_BLOBS = ("conv4_3_norm", "fc7", "conv6_2", "conv7_2", "conv8_2", "conv9_2")
_VGG16_EXTRAS = (  # name, channels of the 1x1, channels, stride and padding of the 3x3
    ("conv6", 256, 512, 2, 1),
    ("conv7", 128, 256, 2, 1),
    ("conv8", 128, 256, 1, 0),
    ("conv9", 128, 256, 1, 0),
)

_CLUSTERED = (1.6, 2.0, 3.0)
_DEEP_BOXES = (
    PriorBoxes(32.1, 64.2, _CLUSTERED, 8, 2.5),
    PriorBoxes(64.2, 121.98, _CLUSTERED, 16, 2.5),
    PriorBoxes(121.98, 179.76, _CLUSTERED, 32, 10.5),
    PriorBoxes(179.76, 237.54, _CLUSTERED, 64, 26.5),
    PriorBoxes(237.54, 295.32, _CLUSTERED, 64, 90.5),
    PriorBoxes(295.32, 353.1, _CLUSTERED, 321, 160.5),
)
_DEEP_EXTRAS = (("6", 2, 2), ("7", 2, 2), ("8", 3, 1), ("9", 3, 1))
"""Name, kernel and stride of the blocks behind a deep residual body."""

_RESNET18_BOXES = (
    PriorBoxes(32.1, 64.2, _CLUSTERED, 8, 2.5),
    PriorBoxes(64.2, 182.97, _CLUSTERED, 16, 2.5),
    PriorBoxes(182.97, 301.74, _CLUSTERED, 32, 10.5),
    PriorBoxes(301.74, 420.51, _CLUSTERED, 64, 26.5),
)

_BODIES = {"resnet18": RESNET18, "resnet50": RESNET50, "resnet101": RESNET101}
_INNER = 256
"""Channels of the 3x3 convolution in extra blocks and in prediction modules; they give four times as many."""


@dataclass(frozen=True)
class Sizes:
    """All that may differ between a detector and a relative of it.

    narrower:   divides all channels but those of the heads.
    input_size: height and width of the images; None is what the backbone's boxes are made for.
    centred:    the ResNets' prior boxes are centred in their cells, as their authors must have meant: the
                published scripts give pixels where Caffe's layer takes a share of the step (MODELS.md 7.4).
    tensorflow: as balancap's SSD has it: RGB, boxes of other sizes on VGG-16, and detections by class
                (MODELS.md 6.3); the ResNets are those of Caffe.
    """

    narrower: int = 1
    classes: int = VOC_CLASSES
    input_size: tuple[int, int] | None = None
    centred: bool = False
    tensorflow: bool = False


@dataclass(frozen=True)
class Place:
    """A feature map that boxes are found on.

    features: the layer that gives it.
    blob:     what Caffe calls it, and the heads after it.
    kernel:   of the heads.
    """

    features: str
    blob: str
    kernel: int
    boxes: PriorBoxes


@dataclass(frozen=True)
class Encoder:
    """Layers that make feature maps of an image, the finest first.

    predicts: a prediction module (a bottleneck) stands between features and heads.
    """

    input_size: tuple[int, int]
    layers: tuple[Layer, ...]
    places: tuple[Place, ...]
    predicts: bool = False


def encoder_of(backbone: str, sizes: Sizes) -> Encoder:
    """`vgg16`, `resnet18`, `resnet50` or `resnet101`."""
    if backbone == "vgg16":
        boxes = _VGG16_BOXES_IN_TENSORFLOW if sizes.tensorflow else _VGG16_BOXES
        places = tuple(map(Place, _VGG16_FEATURES, _VGG16_BLOBS, (3,) * 6, boxes))
        return Encoder(sizes.input_size or (300, 300), tuple(_vgg16(sizes)), places)
    structure = replace(_BODIES[backbone], width=_BODIES[backbone].width // sizes.narrower)
    make = _shallow if structure.basic else _deep
    layers, places = make(structure, sizes)
    if sizes.centred:
        places = tuple(replace(place, boxes=_centred(place.boxes)) for place in places)
    return Encoder(sizes.input_size or (321, 321), layers, places, predicts=not structure.basic)


def single_shot(
    name: str, encoder: Encoder, decoder: Sequence[Layer], places: Sequence[Place], sizes: Sizes
) -> Network:
    """A network with heads on `places`, which encoder and decoder give: `data` to `detection_out`.

    In TensorFlow it is `images` to `scores` and `boxes`.

    A detector's weights do not depend on where its boxes are, so that centred ones share the statistics.
    """
    layers, sources = [*encoder.layers, *decoder], []
    for place in places:
        if encoder.predicts:
            module, place = _prediction_module(place, sizes)  # noqa: PLW2901 - what the heads stand on
            layers += module
        ending = "new" if decoder else ""  # as the authors' script calls heads that are trained anew
        source = Source(
            place.features, f"{place.blob}_mbox_loc{ending}", f"{place.blob}_mbox_conf{ending}", place.boxes
        )
        layers += _heads(source, place.kernel, sizes.classes)
        sources.append(source)
    kind = ListedDetections if sizes.tensorflow else Detections
    last = detections("detection_out", tuple(sources), sizes.classes, IMAGE, kind)
    answer = [Part(name, (last.name,), index) for index, name in enumerate(LISTS)] if sizes.tensorflow else []
    network = Network(
        f"{name}-centred" if sizes.centred else name,
        name,
        IMAGE,
        encoder.input_size,
        PIXEL_DEVIATION,
        (*layers, last, *answer),
        heads=dict(single_shot_heads(last)),
        outputs={part.name: part.name for part in answer},
        listed=sizes.tensorflow,
    )
    return in_rgb(network) if sizes.tensorflow else network


def _vgg16(sizes: Sizes) -> Iterator[Layer]:
    yield from convolutions(IMAGE, sizes.narrower)
    yield Pool("pool5", ("relu5_3",), "MAX", 3, 1, 1)
    yield Convolution("fc6", ("pool5",), 1024 // sizes.narrower, 3, padding=6, dilation=6)
    yield Relu("relu6", ("fc6",))
    yield Convolution("fc7", ("relu6",), 1024 // sizes.narrower, 1)
    yield Relu("relu7", ("fc7",))
    bottom = "relu7"
    for name, reduced, channels, stride, padding in _VGG16_EXTRAS:
        yield Convolution(f"{name}_1", (bottom,), reduced // sizes.narrower, 1)
        yield Relu(f"{name}_1_relu", (f"{name}_1",))
        bottom = f"{name}_2_relu"
        yield Convolution(f"{name}_2", (f"{name}_1_relu",), channels // sizes.narrower, 3, stride, padding)
        yield Relu(bottom, (f"{name}_2",))
    yield Normalize("conv4_3_norm", ("relu4_3",), clamped=sizes.tensorflow)


def _shallow(structure: Body, sizes: Sizes) -> tuple[tuple[Layer, ...], tuple[Place, ...]]:
    """ResNet-18 and two convolutions behind it."""
    layers = list(body(structure, IMAGE))
    bottom = structure.last(5)
    for number, channels, kernel, stride, padding in (("6", 256, 1, 1, 0), ("7", 512, 3, 2, 1)):
        name = f"conv{number}"
        layers += (
            Convolution(name, (bottom,), channels // sizes.narrower, kernel, stride, padding, bias=False),
            BatchNorm(f"bn{number}", (name,), f"scale{number}", EPSILON),
            Relu(f"{name}_relu", (f"bn{number}",)),
        )
        bottom = f"{name}_relu"
    features = (*(structure.last(stage) for stage in (3, 4, 5)), bottom)
    return tuple(layers), tuple(map(Place, features, features, (3,) * 4, _RESNET18_BOXES))


def _deep(structure: Body, sizes: Sizes) -> tuple[tuple[Layer, ...], tuple[Place, ...]]:
    """ResNet-50 or -101 and four blocks behind it."""
    layers = list(body(structure, IMAGE))
    features = [structure.last(3), structure.last(5)]
    for name, kernel, stride in _DEEP_EXTRAS:
        inner = _INNER // sizes.narrower
        layers += bottleneck(name, features[-1], inner, (kernel, stride), projected=True)
        features.append(f"res{name}_relu")
    return tuple(layers), tuple(map(Place, features, features, (5, 5, 3, 3, 3, 3), _DEEP_BOXES))


def _centred(boxes: PriorBoxes) -> PriorBoxes:
    return replace(boxes, offset=boxes.offset / boxes.step)


def _prediction_module(place: Place, sizes: Sizes) -> tuple[tuple[Layer, ...], Place]:
    """A bottleneck on the features, and the place it makes."""
    name = f"{place.blob}_inter{_INNER}"
    module = tuple(bottleneck(name, place.features, _INNER // sizes.narrower, projected=True))
    return module, replace(place, features=f"res{name}_relu", blob=f"res{name}")


def _heads(source: Source, kernel: int, classes: int) -> Iterator[Layer]:
    for name, values in ((source.offsets, 4), (source.scores, classes)):
        channels = source.boxes.count * values
        yield Convolution(name, (source.features,), channels, kernel, padding=kernel // 2)
