"""Exp and Log: to and from a base, of a scaled and shifted blob."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from exporters.caffe.builder import LayerBuilder
from exporters.caffe.formula import Term

_LARGEST_POWER = 88.0  # of e, in float32

_NATURAL = -1
"""The base that stands for e."""


def exp(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """A base to the power of `shift + scale * x`, as Caffe does it: e to the x * scale * ln base, scaled."""
    parameter = build.parameter.exp_param
    rate = _log_of_base(build, parameter.base)
    if rate * parameter.shift > _LARGEST_POWER:
        raise build.error(f"base {parameter.base:g} to the power of shift {parameter.shift:g} is too large")
    inner, outer = rate * parameter.scale, math.exp(rate * parameter.shift)
    power = _scaled(Term(build, bottoms[0]), inner).apply("Exp")
    return [_scaled(power, outer).value]


def log(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
    """The logarithm of shift + scale * x to `base`."""
    parameter = build.parameter.log_param
    rate = _log_of_base(build, parameter.base)
    if rate == 0:
        raise build.error("base 1 has no logarithm")
    inner = _scaled(Term(build, bottoms[0]), parameter.scale)
    shifted = inner + parameter.shift if parameter.shift else inner
    return [_scaled(shifted.apply("Log"), 1 / rate).value]


def _scaled(term: Term, factor: float) -> Term:
    return term if factor == 1 else term * factor


def _log_of_base(build: LayerBuilder, base: float) -> float:
    if base == _NATURAL:
        return 1.0
    if base <= 0:
        raise build.error(f"base {base:g} must be above 0, or -1 for e")
    return math.log(base)
