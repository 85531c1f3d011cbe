"""Small graphs from text, and ONNX's own evaluator as the judge of a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from runtime.tensors import Array

OPEN_SIZE = 2


def parse(text: str, opset: int = 22, /, **initializers: Array) -> ir.Model:
    """A model from ONNX's textual form; names it does not define are the `initializers`."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    for name, array in initializers.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def evaluate(model: ir.Model) -> list[Array]:
    """The reference evaluator's outputs for a fixed random feed."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    feed: dict[str, Array] = {}
    for index, value in enumerate(model.graph.inputs):
        assert value.shape is not None
        shape = [size if isinstance(size, int) else OPEN_SIZE for size in value.shape]
        feed[str(value.name)] = random(*shape, seed=index)
    return list(ReferenceEvaluator(proto).run(None, feed))


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.all_nodes())


def apply(run: Callable[[ir.Model], None], model: ir.Model) -> ir.Model:
    """Run one pass; the outputs keep their names and, for the reference evaluator, their values."""
    names = [value.name for value in model.graph.outputs]
    before = evaluate(model)
    run(model)
    assert [value.name for value in model.graph.outputs] == names
    for expected, got in zip(before, evaluate(model), strict=True):
        assert got.dtype == expected.dtype
        largest = float(np.abs(expected).max(initial=0)) if expected.dtype.kind == "f" else 0.0
        # Sums that cancel out are off by some of float32's steps at their largest terms.
        steps = 4 * float(np.finfo(np.float32).eps) * largest
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=max(1e-5, steps))
    return model


def attribute(model: ir.Model, op_type: str, name: str) -> tuple[int, ...]:
    node = next(node for node in model.graph if node.op_type == op_type)
    return tuple(node.attributes[name].as_ints())
