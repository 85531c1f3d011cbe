"""How the originals lay their weights out: the scope of each layer, to what it is called here.

Written down from the originals' code, name by name, and not by the rules that are tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runtime.tensors import Array

SLIM = {"kernel": "weights", "bias": "biases"}

SSD: Mapping[str, str] = {
    **{
        f"ssd_300_vgg/conv{stage}/conv{stage}_{index}": f"conv{stage}_{index}"
        for stage, depth in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
        for index in range(1, depth + 1)
    },
    "ssd_300_vgg/conv6": "fc6",
    "ssd_300_vgg/conv7": "fc7",
    "ssd_300_vgg/block8/conv1x1": "conv6_1",
    "ssd_300_vgg/block8/conv3x3": "conv6_2",
    "ssd_300_vgg/block9/conv1x1": "conv7_1",
    "ssd_300_vgg/block9/conv3x3": "conv7_2",
    "ssd_300_vgg/block10/conv1x1": "conv8_1",
    "ssd_300_vgg/block10/conv3x3": "conv8_2",
    "ssd_300_vgg/block11/conv1x1": "conv9_1",
    "ssd_300_vgg/block11/conv3x3": "conv9_2",
    "ssd_300_vgg/block4_box/L2Normalization": "conv4_3_norm",
    "ssd_300_vgg/block4_box/conv_loc": "conv4_3_norm_mbox_loc",
    "ssd_300_vgg/block4_box/conv_cls": "conv4_3_norm_mbox_conf",
    "ssd_300_vgg/block7_box/conv_loc": "fc7_mbox_loc",
    "ssd_300_vgg/block7_box/conv_cls": "fc7_mbox_conf",
    "ssd_300_vgg/block8_box/conv_loc": "conv6_2_mbox_loc",
    "ssd_300_vgg/block8_box/conv_cls": "conv6_2_mbox_conf",
    "ssd_300_vgg/block9_box/conv_loc": "conv7_2_mbox_loc",
    "ssd_300_vgg/block9_box/conv_cls": "conv7_2_mbox_conf",
    "ssd_300_vgg/block10_box/conv_loc": "conv8_2_mbox_loc",
    "ssd_300_vgg/block10_box/conv_cls": "conv8_2_mbox_conf",
    "ssd_300_vgg/block11_box/conv_loc": "conv9_2_mbox_loc",
    "ssd_300_vgg/block11_box/conv_cls": "conv9_2_mbox_conf",
}

SEGLINK: Mapping[str, str] = {
    **{
        f"ssd/vgg16/conv{stage}_{index}/conv2d": f"conv{stage}_{index}"
        for stage, depth in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
        for index in range(1, depth + 1)
    },
    "ssd/vgg16/fc6/atrous_conv2d": "fc6",
    "ssd/vgg16/fc7/conv2d": "fc7",
    **{f"ssd/{name}": name for name in ("conv8_1", "conv8_2", "conv9_1", "conv9_2", "conv10_1", "conv10_2")},
    "ssd/conv11": "conv11",
    **{
        f"ssd/det_{number}/conv_{head}": f"{place}_{head}"
        for number, place in enumerate(
            ("conv4_3", "fc7", "conv8_2", "conv9_2", "conv10_2", "conv11"), start=1
        )
        for head in ("cls", "lnk", "reg")
    },
}

_STACK = "shadow_net/sequence_rnn_module/stack_bidirectional_rnn"

CRNN: Mapping[str, str] = {
    **{
        f"shadow_net/feature_extraction_module/{theirs}": ours
        for theirs, ours in {
            "conv1/conv": "conv1",
            "conv1/bn": "conv1/bn",
            "conv2/conv": "conv2",
            "conv2/bn": "conv2/bn",
            **{f"conv{number}": f"conv{number}" for number in range(3, 8)},
            **{f"bn{number}": f"conv{number}/bn" for number in range(3, 8)},
        }.items()
    },
    **{
        f"{_STACK}/cell_{cell}/bidirectional_rnn/{way}/lstm_cell": f"lstm{cell + 1}/{direction}"
        for cell in (0, 1)
        for way, direction in (("fw", "forward"), ("bw", "backward"))
    },
}
CRNN_PARTS = {"kernel": "W", "bias": "b"}

DIEN: Mapping[str, str] = {
    "gru1/gru_cell/gates": "gru1/gates",
    "gru1/gru_cell/candidate": "gru1/candidate",
    "f11_1": "attention/query",
    "f1_att1_1": "attention/layer_1",
    "f2_att1_1": "attention/layer_2",
    "f3_att1_1": "attention/layer_3",
    **{name: name for name in ("gru2/gates", "gru2/candidate", "bn1", "f1", "f2", "f3")},
}


def renamed(
    weights: Mapping[str, Array],
    scopes: Mapping[str, str],
    parts: Mapping[str, str] | None = None,
    others: Mapping[str, str] | None = None,
) -> dict[str, Array]:
    """The weights under the original's names.

    parts:  what it calls a layer's tensors, where that is something else.
    others: its names of whole tensors, to ours.
    """
    theirs = {ours: name for name, ours in scopes.items()}
    whole = {ours: name for name, ours in (others or {}).items()}
    stored = {}
    for name, array in weights.items():
        scope, _, part = name.rpartition("/")
        stored[whole.get(name) or f"{theirs[scope]}/{(parts or {}).get(part, part)}"] = array
    assert len(stored) == len(weights)
    return stored


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    """Statistics that can be divided by, and nothing that grows from layer to layer."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return {
        name: np.abs(array) + 1 if name.endswith(("moving_variance", "gamma")) else array
        for name, array in weights.items()
    }


def save_checkpoint(
    prefix: Path, tensors: Mapping[str, Array], slots: tuple[str, ...] = (), partitions: int = 1
) -> Path:
    """By TensorFlow 1's saver, with a global step and the slots of an optimiser.

    partitions: the variables that are matrices are made of so many parts, as by tf.fixed_size_partitioner.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.create_global_step()
        for name, array in tensors.items():
            whole = array.ndim != 2 or partitions == 1
            partitioner = None if whole else v1.fixed_size_partitioner(partitions)
            variable = v1.get_variable(
                name, array.shape, partitioner=partitioner, initializer=v1.zeros_initializer()
            )
            pieces = [array] if whole else np.array_split(array, partitions)
            for part, values in zip([variable] if whole else list(variable), pieces, strict=True):
                v1.add_to_collection("filled", part.assign(values))
            for slot in slots:
                v1.get_variable(f"{name}/{slot}", initializer=np.zeros_like(array))
        session.run(v1.global_variables_initializer())
        session.run(v1.get_collection("filled"))
        return Path(v1.train.Saver().save(session, str(prefix)))
