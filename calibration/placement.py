"""Which operators are INT8: the rules as data. What they give for one graph is calibration.int8_plan's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir


def _outputs_first(node: ir.Node) -> int:
    return 0


def _outputs_second(node: ir.Node) -> int:
    return 1


def _outputs_last(node: ir.Node) -> int:
    weight = node.inputs[1]
    return -1 if weight is None else len(weight.shape or ()) - 1


def _outputs_of_gemm(node: ir.Node) -> int:
    return 0 if node.attributes.get_int("transB", 0) else 1


@dataclass(frozen=True)
class Weight:
    """An input that must be a constant; `channel_axis` says which of its axes are output channels."""

    channel_axis: Callable[[ir.Node], int]
    index: int = 1
    required: bool = True


@dataclass(frozen=True)
class Placement:
    """How an operator type takes part in an INT8 graph.

    activations: inputs read as INT8; None means all of them.
    weight:      the input quantised per output channel where it is a constant.
    carries:     True for an operator that is INT8 only where its result is read as INT8: it does
                 little arithmetic, so making it INT8 pays only if it keeps the data in INT8.
    same_scale:  the output is made of values of the inputs, so both sides share one scale.
    not_behind:  operators whose results it does not read as INT8; it stays in float then.
    """

    activations: tuple[int, ...] | None = (0,)
    weight: Weight | None = None
    carries: bool = False
    same_scale: bool = False
    not_behind: frozenset[str] = frozenset()


CHEAP_IN_FLOAT = frozenset(
    {"AveragePool", "BatchNormalization", "Concat", "GlobalAveragePool", "LSTM", "MaxPool", "ReduceMean"}
)
"""What stays in float behind a convolution and does less than it would cost to have that in float, too.

DenseNet has the most of it in front of a ReLU, SSD joins its boxes and scores, CRNN's letters go into an
LSTM.
"""

_MOVES_DATA = Placement(carries=True, same_scale=True)
_AVERAGES = Placement(carries=True)

MOVERS = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""What gives the values of its first input elsewhere, and no others."""

PLACEMENTS: Mapping[str, Placement] = {
    "Conv": Placement(weight=Weight(_outputs_first)),
    "ConvTranspose": Placement(weight=Weight(_outputs_second)),
    "Gemm": Placement(weight=Weight(_outputs_of_gemm)),
    # Attention multiplies two activations. Of its probabilities most are below half a step of the largest:
    # BERT-Base loses 5 dB by them, for 4 % of its multiply-accumulates.
    "MatMul": Placement((0, 1), Weight(_outputs_last, required=False), not_behind=frozenset({"Softmax"})),
    # A residual sum between convolutions; a transformer's, which a LayerNorm reads, stays float.
    "Add": Placement(activations=(0, 1), carries=True),
    # The product of encoder and decoder in DSSD; without it the convolutions before it would answer in float.
    "Mul": Placement(activations=(0, 1), carries=True),
    "AveragePool": _AVERAGES,
    "GlobalAveragePool": _AVERAGES,
    "ReduceMean": _AVERAGES,
    "MaxPool": _MOVES_DATA,
    "Resize": _MOVES_DATA,
    "Concat": Placement(activations=None, carries=True, same_scale=True),
    **dict.fromkeys(sorted(MOVERS), _MOVES_DATA),
}
"""Operator type of the standard domain to its part in an INT8 graph; a new operator is a line."""

FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
"""What every runtime folds into the operator before it; the Q comes after."""

FLOAT_REASONS: Mapping[str, str] = {
    "LSTM": "no runtime reads a quantised LSTM from Q/DQ",
    "GRU": "no runtime reads a quantised GRU from Q/DQ",
    "RNN": "no runtime reads a quantised RNN from Q/DQ",
    "Einsum": "no runtime reads a quantised Einsum from Q/DQ",
    "Loop": "ranges are found outside of what it repeats",
    "Scan": "ranges are found outside of what it repeats",
}
"""Operators that multiply and accumulate, yet stay in float; each is named in the report."""
