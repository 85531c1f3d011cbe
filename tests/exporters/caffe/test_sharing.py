"""`param { name: ... }`, beside networks in which every layer has its own copy, which OpenCV runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from exporters.caffe import caffe_pb2, shared
from exporters.caffe.reading import read_caffemodel
from exporters.caffe.source import CaffeSource
from exporters.export import export
from runtime.errors import ExportError, GraphError, UnavailableError
from runtime.graphs import inspect
from runtime.tensors import Array
from tests.exporters.caffe.networks import caffemodel, prototxt, run_onnx, values

WINDOW = "convolution_param { num_output: 3 kernel_size: 3 pad: 1 }"
SHAPE = (1, 3, 6, 7)


def convolution(name: str, bottom: str, params: str = "", window: str = WINDOW) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {params} {window} }}\n'
    )


def named(*names: str, mode: str = "") -> str:
    return " ".join(f'param {{ name: "{name}" {mode} lr_mult: 1 }}' for name in names)


def blobs(seed: int) -> list[Array]:
    return [values(3, 3, 3, 3, seed=seed) / 4, values(3, seed=seed + 1)]


SIAMESE = "".join(
    convolution(name, bottom, named("w", "b"))
    for name, bottom in (("left", "data"), ("right", "left"), ("third", "right"))
)
APART = SIAMESE.replace(named("w", "b"), "")


def assert_same_function(source: CaffeSource, unshared: CaffeSource) -> None:
    """The exported graph and this source's own oracle, as OpenCV computes the network without sharing."""
    feed = {"data": values(2, *SHAPE[1:])}
    expected = unshared.run(feed)
    for answer in (run_onnx(source.to_onnx(), feed), source.run(feed)):
        assert answer.keys() == expected.keys()
        for name, reference in expected.items():
            np.testing.assert_allclose(answer[name], reference, atol=4e-6 * np.abs(reference).max())


def weights(source: CaffeSource) -> dict[str, tuple[int, ...]]:
    """Name and shape of the initializers that hold learned arrays."""
    initializers = source.to_onnx().graph.initializers
    return {
        name: tuple(value.const_value.shape.numpy())
        for name, value in initializers.items()
        if value.const_value is not None and value.const_value.size > 2
    }


@pytest.mark.parametrize(
    ("saved", "counts"),
    [
        (("left", "right", "third"), "third"),
        (("third", "right", "left"), "left"),
        (("left",), "left"),
        (("right",), "right"),
        (("left", "third"), "third"),
    ],
)
def test_the_last_layer_of_the_caffemodel_that_holds_a_shared_blob_counts(
    saved: Sequence[str], counts: str
) -> None:
    own = {name: blobs(seed) for seed, name in enumerate(("left", "right", "third"))}
    source = CaffeSource(prototxt(SIAMESE, *SHAPE), caffemodel({name: own[name] for name in saved}))
    unshared = CaffeSource(
        prototxt(APART, *SHAPE), caffemodel(dict.fromkeys(("left", "right", "third"), own[counts]))
    )
    assert_same_function(source, unshared)
    assert weights(source) == {"left/weight": (3, 3, 3, 3), "left/bias": (3,)}
    assert (source.parameters, unshared.parameters) == (84, 3 * 84)


def test_a_shared_blob_is_one_initializer_of_the_file(tmp_path: Path) -> None:
    source = CaffeSource(prototxt(SIAMESE, *SHAPE), caffemodel({"left": blobs(0)}))
    report = export(source, tmp_path / "net.onnx", [{"data": values(2, *SHAPE[1:])}])
    assert report.parameters == inspect(tmp_path / "net.onnx").parameters == 84


def test_one_blob_of_two_can_be_shared() -> None:
    text = convolution("left", "data", named("w")) + convolution("right", "left", named("w"))
    left, right = blobs(0), blobs(2)
    source = CaffeSource(prototxt(text, *SHAPE), caffemodel({"left": left, "right": right}))
    unshared = CaffeSource(
        prototxt(text.replace(named("w"), ""), *SHAPE),
        caffemodel({"left": [right[0], left[1]], "right": right}),
    )
    assert_same_function(source, unshared)
    assert source.parameters == 81 + 3 + 3


def test_a_layer_can_share_with_itself() -> None:
    text = 'layer { name: "s" type: "Scale" bottom: "data" top: "s" %s scale_param { bias_term: true } }'
    gamma, beta = values(3), values(3, seed=1)
    source = CaffeSource(prototxt(text % named("x", "x"), *SHAPE), caffemodel({"s": [gamma, beta]}))
    unshared = CaffeSource(prototxt(text % "", *SHAPE), caffemodel({"s": [beta, beta]}))
    assert_same_function(source, unshared)
    assert source.parameters == 3


