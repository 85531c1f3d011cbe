"""GoogLeNet, or Inception v1 (Szegedy et al. 2014), without the auxiliary heads that only training has."""

from __future__ import annotations

from model_zoo import fashion_networks
from model_zoo.fashion_variants import fashion_variant
from model_zoo.googlenet_layers import Sizes, caffe_network, tensorflow_network
from model_zoo.imagenet_exam import judged_on_imagenet
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.spec import ModelSpec, PaperRow

CAFFE_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red; BVLC's (MODELS.md 3)."""

SPEC = ModelSpec(
    "googlenet",
    "GoogLeNet",
    PaperRow(batch_size=32, flops=7.78e10, seconds=0.014),
    {
        "": judged_on_imagenet(
            variant_of(
                "googlenet",
                "GoogLeNet (Inception v1), 224x224, 1000 classes; Caffe's has local response normalisation",
                {
                    "tensorflow": InFramework(tensorflow_network(Sizes())),
                    "caffe": InFramework(caffe_network(Sizes()), CAFFE_MEAN),
                },
            )
        ),
        "fashion-mnist": fashion_variant(
            "googlenet", "GoogLeNet, a quarter as wide", fashion_networks.GOOGLENET, epochs=12
        ),
    },
)
