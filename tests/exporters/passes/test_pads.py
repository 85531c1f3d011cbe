from __future__ import annotations

import numpy as np
import pytest

from exporters.passes.auto_pad import make_pads_explicit
from exporters.passes.pads import fold_pads
from runtime.tensors import Array
from tests.exporters.graphs import apply, attribute, operators, parse, random

PADS = np.array([0, 0, 1, 2, 0, 0, 3, 1], np.int64)
POOL = "<kernel_shape=[4,4], strides=[2,2]>"


def padded(consumer: str, before: str = "p = Pad(x, a)", size: tuple[int, int] = (12, 11)) -> str:
    return f"g (float[N,3,{size[0]},{size[1]}] x) => (float[N,C,H,W] y) {{ {before} y = {consumer} }}"


def test_zero_padding_goes_into_a_convolution_and_adds_to_its_own() -> None:
    text = padded("Conv<pads=[1,1,0,0], strides=[2,2]>(p, w)")
    folded = apply(fold_pads, parse(text, a=PADS, w=random(4, 3, 3, 3)))
    assert operators(folded) == {"Conv": 1}
    assert attribute(folded, "Conv", "pads") == (2, 3, 3, 1)


def test_padding_named_by_axes_goes_into_a_convolution() -> None:
    text = padded("Conv(p, w)", "p = Pad(x, a, zero, axes)")
    folded = apply(
        fold_pads,
        parse(
            text,
            a=np.array([1, 2], np.int64),
            zero=np.zeros((), np.float32),
            axes=np.array([-1], np.int64),
            w=random(4, 3, 3, 3),
        ),
    )
    assert attribute(folded, "Conv", "pads") == (0, 1, 0, 2)


@pytest.mark.parametrize(
    ("before", "constants"),
    [
        ("p = Pad(x, a, fill)", {"a": PADS, "fill": np.float32(1) + np.zeros((), np.float32)}),
        ('p = Pad<mode="reflect">(x, a)', {"a": PADS}),
        ("p = Pad(x, a)", {"a": np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64)}),
    ],
    ids=["ones", "reflection", "channels"],
)
def test_other_padding_stays_before_a_convolution(before: str, constants: dict[str, Array]) -> None:
    channels = 4 if constants["a"][1] else 3
    model = parse(padded("Conv(p, w)", before), w=random(4, channels, 3, 3), **constants)
    assert operators(apply(fold_pads, model)) == {"Pad": 1, "Conv": 1}


def test_cropping_stays_before_a_convolution() -> None:
    crop = np.array([0, 0, -1, 0, 0, 0, 0, 0], np.int64)
    model = parse(padded("Conv(p, w)"), w=random(4, 3, 3, 3), a=crop)
    fold_pads(model)
    assert operators(model) == {"Pad": 1, "Conv": 1}


def test_zero_padding_goes_into_a_max_pool_after_relu() -> None:
    folded = apply(fold_pads, parse(padded(f"MaxPool{POOL}(p)", "r = Relu(x) p = Pad(r, a)"), a=PADS))
    assert operators(folded) == {"Relu": 1, "MaxPool": 1}


def test_zero_padding_stays_before_a_max_pool_of_what_may_be_negative() -> None:
    folded = apply(fold_pads, parse(padded(f"MaxPool{POOL}(p)"), a=PADS))
    assert operators(folded) == {"Pad": 1, "MaxPool": 1}


def test_padding_with_minus_infinity_goes_into_any_max_pool() -> None:
    low = np.array(-np.inf, np.float32)
    folded = apply(fold_pads, parse(padded(f"MaxPool{POOL}(p)", "p = Pad(x, a, low)"), a=PADS, low=low))
    assert operators(folded) == {"MaxPool": 1}


def test_padding_as_wide_as_the_window_stays() -> None:
    text = padded("MaxPool<kernel_shape=[3,3], strides=[2,2]>(p)", "r = Relu(x) p = Pad(r, a)")
    assert operators(apply(fold_pads, parse(text, a=PADS)))["Pad"] == 1


def test_padding_stays_where_the_pool_rounds_up() -> None:
    text = padded("MaxPool<kernel_shape=[4,4], strides=[3,3], ceil_mode=1>(p)", "r = Relu(x) p = Pad(r, a)")
    assert operators(apply(fold_pads, parse(text, a=PADS)))["Pad"] == 1


def test_zero_padding_goes_into_an_average_pool_that_then_counts_it() -> None:
    folded = apply(fold_pads, parse(padded(f"AveragePool{POOL}(p)"), a=PADS))
    assert operators(folded) == {"AveragePool": 1}


def test_padding_stays_where_another_node_reads_it() -> None:
    text = (
        "g (float[N,3,12,11] x) => (float[N,C,H,W] y, float[N,A,B,D] z)"
        " { p = Pad(x, a) y = Conv(p, w) z = Relu(p) }"
    )
    assert operators(apply(fold_pads, parse(text, a=PADS, w=random(4, 3, 3, 3))))["Pad"] == 1


@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(12, 11), (7, 8)])
def test_automatic_padding_becomes_the_same_numbers(rule: str, stride: int, size: tuple[int, int]) -> None:
    consumer = f'Conv<auto_pad="{rule}", strides=[{stride},{stride}], dilations=[1,2]>(x, w)'
    model = parse(padded(consumer, "", size), w=random(4, 3, 4, 3))
    explicit = apply(make_pads_explicit, model)
    assert "auto_pad" not in explicit.graph.node(0).attributes


def test_same_padding_of_a_7x7_kernel_with_stride_2_on_224_is_2_and_3() -> None:
    """Worked out in TensorFlow's documentation of tf.nn: 7 + 2 * 111 - 224 = 5 rows to share."""
    consumer = 'MaxPool<auto_pad="SAME_UPPER", kernel_shape=[7,7], strides=[2,2]>(x)'
    model = parse(padded(consumer, "", (224, 224)))
    make_pads_explicit(model)
    assert attribute(model, "MaxPool", "pads") == (2, 2, 3, 3)


def test_automatic_padding_of_an_unknown_size_stays() -> None:
    text = (
        'g (float[N,3,H,W] x) => (float[N,C,A,B] y) { y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w) }'
    )
    model = parse(text, w=random(4, 3, 3, 3))
    make_pads_explicit(model)
    assert model.graph.node(0).attributes["auto_pad"].as_string() == "SAME_UPPER"
