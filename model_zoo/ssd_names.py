"""What balancap's SSD-Tensorflow calls the tensors of SSD on VGG-16 (nets/ssd_vgg_300.py).

All below the scope `ssd_300_vgg`. An early version of its nets/custom_layers.py normalises over rows and
columns before gamma, later ones over the channels, as Caffe does; the network here is the later one.
"""

from __future__ import annotations

import re

MARKER = "conv4_3_norm_mbox_loc"
"""The layer that tells this network from others."""

_PARTS = {"kernel": "weights", "bias": "biases", "gamma": "gamma"}

_BLOCKS = {"conv4_3_norm": 4, "fc7": 7, "conv6_2": 8, "conv7_2": 9, "conv8_2": 10, "conv9_2": 11}
"""The feature maps that boxes are found on, by the number of their block."""

_HEADS = {"_mbox_loc": "conv_loc", "_mbox_conf": "conv_cls"}

_ALONE = {"fc6": "conv6", "fc7": "conv7", "conv4_3_norm": "block4_box/L2Normalization"}

_EXTRA = re.compile(r"conv(?P<stage>[6-9])_(?P<index>[12])")
_EXTRA_KERNELS = {"1": "conv1x1", "2": "conv3x3"}
_EXTRAS_BEFORE = 2
"""Blocks count fc6 and fc7, which Caffe's numbers leave out."""


def original_name(name: str) -> str:
    """Of a tensor `<layer>/<part>` of `ssd_layers`."""
    layer, _, part = name.rpartition("/")
    return f"{_scope(layer)}/{_PARTS[part]}"


def _scope(layer: str) -> str:
    if layer in _ALONE:
        return _ALONE[layer]
    for ending, head in _HEADS.items():
        if layer.endswith(ending):
            return f"block{_BLOCKS[layer.removesuffix(ending)]}_box/{head}"
    extra = _EXTRA.fullmatch(layer)
    if extra:
        return f"block{int(extra['stage']) + _EXTRAS_BEFORE}/{_EXTRA_KERNELS[extra['index']]}"
    return f"{layer.partition('_')[0]}/{layer}"
