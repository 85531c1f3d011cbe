"""The ONNX project's own backend tests, as the installed onnx package carries them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from runtime.errors import UsageError, unknown_name
from runtime.tensors import Array, Feed

if TYPE_CHECKING:
    from onnx.backend.test.case.test_case import TestCase

SUITES = ("node", "simple", "pytorch-operator", "pytorch-converted")
"""Kinds of onnx/backend/test. Of the others, `real` is addresses to fetch networks from, and `light` is
networks whose runner makes up the inputs."""

SEVERAL = "several operators"
"""What a case is a test of that has more than one."""

EXPANDED = ", expanded"
"""Behind an operator that a case has as the function of simpler operators that defines it."""

_EXPANDED_NAME = "_expanded"
_STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

_RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
"""Operators whose values no two runtimes share: the standard leaves the generator open."""


@dataclass(frozen=True)
class Case:
    """One test of the ONNX project.

    operator: what it is a test of, with its domain if that is not the first one.
    opset:    of the operator's domain, in the case's model.
    rtol, atol: as its runner compares: |outputs - expected| <= atol + rtol |expected|.
    source:   as onnx's loader gives it.
    """

    name: str
    suite: str
    operator: str
    opset: int
    rtol: float
    atol: float
    source: TestCase


@dataclass(frozen=True)
class Sample:
    """What goes in, and what must come out, in the order of the model's outputs."""

    feed: Feed
    expected: tuple[Array, ...]


@dataclass(frozen=True)
class Trial:
    """A case that a session can be given."""

    model: onnx.ModelProto
    samples: tuple[Sample, ...]


def load_cases(operators: Sequence[str] = (), names: Sequence[str] = ()) -> tuple[Case, ...]:
    """All cases, by operator, or those of operators that match one of the patterns, and of those names.

    Raises UsageError where a pattern or a name matches none.
    """
    cases = _all_cases()
    found = _called(_of_operators(cases, operators), names)
    return tuple(sorted(found, key=lambda case: (case.operator, case.opset, case.name)))


def _of_operators(cases: Sequence[Case], patterns: Sequence[str]) -> Iterator[Case]:
    known = {case.operator for case in cases}
    for pattern in patterns:
        if not any(_matches(operator, pattern) for operator in known):
            raise unknown_name("operator", pattern, known)
    return (case for case in cases if not patterns or any(_matches(case.operator, each) for each in patterns))


def _called(cases: Iterable[Case], names: Sequence[str]) -> list[Case]:
    left = list(cases)
    known = {case.name for case in left}
    for name in names:
        if name not in known:
            raise _unknown_case(name, known)
    return [case for case in left if not names or case.name in names]


def _unknown_case(name: str, known: Iterable[str]) -> UsageError:
    """As unknown_name, without all of a thousand names."""
    hint = str(unknown_name("case", name, known)).rpartition("valid: ")[0]
    return UsageError(f"{hint}--operators PATTERN --json lists those of an operator")


def _matches(operator: str, pattern: str) -> bool:
    return fnmatchcase(operator.removesuffix(EXPANDED).lower(), pattern.lower())


@cache
def _all_cases() -> tuple[Case, ...]:
    """Kept, as onnx keeps the node tests: making them takes seconds."""
    return tuple(_made_cases())


def _made_cases() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    for suite in SUITES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the node tests are made by NumPy code that overflows on purpose
            sources = load_model_tests(kind=suite)
        tested = {source.name: source.model.graph.node[0] for source in sources if source.model is not None}
        for source in sources:
            model = _model(source)
            operator, domain = _operator(source, model, tested)
            opset = next(each.version for each in model.opset_import if _same(each.domain, domain))
            yield Case(source.name, suite, operator, opset, source.rtol, source.atol, source)


def _model(source: TestCase) -> onnx.ModelProto:
    if source.model is not None:
        return source.model
    return onnx.load(str(Path(str(source.model_dir)) / "model.onnx"))


def _operator(source: TestCase, model: onnx.ModelProto, tested: dict[str, onnx.NodeProto]) -> tuple[str, str]:
    """What a case is a test of, and the domain that its opset is taken of."""
    whole, expanded, _ = source.name.rpartition(_EXPANDED_NAME)
    if expanded and whole in tested:
        return f"{_qualified(tested[whole])}{EXPANDED}", _first_domain(model)
    nodes = {(node.domain, node.op_type): node for node in model.graph.node if node.op_type != "Constant"}
    if len(nodes) == 1:
        (node,) = nodes.values()
        return _qualified(node), node.domain
    return SEVERAL, _first_domain(model)


def _first_domain(model: onnx.ModelProto) -> str:
    return min(str(each.domain) for each in model.opset_import)


def _qualified(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _same(domain: str, other: str) -> bool:
    return domain == other or {domain, other} <= {"", "ai.onnx"}


def read_trial(case: Case) -> Trial | str:
    """What a session is given; or why it cannot be given this case, in a few words."""
    model = _model(case.source)
    reason = _not_for_sessions(model)
    if reason is not None:
        return reason
    inputs = _fed(model)
    samples = []
    for given, expected in _data_sets(case.source):
        feed = dict(zip(inputs, map(_array, given), strict=False))
        if any(_drops(node, feed) for node in model.graph.node):
            return "its values are random"
        if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in feed.values()):
            return "its feed holds NaN or infinity, which a session refuses"
        samples.append(Sample(feed, tuple(map(_array, expected))))
    return Trial(model, tuple(samples))


def _not_for_sessions(model: onnx.ModelProto) -> str | None:
    """What the contract has no place for."""
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return f"an input or output of another kind than a tensor ({str(kind).removesuffix('_type')})"
    for node in model.graph.node:
        if node.domain not in _STANDARD_DOMAINS:
            return f"operator of the domain {node.domain}"
        if node.op_type in _RANDOM:
            return "its values are random"
    return None


def _drops(node: onnx.NodeProto, feed: Feed) -> bool:
    """Whether it is a Dropout in training, which the case says with an input, at a ratio that is not 0."""
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    ratio, training = (feed.get(name, np.float32(0.5)) for name in node.input[1:3])
    return bool(training) and bool(ratio)


def _fed(model: onnx.ModelProto) -> list[str]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in constants]


def _data_sets(source: TestCase) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    if source.data_sets is not None:
        yield from source.data_sets
        return
    for folder in sorted(Path(str(source.model_dir)).glob("test_data_set_*")):
        yield _tensors(folder, "input"), _tensors(folder, "output")


def _tensors(folder: Path, kind: str) -> list[onnx.TensorProto]:
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [onnx.load_tensor(str(folder / f"{kind}_{index}.pb")) for index in range(count)]


def _array(value: Array | onnx.TensorProto) -> Array:
    """As a feed has it: text as NumPy's own strings."""
    array = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return array.astype(np.str_) if array.dtype.kind == "O" else array
