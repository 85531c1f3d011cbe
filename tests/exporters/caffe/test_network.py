"""Two files to one network: inputs, phases, old forms, in-place layers, blobs by name."""

from __future__ import annotations

import numpy as np
import pytest

from exporters.caffe import caffe_pb2
from exporters.caffe.blobs import blob_array, blob_message, read_blob
from exporters.caffe.network import build_network
from exporters.caffe.reading import read_caffemodel, read_prototxt
from exporters.caffe.source import CaffeSource
from exporters.caffe.upgrade import TYPE_NAMES
from exporters.wire import Wire
from runtime.errors import GraphError
from runtime.tensors import Array
from tests.exporters.caffe.networks import assert_like_opencv, caffemodel, prototxt, run_onnx, values, vector

RELU = 'layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }'
CONVOLUTION = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"'
    " convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }"
)
BATCH_NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }'
SCALE = 'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }'
WEIGHTS: dict[str, list[Array]] = {
    "conv": [values(2, 3, 3, 3), values(2)],
    "bn": [values(2, seed=1), np.abs(values(2, seed=2)) + 0.5, vector(999.98)],
    "scale": [values(2, seed=3), values(2, seed=4)],
}


@pytest.mark.parametrize(
    "head",
    [
        'input: "data" input_dim: 10 input_dim: 3 input_dim: 5 input_dim: 6',
        'input: "data" input_shape { dim: 10 dim: 3 dim: 5 dim: 6 }',
        'layer { name: "in" type: "Input" top: "data"'
        " input_param { shape { dim: 10 dim: 3 dim: 5 dim: 6 } } }",
    ],
)
def test_each_way_to_say_an_input_leaves_the_batch_open(head: str) -> None:
    source = CaffeSource(f"{head} {RELU}", b"")
    assert [str(spec) for spec in source.inputs] == ["data: float32[batch,3,5,6]"]
    assert [str(spec) for spec in source.outputs] == ["out: float32[batch,3,5,6]"]
    assert_like_opencv(source, {"data": values(2, 3, 5, 6)})


def test_in_place_layers_act_one_after_the_other() -> None:
    layers = (
        CONVOLUTION + BATCH_NORM + SCALE + 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }'
    )
    source = CaffeSource(prototxt(layers, 1, 3, 5, 6), caffemodel(WEIGHTS))
    made = assert_like_opencv(source, {"data": values(3, 3, 5, 6)}, tolerance=4e-6)
    assert list(made) == ["conv"]
    assert made["conv"].min() == 0


def test_batch_norm_and_scale_become_one_node() -> None:
    source = CaffeSource(prototxt(CONVOLUTION + BATCH_NORM + SCALE, 1, 3, 5, 6), caffemodel(WEIGHTS))
    assert [node.op_type for node in source.to_onnx().graph] == ["Conv", "BatchNormalization"]


def test_a_batch_norm_that_others_read_keeps_its_own_values() -> None:
    layers = (
        CONVOLUTION
        + BATCH_NORM
        + 'layer { name: "split" type: "Split" bottom: "conv" top: "left" top: "right" }'
        + SCALE.replace('"conv"', '"left"')
        + 'layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "out" }'
    )
    source = CaffeSource(prototxt(layers, 1, 3, 5, 6), caffemodel(WEIGHTS))
    assert [node.op_type for node in source.to_onnx().graph][1:4] == ["BatchNormalization", "Mul", "Add"]
    assert_like_opencv(source, {"data": values(2, 3, 5, 6)}, tolerance=4e-6)


def test_a_factor_of_zero_means_statistics_of_zero() -> None:
    mean, variance, _ = WEIGHTS["bn"]
    source = CaffeSource(
        prototxt('layer { name: "bn" type: "BatchNorm" bottom: "data" top: "out" }', 1, 2, 3, 3),
        caffemodel({"bn": [mean, variance, vector(0)]}),
    )
    data = values(1, 2, 3, 3)
    made = run_onnx(source.to_onnx(), {"data": data})["out"]
    np.testing.assert_allclose(made, data / np.sqrt(1e-5), rtol=1e-6)


def test_statistics_do_not_count_as_parameters() -> None:
    source = CaffeSource(prototxt(CONVOLUTION + BATCH_NORM + SCALE, 1, 3, 5, 6), caffemodel(WEIGHTS))
    assert source.parameters == 2 * 3 * 3 * 3 + 2 + 2 + 2


