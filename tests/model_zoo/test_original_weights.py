"""Checkpoints in the originals' layouts, written by TensorFlow: the answers are those of our own names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model_zoo import bert, crnn, dien, din, gcn, nmt, seglink_layers, wide_deep, wide_deep_network
from model_zoo.bert_weights import stored_weights
from model_zoo.cpn_layers import Sizes as CpnSizes
from model_zoo.cpn_layers import cpn_network
from model_zoo.crnn_layers import Sizes as CrnnSizes
from model_zoo.crnn_layers import crnn_network
from model_zoo.dien_network import Dien
from model_zoo.din_network import Din
from model_zoo.gcn_network import Gcn
from model_zoo.gnmt_sources import Form
from model_zoo.layers_model import _build_tensorflow as build_layers
from model_zoo.resnet_weights import weights_of as resnet_weights_of
from model_zoo.single_shot_layers import Sizes as SingleShotSizes
from model_zoo.ssd_layers import ssd_network
from model_zoo.weights import read_weights, take
from runtime.errors import UsageError
from runtime.tensors import Array, Feed, TensorSpec
from tests.model_zoo import bert_relative, gnmt_relative, original_layouts, resnet_relative
from tests.model_zoo.original_layouts import random_weights, renamed, save_checkpoint

if TYPE_CHECKING:
    from exporters.source import Source

pytest.importorskip("tensorflow")

ADAM = ("Adam", "Adam_1")
_ONES = ("input_mask", "mask", "segment_ids", "seq_len", "sl", "source_length")

_SSD = ssd_network("vgg16", SingleShotSizes(narrower=16, tensorflow=True))
_SEGLINK = seglink_layers.seglink_network(
    seglink_layers.Sizes("little-seglink", narrower=16, input_size=(160, 96))
)
_CRNN = crnn_network(CrnnSizes("little-crnn", narrower=16, characters=11))
_CPN = cpn_network(
    CpnSizes("little-cpn", depths=(1, 2, 1, 1), narrower=16, key_points=5, input_size=(96, 64)),
    supervised=True,
)
_DIEN = Dien(users=9, items=50, categories=7)
_DIN = Din(items=50, categories=7, users=9, embedding=4)
_GCN = Gcn("cora", papers=40, vocabulary=12, classes=3, edges=140, words=90)
_BERT = bert_relative.RELATIVE
_GNMT = replace(gnmt_relative.RELATIVE, units=16)


@dataclass(frozen=True)
class Original:
    """A model's builder, its tensors, and how the original stores them."""

    build: Callable[[Path], Source]
    shapes: Mapping[str, tuple[int, ...]]
    layout: Callable[[dict[str, Array]], dict[str, Array]]
    slots: tuple[str, ...] = ADAM
    partitions: int = 1


def _same(weights: dict[str, Array]) -> dict[str, Array]:
    """The names here are the original's."""
    return weights


def _as_cpn(weights: dict[str, Array]) -> dict[str, Array]:
    return renamed(weights, {name: name for name in _scopes(weights)}, original_layouts.SLIM)


def _scopes(weights: Mapping[str, Array]) -> set[str]:
    return {name.rpartition("/")[0] for name in weights}


def _as_crnn(weights: dict[str, Array]) -> dict[str, Array]:
    cells = {name: array for name, array in weights.items() if name.startswith("lstm")}
    logits = {"shadow_net/sequence_rnn_module/w": weights["logits/kernel"]}
    features = {name: array for name, array in weights.items() if name.startswith("conv")}
    return (
        renamed(features, original_layouts.CRNN, original_layouts.CRNN_PARTS)
        | renamed(cells, original_layouts.CRNN)
        | logits
    )


def _as_dien(prelu: str, second: str) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """By the names of PReLU's alpha, and of the second recurrence's cell."""
    tables = {name: name for name in ("uid_embedding_var", "mid_embedding_var", "cat_embedding_var")}
    alphas = {prelu: "attention/query/alpha"}
    alphas |= {f"dice_{number}/alphadice_{number}": f"dice_{number}/alpha" for number in (1, 2)}

    def layout(weights: dict[str, Array]) -> dict[str, Array]:
        stored = renamed(weights, original_layouts.DIEN, others=tables | alphas)
        return {name.replace("gru2/", second): array for name, array in stored.items()}

    return layout


