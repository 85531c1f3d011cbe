"""Every formula against a count by hand."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from runtime.costs import node_macs, total_macs

CASES = {
    "conv": (
        "(float[1,4,10,10] x, float[8,4,3,3] w) => (float[1,8,4,4] y) { [n] y = Conv<strides=[2,2]>(x, w) }",
        (8 * 4 * 4) * (4 * 3 * 3),
    ),
    "grouped conv": (
        "(float[1,4,10,10] x, float[8,2,3,3] w) => (float[1,8,8,8] y) { [n] y = Conv<group=2>(x, w) }",
        (8 * 8 * 8) * (2 * 3 * 3),
    ),
    "depthwise conv": (
        "(float[1,4,10,10] x, float[4,1,3,3] w) => (float[1,4,8,8] y) { [n] y = Conv<group=4>(x, w) }",
        (4 * 8 * 8) * (3 * 3),
    ),
    "transposed conv": (
        "(float[1,4,5,5] x, float[4,6,2,2] w) => (float[1,6,10,10] y) {"
        " [n] y = ConvTranspose<strides=[2,2]>(x, w) }",
        (4 * 5 * 5) * (6 * 2 * 2),  # every input value is multiplied with the whole kernel
    ),
    "matmul": ("(float[3,5] a, float[5,7] b) => (float[3,7] y) { [n] y = MatMul(a, b) }", 3 * 5 * 7),
    "batched matmul": (
        "(float[2,1,3,5] a, float[4,5,7] b) => (float[2,4,3,7] y) { [n] y = MatMul(a, b) }",
        2 * 4 * 3 * 5 * 7,
    ),
    "gemm": ("(float[3,5] a, float[5,7] b) => (float[3,7] y) { [n] y = Gemm(a, b) }", 3 * 5 * 7),
    "transposed gemm": (
        "(float[5,3] a, float[7,5] b) => (float[3,7] y) { [n] y = Gemm<transA=1, transB=1>(a, b) }",
        3 * 5 * 7,
    ),
    "lstm": (
        "(float[6,2,8] x, float[1,20,8] w, float[1,20,5] r) => (float[6,1,2,5] y) {"
        " [n] y = LSTM<hidden_size=5>(x, w, r) }",
        6 * 2 * (4 * 5) * (8 + 5),
    ),
    "bidirectional gru": (
        "(float[6,2,8] x, float[2,15,8] w, float[2,15,5] r) => (float[6,2,2,5] y) {"
        ' [n] y = GRU<hidden_size=5, direction="bidirectional">(x, w, r) }',
        2 * 6 * 2 * (3 * 5) * (8 + 5),
    ),
    "rnn": (
        "(float[6,2,8] x, float[1,5,8] w, float[1,5,5] r) => (float[6,1,2,5] y) {"
        " [n] y = RNN<hidden_size=5>(x, w, r) }",
        6 * 2 * 5 * (8 + 5),
    ),
    "einsum": (
        "(float[2,3,4] a, float[2,4,5] b) => (float[2,3,5] y) {"
        ' [n] y = Einsum<equation="bij, bjk -> bik">(a, b) }',
        2 * 3 * 4 * 5,
    ),
    "integer conv": (
        "(uint8[1,4,10,10] x, int8[8,4,3,3] w) => (int32[1,8,8,8] y) { [n] y = ConvInteger(x, w) }",
        (8 * 8 * 8) * (4 * 3 * 3),
    ),
    "integer matmul": (
        "(uint8[3,5] a, int8[5,7] b) => (int32[3,7] y) { [n] y = MatMulInteger(a, b) }",
        3 * 5 * 7,
    ),
}


def _model(body: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 22]> g {body}'))


@pytest.mark.parametrize(("body", "macs"), CASES.values(), ids=list(CASES))
def test_each_operator_counts_what_its_definition_multiplies(body: str, macs: int) -> None:
    assert node_macs(_model(body), {}) == {"n": macs}


@pytest.mark.parametrize(
    "body",
    [
        "(float[1,4,8,8] x) => (float[1,4,7,7] y) { [n] y = MaxPool<kernel_shape=[2,2]>(x) }",
        "(float[3,5] a, float[3,5] b) => (float[3,5] y) { [n] y = Add(a, b) }",
        "(float[3,5] a) => (float[3,5] y) { [n] y = Softmax(a) }",
    ],
    ids=["pooling", "addition", "softmax"],
)
def test_what_sums_no_products_counts_nothing(body: str) -> None:
    assert node_macs(_model(body), {}) == {}


SENTENCE = "(float[batch,length,8] x, float[8,5] w) => (float[batch,length,5] y) { [n] y = MatMul(x, w) }"


def test_open_dimensions_are_one_unless_given() -> None:
    model = _model(SENTENCE)
    assert total_macs(model, {}) == 8 * 5
    assert total_macs(model, {"batch": 2}) == 2 * 8 * 5
    assert total_macs(model, {"batch": 2, "length": 3}) == 2 * 3 * 8 * 5


def test_counting_leaves_the_model_as_it_was() -> None:
    model = _model(SENTENCE)
    before = ir.to_proto(model).SerializeToString()
    total_macs(model, {"batch": 2})
    assert ir.to_proto(model).SerializeToString() == before


def test_what_a_suppression_keeps_counts_as_the_most_it_may() -> None:
    """Five of the 6 boxes of each of 2 images, 8 values each: 2 * 5 * 8 * 3 products."""
    body = """(float[2,6,4] boxes, float[2,1,6] scores, float[12,8] x, float[8,3] w)
        => (float[rows,3] y) <int64 most = {5}, float limit = {0.5}, int64 image = {0}> {
        kept = NonMaxSuppression(boxes, scores, most, limit)
        rows = Gather<axis=1>(kept, image)
        chosen = Gather(x, rows)
        [n] y = MatMul(chosen, w) }"""
    assert node_macs(_model(body), {}) == {"n": 2 * 5 * 8 * 3}


def test_a_node_whose_shapes_depend_on_data_is_left_out() -> None:
    body = """(float[4,8] x, bool[4] chosen, float[8,5] w) => (float[rows,5] y) {
        [counted] k = MatMul(x, w)
        [some] s = Compress<axis=0>(x, chosen)
        [free] y = MatMul(s, w) }"""
    assert node_macs(_model(body), {}) == {"counted": 4 * 8 * 5}


SCAN = """(float[2,3] first, float[{shape}] sequence, float[3,5] w, float[5,3] v) => (float[2,3] last) {{
    [n] last = Scan<num_scan_inputs=1{axes}, body = step (float[2,3] state, float[2,3] x)
        => (float[2,3] after) {{
        sum = Add(state, x)
        wide = MatMul(sum, w)
        after = MatMul(wide, v)
    }}>(first, sequence) }}"""
STEP = 2 * 3 * 5 + 2 * 5 * 3


@pytest.mark.parametrize(
    ("shape", "axes"), [("7,2,3", ""), ("2,7,3", ", scan_input_axes=[1]")], ids=["first axis", "another axis"]
)
def test_a_scan_counts_its_body_for_each_step_of_its_sequence(shape: str, axes: str) -> None:
    assert node_macs(_model(SCAN.format(shape=shape, axes=axes)), {}) == {"n": 7 * STEP}


def test_a_scan_over_an_open_dimension_counts_what_that_is() -> None:
    model = _model(SCAN.format(shape="steps,2,3", axes=""))
    assert node_macs(model, {"steps": 4}) == {"n": 4 * STEP}
    assert node_macs(model, {}) == {"n": STEP}


def test_a_scan_that_multiplies_nothing_is_left_out() -> None:
    body = """(float[3] first, float[7,3] sequence) => (float[3] last) {
        last = Scan<num_scan_inputs=1, body = step (float[3] state, float[3] x) => (float[3] after) {
            after = Add(state, x) }>(first, sequence) }"""
    assert node_macs(_model(body), {}) == {}


LOOP = """(float[2,3] first, float[3,3] w{most}) => (float[2,3] last, float[{rows},2,3] all)
    <bool go = {{1}}{constant}> {{
    [n] last, all = Loop<body = step (int64 i, bool on, float[2,3] state)
        => (bool still, float[2,3] after, float[2,3] shown) {{
        still = Identity(on)
        after = MatMul(state, w)
        shown = Identity(after)
    }}>(most, go, first) }}"""


def test_a_loop_counts_its_body_as_often_as_it_says() -> None:
    model = _model(LOOP.format(most="", rows="rows", constant=", int64 most = {6}"))
    assert node_macs(model, {}) == {"n": 6 * 2 * 3 * 3}


def test_a_loop_of_unknown_length_is_left_out() -> None:
    model = _model(LOOP.format(most=", int64 most", rows="rows", constant=""))
    assert node_macs(model, {}) == {}
