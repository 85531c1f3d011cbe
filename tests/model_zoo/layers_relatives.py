"""Relatives of the networks that are described as layers, small enough for a fast test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import numpy as np

from model_zoo import densenet_layers, faster_rcnn_layers, googlenet_layers
from model_zoo.batch_norm_statistics import measure, walk_layers
from model_zoo.dssd_layers import dssd_network
from model_zoo.layers import Scaling
from model_zoo.layers_seeded import seeded_weights
from model_zoo.network import Network
from model_zoo.single_shot_layers import Sizes
from model_zoo.ssd_layers import ssd_network
from runtime.tensors import Array

GOOGLENET_SIZES = googlenet_layers.Sizes("little-googlenet", narrower=8, classes=10, input_size=64)
GOOGLENET_CAFFE = googlenet_layers.caffe_network(GOOGLENET_SIZES)
GOOGLENET_TENSORFLOW = googlenet_layers.tensorflow_network(GOOGLENET_SIZES)

DENSENET_SIZES = densenet_layers.Sizes(
    "little-densenet", depths=(2, 1, 2, 1), growth=8, stem=16, classes=10, input_size=64
)
DENSENET = densenet_layers.standard_network(DENSENET_SIZES)
DENSENET_TENSORFLOW = densenet_layers.tensorflow_network(DENSENET_SIZES)
DENSENET_SHIPPED = densenet_layers.shipped_network(DENSENET_SIZES)
DENSENET_AIMATRIX = densenet_layers.aimatrix_network(
    replace(DENSENET_SIZES, name="little-aimatrix", depths=(2, 1, 2), bottleneck=1)
)

SINGLE_SHOT = (
    ssd_network("vgg16", Sizes(narrower=16)),
    ssd_network("resnet18", Sizes(narrower=16)),
    ssd_network("resnet50", Sizes(narrower=16, centred=True)),
    dssd_network("vgg16", Sizes(narrower=16)),
    dssd_network("resnet50", Sizes(narrower=16, centred=True)),
)
SINGLE_SHOT_TENSORFLOW = (
    ssd_network("vgg16", Sizes(narrower=16, tensorflow=True)),
    ssd_network("resnet18", Sizes(narrower=16, tensorflow=True)),
    ssd_network("resnet50", Sizes(narrower=16, centred=True, tensorflow=True)),
)
FASTER_RCNN = faster_rcnn_layers.faster_rcnn_network(
    faster_rcnn_layers.Sizes(narrower=16, classes=4, input_size=(160, 240))
)

CAFFE = (GOOGLENET_CAFFE, DENSENET, DENSENET_SHIPPED)
TENSORFLOW = (GOOGLENET_TENSORFLOW, DENSENET_TENSORFLOW, DENSENET_AIMATRIX)


@cache
def weights_of_relative(network: Network) -> Mapping[str, Array]:
    """Seeded weights with statistics of noise: neutral ones let activations grow from layer to layer."""
    return seeded_weights(network, measure(partial(walk_layers, network), noise(network, 24)))


def noise(network: Network, number: int = 2, seed: int = 0) -> Array:
    """Noise over as many colours, centred where the network does not do that itself; channels last."""
    rng = np.random.default_rng(seed)
    shape = (number, *network.input_size, 3)
    images = np.clip(rng.normal(0, 0.5, shape) + rng.normal(0, 1, (number, 1, 1, 3)), -2, 2)
    centre = 127.5 if any(isinstance(layer, Scaling) for layer in network.layers) else 0.0
    return (images * network.input_deviation + centre).astype(np.float32)


def channels_first(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
