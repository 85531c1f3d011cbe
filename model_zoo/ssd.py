"""SSD (Liu et al. 2015) on PASCAL VOC's 20 classes, on four backbones (MODELS.md 6 and 8)."""

from __future__ import annotations

from model_zoo.garments_variants import garments_variant
from model_zoo.single_shot_model import variants_of
from model_zoo.spec import ModelSpec, PaperRow
from model_zoo.ssd_layers import ssd_network

SPEC = ModelSpec(
    "ssd",
    "SSD",
    PaperRow(batch_size=16, flops=1.13e12, seconds=0.250),
    {
        **variants_of("ssd", "SSD", ssd_network, ("caffe", "tensorflow")),
        "garments": garments_variant("ssd", "SSD", ssd_network, epochs=30),
    },
    reference="vgg16",
)
