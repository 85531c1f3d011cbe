"""What SSD and DSSD have in common as reference models."""

from __future__ import annotations

from collections.abc import Callable

from model_zoo.detection import CALIBRATION_METHOD, SINGLE_SHOT
from model_zoo.framing import Warp
from model_zoo.layers import Network
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.single_shot_layers import BACKBONES, CAFFE_MEAN, Sizes
from model_zoo.spec import Variant


def variants_of(model: str, title: str, network_of: Callable[[str, Sizes], Network]) -> dict[str, Variant]:
    """A variant for each backbone, and `<backbone>-centred` where the published boxes are not."""
    variants = {}
    for backbone, name in BACKBONES.items():
        variants[backbone] = _variant(model, f"{title} on {name}", network_of(backbone, Sizes()))
        if backbone.startswith("resnet"):
            centred = network_of(backbone, Sizes(centred=True))
            description = f"{title} on {name}, prior boxes centred in their cells"
            variants[f"{backbone}-centred"] = _variant(model, description, centred)
    return variants


def _variant(model: str, description: str, network: Network) -> Variant:
    height, width = network.input_size
    framework = InFramework(network, CAFFE_MEAN, framing=Warp())
    return variant_of(
        model,
        f"{description}, {height}x{width}, PASCAL VOC",
        {"caffe": framework},
        SINGLE_SHOT,
        CALIBRATION_METHOD,
    )
