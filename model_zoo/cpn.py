"""CPN, key points of persons, on ResNet-101 and COCO (MODELS.md 11)."""

from __future__ import annotations

from dataclasses import dataclass

from model_zoo.coco_persons_exam import judged_on_persons
from model_zoo.cpn_garments import garments_variant
from model_zoo.cpn_layers import CAFFE_MEAN, INPUT_SCALE, Sizes, cpn_network
from model_zoo.framing import Box, Frame
from model_zoo.keypoints import KEY_POINTS
from model_zoo.layers_model import InFramework, variant_of
from model_zoo.samples import uniforms
from model_zoo.spec import ModelSpec, PaperRow, Variant

_SMALLEST = 0.6

_CALIBRATION_METHOD = "percentile:99.999+centre+feedback"
"""Heat maps keep 12.1 dB and 46 % of the key points stay; without `centre` 9.7 and 35, with the mean squared
error alone 9.3 and 26 (32 views of photographs; seeded weights, whose maps have many peaks of about one
height)."""


@dataclass(frozen=True)
class PersonCrop:
    """An upright part of the image with the input's proportions, as a person's box is widened to have.

    smallest: of the largest such part that fits, the least that another view shows.
    """

    smallest: float = _SMALLEST

    def whole(self, width: int, height: int, size: tuple[int, int]) -> Frame:
        return Frame(_upright(width, height, size, 1.0, (0.5, 0.5)), *size)

    def part(self, width: int, height: int, size: tuple[int, int], *key: object) -> Frame:
        scale, across, down = (float(value) for value in uniforms(3, "person", *key))
        share = self.smallest + (1 - self.smallest) * scale
        return Frame(_upright(width, height, size, share, (across, down)), *size)


def _upright(width: int, height: int, size: tuple[int, int], share: float, place: tuple[float, float]) -> Box:
    scale = share * min(height / size[0], width / size[1])
    sides = size[1] * scale, size[0] * scale
    left, top = place[0] * (width - sides[0]), place[1] * (height - sides[1])
    return left, top, left + sides[0], top + sides[1]


def _variant(description: str, *, supervised: bool) -> Variant:
    network = cpn_network(Sizes(), supervised=supervised)
    framework = InFramework(network, CAFFE_MEAN, INPUT_SCALE, PersonCrop(), "BGR")
    variant = variant_of("cpn", description, {"tensorflow": framework}, KEY_POINTS, _CALIBRATION_METHOD)
    return judged_on_persons(variant)


SPEC = ModelSpec(
    "cpn",
    "CPN",
    PaperRow(batch_size=8, flops=6.34e11, seconds=0.444),
    {
        "": _variant("CPN on ResNet-101, 384x288, 17 key points, with GlobalNet's maps", supervised=True),
        "pruned": _variant("CPN without GlobalNet's own heat maps, as it is run", supervised=False),
        "garments": garments_variant(PersonCrop(smallest=1.0)),
    },
)
