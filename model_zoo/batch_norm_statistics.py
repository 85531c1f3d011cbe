"""Measures on photographs what seeded weights need (`image_statistics`), and writes the file.

    python -m model_zoo.batch_norm_statistics resnet50

To be run again only when the seeded kernels change. It runs the network once, layer by layer: what a layer
measures is rounded as it will be stored, and the layers behind it see the activations that gives.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo import (
    crnn_seeded,
    densenet_layers,
    fashion_networks,
    googlenet_layers,
    layers,
    layers_tensorflow,
    mask_rcnn_tensorflow,
    resnet_tensorflow,
)
from model_zoo.catalog import get_model, get_variant
from model_zoo.cpn_garments import NETWORK as GARMENT_POINTS
from model_zoo.cpn_layers import Sizes as CpnSizes
from model_zoo.cpn_layers import cpn_network
from model_zoo.crnn_layers import Sizes as CrnnSizes
from model_zoo.crnn_layers import crnn_network
from model_zoo.detection_layers import Proposals, RegionPool
from model_zoo.dssd_layers import dssd_network
from model_zoo.faster_rcnn_layers import Sizes as RegionSizes
from model_zoo.faster_rcnn_layers import faster_rcnn_network
from model_zoo.garments_variants import garments_network
from model_zoo.image_statistics import DIRECTIONS, Statistics, path_of, save
from model_zoo.layers import Layer
from model_zoo.layers_seeded import Seeding, is_measured
from model_zoo.mask_rcnn_garments import NETWORK as MASKED_GARMENTS
from model_zoo.mask_rcnn_layers import RefinedDetections, mask_rcnn_network
from model_zoo.mask_rcnn_layers import Sizes as MaskSizes
from model_zoo.network import Network
from model_zoo.resnet import RESNET50, RESNET101, Convolution, ResNet
from model_zoo.resnet_seeded import branch_ends, seeded_convolution
from model_zoo.samples import uniforms
from model_zoo.seeded_layers import Weights
from model_zoo.seglink_layers import Sizes as SeglinkSizes
from model_zoo.seglink_layers import seglink_network
from model_zoo.seglink_words import NETWORK as WORDS
from model_zoo.single_shot_layers import BACKBONES
from model_zoo.single_shot_layers import Sizes as DetectorSizes
from model_zoo.spec import FeedSource, Split
from model_zoo.ssd_layers import ssd_network
from runtime.errors import UnavailableError

Images = NDArray[np.float32]
"""[number, size, size, 3], as the network takes them."""

_IMAGES_PER_SPLIT = 48
_SMALL_IMAGES_PER_SPLIT = 256
_REGIONS_OF_AN_IMAGE = 32
_DIRECTION_STEPS = 127  # int8


class Recorder:
    """Takes the mean and variance of each channel, in the order the layers run, as they are stored."""

    def __init__(self) -> None:
        self._means: list[NDArray[np.float16]] = []
        self._variances: list[NDArray[np.float16]] = []

    def measure(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and variance, over all but the last axis, as whoever reads the file will see them."""
        pixels = values.reshape(-1, values.shape[-1])
        self._means.append(pixels.mean(axis=0, dtype=np.float64).astype(np.float16))
        self._variances.append(pixels.var(axis=0, dtype=np.float64).astype(np.float16))
        return self._means[-1].astype(np.float32), self._variances[-1].astype(np.float32)

    def statistics(self, pooled: NDArray[np.float32]) -> Statistics:
        """All that was measured, and the directions of the features [images, features]."""
        features = coordinates(pooled.astype(np.float64))
        return Statistics(np.concatenate(self._means), np.concatenate(self._variances), *features)


Walk = Callable[[Images, Recorder], NDArray[np.float32]]
"""Runs a seeded network, giving every measured layer's values to the recorder; to the pooled features."""


@dataclass(frozen=True)
class Subject:
    """A network to be measured: its statistics' name, how to walk it, and whose feeds it takes.

    images: of each split; fewer where they are large.
    """

    statistics: str
    walk: Walk
    model: str
    framework: str
    variant: str = ""
    images: int = _IMAGES_PER_SPLIT

    @property
    def feeds(self) -> FeedSource:
        return get_variant(get_model(self.model), self.variant).feeds(self.framework)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure channels' statistics on photographs.")
    parser.add_argument("network", choices=sorted(SUBJECTS))
    subject = SUBJECTS[parser.parse_args().network]
    images = photographs(subject.feeds, subject.images)
    save(measure(subject.walk, images), path_of(subject.statistics))


def photographs(feeds: FeedSource, number: int = _IMAGES_PER_SPLIT) -> Images:
    """The first `number` images of each split, channels last.

    Raises UnavailableError where they are not real ones.
    """
    if feeds.synthetic:
        raise UnavailableError(f"statistics must come from photographs, the feeds are {feeds.origin}")
    firsts = [next(islice(feeds.batches(number, split), 1)) for split in Split]
    images = np.concatenate([array for feed in firsts for array in feed.values() if array.ndim == 4])
    return images if images.shape[-1] == 3 else np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def measure(walk: Walk, images: Images) -> Statistics:
    """Statistics of a seeded network over images."""
    recorder = Recorder()
    return recorder.statistics(walk(images, recorder))


