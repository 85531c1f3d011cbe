"""The layers at the end of a detector as Caffe's, under the names of the published prototxts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from model_zoo import caffe_files
from model_zoo.detection_layers import ANCHORS, KEPT, Detections, PriorBoxes, Proposals, RegionPool

if TYPE_CHECKING:
    from exporters.caffe.caffe_pb2 import LayerParameter

_CHANNELS_LAST = [0, 2, 3, 1]
_VARIANCES = [0.1, 0.1, 0.2, 0.2]
_DETECTION_OUTPUT = {  # MODELS.md 6.2
    "share_location": True,
    "background_label_id": 0,
    "nms_param": {"nms_threshold": 0.45, "top_k": 400},
    "keep_top_k": KEPT,
    "confidence_threshold": 0.01,
    "code_type": "CENTER_SIZE",
}


def detection_layers(layer: Detections, bottoms: Sequence[str]) -> Iterator[LayerParameter]:
    """Offsets, scores and boxes of all sources, each in one row, and DetectionOutput over them."""
    *parts, image = bottoms
    features, offsets, scores = parts[::3], parts[1::3], parts[2::3]
    priors = []
    for source, blob in zip(layer.sources, features, strict=True):
        priors.append(f"{blob}_mbox_priorbox")
        yield caffe_files.layer(
            priors[-1], "PriorBox", [blob, image], prior_box_param=_prior_box(source.boxes)
        )
    yield from _joined("mbox_loc", offsets)
    yield from _joined("mbox_conf", scores)
    yield caffe_files.layer("mbox_priorbox", "Concat", priors, concat_param={"axis": 2})
    yield from _probabilities("mbox_conf", layer.classes)
    yield caffe_files.layer(
        layer.name,
        "DetectionOutput",
        ["mbox_loc", "mbox_conf_flatten", "mbox_priorbox"],
        detection_output_param={"num_classes": layer.classes, **_DETECTION_OUTPUT},
    )


def proposal_layers(layer: Proposals, bottoms: Sequence[str]) -> Iterator[LayerParameter]:
    """A softmax over background and foreground of each anchor, and py-faster-rcnn's Python layer."""
    objectness, offsets, info = bottoms
    shaped, prob = f"{objectness}_reshape", "rpn_cls_prob"
    yield caffe_files.layer(shaped, "Reshape", [objectness], reshape_param=_shape(0, 2, -1, 0))
    yield caffe_files.layer(prob, "Softmax", [shaped])
    back = f"{prob}_reshape"
    yield caffe_files.layer(back, "Reshape", [prob], reshape_param=_shape(0, 2 * ANCHORS, -1, 0))
    yield caffe_files.layer(
        "proposal",
        "Python",
        [back, offsets, info],
        layer.name,
        python_param={
            "module": "rpn.proposal_layer",
            "layer": "ProposalLayer",
            "param_str": f"'feat_stride': {layer.stride}",
        },
    )


def region_pool(layer: RegionPool) -> dict[str, object]:
    return {
        "roi_pooling_param": {
            "pooled_h": layer.size,
            "pooled_w": layer.size,
            "spatial_scale": 1 / layer.stride,
        }
    }


def _joined(name: str, blobs: Sequence[str]) -> Iterator[LayerParameter]:
    """The values of maps, cell by cell and channel by channel, one map behind the other."""
    for blob in blobs:
        yield caffe_files.layer(f"{blob}_perm", "Permute", [blob], permute_param={"order": _CHANNELS_LAST})
        yield caffe_files.layer(f"{blob}_flat", "Flatten", [f"{blob}_perm"], flatten_param={"axis": 1})
    yield caffe_files.layer(name, "Concat", [f"{blob}_flat" for blob in blobs], concat_param={"axis": 1})


def _probabilities(name: str, classes: int) -> Iterator[LayerParameter]:
    shaped, softmax = f"{name}_reshape", f"{name}_softmax"
    yield caffe_files.layer(shaped, "Reshape", [name], reshape_param=_shape(0, -1, classes))
    yield caffe_files.layer(softmax, "Softmax", [shaped], softmax_param={"axis": 2})
    yield caffe_files.layer(f"{name}_flatten", "Flatten", [softmax], flatten_param={"axis": 1})


def _prior_box(boxes: PriorBoxes) -> dict[str, object]:
    return {
        "min_size": [boxes.min_size],
        "max_size": [boxes.max_size],
        "aspect_ratio": boxes.ratios,
        "flip": True,
        "clip": False,
        "variance": _VARIANCES,
        "step": boxes.step,
        "offset": boxes.offset,
    }


def _shape(*dims: int) -> dict[str, object]:
    return {"shape": {"dim": dims}}
