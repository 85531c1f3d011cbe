"""Small Caffe networks for the tests: written as text, with random blobs, run in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from exporters.caffe import caffe_pb2
from exporters.caffe.blobs import blob_message
from exporters.caffe.source import CaffeSource
from runtime.tensors import Array, Feed

Blobs = Mapping[str, Sequence[Array]]


def values(*shape: int, seed: int = 0) -> Array:
    """Normally distributed float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def vector(*numbers: float) -> Array:
    """These numbers as float32."""
    return np.array(numbers, np.float32)


def caffemodel(blobs: Blobs) -> bytes:
    """A caffemodel with these blobs by layer name."""
    net = caffe_pb2.NetParameter()
    for name, arrays in blobs.items():
        layer = net.layer.add(name=name)
        layer.blobs.extend(blob_message(array) for array in arrays)
    return bytes(net.SerializeToString())


def prototxt(layers: str, *shape: int) -> str:
    """A network with one input `data` of `shape` and these layers."""
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'name: "net" input: "data" input_shape {{ {dims} }} {layers}'


def one_layer(type_: str, parameters: str, shape: Sequence[int], blobs: Sequence[Array] = ()) -> CaffeSource:
    """A network of one layer, called `layer`, that reads `data` and makes `out`."""
    text = f'layer {{ name: "layer" type: "{type_}" bottom: "data" top: "out" {parameters} }}'
    return CaffeSource(prototxt(text, *shape), caffemodel({"layer": blobs}))


def run_onnx(model: ir.Model, feed: Feed) -> dict[str, Array]:
    """The model's outputs in ONNX Runtime, after the checker with full shape inference."""
    import onnxruntime

    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def assert_like_opencv(source: CaffeSource, feed: Feed, tolerance: float = 2e-6) -> dict[str, Array]:
    """Our graph and OpenCV agree within `tolerance` of the largest value; ours is returned.

    Single precision leaves about 1e-7 a sum; the tolerance allows for sums of a few hundred in another order.
    """
    ours, theirs = run_onnx(source.to_onnx(), feed), source.run(feed)
    assert ours.keys() == theirs.keys()
    for spec in source.outputs:
        wanted = tuple(feed["data"].shape[0] if size == "batch" else size for size in spec.shape)
        assert ours[spec.name].shape == wanted
        limit = tolerance * max(1.0, float(np.abs(theirs[spec.name]).max()))
        np.testing.assert_allclose(ours[spec.name], theirs[spec.name], rtol=0, atol=limit)
    return ours


def fields(**numbers: Any) -> str:
    """Fields of a message by name; None leaves one out, a list repeats it."""
    words = [
        f"{name}: {str(one).lower() if isinstance(one, bool) else one}"
        for name, value in numbers.items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]
    return " ".join(words)


def answer(type_: str, parameters: str, data: Array, blobs: Sequence[Array] = ()) -> Array:
    """What a network of one layer makes of `data`."""
    return run_onnx(one_layer(type_, parameters, data.shape, blobs).to_onnx(), {"data": data})["out"]
