"""A network without its post-processing: for accelerators that have no non-maximum suppression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exporters.caffe.layers import PYTHON_PROPOSALS
from exporters.caffe.network import unread_tops
from exporters.caffe.python_layers import class_of

if TYPE_CHECKING:
    from exporters.caffe.network import Layer, Network

POST_PROCESSING = ("DetectionOutput", "Proposal")
"""Layer types that keep the best boxes of many; py-faster-rcnn has the second as a Python layer."""


def without_post_processing(network: Network) -> Network:
    """The layers that need no suppressed boxes; what the others read of them are the outputs.

    Of SSD these are offsets, scores and prior boxes; of Faster R-CNN the maps that a Proposal layer reads
    (its second half reads proposals, so it goes as well). Inputs that nothing reads any more go, too.
    A network without such layers is returned as it is.
    """
    gone: set[str] = set()
    kept: list[Layer] = []
    for layer in network.layers:
        if _is_post_processing(layer) or gone.intersection(layer.bottoms):
            gone.update(layer.tops)
        else:
            kept.append(layer)
    if len(kept) == len(network.layers):
        return network
    read = {bottom for layer in kept for bottom in layer.bottoms}
    inputs = tuple(blob for blob in network.inputs if blob.name in read)
    return replace(network, inputs=inputs, layers=tuple(kept), outputs=unread_tops(kept))


def _is_post_processing(layer: Layer) -> bool:
    return layer.type in POST_PROCESSING or (layer.type == "Python" and class_of(layer) in PYTHON_PROPOSALS)