def test_blobs_of_layers_that_the_network_lacks_are_ignored() -> None:
    weights = {**WEIGHTS, "loss3/classifier": [values(7, 7)]}
    assert CaffeSource(prototxt(CONVOLUTION, 1, 3, 5, 6), caffemodel(weights)).parameters == 56


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("", True),
        ("include { phase: TEST }", True),
        ("include { phase: TRAIN }", False),
        ("exclude { phase: TRAIN }", True),
        ("exclude { phase: TEST }", False),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ("include { stage: 'deploy' }", True),
        ("include { stage: 'deploy' stage: 'gpu' }", False),
        ("include { not_stage: 'deploy' }", False),
        ("include { min_level: 2 }", False),
        ("include { max_level: 1 }", True),
    ],
)
def test_layers_of_another_phase_stage_or_level_are_left_out(rule: str, kept: bool) -> None:
    text = (
        'state { phase: TRAIN level: 1 stage: "deploy" }'
        + RELU
        + f'layer {{ name: "twice" type: "AbsVal" bottom: "out" top: "out" {rule} }}'
    )
    network = build_network(read_prototxt(prototxt(text, 1, 2)), read_caffemodel(b""))
    assert [layer.name for layer in network.layers] == (["relu", "twice"] if kept else ["relu"])


V1 = """
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 weight_decay: 1
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
layers { name: "accuracy" type: ACCURACY bottom: "fc" bottom: "label" top: "a" include { phase: TRAIN } }
"""


def _old_caffemodel() -> bytes:
    """V1 layers and the four-dimensional blobs of their time."""
    net = caffe_pb2.NetParameter()
    arrays = {"conv": WEIGHTS["conv"], "fc": [values(4, 60) / 8, values(4)]}
    for name, blobs in arrays.items():
        layer = net.layers.add(name=name)
        for array in blobs:
            blob = layer.blobs.add()
            blob.CopyFrom(blob_message(array))
            blob.ClearField("shape")
            padded = (1,) * (4 - array.ndim) + array.shape
            blob.num, blob.channels, blob.height, blob.width = padded
    return bytes(net.SerializeToString())


def test_a_network_of_2014_is_read_as_opencv_reads_it() -> None:
    source = CaffeSource(prototxt(V1, 10, 3, 5, 6), _old_caffemodel())
    assert source.parameters == 56 + 244
    assert_like_opencv(source, {"data": values(2, 3, 5, 6)}, tolerance=4e-6)


def test_every_old_type_has_a_new_name() -> None:
    assert set(TYPE_NAMES) == set(caffe_pb2.V1LayerParameter.LayerType.keys()) - {"NONE"}


def _read(blob: caffe_pb2.BlobProto) -> Array:
    data = blob.SerializeToString()
    return blob_array(read_blob(Wire(data), 0, len(data)), "blob")


def test_doubles_win_over_floats() -> None:
    blob = caffe_pb2.BlobProto(data=[1], double_data=[0.5])
    blob.shape.dim.append(1)
    np.testing.assert_array_equal(_read(blob), vector(0.5))


def test_a_blob_is_written_as_protocol_buffers_write_it() -> None:
    array = values(3, 100)
    blob = caffe_pb2.BlobProto(data=array.ravel().tolist(), shape={"dim": array.shape})
    assert blob_message(array) == blob
    np.testing.assert_array_equal(_read(blob), array)


def test_outputs_that_are_one_value_are_copied() -> None:
    layers = RELU + 'layer { name: "split" type: "Split" bottom: "out" top: "a" top: "b" }'
    source = CaffeSource(prototxt(layers, 1, 3), b"")
    data = values(2, 3)
    made = run_onnx(source.to_onnx(), {"data": data})
    assert sorted(made) == ["a", "b"]
    np.testing.assert_array_equal(made["a"], made["b"])


def test_names_in_the_graph_are_unique_even_when_layers_and_blobs_share_theirs() -> None:
    layers = (
        'layer { name: "a" type: "Power" bottom: "data" top: "b" power_param { scale: 2 shift: 1 } }'
        'layer { name: "b" type: "ReLU" bottom: "b" top: "b/a" }'
        'layer { name: "a" type: "ReLU" bottom: "b/a" top: "a" }'
        'layer { name: "c" type: "ReLU" bottom: "data" top: "data" }'
    )
    graph = CaffeSource(prototxt(layers, 1, 3), b"").to_onnx().graph
    nodes = [node.name for node in graph]
    values_ = [value.name for node in graph for value in node.outputs]
    assert len(set(nodes)) == len(nodes)
    assert len(set(values_) | {"data"}) == len(values_) + 1
    assert [output.name for output in graph.outputs] == ["a", "data/c"]


def _relu(name: str, bottom: str, top: str) -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}'


