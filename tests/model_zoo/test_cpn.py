"""CPN as layers and in TensorFlow.

Oracles: the counts of MODELS.md 11, the variables' names of tf-cpn, and a bilinear interpolation by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from model_zoo.catalog import get_model, get_variant
from model_zoo.cpn import PersonCrop
from model_zoo.cpn_layers import Sizes, cpn_network
from model_zoo.keypoints import KEY_POINTS
from model_zoo.layers import (
    Convolution,
    FeatureMap,
    Resize,
)
from model_zoo.layers_tensorflow import evaluate, tensorflow_source
from model_zoo.layers_weights import weights_of
from model_zoo.network import Network
from model_zoo.spec import Split
from runtime.graphs import inspect, load
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.layers_relatives import noise, weights_of_relative

SIZES = Sizes("little-cpn", depths=(1, 2, 1, 1), narrower=16, key_points=5, input_size=(96, 64))
RELATIVE = cpn_network(SIZES, supervised=True)


def test_parameters_and_multiply_accumulates_are_those_of_models_md() -> None:
    """Which counts GlobalNet's own heat maps, too; without them there are eight convolutions less."""
    network, pruned = (cpn_network(Sizes(), supervised=supervised) for supervised in (True, False))
    assert (network.parameters, network.macs) == (46_001_898, 24_450_923_520)
    channels, pixels = 256 * 256 + 9 * 256 * 17, 96 * 72 + 48 * 36 + 24 * 18 + 12 * 9
    assert network.macs - pruned.macs == channels * pixels
    assert network.parameters - pruned.parameters == 4 * (channels + 2 * 256 + 2 * 17)


def test_features_have_the_sizes_of_models_md() -> None:
    maps = cpn_network(Sizes(), supervised=True).maps
    assert maps["resnet_v1_101/block1/unit_3/bottleneck_v1"] == FeatureMap(256, 96, 72)
    assert maps["resnet_v1_101/block2/unit_4/bottleneck_v1"] == FeatureMap(512, 48, 36)
    assert maps["resnet_v1_101/block3/unit_23/bottleneck_v1"] == FeatureMap(1024, 24, 18)
    assert maps["resnet_v1_101/block4/unit_3/bottleneck_v1"] == FeatureMap(2048, 12, 9)
    assert maps["refine_features"] == FeatureMap(1024, 96, 72)
    assert maps["refine_out/BatchNorm"] == FeatureMap(17, 96, 72)


def test_a_stage_halves_its_size_in_the_3x3_of_its_first_unit() -> None:
    strides = {
        layer.name: layer.stride
        for layer in cpn_network(Sizes(), supervised=True).layers
        if isinstance(layer, Convolution) and layer.stride != 1
    }
    first = "resnet_v1_101/block{}/unit_1/bottleneck_v1/{}"
    halving = [first.format(block, part) for block in (2, 3, 4) for part in ("shortcut", "conv2")]
    assert strides == dict.fromkeys(["resnet_v1_101/conv1", *halving], 2)


def test_both_variants_have_the_same_weights() -> None:
    pruned = cpn_network(SIZES, supervised=False)
    weights, of_pruned = weights_of(RELATIVE, None), weights_of(pruned, None)
    statistics = [name for name in of_pruned if "moving" not in name]
    assert 0 < len(of_pruned) < len(weights)
    for name in statistics:
        np.testing.assert_array_equal(of_pruned[name], weights[name])


def test_a_checkpoint_of_slim_fits(tmp_path: Path) -> None:
    weights = weights_of_relative(RELATIVE)
    slim = {
        name.replace("/kernel", "/weights").replace("/bias", "/biases"): array
        for name, array in weights.items()
    }
    assert {
        "resnet_v1_101/block3/unit_1/bottleneck_v1/shortcut/BatchNorm/moving_variance",
        "merge/res4/biases",
        "res5/refine_conv2/conv3/weights",
        "final_bottleneck/shortcut/weights",
        "pyramid/res2/weights",
    } <= slim.keys()
    np.savez(tmp_path / "snapshot.npz", allow_pickle=False, **slim)
    found = weights_of(RELATIVE, tmp_path / "snapshot.npz")
    assert found.keys() == weights.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, weights[name])


def test_a_resize_reads_between_pixels_from_the_upper_left() -> None:
    """Worked by hand; beyond the last pixel there is nothing to interpolate with."""
    network = Network("hand", "hand", "images", (2, 2), 1.0, (Resize("up", ("images",), 4, 4),))
    image = np.array([[0, 4], [8, 12]], np.float32)
    images = np.repeat(image[np.newaxis, :, :, np.newaxis], 3, axis=3)
    resized = np.asarray(evaluate(network, images, {}, "up"))[0, :, :, 0]
    assert resized.tolist() == [[0, 2, 4, 4], [4, 6, 8, 8], [8, 10, 12, 12], [8, 10, 12, 12]]


def test_a_relative_exports_like_tensorflow_runs_it(tmp_path: Path) -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    feed = {"images": noise(RELATIVE)}
    report = export(source, tmp_path / "model.onnx", [feed])
    assert source.parameters == RELATIVE.parameters
    assert inspect(tmp_path / "model.onnx").macs == RELATIVE.macs
    assert all(output.relative < 1e-4 for output in report.parity.outputs)
    assert source.outputs == (
        TensorSpec("heatmaps", "float32", ("batch", 24, 16, 5)),
        TensorSpec("global_heatmaps", "float32", ("batch", 24, 16, 20)),
    )
    resizes = [node for node in load(tmp_path / "model.onnx").graph if node.op_type == "Resize"]
    modes = {node.attributes["coordinate_transformation_mode"].as_string() for node in resizes}
    assert (len(resizes), modes) == (9, {"asymmetric"})


def test_answers_to_two_images_differ() -> None:
    source = tensorflow_source(RELATIVE, weights_of_relative(RELATIVE))
    heatmaps = source.run({"images": noise(RELATIVE)})
    swapped: Mapping[str, Array] = {name: array[::-1] for name, array in heatmaps.items()}
    assert KEY_POINTS.agreeing(heatmaps, heatmaps, 2).tolist() == [1, 1]
    assert max(KEY_POINTS.agreeing(heatmaps, swapped, 2)) < 1


def test_feeds_are_upright_parts_of_photographs_in_bgr() -> None:
    feeds = get_variant(get_model("cpn"), "").feeds("tensorflow")
    images = next(feeds.batches(2, Split.EVALUATION))["images"]
    assert images.shape == (2, 384, 288, 3)
    low, high = (np.array([value]) - np.array([102.9801, 115.9465, 122.7717]) for value in (0, 255))
    assert (images >= low / 255 - 1e-6).all()
    assert (images <= high / 255 + 1e-6).all()
    assert images.max() - images.min() > 0.5


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 500), (288, 384)])
def test_a_crop_keeps_proportions_and_lies_inside_the_image(width: int, height: int) -> None:
    crop, size = PersonCrop(), (384, 288)
    frames = [crop.whole(width, height, size), *(crop.part(width, height, size, key) for key in range(5))]
    for frame in frames:
        left, top, right, bottom = frame.box
        assert (frame.height, frame.width) == size
        assert (bottom - top) / (right - left) == pytest.approx(384 / 288)
        assert min(left, top) > -1e-9
        assert right < width + 1e-9
        assert bottom < height + 1e-9
    assert max(frames[0].box[2] / width, frames[0].box[3] / height) == pytest.approx(1)
    assert frames[1] == crop.part(width, height, size, 0) != frames[2]