def test_names_without_a_second_user_change_nothing() -> None:
    text = convolution("left", "data", named("a", "b")) + convolution("right", "left", named("c", "d"))
    weights_ = caffemodel({"left": blobs(0), "right": blobs(2)})
    source = CaffeSource(prototxt(text, *SHAPE), weights_)
    assert_same_function(
        source, CaffeSource(prototxt(APART.partition('layer { name: "third"')[0], *SHAPE), weights_)
    )
    assert source.parameters == 2 * 84


def test_layers_that_are_left_out_own_nothing() -> None:
    train = convolution("left", "data", named("w", "b") + " include { phase: TRAIN }")
    text = train + convolution("right", "data", named("w", "b"))
    source = CaffeSource(prototxt(text, *SHAPE), caffemodel({"right": blobs(2), "left": blobs(0)}))
    unshared = CaffeSource(prototxt(convolution("right", "data"), *SHAPE), caffemodel({"right": blobs(2)}))
    assert_same_function(source, unshared)


INNER_PRODUCT = (
    'layer {{ name: "{0}" type: "InnerProduct" bottom: "data" top: "{0}" {1}'
    " inner_product_param {{ num_output: 7 axis: 3 {2} }} }}\n"
)


def test_a_shared_matrix_is_one_initializer_even_where_it_is_transposed() -> None:
    text = INNER_PRODUCT.format("left", named("w", "b"), "") + INNER_PRODUCT.format(
        "right", named("w", "b"), ""
    )
    arrays = [values(7, 7) / 3, values(7, seed=1)]
    source = CaffeSource(prototxt(text, *SHAPE), caffemodel({"left": arrays, "right": arrays}))
    unshared = CaffeSource(
        prototxt(text.replace(named("w", "b"), ""), *SHAPE), caffemodel({"left": arrays, "right": arrays})
    )
    assert_same_function(source, unshared)
    assert weights(source) == {"left/weight": (7, 7), "left/bias": (7,)}
    assert len(weights(unshared)) == 4


def test_equal_blobs_that_are_not_shared_stay_apart() -> None:
    source = CaffeSource(
        prototxt(APART, *SHAPE), caffemodel(dict.fromkeys(("left", "right", "third"), blobs(0)))
    )
    assert len(weights(source)) == 6


def _kernel_and_matrix(mode: str, outputs: int = 2) -> str:
    """A kernel [2, 3, 2, 2] and a matrix [outputs, 12], both called w."""
    layers = (
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" }'
        " convolution_param { num_output: 2 kernel_size: 2 bias_term: false } }"
        f'layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc" param {{ name: "w" {mode} }}'
        f" inner_product_param {{ num_output: {outputs} bias_term: false }} }}"
    )
    return prototxt(layers, 1, 3, 2, 2)


def test_a_permissive_blob_is_shared_in_the_shape_that_each_layer_has() -> None:
    kernel, matrix = values(2, 3, 2, 2), values(2, 12, seed=1)
    text = _kernel_and_matrix("share_mode: PERMISSIVE")
    source = CaffeSource(text, caffemodel({"conv": [kernel], "fc": [matrix]}))
    unshared = CaffeSource(
        text.replace('name: "w"', ""), caffemodel({"conv": [matrix.reshape(2, 3, 2, 2)], "fc": [matrix]})
    )
    feed = {"data": values(2, 3, 2, 2)}
    expected, got = unshared.run(feed), run_onnx(source.to_onnx(), feed)
    for name in ("conv", "fc"):
        np.testing.assert_allclose(got[name], expected[name], atol=1e-5)
    assert source.parameters == 24


@pytest.mark.parametrize(
    ("mode", "outputs"), [("", 2), ("share_mode: STRICT", 2), ("share_mode: PERMISSIVE", 3)]
)
def test_blobs_of_other_shapes_are_not_shared(mode: str, outputs: int) -> None:
    weights_ = caffemodel({"conv": [values(2, 3, 2, 2)], "fc": [values(outputs, 12)]})
    with pytest.raises(
        GraphError,
        match=rf"layer 'fc' shares its blob 0, \[{outputs}, 12\], as 'w' with layer 'conv', where it is"
        r" \[2, 3, 2, 2\]; give both one shape, or one of them another name",
    ):
        CaffeSource(_kernel_and_matrix(mode, outputs), weights_)


