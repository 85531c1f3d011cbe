"""DSSD (Fu et al. 2017) on PASCAL VOC's 20 classes, on four backbones (MODELS.md 7 and 8)."""

from __future__ import annotations

from model_zoo.dssd_layers import dssd_network
from model_zoo.garments_variants import garments_variant
from model_zoo.single_shot_model import variants_of
from model_zoo.spec import ModelSpec, PaperRow

SPEC = ModelSpec(
    "dssd",
    "DSSD",
    PaperRow(batch_size=2, flops=5.38e11, seconds=0.091),
    {
        **variants_of("dssd", "DSSD", dssd_network),
        "garments": garments_variant("dssd", "DSSD", dssd_network, epochs=20),
    },
    reference="resnet101",
)
