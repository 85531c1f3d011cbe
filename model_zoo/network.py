"""A network of images: layers in the order they run, with an input and outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from model_zoo.layers import FeatureMap, Layer, Shape
from runtime.errors import UsageError

PIXEL_DEVIATION = 64.0
"""About that of pixels of 0..255 in a photograph."""

RGB_IMAGES = "images"
"""What TensorFlow's networks call their input."""


@dataclass(frozen=True)
class Head:
    """What a layer of a detector gives in place of features: scores, or offsets of boxes.

    deviation:  how far the values spread over photographs in a trained network.
    background: what the scores of "nothing is here" have more than the others.
    background_channels: which channels those are.
    """

    deviation: float
    background: float = 0.0
    background_channels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Network:
    """Layers that turn images into scores of classes or into detections; the last gives the output.

    name:            as in the prototxt.
    statistics:      name of the file with what photographs give in it; networks with equal weights share one.
    input_size:      height and width of the images.
    input_channels:  colours of the images.
    input_deviation: about how far the input's values spread.
    classifier:      the layer with one channel per class; "" in a detector.
    heads:           of a detector, the layers that give no features, by name.
    side_inputs:     what the network reads beside the image: name to the shape of one sample.
    reversed_channels: its seeded weights are those of a network that takes colours in the opposite order.
    outputs:         what the outputs are called, to their layers, where the last layer's is not the only one.
    listed:          they are lists of a fixed length, scores first: the best in front, and zeros behind.

    Raises UsageError where the sizes do not fit together.
    """

    name: str
    statistics: str
    input_name: str
    input_size: tuple[int, int]
    input_deviation: float
    layers: tuple[Layer, ...]
    classifier: str = ""
    heads: Mapping[str, Head] = field(default_factory=dict, hash=False)
    side_inputs: Mapping[str, Shape] = field(default_factory=dict, hash=False)
    outputs: Mapping[str, str] = field(default_factory=dict, hash=False)
    listed: bool = False
    reversed_channels: bool = False
    input_channels: int = 3

    def __post_init__(self) -> None:
        for name, output in self.maps.items():
            if output.height < 1 or output.width < 1:
                height, width = self.input_size
                raise UsageError(
                    f"input size {height}x{width} of {self.name} leaves {name} no pixel: give a larger one"
                )

    @cached_property
    def maps(self) -> Mapping[str, FeatureMap]:
        """The output of the input and of every layer, by name."""
        maps = {name: FeatureMap(math.prod(shape), 1, 1) for name, shape in self.side_inputs.items()}
        maps[self.input_name] = FeatureMap(self.input_channels, *self.input_size)
        for layer in self.layers:
            maps[layer.name] = layer.output(*(maps[name] for name in layer.bottoms))
        return maps

    @property
    def output_name(self) -> str:
        return self.layers[-1].name

    @property
    def classes(self) -> int:
        """Of the classifier."""
        return self.maps[self.classifier].channels

    @property
    def features(self) -> int:
        """Length of the vector that the classifier sees; 0 in a detector."""
        return self.maps[self.named[self.classifier].bottoms[0]].channels if self.classifier else 0

    @cached_property
    def named(self) -> Mapping[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of all weights."""
        return {name: shape for layer, of in self.fed_layers() for name, shape in layer.tensors(of).items()}

    def fed_layers(self) -> Iterator[tuple[Layer, FeatureMap]]:
        """Every layer with the feature map of its first bottom."""
        return ((layer, self.maps[layer.bottoms[0]]) for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Learned parameters, without the batch-norm statistics."""
        return sum(math.prod(shape) for name, shape in self.tensors().items() if "/moving_" not in name)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs(of) for layer, of in self.fed_layers())


def in_rgb(network: Network) -> Network:
    """The network for `images`, RGB; its seeded weights make it the same function as `network` is of BGR."""

    def renamed(bottom: str) -> str:
        return RGB_IMAGES if bottom == network.input_name else bottom

    layers = (replace(layer, bottoms=tuple(map(renamed, layer.bottoms))) for layer in network.layers)
    return replace(network, input_name=RGB_IMAGES, layers=tuple(layers), reversed_channels=True)


def without_post_processing(network: Network) -> Network:
    """The network without its detection layers and what reads them; itself where it has none.

    Its outputs are called after the layers that give them: those that nothing reads any more, and what a
    layer behind the detections would look up beside them. So a host can go on from there.
    """
    dropped: set[str] = set()
    for layer in network.layers:
        if layer.post_processing or dropped & set(layer.bottoms):
            dropped.add(layer.name)
    if not dropped:
        return network
    layers = tuple(layer for layer in network.layers if layer.name not in dropped)
    read = {bottom for layer in layers for bottom in layer.bottoms}
    looked_up = {
        bottom
        for layer in network.layers
        if layer.name in dropped and not layer.post_processing
        for bottom in layer.bottoms
    }
    outputs = [layer.name for layer in layers if layer.name not in read or layer.name in looked_up]
    return replace(
        network,
        layers=layers,
        side_inputs={name: shape for name, shape in network.side_inputs.items() if name in read},
        outputs={name: name for name in outputs},
        listed=False,
    )