def walk_resnet(network: ResNet, images: Images, recorder: Recorder) -> NDArray[np.float32]:
    ends = branch_ends(network)

    def layer(part: Convolution, x: resnet_tensorflow.Tensor) -> resnet_tensorflow.Tensor:
        weights: Weights = seeded_convolution(part, ends_branch=part in ends)
        convolved = resnet_tensorflow.convolve(part, x, weights)
        mean, variance = recorder.measure(convolved.numpy())
        weights |= {f"{part.batch_norm}/moving_mean": mean, f"{part.batch_norm}/moving_variance": variance}
        return resnet_tensorflow.normalise(part, convolved, weights)

    pooled: NDArray[np.float32] = resnet_tensorflow.features(network, images, layer).numpy()
    return pooled


def walk_layers(network: Network, images: Images, recorder: Recorder) -> NDArray[np.float32]:
    seeding = Seeding(network)
    weights: Weights = {}

    def prepare(layer: Layer, x: layers_tensorflow.Tensor) -> None:
        weights.update(seeding.drawn(layer))
        if is_measured(network, layer):
            if isinstance(layer, layers.Weighted):
                x = layers_tensorflow.product(layer, x, weights[f"{layer.name}/kernel"])
            weights.update(seeding.fitted(layer, weights, *recorder.measure(np.asarray(x))))

    stand_ins = SeededRegions(network.input_size).operations
    last = network.named[network.classifier].bottoms[0] if network.classifier else _last_measured(network)
    pooled = layers_tensorflow.evaluate(network, images, weights, last, prepare, stand_ins)
    if not network.classifier:
        return np.zeros((len(images), 0), np.float32)
    return np.asarray(pooled, np.float32).reshape(len(images), -1)


def walk_words(network: Network, images: Images, recorder: Recorder) -> NDArray[np.float32]:
    """CRNN: the features are the columns that the last LSTM gives, less what a whole image differs by.

    So the principal directions are those in which columns of one word differ.
    """
    none = walk_layers(network, images, recorder)
    last = crnn_seeded.last_lstm(network).name
    weights = crnn_seeded.features_weights(network, recorder.statistics(none))
    columns = np.array(layers_tensorflow.evaluate(network, images, weights, last))
    columns += columns.mean(axis=(0, 1)) - columns.mean(axis=1, keepdims=True)
    return columns.reshape(-1, columns.shape[-1])


def _last_measured(network: Network) -> str:
    return [layer.name for layer in network.layers if is_measured(network, layer)][-1]