def _as_din(weights: dict[str, Array]) -> dict[str, Array]:
    """With both of the original's normalisations of a history."""
    (own,) = {name for name in _scopes(weights) if name in ("hist_bn", "batch_normalization")}
    (other,) = {"hist_bn", "batch_normalization"} - {own}
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    return weights | {f"{other}/{part}": weights[f"{own}/{part}"] + 1 for part in parts}


ORIGINALS: Mapping[str, Original] = {
    "google-research/bert": Original(
        partial(bert.build_tensorflow, _BERT),
        _BERT.shapes() | _BERT.unused_shapes(),
        _same,
        ("adam_m", "adam_v"),
    ),
    "tensorflow/nmt": Original(partial(nmt.build, _GNMT, Form.GREEDY), _GNMT.shapes(), _same, ()),
    "tensorflow/nmt, in four parts": Original(
        partial(nmt.build, _GNMT, Form.GREEDY), _GNMT.shapes(), _same, (), partitions=4
    ),
    "ai-matrix DIEN": Original(
        partial(dien.build, _DIEN), _DIEN.shapes(), _as_dien("prelu/prelu_", "gru2/vec_att_gru_cell/")
    ),
    "mouna99/dien": Original(partial(dien.build, _DIEN), _DIEN.shapes(), _as_dien("prelu/prelu", "gru2/")),
    "DeepInterestNetwork": Original(
        partial(din.build, _DIN, lambda: np.arange(50, dtype=np.int32) % 7),
        _DIN.shapes() | _DIN.unused_shapes(),
        _as_din,
        (),
    ),
    "tkipf/gcn": Original(partial(gcn.build, _GCN), _GCN.shapes(), _same),
    "Estimator": Original(
        wide_deep.build, wide_deep_network.shapes(), _same, ("part_0/Ftrl", "part_0/Ftrl_1"), partitions=2
    ),
    "SSD-Tensorflow": Original(
        partial(build_layers, _SSD),
        _SSD.tensors(),
        lambda weights: renamed(weights, original_layouts.SSD, original_layouts.SLIM),
    ),
    "tf-cpn": Original(partial(build_layers, _CPN), _CPN.tensors(), _as_cpn),
    "bgshih/seglink": Original(
        partial(build_layers, _SEGLINK),
        _SEGLINK.tensors(),
        lambda weights: renamed(
            weights,
            original_layouts.SEGLINK,
            {"kernel": "weight"},
            {"ssd/conv4_3_scale": "conv4_3_norm/gamma"},
        ),
        ("Momentum",),
    ),
    "CRNN_Tensorflow": Original(
        partial(crnn.build, _CRNN), _CRNN.tensors(), _as_crnn, ("Adadelta", "Adadelta_1")
    ),
}

every_original = pytest.mark.parametrize("name", ORIGINALS)


@every_original
def test_a_checkpoint_of_the_original_answers_as_the_same_weights_under_our_names(
    name: str, tmp_path: Path
) -> None:
    original = ORIGINALS[name]
    weights = random_weights(original.shapes)
    np.savez(tmp_path / "own.npz", allow_pickle=False, **weights)
    prefix = _saved(original, weights, tmp_path)
    own, theirs = original.build(tmp_path / "own.npz"), original.build(prefix)
    feed = _feed(own.inputs)
    expected, got = own.run(feed), theirs.run(feed)
    assert any(np.ptp(array) > 0 for array in expected.values())
    assert expected.keys() == got.keys()
    for output, array in expected.items():
        np.testing.assert_array_equal(got[output], array, err_msg=output)


@every_original
def test_what_a_checkpoint_of_the_original_lacks_is_named(name: str, tmp_path: Path) -> None:
    original = ORIGINALS[name]
    weights = random_weights(original.shapes)
    lacking = next(key for key in original.shapes if key.endswith(("kernel", "weights", "weights_0")))
    stored = original.layout(weights)
    prefix = save_checkpoint(
        tmp_path / "model.ckpt",
        {key: array for key, array in stored.items() if array is not weights[lacking]},
    )
    with pytest.raises(UsageError, match=rf"lack 1 of the network's tensors: {re.escape(lacking)}; nearest"):
        original.build(prefix)


