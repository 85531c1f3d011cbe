"""What SSD and DSSD have in common as reference models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from model_zoo.detection import CALIBRATION_METHOD, SINGLE_SHOT
from model_zoo.framing import Warp
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.network import Network
from model_zoo.single_shot_layers import BACKBONES, CAFFE_MEAN, TENSORFLOW_MEAN, Sizes
from model_zoo.spec import Variant
from model_zoo.voc_exam import judged_on_voc

_MEANS = {"caffe": CAFFE_MEAN, "tensorflow": TENSORFLOW_MEAN}


def variants_of(
    model: str,
    title: str,
    network_of: Callable[[str, Sizes], Network],
    frameworks: Sequence[str] = ("caffe",),
) -> dict[str, Variant]:
    """A variant for each backbone, and `<backbone>-centred` where the published boxes are not."""

    def variant(backbone: str, description: str, *, centred: bool) -> Variant:
        networks = {
            framework: network_of(backbone, Sizes(centred=centred, tensorflow=framework == "tensorflow"))
            for framework in frameworks
        }
        return _variant(model, description, networks)

    variants = {}
    for backbone, name in BACKBONES.items():
        variants[backbone] = variant(backbone, f"{title} on {name}", centred=False)
        if backbone.startswith("resnet"):
            description = f"{title} on {name}, prior boxes centred in their cells"
            variants[f"{backbone}-centred"] = variant(backbone, description, centred=True)
    return variants


def _variant(model: str, description: str, networks: Mapping[str, Network]) -> Variant:
    height, width = next(iter(networks.values())).input_size
    variant = variant_of(
        model,
        f"{description}, {height}x{width}, PASCAL VOC",
        {
            framework: InFramework(network, _MEANS[framework], framing=Warp())
            for framework, network in networks.items()
        },
        SINGLE_SHOT,
        CALIBRATION_METHOD,
    )
    return judged_on_voc(variant, SINGLE_SHOT.read, shares=True)
