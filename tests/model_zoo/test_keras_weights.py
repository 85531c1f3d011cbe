"""Weights that Keras has saved, and files in the layout of its older versions: the answers are Keras' own."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.caffe.source import CaffeSource
from model_zoo.densenet_layers import INPUT_SCALE, standard_network, tensorflow_network
from model_zoo.densenet_layers import Sizes as DenseNetSizes
from model_zoo.layers_model import _build_caffe, _build_tensorflow
from model_zoo.layers_weights import weights_of as layers_weights_of
from model_zoo.mask_rcnn_layers import Sizes, mask_rcnn_network
from model_zoo.residual_layers import RESNET50 as BODY
from model_zoo.resnet import RESNET50
from model_zoo.resnet_model import build_caffe, build_tensorflow
from model_zoo.resnet_weights import weights_of as resnet_weights_of
from runtime.errors import UsageError
from runtime.tensors import Array
from tests.model_zoo.original_layouts import random_weights

pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

SIDE, CLASSES = 64, 10
RESNET = replace(RESNET50, classes=CLASSES, input_size=SIDE)
DENSENET = DenseNetSizes(classes=CLASSES, input_size=SIDE)

# Relative to the largest logit, over up to 121 layers of float32 sums
TOLERANCE = 1e-4

IMAGENET_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)
"""Red, green, blue: keras.applications.imagenet_utils.preprocess_input(mode="torch")."""

keras_warnings = pytest.mark.filterwarnings(
    "ignore:You are saving your model as an HDF5 file",  # the old format is what is tested
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",  # Keras on NumPy 2
)

Names = Callable[[str], str]


@pytest.fixture(scope="module")
def resnet() -> Any:
    """With Caffe's pool1, whose windows hang over the far edge: Keras' has a pixel on every side."""
    return _changed(_filled(keras.applications.ResNet50, 1), _pool_as_caffe)


@pytest.fixture(scope="module")
def densenet() -> Any:
    return _filled(keras.applications.DenseNet121, 2)


@pytest.fixture(scope="module")
def images() -> Array:
    """RGB, of two samples, centred."""
    rng = np.random.default_rng(3)
    return (rng.normal(0, 40, (2, SIDE, SIDE, 3)) + rng.normal(0, 20, (2, 1, 1, 3))).astype(np.float32)


@pytest.mark.parametrize("name", ["r.weights.h5", "r.h5", "r.keras"])
@keras_warnings
def test_resnet50_of_keras_predicts_what_keras_predicts(
    name: str, resnet: Any, images: Array, tmp_path: Path
) -> None:
    path = _saved(resnet, tmp_path / name)
    expected = resnet.predict(images[..., ::-1], verbose=0)
    got = build_tensorflow(RESNET, path).run({"images": images + np.float32(127.5)})
    _assert_near(got["logits"], expected)


@keras_warnings
def test_resnet50_of_keras_is_the_same_function_in_caffe(resnet: Any, images: Array, tmp_path: Path) -> None:
    source = build_caffe(RESNET, _saved(resnet, tmp_path / "r.weights.h5"))
    got = source.run({"data": np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2))})
    _assert_near(got["prob"], _softmax(resnet.predict(images[..., ::-1], verbose=0)))


@pytest.mark.parametrize("keras_1", [False, True], ids=["keras-2", "keras-1"])
def test_resnet50_from_before_2019_has_another_epsilon_and_caffes_names(
    keras_1: bool, resnet: Any, images: Array, tmp_path: Path
) -> None:
    older = _changed(resnet, _older_epsilon)
    parts = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}

    def name(scope: str, part: str) -> str:
        return f"{scope}/{scope}_{parts.get(part, part)}_1:0" if keras_1 else f"{scope}/{scope}/{part}:0"

    scopes = dict(_caffe_scopes())
    stored = {name(scopes[scope], part): array for (scope, part), array in _named(older)}
    got = build_tensorflow(RESNET, _hdf5(tmp_path / "resnet50.h5", stored))
    expected = older.predict(images[..., ::-1], verbose=0)
    _assert_near(got.run({"images": images + np.float32(127.5)})["logits"], expected)


@pytest.mark.parametrize("name", ["d.weights.h5", "d.h5", "d.keras"])
@keras_warnings
def test_densenet121_of_keras_predicts_what_keras_predicts(
    name: str, densenet: Any, images: Array, tmp_path: Path
) -> None:
    path = _saved(densenet, tmp_path / name)
    got = _build_tensorflow(tensorflow_network(DENSENET), path).run({"images": images * INPUT_SCALE})
    _assert_near(got["logits" if "logits" in got else next(iter(got))], _densenet_answers(densenet, images))


def test_densenet121_of_keras_2_has_scopes_of_its_own(densenet: Any, images: Array, tmp_path: Path) -> None:
    scopes = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
    stored = {
        f"{scopes.get(scope, scope)}/{scopes.get(scope, scope)}/{part}:0": array
        for (scope, part), array in _named(densenet)
    }
    path = _hdf5(tmp_path / "densenet121.h5", stored)
    got = _build_tensorflow(tensorflow_network(DENSENET), path).run({"images": images * INPUT_SCALE})
    _assert_near(next(iter(got.values())), _densenet_answers(densenet, images))


@keras_warnings
def test_densenet121_of_keras_is_the_same_function_in_caffe(
    densenet: Any, images: Array, tmp_path: Path
) -> None:
    source = _build_caffe(standard_network(DENSENET), _saved(densenet, tmp_path / "d.weights.h5"))
    assert isinstance(source, CaffeSource)
    data = np.ascontiguousarray((images * INPUT_SCALE)[..., ::-1].transpose(0, 3, 1, 2))
    (got,) = source.run({"data": data}).values()
    _assert_near(got.reshape(2, CLASSES), _densenet_answers(densenet, images))


@keras_warnings
def test_a_keras_model_of_another_depth_is_refused_by_name(
    densenet: Any, resnet: Any, tmp_path: Path
) -> None:
    deeper = replace(RESNET, depths=(3, 4, 7, 3))
    with pytest.raises(UsageError, match=r"lack 18 of .*: res4g_branch2a/kernel"):
        resnet_weights_of(deeper, _saved(resnet, tmp_path / "r.weights.h5"))
    network = tensorflow_network(replace(DENSENET, depths=(6, 12, 25, 16)))
    with pytest.raises(UsageError, match=r"lack .*: conv4_25/x1/bn/gamma.*nearest .*_bn/gamma"):
        layers_weights_of(network, _saved(densenet, tmp_path / "d.weights.h5"))


# matterport/Mask_RCNN


MASK_RCNN = mask_rcnn_network(
    Sizes(
        "little-mask-rcnn",
        body=replace(BODY, depths=(1, 1, 1, 1), width=8, bias=True, dilated=False),
        narrower=16,
        classes=5,
        input_size=(128, 192),
        candidates=200,
        regions=30,
        kept=10,
    )
)


def _matterport(weights: Mapping[str, Array]) -> dict[str, Array]:
    """As Keras 2.1 saved mask_rcnn_coco.h5: layers, of which rpn_model is a model, and their tensors."""
    stored = {}
    for name, array in weights.items():
        layer, _, part = name.rpartition("/")
        group = "rpn_model" if layer.startswith("rpn_") else layer
        turned = array.swapaxes(2, 3) if name == "mrcnn_mask_deconv/kernel" else array
        stored[f"{group}/{layer}/{part}:0"] = turned
    return stored


def test_weights_of_matterports_are_read_under_their_layers(tmp_path: Path) -> None:
    weights = random_weights(MASK_RCNN.tensors())
    read = layers_weights_of(MASK_RCNN, _hdf5(tmp_path / "mask_rcnn_coco.h5", _matterport(weights)))
    assert read.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_weights_of_matterports_answer_as_the_same_under_our_names(tmp_path: Path) -> None:
    weights = random_weights(MASK_RCNN.tensors())
    np.savez(tmp_path / "own.npz", allow_pickle=False, **weights)
    path = _hdf5(tmp_path / "mask_rcnn_coco.h5", _matterport(weights))
    rng = np.random.default_rng(4)
    feed = {
        "images": rng.normal(0, 40, (1, 128, 192, 3)).astype(np.float32),
        "window": np.array([[0, 0, 128, 192]], np.float32),
    }
    own, theirs = (_build_tensorflow(MASK_RCNN, file).run(feed) for file in (tmp_path / "own.npz", path))
    assert np.ptp(own["scores"]) > 0
    for name, array in own.items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


def test_what_a_file_of_matterports_lacks_is_named(tmp_path: Path) -> None:
    stored = _matterport(random_weights(MASK_RCNN.tensors()))
    del stored["rpn_model/rpn_conv_shared/kernel:0"]
    path = _hdf5(tmp_path / "mask_rcnn_coco.h5", stored)
    with pytest.raises(UsageError, match=r"lack 1 of .*: rpn_conv_shared/kernel; nearest .*rpn_"):
        layers_weights_of(MASK_RCNN, path)


# Helpers


def _filled(application: Callable[..., Any], seed: int) -> Any:
    """With everything random that starts as zeros or ones; logits for its output."""
    keras.utils.set_random_seed(seed)
    model = application(
        weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES, classifier_activation=None
    )
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        part, shape = variable.path.rpartition("/")[2], variable.shape
        if part in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif part != "kernel":
            variable.assign(rng.normal(0, 0.3, shape))
    return model


def _pool_as_caffe(layer: dict[str, Any]) -> None:
    if layer["name"] == "pool1_pad":
        layer["config"]["padding"] = ((0, 1), (0, 1))


def _older_epsilon(layer: dict[str, Any]) -> None:
    if layer["class_name"] == "BatchNormalization":
        layer["config"]["epsilon"] = 1e-3


def _changed(model: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    config = model.get_config()
    for layer in config["layers"]:
        change(layer)
    other = keras.Model.from_config(config)
    other.set_weights(model.get_weights())
    return other


def _named(model: Any) -> Iterator[tuple[tuple[str, str], Array]]:
    for layer in model.layers:
        for variable in layer.weights:
            yield (layer.name, variable.path.rpartition("/")[2]), variable.numpy()


def _caffe_scopes() -> Iterator[tuple[str, str]]:
    yield from {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}.items()
    for stage, depth in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for index, letter in enumerate(string.ascii_lowercase[:depth], start=1):
            for number, branch in enumerate(("1", "2a", "2b", "2c")):
                keras_scope, caffe_scope = (
                    f"conv{stage}_block{index}_{number}",
                    f"{stage}{letter}_branch{branch}",
                )
                yield f"{keras_scope}_conv", f"res{caffe_scope}"
                yield f"{keras_scope}_bn", f"bn{caffe_scope}"


def _saved(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def _hdf5(path: Path, stored: Mapping[str, Array]) -> Path:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "w") as file:
        for name, array in stored.items():
            file[name] = array
    return path


def _densenet_answers(model: Any, images: Array) -> Array:
    """Keras is fed with what its own preprocessing makes of centred pixels of 0..255."""
    answers: Array = model.predict(images / 255 / IMAGENET_DEVIATION, verbose=0)
    return answers


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _assert_near(got: Array, expected: Array) -> None:
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * float(np.abs(expected).max()))