def test_every_tensor_of_an_original_is_read_bit_by_bit(tmp_path: Path) -> None:
    """Also where parts are not of one length: 300 rows in seven."""
    table = {"embeddings/encoder/embedding_encoder": random_weights({"table": (300, 8)})["table"]}
    prefix = save_checkpoint(tmp_path / "translate.ckpt", table, partitions=7)
    read = read_weights(prefix)
    assert set(read) == {*table, "global_step"}
    for name, array in table.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_one_vocabulary_for_both_languages_is_one_table(tmp_path: Path) -> None:
    network = replace(_GNMT, target_vocabulary=_GNMT.source_vocabulary)
    weights = random_weights(network.shapes())
    source, target = (f"embeddings/{side}/embedding_{side}" for side in ("encoder", "decoder"))
    shared = {name: array for name, array in weights.items() if name not in (source, target)}
    shared["embeddings/embedding_share"] = weights[source]
    prefix = save_checkpoint(tmp_path / "translate.ckpt", shared)
    np.savez(tmp_path / "own.npz", allow_pickle=False, **(weights | {target: weights[source]}))
    own, theirs = (nmt.build(network, Form.GREEDY, path) for path in (tmp_path / "own.npz", prefix))
    feed = gnmt_relative.sentences(network)
    np.testing.assert_array_equal(theirs.run(feed)["target"], own.run(feed)["target"])


def test_a_gcn_is_read_under_the_names_of_tensors_too(tmp_path: Path) -> None:
    """GCN.save gives the saver a table of `variable.name`, which ends in `:0`."""
    import tensorflow as tf

    weights = random_weights(_GCN.shapes())
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [v1.get_variable(name, initializer=array) for name, array in weights.items()]
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver({variable.name: variable for variable in variables})
        prefix = saver.save(session, str(tmp_path / "gcn.ckpt"))
    assert all(name.endswith(":0") for name, _ in tf.train.list_variables(prefix))
    read = take(read_weights(Path(prefix)), _GCN.shapes())
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array)


def test_the_head_of_another_task_is_no_head_for_squad(tmp_path: Path) -> None:
    """run_classifier's `output_weights` of two classes have the shape of run_squad's."""
    weights = random_weights(_BERT.shapes())
    stored = {name.removeprefix("cls/squad/"): array for name, array in weights.items()}
    assert stored["output_weights"].shape == (2, _BERT.size.hidden)
    with pytest.raises(UsageError, match=r"lack 2 of .*cls/squad/output_weights, cls/squad/output_bias"):
        stored_weights(_BERT, read_weights(save_checkpoint(tmp_path / "model.ckpt", stored)))


def test_a_slim_resnet_is_refused_for_its_strides(tmp_path: Path) -> None:
    stored = {"resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/weights": np.ones((1, 1, 64, 64), np.float32)}
    prefix = save_checkpoint(tmp_path / "resnet_v1_50.ckpt", stored)
    with pytest.raises(UsageError, match=r"slim ResNet \(.*conv1/weights\), whose strides .*Keras' weights"):
        resnet_weights_of(resnet_relative.RELATIVE, prefix)


def _saved(original: Original, weights: dict[str, Array], folder: Path) -> Path:
    stored = original.layout(weights)
    return save_checkpoint(folder / "model.ckpt-7", stored, original.slots, original.partitions)


def _feed(inputs: tuple[TensorSpec, ...]) -> Feed:
    """Noise where numbers are read, ids that differ from sample to sample, and ones for lengths and masks."""
    rng = np.random.default_rng(1)
    feed: dict[str, Array] = {}
    for spec in inputs:
        shape = tuple(size if isinstance(size, int) else {"batch": 2}.get(size, 3) for size in spec.shape)
        if spec.name in _ONES:
            feed[spec.name] = np.ones(shape, spec.dtype)
        elif spec.dtype == "float32":
            feed[spec.name] = rng.normal(size=shape).astype(np.float32)
        else:
            feed[spec.name] = np.full(shape, 2, spec.dtype)
            feed[spec.name][0] = 1
    return feed
