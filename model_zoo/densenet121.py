"""DenseNet-121 (Huang et al. 2016), and the two other networks of that name (MODELS.md 5)."""

from __future__ import annotations

from model_zoo.densenet_layers import (
    AIMATRIX,
    INPUT_SCALE,
    Sizes,
    aimatrix_network,
    shipped_network,
    standard_network,
    tensorflow_network,
)
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
        "": variant_of(
            "densenet121",
            "DenseNet-121, 224x224, 1000 classes",
            {
                "caffe": InFramework(standard_network(Sizes()), CAFFE_MEAN, INPUT_SCALE),
                "tensorflow": InFramework(tensorflow_network(Sizes()), TENSORFLOW_MEAN, INPUT_SCALE),
            },
        ),
        "as-shipped": variant_of(
            "densenet121",
            "DenseNet-121 as AI Matrix ships it: pools round up (57x57 after pool1), softmax at the end",
            {"caffe": InFramework(shipped_network(Sizes()), CAFFE_MEAN, INPUT_SCALE)},
        ),
        "aimatrix": variant_of(
            "densenet121",
            "AI Matrix' TensorFlow network, very probably the paper's: three blocks, narrow 1x1 convolutions",
            {"tensorflow": InFramework(aimatrix_network(AIMATRIX))},
        ),
    },
)
