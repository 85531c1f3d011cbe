"""DenseNet-121 (Huang et al. 2016), and the two other networks of that name (MODELS.md 5)."""

from __future__ import annotations

from model_zoo import fashion_networks
from model_zoo.densenet_layers import (
    AIMATRIX,
    INPUT_SCALE,
    Sizes,
    aimatrix_network,
    shipped_network,
    standard_network,
    tensorflow_network,
)
from model_zoo.fashion_mnist import MEAN as FASHION_MEAN
from model_zoo.fashion_variants import fashion_variant
from model_zoo.imagenet_exam import judged_on_imagenet
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.spec import ModelSpec, PaperRow

CAFFE_MEAN = (103.94, 116.78, 123.68)
"""Blue, green, red (MODELS.md 5.1)."""

TENSORFLOW_MEAN = (123.68, 116.78, 103.94)
"""Red, green, blue."""

SPEC = ModelSpec(
    "densenet121",
    "DenseNet-121",
    PaperRow(batch_size=32, flops=9.19e10, seconds=0.029),
    {
        "": judged_on_imagenet(
            variant_of(
                "densenet121",
                "DenseNet-121, 224x224, 1000 classes",
                {
                    "caffe": InFramework(standard_network(Sizes()), CAFFE_MEAN, INPUT_SCALE),
                    "tensorflow": InFramework(tensorflow_network(Sizes()), TENSORFLOW_MEAN, INPUT_SCALE),
                },
            )
        ),
        "as-shipped": judged_on_imagenet(
            variant_of(
                "densenet121",
                "DenseNet-121 as AI Matrix ships it: pools round up (57x57 after pool1), softmax at the end",
                {"caffe": InFramework(shipped_network(Sizes()), CAFFE_MEAN, INPUT_SCALE)},
            )
        ),
        "aimatrix": judged_on_imagenet(
            variant_of(
                "densenet121",
                "AI Matrix' TensorFlow network, very probably the paper's: three blocks, narrow 1x1"
                " convolutions",
                {"tensorflow": InFramework(aimatrix_network(AIMATRIX))},
            )
        ),
        "fashion-mnist": fashion_variant(
            "densenet121",
            "DenseNet-121, a quarter as wide",
            fashion_networks.DENSENET121,
            epochs=5,
            mean=FASHION_MEAN,
            scale=INPUT_SCALE,
        ),
    },
)
