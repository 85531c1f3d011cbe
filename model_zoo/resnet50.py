"""ResNet-50, the authors' v1 (He et al. 2015, "Deep residual learning for image recognition")."""

from __future__ import annotations

from model_zoo import fashion_networks
from model_zoo.fashion_variants import residual_fashion_variant
from model_zoo.resnet import RESNET50
from model_zoo.resnet_model import model_of
from model_zoo.spec import PaperRow

SPEC = model_of(
    RESNET50,
    "ResNet-50",
    PaperRow(batch_size=32, flops=2.14e11, seconds=0.029),
    {
        "fashion-mnist": residual_fashion_variant(
            fashion_networks.RESNET50, "ResNet-50, a quarter as wide", epochs=5
        )
    },
)
