"""Small graphs as text, with seeded weights: what the tests of this package run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.reference
from onnx import numpy_helper

from runtime.tensors import Array, Feed

RESIDUAL_CNN = """
<ir_version: 10, opset_import: ["": 22]>
cnn (float[batch,3,16,16] images) => (float[batch,10] logits) {
    [stem] c1 = Conv<pads=[1,1,1,1]>(images, w1, b1)
    [stem_relu] r1 = Relu(c1)
    [pool] p1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
    [branch] c2 = Conv<pads=[1,1,1,1]>(p1, w2, b2)
    [sum] s2 = Add(c2, p1)
    [sum_relu] r2 = Relu(s2)
    [gap] g = GlobalAveragePool(r2)
    [flat] f = Flatten(g)
    [classify] logits = Gemm<transB=1>(f, w3, b3)
}
"""
RESIDUAL_CNN_SHAPES = {
    "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (10, 8), "b3": (10,),
}  # fmt: skip

WIDE_CNN = """
<ir_version: 10, opset_import: ["": 22]>
wide_cnn (float[batch,16,8,8] images) => (float[batch,10] logits) {
    [first] c1 = Conv<pads=[1,1,1,1]>(images, w1, b1)
    [relu] r1 = Relu(c1)
    [pool] p1 = MaxPool<kernel_shape=[2,2]>(r1)
    [second] c2 = Conv<pads=[1,1,1,1]>(p1, w2)
    [sum] s2 = Add(c2, p1)
    [gap] g = GlobalAveragePool(s2)
    [flat] f = Flatten(g)
    [classify] logits = Gemm<transB=1>(f, w3, b3)
}
"""
WIDE_CNN_SHAPES = {
    "w1": (32, 16, 3, 3), "b1": (32,), "w2": (32, 32, 3, 3), "w3": (10, 32), "b3": (10,),
}  # fmt: skip

PYRAMID = """
<ir_version: 10, opset_import: ["": 22]>
pyramid (float[batch,16,8,8] images) => (float[batch,16,16,16] maps) {
    [first] c1 = Conv<pads=[1,1,1,1]>(images, w1, b1)
    [second] c2 = Conv(images, w2)
    [sum] s = Add(c1, c2)
    [relu] r = Relu(s)
    [larger] l = Resize<mode="MODE", coordinate_transformation_mode="half_pixel">(r, , twice)
    [last] maps = Conv<pads=[1,1,1,1]>(l, w3, b3)
}
"""
PYRAMID_SHAPES = {
    "w1": (32, 16, 3, 3), "b1": (32,), "w2": (32, 16, 1, 1), "w3": (16, 32, 3, 3), "b3": (16,),
}  # fmt: skip

BOTTLENECK = """
<ir_version: 10, opset_import: ["": 22]>
bottleneck (float[batch,3,16,16] images) => (float[batch,4,8,8] maps) {
    [stem] c1 = Conv<pads=[1,1,1,1]>(images, w1, b1)
    [stem_relu] r1 = Relu(c1)
    [pool] p1 = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r1)
    [shortcut] c2 = Conv(p1, w2)
    [reduce] c3 = Conv(p1, w3, b3)
    [reduce_relu] r3 = Relu(c3)
    [padded] c4 = Conv<pads=[1,1,1,1]>(r3, w4, b4)
    [sum] s1 = Add(c2, c4)
    [sum_relu] r4 = Relu(s1)
    [second] c5 = Conv<auto_pad="VALID">(r4, w5, b5)
    [second_relu] r5 = Relu(c5)
    [third] c6 = Conv(r5, w6)
    [next_sum] s2 = Add(r4, c6)
    [next_relu] r6 = Relu(s2)
    [last] maps = Conv(r6, w7)
}
"""
BOTTLENECK_SHAPES = {
    "w1": (8, 3, 3, 3), "b1": (8,), "w2": (12, 8, 1, 1), "w3": (6, 8, 1, 1), "b3": (6,), "w4": (12, 6, 3, 3),
    "b4": (12,), "w5": (6, 12, 1, 1), "b5": (6,), "w6": (12, 6, 1, 1), "w7": (4, 12, 1, 1),
}  # fmt: skip

ATTENTION = """
<ir_version: 10, opset_import: ["": 22]>
attention (float[batch,6,16] x, int32[batch,6] mask) => (float[batch,6,16] y) {
    [q] qm = MatMul(x, wq)
    [q_bias] q = Add(qm, bq)
    [q_split] q4 = Reshape(q, heads)
    [q_turn] qt = Transpose<perm=[0,2,1,3]>(q4)
    [k] km = MatMul(x, wk)
    [k_split] k4 = Reshape(km, heads)
    [k_turn] kt = Transpose<perm=[0,2,3,1]>(k4)
    [scores] qk = MatMul(qt, kt)
    [mask_float] mf = Cast<to=1>(mask)
    [mask_not] mn = Sub(one, mf)
    [mask_far] mb = Mul(mn, far)
    [mask_wide] mw = Unsqueeze(mb, axes)
    [masked] sm = Add(qk, mw)
    [softmax] probabilities = Softmax<axis=-1>(sm)
    [v] vm = MatMul(x, wv)
    [v_split] v4 = Reshape(vm, heads)
    [v_turn] vt = Transpose<perm=[0,2,1,3]>(v4)
    [context] ctx = MatMul(probabilities, vt)
    [ctx_turn] ct = Transpose<perm=[0,2,1,3]>(ctx)
    [ctx_join] cj = Reshape(ct, joined)
    [out] om = MatMul(cj, wo)
    [residual] res = Add(om, x)
    [norm] y = LayerNormalization<epsilon=1e-12>(res, gamma, beta)
}
"""
ATTENTION_SHAPES = {
    "wq": (16, 16), "bq": (16,), "wk": (16, 16), "wv": (16, 16), "wo": (16, 16),
    "gamma": (16,), "beta": (16,),
}  # fmt: skip
ATTENTION_CONSTANTS: Mapping[str, Array] = {
    "heads": np.array([0, 6, 2, 8], np.int64),
    "joined": np.array([0, 6, 16], np.int64),
    "axes": np.array([1, 2], np.int64),
    "one": np.array(1, np.float32),
    "far": np.array(-1e9, np.float32),
}


def graph_text(signature: str, body: str) -> str:
    return f'<ir_version: 10, opset_import: ["": 22]> g {signature} {{ {body} }}'


def write(path: Path, text: str, shapes: Mapping[str, tuple[int, ...]], **constants: Array) -> Path:
    """The graph of `text`, its weights drawn with the variance that keeps activations near 1."""
    random = np.random.default_rng(7)
    model = onnx.parser.parse_model(text)
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
        constants[name] = (random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def residual_cnn(folder: Path) -> Path:
    return write(folder / "cnn.onnx", RESIDUAL_CNN, RESIDUAL_CNN_SHAPES)


def wide_cnn(folder: Path) -> Path:
    """Of channels in multiples of 16, which FP8 convolutions want."""
    return write(folder / "wide_cnn.onnx", WIDE_CNN, WIDE_CNN_SHAPES)


def pyramid(folder: Path, mode: str = "linear") -> Path:
    """A sum that is resized before a convolution reads it, as in networks with features at several sizes."""
    twice = np.array([1, 1, 2, 2], np.float32)
    return write(folder / "pyramid.onnx", PYRAMID.replace("MODE", mode), PYRAMID_SHAPES, twice=twice)


def bottleneck(folder: Path) -> Path:
    """Residual blocks, whose 1x1 convolutions read one pixel."""
    return write(folder / "bottleneck.onnx", BOTTLENECK, BOTTLENECK_SHAPES)


def attention(folder: Path) -> Path:
    return write(folder / "attention.onnx", ATTENTION, ATTENTION_SHAPES, **ATTENTION_CONSTANTS)


def images(count: int, batch: int = 1, seed: int = 0) -> Iterator[Feed]:
    """The same `count` images however they are batched."""
    all_images = np.random.default_rng(seed).standard_normal((count, 3, 16, 16)).astype(np.float32)
    for start in range(0, count, batch):
        yield {"images": all_images[start : start + batch]}


def wide_images(count: int, seed: int = 3) -> Iterator[Feed]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield {"images": random.standard_normal((1, 16, 8, 8)).astype(np.float32)}


def sentences(count: int, seed: int = 0) -> Iterator[Feed]:
    random = np.random.default_rng(seed)
    for index in range(count):
        mask = np.ones((1, 6), np.int32)
        mask[:, 6 - index % 3 :] = 0
        yield {"x": random.standard_normal((1, 6, 16)).astype(np.float32), "mask": mask}


def evaluate(path: Path, feed: Feed, *names: str) -> list[Array]:
    """ONNX's reference evaluator: the oracle."""
    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    evaluator = onnx.reference.ReferenceEvaluator(model)
    # An infinity in float16 is a result like any other, and LayerNormalization's unused one has many.
    with np.errstate(over="ignore"):
        return list(evaluator.run(list(names) or None, dict(feed)))


def nodes(path: Path) -> dict[str, onnx.NodeProto]:
    """The nodes of a file by the name of their first output."""
    return {node.output[0]: node for node in onnx.load(path).graph.node}


def interface(path: Path) -> list[bytes]:
    """Names, types and shapes of a file's inputs and outputs."""
    graph = onnx.load(path).graph
    return [value.SerializeToString(deterministic=True) for value in (*graph.input, *graph.output)]


def with_float_activations(path: Path) -> Path:
    """Without the Q/DQ of activations, so that weights alone are off."""
    model = onnx.load(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    kept = []
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if node.op_type == "QuantizeLinear":
            continue
        if node.op_type == "DequantizeLinear" and node.input[0] not in constants:
            renamed[node.output[0]] = made[node.input[0]].input[0]
            continue
        kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    out = path.with_suffix(".weights.onnx")
    onnx.save(model, out)
    return out
