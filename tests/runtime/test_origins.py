from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from runtime.attestation import Ran
from runtime.origins import Kernel, trace_back

FLOAT, INT8 = Ran("float32"), Ran("int8")
GRAPH = """<ir_version: 10, opset_import: ["": 22]>
    g (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,4,8,8] last) {
        [conv1] a = Conv(x, w) [relu1] b = Relu(a)
        [conv10] c = Conv(b, w) [side] s = Conv(b, w)
        [add] d = Add(c, s) [relu_sum] e = Relu(d)
        [tail] last = Conv(e, w) }"""
NODES = ("conv1", "conv10", "side", "tail")


def _traced(*kernels: tuple[str, Ran]) -> dict[str, Ran]:
    graph = ir.from_proto(onnx.parser.parse_model(GRAPH)).graph
    return trace_back([Kernel((name,), ran) for name, ran in kernels], graph, NODES)


@pytest.mark.parametrize(
    ("kernel", "node"),
    [
        ("conv1", "conv1"),
        ("conv1_token_12", "conv1"),
        ("conv10_token_3", "conv10"),
        ("conv1/WithoutBiases", "conv1"),
        ("b_nchwc", "conv1"),  # ONNX Runtime's layout for vectors: the tensor of the ReLU fused into it
        ("InsertedPrecisionFreeCast_b_nchwc", "conv1"),
        ("fused conv1", "conv1"),
        ("relu1", "conv1"),
        ("last", "tail"),
        ("relu_sum", "conv10"),
    ],
)
def test_a_kernel_is_traced_to_its_node(kernel: str, node: str) -> None:
    assert _traced((kernel, INT8)) == {node: INT8}


@pytest.mark.parametrize("kernel", ["conv", "conv11", "ReorderOutput_token_4", "x"])
def test_a_name_that_only_looks_alike_is_not_traced(kernel: str) -> None:
    assert _traced((kernel, INT8)) == {}


def test_own_names_come_before_names_of_what_follows() -> None:
    """The sum is fused into one of the two convolutions; the other still has its own name."""
    assert _traced(("e_nchwc", INT8), ("c_nchwc", FLOAT)) == {"side": INT8, "conv10": FLOAT}
    assert _traced(("e_nchwc", INT8), ("side", FLOAT)) == {"side": FLOAT, "conv10": INT8}


DENSE = """<ir_version: 10, opset_import: ["": 22]>
    g (float[1,4,8,8] x, float[4,4,1,1] w) => (float[1,8,8,8] y) <float x2_scale = {2}> {
        [x1] a = Conv(x, w) [x2_bn] b = Mul(a, x2_scale) [x2_bn_relu] c = Relu(b)
        [x2] d = Conv(c, w) [join] y = Concat<axis=1>(a, d) }"""


@pytest.mark.parametrize("step", [1, -1], ids=["as listed", "turned round"])
def test_a_name_stands_for_its_longest_beginning_in_the_whole_graph(step: int) -> None:
    """The norm before x2 is fused into x1, and its name begins with the other convolution's."""
    graph = ir.from_onnx_text(DENSE).graph
    kernels = [
        Kernel(("x1", "x2_bn", "x2_bn_relu_token_1")[::step], INT8),
        Kernel(("x2_nchwc",), FLOAT),
    ]
    assert trace_back(kernels, graph, ("x1", "x2")) == {"x1": INT8, "x2": FLOAT}


def test_a_name_that_begins_as_a_node_and_is_a_constants_is_not_the_nodes() -> None:
    kernels = [Kernel(("x2_scale", "x1"), INT8)]
    assert trace_back(kernels, ir.from_onnx_text(DENSE).graph, ("x1", "x2")) == {"x1": INT8}


def test_a_kernel_with_two_names_as_long_is_traced_to_the_first() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(GRAPH)).graph
    for names in (("side", "tail"), ("tail", "side")):
        assert trace_back([Kernel(names, INT8)], graph, NODES) == {names[0]: INT8}


def test_a_kernel_may_have_several_names() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(GRAPH)).graph
    kernel = Kernel(("Multiply_39", "", "conv1", "relu1"), INT8)
    assert trace_back([kernel], graph, NODES) == {"conv1": INT8}
