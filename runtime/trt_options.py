"""The provider options of the TensorRT backends: names and values as text, checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.backend import SessionOptions
from runtime.cuda_apis import CUDA_APIS
from runtime.errors import UsageError, unknown_name
from runtime.tensors import TensorSpec
from runtime.trt_profile import SizeRange

_PROFILE = "profile."
_OF_OTHERS = {"threads": None, "optimize": True, "provider": "", "provider_library": None, "spinning": True}
"""Fields of SessionOptions that mean nothing here, and what they are if nobody sets them."""
_MOST_OPTIMISATION = 5


@dataclass(frozen=True)
class BuildSettings:
    """What else than graph and sizes decides what is built.

    tf32: whether a float32 product may round its factors to TF32.
    builder_optimization_level: 0 to 5, how long kernels are searched; None is the library's default, 3.
    workspace_bytes: device memory that a kernel may use for itself; None is all there is.
    """

    tf32: bool = False
    builder_optimization_level: int | None = None
    workspace_bytes: int | None = None


DEFAULTS = BuildSettings()


@dataclass(frozen=True)
class TensorRTOptions:
    """What SessionOptions says to a TensorRT backend.

    cuda_graph: launch each query as one CUDA graph.
    cuda_api:   a name of runtime.cuda_apis.CUDA_APIS; None is the first that is here.
    ranges:     of open dimensions, by name: those an engine is built for, instead of one size each.
    """

    build: BuildSettings = DEFAULTS
    cuda_graph: bool = False
    cuda_api: str | None = None
    ranges: Mapping[str, SizeRange] = field(default_factory=dict)

    def told(self) -> dict[str, str]:
        """All that is decided, by the options' own names, as an attestation has it."""
        level, workspace = self.build.builder_optimization_level, self.build.workspace_bytes
        return {
            "tf32": str(int(self.build.tf32)),
            "builder_optimization_level": "the library's" if level is None else str(level),
            "workspace_bytes": "all" if workspace is None else str(workspace),
            "cuda_graph": str(int(self.cuda_graph)),
            **({"cuda_api": self.cuda_api} if self.cuda_api else {}),
            **{f"{_PROFILE}{name}": str(sizes) for name, sizes in self.ranges.items()},
        }


def parse_options(options: SessionOptions, backend: str) -> TensorRTOptions:
    """Raises UsageError, for an unknown name with the nearest."""
    foreign = [name for name, default in _OF_OTHERS.items() if getattr(options, name) != default]
    if foreign:
        raise UsageError(f"backend {backend} has no {', '.join(foreign)} to choose: leave that out")
    given = options.provider_options
    ranges = {
        name.removeprefix(_PROFILE): SizeRange.from_text(name, text)
        for name, text in given.items()
        if name.startswith(_PROFILE)
    }
    values = {name: _value(name, text, backend) for name, text in given.items() if name not in _named(ranges)}
    if values.get("cuda_graph") and values.get("cuda_api") == "pycuda":
        raise UsageError("cuda_graph=1 needs CUDA graphs, which pycuda has not: take cuda_api=cuda-bindings")
    build = {name: values.pop(name) for name in BuildSettings.__dataclass_fields__ if name in values}
    return TensorRTOptions(build=BuildSettings(**build), ranges=ranges, **values)


def check_dimensions(ranges: Mapping[str, SizeRange], specs: Sequence[TensorSpec]) -> None:
    """Raises UsageError where `ranges` names a dimension that the graph's inputs do not leave open."""
    dimensions = {size for spec in specs for size in spec.shape if isinstance(size, str)}
    for name in ranges:
        if not dimensions:
            raise UsageError(f"{_PROFILE}{name}: the graph leaves no dimension open; leave that option out")
        if name not in dimensions:
            raise unknown_name("open dimension of the graph in option profile.NAME", name, dimensions)


def _named(ranges: Mapping[str, SizeRange]) -> set[str]:
    return {f"{_PROFILE}{name}" for name in ranges}


def _value(name: str, text: str, backend: str) -> Any:
    if name not in _VALUES:
        raise unknown_name(f"option of backend {backend}", name, (*_VALUES, f"{_PROFILE}NAME"))
    return _VALUES[name](name, text)


def _flag(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise UsageError(f"{name}={text}: expected 0 or 1")
    return text == "1"


def _level(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) > _MOST_OPTIMISATION:
        raise UsageError(f"{name}={text}: expected a whole number from 0 to {_MOST_OPTIMISATION}")
    return int(text)


def _bytes(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{name}={text}: expected a whole number of bytes, such as {2**30} for one gibibyte")
    return int(text)


def _cuda_api(_name: str, text: str) -> str:
    if text not in CUDA_APIS:
        raise unknown_name("cuda_api", text, CUDA_APIS)
    return text


_VALUES: Mapping[str, Callable[[str, str], Any]] = {
    "tf32": _flag,
    "builder_optimization_level": _level,
    "workspace_bytes": _bytes,
    "cuda_graph": _flag,
    "cuda_api": _cuda_api,
}
