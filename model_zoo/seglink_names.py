"""What bgshih/seglink calls its tensors (seglink/model.py, model_cnn.py and ops.py).

All below the scope `ssd`.
"""

from __future__ import annotations

import re

MARKER = "conv4_3_lnk"
"""The layer that tells this network from others."""

_PARTS = {"kernel": "weight", "bias": "bias"}

_VGG = re.compile(r"conv[1-5]_[123]|fc7")
_MAPS = ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11")
_HEAD = re.compile(rf"(?P<map>{'|'.join(_MAPS)})_(?P<head>cls|lnk|reg)")

_SCALE = "conv4_3_norm/gamma"


def original_name(name: str) -> str:
    """Of a tensor `<layer>/<part>` of `seglink_layers`; its own name where the original has none like it."""
    if name == _SCALE:
        return "conv4_3_scale"
    layer, _, part = name.rpartition("/")
    if part not in _PARTS:  # of a normalisation
        return name
    return f"{_scope(layer)}/{_PARTS[part]}"


def _scope(layer: str) -> str:
    head = _HEAD.fullmatch(layer)
    if head:
        return f"det_{1 + _MAPS.index(head['map'])}/conv_{head['head']}"
    if layer == "fc6":
        return "vgg16/fc6/atrous_conv2d"
    return f"vgg16/{layer}/conv2d" if _VGG.fullmatch(layer) else layer