class SeededRegions:
    """Regions of images in place of a detector's own proposals, which only Caffe and ONNX work out.

    (Mask R-CNN has its own; it is told that its images fill the input.)
    """

    def __init__(self, input_size: tuple[int, int]) -> None:
        self._input_size = input_size
        self.operations: Mapping[type[Layer], layers_tensorflow.Operation] = {
            Proposals: self._regions,
            RefinedDetections: self._detected,
            RegionPool: self._pooled,
        }

    def _regions(self, _: Proposals, bottoms: Sequence[Any], __: Mapping[str, Any]) -> NDArray[np.float64]:
        """[images * _REGIONS_OF_AN_IMAGE, 5]: image, and corners in its pixels."""
        height, width = self._input_size
        number = len(bottoms[0]) * _REGIONS_OF_AN_IMAGE
        first, second = uniforms(4 * number, "regions").reshape(2, number, 2) * (width - 1, height - 1)
        images = np.repeat(np.arange(len(bottoms[0])), _REGIONS_OF_AN_IMAGE)[:, np.newaxis]
        return np.concatenate([images, np.minimum(first, second), np.maximum(first, second)], axis=1)

    def _detected(
        self, layer: RefinedDetections, bottoms: Sequence[Any], weights: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        window = np.tile(np.array((0, 0, *self._input_size), np.float32), (len(bottoms[0]), 1))
        detect = mask_rcnn_tensorflow.OPERATIONS[RefinedDetections]
        return tuple(detect(layer, (*bottoms[:-1], window), weights))

    def _pooled(self, layer: RegionPool, bottoms: Sequence[Any], _: Mapping[str, Any]) -> NDArray[np.float32]:
        features, regions = np.asarray(bottoms[0]), bottoms[1]
        scaled = np.floor(regions[:, 1:] / layer.stride).astype(int)
        pooled = np.empty((len(regions), layer.size, layer.size, features.shape[-1]), np.float32)
        for row, (image, (left, top, right, bottom)) in enumerate(zip(regions[:, 0], scaled, strict=True)):
            window = features[int(image), top : bottom + 1, left : right + 1]
            pooled[row] = _maxima(_maxima(window, layer.size, 0), layer.size, 1)
        return pooled


def _maxima(values: NDArray[np.float32], count: int, axis: int) -> NDArray[np.float32]:
    """`count` bins of about equal width along one axis."""
    size = values.shape[axis]
    bins = [
        values.take(range(index * size // count, max(-(-(index + 1) * size // count), 1)), axis).max(axis)
        for index in range(count)
    ]
    return np.stack(bins, axis)


def coordinates(
    pooled: NDArray[np.float64],
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """Directions, scale and origin (see Statistics) of feature vectors [images, features].

    The directions are the principal ones; the coordinates have mean 0 and variance 1 over the images. All
    are empty or zero for a detector, which has no such vector.
    """
    if not pooled.shape[1]:
        empty = np.zeros(DIRECTIONS, np.float32)
        return np.zeros((0, DIRECTIONS), np.int8), empty, empty
    _, _, principal = np.linalg.svd(pooled - pooled.mean(axis=0), full_matrices=False)
    columns = principal[:DIRECTIONS].T
    directions = np.rint(columns / np.abs(columns).max(axis=0) * _DIRECTION_STEPS).astype(np.int8)
    projected = pooled @ directions.astype(np.float64)
    deviation = projected.std(axis=0)
    return (
        directions,
        (1 / deviation).astype(np.float32),
        (projected.mean(axis=0) / deviation).astype(np.float32),
    )


def _of_resnet(network: ResNet) -> Subject:
    return Subject(network.name, partial(walk_resnet, network), network.name, "tensorflow")


def _of_layers(
    network: Network, model: str, framework: str, variant: str = "", images: int = _IMAGES_PER_SPLIT
) -> Subject:
    return Subject(network.statistics, partial(walk_layers, network), model, framework, variant, images)


def _of_detectors() -> Iterator[Subject]:
    for backbone in BACKBONES:
        for model, network_of in (("ssd", ssd_network), ("dssd", dssd_network)):
            yield _of_layers(network_of(backbone, DetectorSizes()), model, "caffe", backbone, images=24)
    yield _of_layers(faster_rcnn_network(RegionSizes()), "faster-rcnn", "caffe", images=8)


def _of_garments() -> Iterator[Subject]:
    """Small images, of whose last maps little is left: it takes more of them."""
    for network, model in (
        (fashion_networks.GOOGLENET, "googlenet"),
        (fashion_networks.DENSENET121, "densenet121"),
    ):
        yield _of_layers(network, model, "tensorflow", "fashion-mnist", images=_SMALL_IMAGES_PER_SPLIT)
    residual = fashion_networks.RESNET50
    yield Subject(
        residual.name,
        partial(walk_resnet, residual),
        "resnet50",
        "tensorflow",
        "fashion-mnist",
        _SMALL_IMAGES_PER_SPLIT,
    )
    for model, network_of in (("ssd", ssd_network), ("dssd", dssd_network)):
        yield _of_layers(garments_network(model, network_of), model, "tensorflow", "garments")
    yield _of_layers(MASKED_GARMENTS, "mask-rcnn", "tensorflow", "garments")
    yield _of_layers(GARMENT_POINTS, "cpn", "tensorflow", "garments", images=_SMALL_IMAGES_PER_SPLIT)


def _of_seglink(side: int, images: int) -> Subject:
    """Of a size at which its activations fit into memory; its weights know no size."""
    network = seglink_network(SeglinkSizes(input_size=(side, side)))
    return _of_layers(network, "seglink", "tensorflow", f"{side}x{side}", images)


SUBJECTS: Mapping[str, Subject] = {
    subject.statistics: subject
    for subject in (
        _of_resnet(RESNET50),
        _of_resnet(RESNET101),
        _of_layers(googlenet_layers.caffe_network(googlenet_layers.Sizes()), "googlenet", "caffe"),
        _of_layers(googlenet_layers.tensorflow_network(googlenet_layers.Sizes()), "googlenet", "tensorflow"),
        _of_layers(densenet_layers.standard_network(densenet_layers.Sizes()), "densenet121", "caffe"),
        _of_layers(
            densenet_layers.aimatrix_network(densenet_layers.AIMATRIX),
            "densenet121",
            "tensorflow",
            "aimatrix",
        ),
        *_of_detectors(),
        *_of_garments(),
        Subject("crnn", partial(walk_words, crnn_network(CrnnSizes())), "crnn", "tensorflow"),
        _of_layers(cpn_network(CpnSizes(), supervised=True), "cpn", "tensorflow", images=12),
        _of_seglink(512, images=4),
        _of_layers(WORDS, "seglink", "tensorflow", "words", images=128),
        _of_layers(mask_rcnn_network(MaskSizes()), "mask-rcnn", "tensorflow", images=2),
    )
}

if __name__ == "__main__":
    main()