def test_a_layer_that_wants_another_shape_than_its_owners_is_named() -> None:
    with pytest.raises(ExportError, match=r"layer 'fc' .*blob 0 \(weight\) has shape \[2, 3, 2, 2\]"):
        CaffeSource(_kernel_and_matrix(""), caffemodel({"conv": [values(2, 3, 2, 2)]})).to_onnx()


def test_a_shared_blob_that_no_layer_has_is_missing() -> None:
    with pytest.raises(ExportError, match=r"layer 'left' .*blob 0 \(weight, \[3, 3, 3, 3\]\) is missing"):
        CaffeSource(prototxt(SIAMESE, *SHAPE), b"").to_onnx()
    text = convolution("left", "data", named("w")) + convolution("right", "left", named("w"))
    with pytest.raises(
        ExportError, match=r"layer 'right' .* holds 1 blobs .*blob 1 \(bias, \[3\]\) is missing"
    ):
        CaffeSource(prototxt(text, *SHAPE), caffemodel({"left": blobs(0)})).to_onnx()


V1 = """
layers { name: "left" type: CONVOLUTION bottom: "data" top: "left" param: "w" param: "b"
  blobs_lr: 1 blobs_lr: 2 convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layers { name: "right" type: CONVOLUTION bottom: "left" top: "right" param: "w" param: "b" MODE
  blobs_lr: 1 blobs_lr: 2 convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
"""


def test_layers_of_2014_share_by_their_own_fields() -> None:
    old = caffe_pb2.NetParameter()
    for layer in caffe_pb2.NetParameter.FromString(caffemodel({"left": blobs(0), "right": blobs(2)})).layer:
        old.layers.add(name=layer.name, type="CONVOLUTION", blobs=layer.blobs)
    text = prototxt(V1.replace("MODE", "blob_share_mode: STRICT"), *SHAPE)
    source = CaffeSource(text, old.SerializeToString())
    apart = convolution("left", "data") + convolution("right", "left")
    assert_same_function(
        source, CaffeSource(prototxt(apart, *SHAPE), caffemodel({"left": blobs(2), "right": blobs(2)}))
    )
    assert source.parameters == 84


def test_layers_of_2014_can_be_permissive() -> None:
    weights_ = caffemodel({"left": blobs(0), "right": [values(81), values(3)]})
    strict, permissive = "", "blob_share_mode: PERMISSIVE blob_share_mode: STRICT"
    with pytest.raises(GraphError, match=r"layer 'right' shares its blob 0, \[81\]"):
        CaffeSource(prototxt(V1.replace("MODE", strict), *SHAPE), weights_)
    source = CaffeSource(prototxt(V1.replace("MODE", permissive), *SHAPE), weights_)
    assert [blob.shape for blob in source.network.layers[1].blobs] == [(81,), (3,)]


def test_a_caffemodel_of_doubles_is_checked_as_floats() -> None:
    """OpenCV reads no doubles."""
    net = caffe_pb2.NetParameter()
    layer = net.layer.add(name="left")
    for array in blobs(0):
        layer.blobs.add(double_data=array.ravel().tolist(), shape={"dim": array.shape})
    text = prototxt(convolution("left", "data"), *SHAPE)
    assert_same_function(
        CaffeSource(text, net.SerializeToString()), CaffeSource(text, caffemodel({"left": blobs(0)}))
    )


def test_a_caffemodel_is_written_out_only_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def written(text: str, model: bytes) -> bytes | None:
        return shared.written_out(CaffeSource(prototxt(text, *SHAPE), model).network, read_caffemodel(model))

    same = caffemodel(dict.fromkeys(("left", "right", "third"), blobs(0)))
    differing = caffemodel({"left": blobs(0), "right": blobs(0), "third": blobs(2)})
    assert written(SIAMESE, same) is None
    assert written(APART, differing) is None
    made = caffe_pb2.NetParameter.FromString(written(SIAMESE, differing) or b"")
    expected = caffe_pb2.NetParameter.FromString(caffemodel({"right": blobs(2)})).layer[0].blobs
    assert [(layer.name, list(layer.blobs)) for layer in made.layer] == [
        (name, list(expected)) for name in ("left", "right", "third")
    ]
    monkeypatch.setattr(shared, "MAX_BYTES", 1 << 20)
    with pytest.raises(UnavailableError, match=r"OpenCV knows no shared blobs .* they have 1008 bytes"):
        written(SIAMESE, differing)