BROKEN = {
    "no input": (RELU, "the prototxt has no input: give the deploy.prototxt"),
    "no layer": ('input: "data"', "the prototxt has no layer"),
    "unknown bottom": (
        prototxt(RELU.replace('bottom: "data"', 'bottom: "dta"'), 1, 3),
        "layer 'relu' reads blob 'dta', which no input or earlier layer makes",
    ),
    "input without shape": (f'input: "data" {RELU}', "names 1 inputs and gives 0 shapes"),
    "input with a zero": (prototxt(RELU, 1, 0), r"input 'data' has shape \[1, 0\]"),
    "inputs of one name": (prototxt('input: "data" input_shape { dim: 1 }' + RELU, 1), "a name of its own"),
    "empty top": (
        prototxt(RELU.replace('top: "out"', 'top: ""'), 1, 3),
        r"layer 0 \(ReLU 'relu'\) has an empty name, top or bottom",
    ),
    "both forms": (prototxt(RELU + V1, 1, 3), "1 'layer' and 5 'layers'"),
    "form of 2013": (
        'input: "data" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1'
        ' layers { bottom: "data" top: "c" layer { name: "c1" type: "relu" } }',
        "layer 'c1' has the form of 2013",
    ),
    "both rules": (
        prototxt(RELU[:-1] + "include { phase: TEST } exclude { phase: TRAIN } }", 1, 3),
        "layer 'relu' has both include and exclude rules",
    ),
    "layer without a type": (
        prototxt('layer { name: "x" bottom: "data" top: "y" }', 1, 3),
        "layer 0 \\('x'\\) has no type; give it one",
    ),
    "old layer without a type": (
        prototxt('layers { name: "x" bottom: "data" top: "y" }', 1, 3),
        "layer 0 \\('x'\\) has no type; give it one",
    ),
    "old layer of type NONE": (
        prototxt('layers { name: "x" type: NONE bottom: "data" top: "y" }', 1, 3),
        "layer 0 \\('x'\\) has no type; give it one",
    ),
    "circle of two": (
        prototxt(_relu("a", "y", "x") + _relu("b", "x", "y"), 1, 3),
        "layer 'a' reads blob 'y', which no input or earlier layer makes; layer 'b' makes it, and Caffe runs",
    ),
    "circle of one": (
        prototxt(_relu("a", "x", "x"), 1, 3),
        "layer 'a' reads blob 'x', which no input or earlier layer makes; layer 'a' makes it",
    ),
    "blob of two makers": (
        prototxt(_relu("a", "data", "x") + _relu("b", "data", "x"), 1, 3),
        "layer 'b' makes blob 'x', which layer 'a' makes already; rename one, or let the layer read what it",
    ),
    "blob of one maker twice": (
        prototxt(_relu("a", "data", 'x" top: "x'), 1, 3),
        "layer 'a' makes blob 'x', which layer 'a' makes already",
    ),
    "blob of an input and a layer": (
        prototxt(_relu("a", "data", "x") + _relu("b", "x", "data"), 1, 3),
        "layer 'b' makes blob 'data', which an input makes already",
    ),
    "in place of the other bottom": (
        prototxt('layer { name: "a" type: "Eltwise" bottom: "data" bottom: "b" top: "b" }', 1, 3).replace(
            "input_shape", 'input: "b" input_shape { dim: 1 dim: 3 } input_shape'
        ),
        "layer 'a' makes blob 'b', which an input makes already",
    ),
    "sizes that are no ints": (
        prototxt(RELU, 1, (1 << 63) - 1),
        r"input 'data' has shape \[1, 9223372036854775807\]; .* at most 2147483647 values",
    ),
    "negative size": (prototxt(RELU, 1, -3), r"input 'data' has shape \[1, -3\]; every dimension must be 1"),
    "two tops, three shapes": (
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param {'
        " shape { dim: 1 } shape { dim: 1 } shape { dim: 1 } } }",
        "2 tops and 3 shapes",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_make_no_network_are_refused_in_one_line(case: str) -> None:
    text, message = BROKEN[case]
    with pytest.raises(GraphError, match=message) as caught:
        CaffeSource(text, b"")
    assert "\n" not in str(caught.value)


def test_layers_of_one_name_are_two_layers_where_they_have_no_blobs() -> None:
    source = CaffeSource(prototxt(_relu("a", "data", "x") + _relu("a", "x", "y"), 1, 3), b"")
    data = values(2, 3)
    np.testing.assert_array_equal(run_onnx(source.to_onnx(), {"data": data})["y"], np.maximum(data, 0))


def test_a_deep_chain_of_layers_that_share_name_and_blob_is_converted() -> None:
    """Ten thousand names after one: each must be found without trying those before it."""
    text = prototxt(_relu("a", "data", "data") * 10_000, 1, 3)
    graph = CaffeSource(text, b"").to_onnx().graph
    assert len({node.name for node in graph}) == len(graph) == 10_000


def test_layers_saved_twice_belong_to_no_layer() -> None:
    model = caffemodel({"conv": WEIGHTS["conv"]}) * 2
    with pytest.raises(GraphError, match="layer name 'conv' is used more than once"):
        CaffeSource(prototxt(CONVOLUTION, 1, 3, 5, 6), model)


def test_blobs_of_a_name_used_twice_belong_to_no_layer() -> None:
    twice = CONVOLUTION + CONVOLUTION.replace('top: "conv"', 'top: "other"')
    with pytest.raises(GraphError, match="layer name 'conv' is used more than once"):
        CaffeSource(prototxt(twice, 1, 3, 5, 6), caffemodel(WEIGHTS))
