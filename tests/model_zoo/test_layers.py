"""Networks as layers: sizes, counts, and the same function in TensorFlow, in Caffe and in ONNX.

Oracles: window counts measured with Caffe (MODELS.md 2.2), hand-worked counts, OpenCV's Caffe importer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporters.export import export
from model_zoo.layers import (
    SAME,
    BatchNorm,
    Concat,
    Convolution,
    FeatureMap,
    GlobalAverage,
    InnerProduct,
    Layer,
    LocalResponse,
    Padding,
    Pool,
    Softmax,
)
from model_zoo.layers_caffe import caffe_source, caffemodel
from model_zoo.layers_tensorflow import evaluate, tensorflow_source
from model_zoo.network import Network
from runtime.errors import UsageError
from runtime.graphs import inspect
from runtime.tensors import Array, TensorSpec
from tests.model_zoo.layers_relatives import (
    CAFFE,
    DENSENET,
    GOOGLENET_CAFFE,
    TENSORFLOW,
    channels_first,
    noise,
    weights_of_relative,
)

# float32 sums in another order, some twenty layers deep; logits are of order 1
LOGITS_TOLERANCE = 2e-4

every_caffe_network = pytest.mark.parametrize("network", CAFFE, ids=lambda network: network.name)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size", "windows"),
    [
        (3, 2, 0, 112, 56),
        (3, 2, 1, 112, 57),
        (2, 2, 0, 57, 29),
        (3, 2, 0, 161, 80),
        (2, 2, 0, 75, 38),
        (2, 2, 1, 3, 2),  # a third window would start in the padding: Caffe drops it
    ],
)
def test_pools_have_as_many_windows_as_in_caffe(
    kernel: int, stride: int, padding: int, size: int, windows: int
) -> None:
    pool = Pool("pool", ("data",), "MAX", kernel, stride, padding)
    assert pool.output(FeatureMap(5, size, size)) == FeatureMap(5, windows, windows)


@pytest.mark.parametrize(("padding", "size", "windows"), [(SAME, 224, 112), (SAME, 7, 4), (0, 224, 109)])
def test_convolutions_round_down_or_pad_as_tensorflow_does(padding: Padding, size: int, windows: int) -> None:
    convolution = Convolution("conv", ("data",), 64, 7, 2, padding)
    assert convolution.output(FeatureMap(3, size, size)) == FeatureMap(64, windows, windows)


def test_floor_is_one_window_less_where_ceil_hangs_over() -> None:
    pool = Pool("pool", ("data",), "MAX", 3, 2, 1, ceil=False)
    assert pool.output(FeatureMap(1, 112, 112)).height == 56


def test_counts_are_those_of_a_network_worked_by_hand() -> None:
    network = _network(
        Convolution("conv", ("data",), 4, 3, padding=1),
        BatchNorm("bn", ("conv",), "scale"),
        Concat("both", ("bn", "conv")),
        GlobalAverage("mean", ("both",)),
        InnerProduct("fc", ("mean",), 5),
        Softmax("prob", ("fc",)),
    )
    assert network.parameters == (27 * 4 + 4) + 2 * 4 + (8 * 5 + 5)
    assert network.macs == 27 * 4 * 8 * 8 + 8 * 5
    assert (network.features, network.classes, network.output_name) == (8, 5, "prob")
    assert network.tensors()["bn/moving_variance"] == (4,)


def test_a_network_that_runs_out_of_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="input size 8x8 of hand leaves pool no pixel"):
        _network(Pool("pool", ("data",), "MAX", 9, 2, ceil=False), InnerProduct("fc", ("pool",), 5))


@every_caffe_network
def test_tensorflow_stands_in_for_opencv(network: Network) -> None:
    """Statistics are measured with the one, and the network runs in the other."""
    weights, images = weights_of_relative(network), noise(network)
    prepared: list[str] = []
    logits = evaluate(
        network, images, weights, network.classifier, lambda layer, _: prepared.append(layer.name)
    )
    answer = caffe_source(network, weights).run({"data": channels_first(images)})
    (scores,) = answer.values()
    scores = scores.reshape(len(images), -1)
    if network.output_name == "prob":
        scores = np.log(scores)
    logits = np.asarray(logits).reshape(len(images), -1)
    np.testing.assert_allclose(_centred(scores), _centred(logits), atol=LOGITS_TOLERANCE)
    assert logits.std() > 100 * LOGITS_TOLERANCE
    last = network.named[network.classifier]
    assert prepared == [layer.name for layer in network.layers[: network.layers.index(last) + 1]]


@pytest.mark.parametrize("network", [*CAFFE, *TENSORFLOW], ids=lambda network: network.statistics)
def test_a_network_exports_like_its_framework_runs_it(network: Network, tmp_path: Path) -> None:
    weights, images = weights_of_relative(network), noise(network)
    if network in CAFFE:
        source, feed = caffe_source(network, weights), {"data": channels_first(images)}
    else:
        source, feed = tensorflow_source(network, weights), {"images": images}
    report = export(source, tmp_path / "model.onnx", [feed])
    facts = inspect(tmp_path / "model.onnx")
    assert source.parameters == report.parameters == network.parameters
    assert facts.macs == network.macs


@pytest.mark.parametrize("network", TENSORFLOW, ids=lambda network: network.name)
def test_a_tensorflow_source_has_the_agreed_input_and_output(network: Network) -> None:
    source = tensorflow_source(network, weights_of_relative(network))
    assert source.inputs == (TensorSpec("images", "float32", ("batch", 64, 64, 3)),)
    assert source.outputs == (TensorSpec("logits", "float32", ("batch", 10)),)


@every_caffe_network
def test_a_caffe_source_has_the_agreed_input(network: Network) -> None:
    source = caffe_source(network, weights_of_relative(network))
    assert source.inputs == (TensorSpec("data", "float32", ("batch", 3, 64, 64)),)
    assert [output.name for output in source.outputs] == [network.output_name]


def test_local_response_normalisation_changes_what_the_seeded_network_says() -> None:
    """Its inputs have a trained network's magnitude; with activations near 1 it would do nothing."""
    weights, images = weights_of_relative(GOOGLENET_CAFFE), noise(GOOGLENET_CAFFE)
    idle = [
        replace(layer, alpha=0.0) if isinstance(layer, LocalResponse) else layer
        for layer in GOOGLENET_CAFFE.layers
    ]
    without = replace(GOOGLENET_CAFFE, layers=tuple(idle))
    logits, others = (
        np.asarray(evaluate(network, images, weights, network.classifier))
        for network in (GOOGLENET_CAFFE, without)
    )
    assert np.abs(logits - others).max() > 0.1 * logits.std()


def test_equal_weights_give_equal_caffemodels() -> None:
    weights = weights_of_relative(DENSENET)
    assert caffemodel(DENSENET, weights) == caffemodel(DENSENET, dict(reversed(list(weights.items()))))


def _network(*layers: Layer) -> Network:
    return Network("hand", "hand", "data", (8, 8), 1.0, layers, "fc")


def _centred(logits: Array) -> Array:
    """A softmax does not tell what was added to all logits of a sample."""
    centred: Array = logits - logits.mean(axis=1, keepdims=True)
    return centred
