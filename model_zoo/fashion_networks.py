"""The networks that Fashion-MNIST teaches: reference models a quarter as wide, for images of 32x32."""

from __future__ import annotations

from dataclasses import replace

from model_zoo import densenet_layers, googlenet_layers
from model_zoo.fashion_mnist import CLASSES, FRAMED_SIDE
from model_zoo.resnet import RESNET50 as REFERENCE

GOOGLENET = googlenet_layers.tensorflow_network(
    googlenet_layers.Sizes(
        "googlenet-fashion-mnist", narrower=4, classes=len(CLASSES), input_size=FRAMED_SIDE
    )
)
DENSENET121 = densenet_layers.tensorflow_network(
    densenet_layers.Sizes(
        "densenet121-fashion-mnist", growth=8, stem=16, classes=len(CLASSES), input_size=FRAMED_SIDE
    )
)
RESNET50 = replace(
    REFERENCE, name="resnet50-fashion-mnist", width=16, classes=len(CLASSES), input_size=FRAMED_SIDE
)
