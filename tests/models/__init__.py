"""Tiny graphs as text with seeded weights: what the tests of the runtimes run on, one table.

Node names are those an attestation names. In the int8 graphs every activation has a scale of its own
and zero point 0, as calibration writes them (DESIGN.md, INT8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir

from runtime.tensors import Array, Feed

BATCH, SMALLER_BATCH = 3, 1


@dataclass(frozen=True)
class TinyModel:
    """A graph, how its constants are drawn, and what it computes in.

    inputs:   name to shape without the batch dimension, and NumPy type.
    computes: NumPy type of the graph's multiply-accumulates; "" where it has none.
    macs:     multiply-accumulates of one sample, counted by hand.
    weights:  float constants to draw, by shape.
    int8:     int8 weights to draw, by shape and axis of the scales, which are called NAME_s.
    scales:   what one step of a quantised activation is worth.
    """

    name: str
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    outputs: str
    body: str
    computes: str
    macs: int
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    int8: Mapping[str, tuple[tuple[int, ...], int]] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)
    weight_type: str = "float32"

    def build(self, **scales: float) -> ir.Model:
        """The graph; `scales` replace its own."""
        arrays = {**self._drawn(), **_scalars({**self.scales, **scales}), **self.constants}
        proto = onnx.parser.parse_model(self._text())
        proto.graph.initializer.extend(
            ir.to_proto(ir.tensor(array, name=name)) for name, array in arrays.items()
        )
        return ir.from_proto(proto)

    def write(self, folder: Path, **scales: float) -> Path:
        path = folder / f"{self.name}.onnx"
        ir.save(self.build(**scales), path)
        return path

    def feed(self, batch: int = BATCH, seed: int = 0) -> Feed:
        """Floats from N(0, 1), whole numbers 0..9."""
        random = np.random.default_rng(seed)
        feed: Feed = {
            name: random.standard_normal((batch, *shape)).astype(dtype)
            if np.dtype(dtype).kind == "f"
            else random.integers(0, 10, (batch, *shape)).astype(dtype)
            for name, (shape, dtype) in self.inputs.items()
        }
        return feed

    def _text(self) -> str:
        inputs = ", ".join(
            f"{_TEXT_TYPES[dtype]}[{','.join(map(str, ('batch', *shape)))}] {name}"
            for name, (shape, dtype) in self.inputs.items()
        )
        header = '<ir_version: 10, opset_import: ["": 22]>'
        return f"{header} {self.name} ({inputs}) => ({self.outputs}) {{ {self.body} }}"

    def _drawn(self) -> dict[str, Array]:
        """Weights with the variance that keeps activations near 1."""
        random = np.random.default_rng(7)
        drawn: dict[str, Array] = {}
        for name, shape in self.weights.items():
            drawn[name] = _normal(random, shape).astype(self.weight_type)
        for name, (shape, axis) in self.int8.items():
            weight = _normal(random, shape)
            others = tuple(i for i in range(len(shape)) if i != axis)
            scale = (np.abs(weight).max(axis=others) / 127).astype(np.float32)
            drawn[name] = np.rint(weight / np.expand_dims(scale, others)).astype(np.int8)
            drawn[f"{name}_s"] = scale
            drawn[f"{name}_z"] = np.zeros(scale.shape, np.int8)
        return drawn


_TEXT_TYPES = {"float32": "float", "int32": "int32", "int64": "int64"}


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
    weight: Array = (random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
    return weight


def _scalars(scales: Mapping[str, float]) -> dict[str, Array]:
    steps = {f"{name}_s": np.array(scale, np.float32) for name, scale in scales.items()}
    return {**steps, "zero": np.array(0, np.int8)} if steps else {}


def _q(value: str) -> str:
    """The Q and DQ of an activation; operators read VALUE_d."""
    return f"""
        [{value}_Q] {value}_q = QuantizeLinear({value}, {value}_s, zero)
        [{value}_DQ] {value}_d = DequantizeLinear({value}_q, {value}_s, zero)"""


def _w(weight: str, axis: int) -> str:
    return f"""
        [{weight}_DQ] {weight}_d = DequantizeLinear<axis={axis}>({weight}, {weight}_s, {weight}_z)"""


_IMAGE = {"x": ((4, 8, 8), "float32")}
_SENTENCE = {"x": ((6, 16), "float32")}

CONV_CHAIN = TinyModel(
    name="conv_chain",
    inputs=_IMAGE,
    outputs="float[batch,8,4,4] y",
    body="""
        [conv1] a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        [relu1] b = Relu(a)
        [conv2] c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w2)
        [relu2] y = Relu(c)""",
    computes="float32",
    macs=8 * 64 * 4 * 9 + 8 * 16 * 8 * 9,
    weights={"w1": (8, 4, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3)},
)
RESIDUAL = TinyModel(
    name="residual",
    inputs=_IMAGE,
    outputs="float[batch,10] y",
    body="""
        [conv] a = Conv<pads=[1,1,1,1]>(x, w, b)
        [add] s = Add(a, x)
        [relu] r = Relu(s)
        [pool] p = GlobalAveragePool(r)
        [flat] f = Flatten(p)
        [classify] y = Gemm<transB=1>(f, v, c)""",
    computes="float32",
    macs=4 * 64 * 4 * 9 + 4 * 10,
    weights={"w": (4, 4, 3, 3), "b": (4,), "v": (10, 4), "c": (10,)},
)
ATTENTION = TinyModel(
    name="attention",
    inputs={
        "q": ((4, 64, 32), "float32"),
        "k": ((4, 32, 64), "float32"),
        "v": ((4, 64, 32), "float32"),
        "m": ((1, 1, 64), "float32"),
    },
    outputs="float[batch,64,4,32] y",
    body="""
        [scores] s = MatMul(q, k)
        [scaled] t = Mul(s, c)
        [masked] u = Add(t, m)
        [weights] p = Softmax<axis=-1>(u)
        [context] o = MatMul(p, v)
        [merge] y = Transpose<perm=[0,2,1,3]>(o)""",
    computes="float32",
    macs=2 * 4 * 64 * 64 * 32,
    constants={"c": np.array(0.125, np.float32)},
)
TRANSFORMER = TinyModel(
    name="transformer",
    inputs=_SENTENCE,
    outputs="float[batch,6,16] y",
    body="""
        [up] a = MatMul(x, w1)
        [up_bias] b = Add(a, b1)
        [gelu] g = Gelu(b)
        [down] d = MatMul(g, w2)
        [residual] r = Add(d, x)
        [norm] y = LayerNormalization<epsilon=1e-12>(r, gamma, beta)""",
    computes="float32",
    macs=6 * 16 * 32 * 2,
    weights={"w1": (16, 32), "b1": (32,), "w2": (32, 16), "gamma": (16,), "beta": (16,)},
)
EMBEDDING = TinyModel(
    name="embedding",
    inputs={"ids": ((6,), "int32")},
    outputs="float[batch,6,8] y",
    body="[table] y = Gather(table, ids)",
    computes="",
    macs=0,
    weights={"table": (10, 8)},
)
PASSED_ON = TinyModel(
    name="passed_on",
    inputs={"x": ((5,), "float32"), "ids": ((2,), "int64")},
    outputs="float[batch,5] y, int64[batch,2] same_ids",
    body="[copy] y = Identity(x) [copy_ids] same_ids = Identity(ids)",
    computes="",
    macs=0,
)
INT8_CONV = TinyModel(
    name="int8_conv",
    inputs=_IMAGE,
    outputs="float[batch,8,8,8] y",
    body=_q("x")
    + _w("w1", 0)
    + "[conv1] c = Conv<pads=[1,1,1,1]>(x_d, w1_d, b1) [relu1] a = Relu(c)"
    + _q("a")
    + _w("w2", 0)
    + "[conv2] d = Conv<pads=[1,1,1,1]>(a_d, w2_d) [clip2] e = Clip(d, low, high)"
    + _q("e")
    + "[out] y = Identity(e_d)",
    computes="int8",
    macs=8 * 64 * 4 * 9 + 8 * 64 * 8 * 9,
    weights={"b1": (8,)},
    int8={"w1": ((8, 4, 3, 3), 0), "w2": ((8, 8, 3, 3), 0)},
    scales={"x": 0.03, "a": 0.025, "e": 0.05},
    constants={"low": np.array(0, np.float32), "high": np.array(6, np.float32)},
)
INT8_RESIDUAL = TinyModel(
    name="int8_residual",
    inputs=_IMAGE,
    outputs="float[batch,4,8,8] y",
    body=_q("x")
    + _w("w", 0)
    + "[conv] c = Conv<pads=[1,1,1,1]>(x_d, w_d, b)"
    + _q("c")
    + "[add] s = Add(c_d, x_d) [relu] r = Relu(s)"
    + _q("r")
    + _w("v", 0)
    + "[conv_after] t = Conv<pads=[1,1,1,1]>(r_d, v_d)"
    + _q("t")
    + "[out] y = Identity(t_d)",
    computes="int8",
    macs=2 * 4 * 64 * 4 * 9,
    weights={"b": (4,)},
    int8={"w": ((4, 4, 3, 3), 0), "v": ((4, 4, 3, 3), 0)},
    scales={"x": 0.03, "c": 0.0317, "r": 0.0423, "t": 0.04},  # no sum lies halfway between two steps
)
INT8_TAIL = TinyModel(
    name="int8_tail",
    inputs=_IMAGE,
    outputs="float[batch,10] y",
    body=_q("x")
    + "[pool] p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x_d)"
    + _q("p")
    + "[mean] m = GlobalAveragePool(p_d)"
    + _q("m")
    + "[flat] f = Flatten(m_d)"
    + _q("f")
    + _w("w", 0)
    + "[classify] y = Gemm<transB=1>(f_d, w_d, b)",
    computes="int8",
    macs=40,
    weights={"b": (10,)},
    int8={"w": ((10, 4), 0)},
    scales={"x": 0.03, "p": 0.03, "m": 0.02, "f": 0.02},
)
INT8_MATMUL = TinyModel(
    name="int8_matmul",
    inputs=_SENTENCE,
    outputs="float[batch,6,16] y",
    body=_q("x")
    + _w("w", 1)
    + "[project] a = MatMul(x_d, w_d) [bias] b = Add(a, c) [gelu] g = Gelu(b)"
    + _q("g")
    + _w("v", 1)
    + "[back] y = MatMul(g_d, v_d)",
    computes="int8",
    macs=6 * 16 * 32 * 2,
    weights={"c": (32,)},
    int8={"w": ((16, 32), 1), "v": ((32, 16), 1)},
    scales={"x": 0.03, "g": 0.03},
)
INT8_ATTENTION = TinyModel(
    name="int8_attention",
    inputs=_SENTENCE,
    outputs="float[batch,6,6] y",
    body=_q("x")
    + "[turn] k = Transpose<perm=[0,2,1]>(x)"
    + _q("k")
    + "[scores] s = MatMul(x_d, k_d) [soft] y = Softmax<axis=-1>(s)",
    computes="int8",
    macs=6 * 6 * 16,
    scales={"x": 0.03, "k": 0.03},
)
FP16_CONV = TinyModel(
    name="fp16_conv",
    inputs=_IMAGE,
    outputs="float[batch,8,8,8] y",
    body="""
        [in] h = Cast<to=10>(x)
        [conv] c = Conv<pads=[1,1,1,1]>(h, w, b)
        [relu] r = Relu(c)
        [out] y = Cast<to=1>(r)""",
    computes="float16",
    macs=8 * 64 * 4 * 9,
    weights={"w": (8, 4, 3, 3), "b": (8,)},
    weight_type="float16",
)
BF16_CONV = TinyModel(
    name="bf16_conv",
    inputs=_IMAGE,
    outputs="float[batch,8,8,8] y",
    body=FP16_CONV.body.replace("to=10", "to=16"),
    computes="bfloat16",
    macs=FP16_CONV.macs,
    weights=FP16_CONV.weights,
    weight_type="bfloat16",
)

FLOAT = (CONV_CHAIN, RESIDUAL, TRANSFORMER, ATTENTION, EMBEDDING, PASSED_ON)
INT8 = (INT8_CONV, INT8_RESIDUAL, INT8_TAIL, INT8_MATMUL, INT8_ATTENTION)
HALF = (FP16_CONV, BF16_CONV)

MODELS: Mapping[str, TinyModel] = {model.name: model for model in (*FLOAT, *INT8, *HALF)}
