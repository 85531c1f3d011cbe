"""How a network is made INT8, in one line: `min-max+smooth:0.5+feedback`.

First how ranges are found, as calibration.observers reads it, then the passes over the float graph and its
weights. Each is independent of the others, and on where it was measured to help:

    centre          gives what a ReLU makes all steps of INT8 (calibration.centring)
    equalise:0.25   evens out channels where the network takes the factors in (calibration.equalisation)
    smooth:0.5      does so in front of products where nothing before takes them in (the same)
    shift           centres channels there that are not symmetric (the same)
    feedback        rounds weights for the layer's answers (calibration.rounding)
    correct         takes off biases what rounding adds to a layer's answers on average (calibration.bias)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from calibration.observers import full_name
from runtime.errors import UsageError, unknown_name

_STRENGTHS: Mapping[str, float | None] = {
    "centre": None,
    "equalise": 0.25,
    "smooth": 0.5,
    "shift": None,
    "feedback": None,
    "correct": None,
}
"""Name of a pass to its strength unless one is given; None for those that have none."""


@dataclass(frozen=True)
class Recipe:
    """method: as calibration.observers reads it; equalise, smooth: strengths of 0 to 1, None for off."""

    method: str
    equalise: float | None = None
    smooth: float | None = None
    centre: bool = False
    shift: bool = False
    feedback: bool = False
    correct: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes; raises UsageError."""
        method, *passes = text.split("+")
        found: dict[str, float | bool] = {}
        for name, strength in (_pass(text, each) for each in passes):
            if name in found:
                raise UsageError(f"calibration method {text!r} has {name} twice; give it once")
            found[name] = True if strength is None else strength
        return cls(full_name(method), **found)  # type: ignore[arg-type] # the table's names are the fields'

    @property
    def changes_graph(self) -> bool:
        """Whether INT8 is made of a rescaled float graph."""
        return self.equalise is not None or self.smooth is not None or self.centre or self.shift

    def __str__(self) -> str:
        parts = [self.method]
        parts += [f"{name}:{getattr(self, name):g}" for name in ("equalise", "smooth") if getattr(self, name)]
        parts += [name for name in ("centre", "shift", "feedback", "correct") if getattr(self, name)]
        return "+".join(parts)


def _pass(text: str, each: str) -> tuple[str, float | None]:
    name, _, given = each.partition(":")
    if name not in _STRENGTHS:
        raise unknown_name(f"pass of the calibration method {text!r}", name, _STRENGTHS)
    usual = _STRENGTHS[name]
    if usual is None:
        if given:
            raise UsageError(f"calibration method {text!r}: {name} takes no strength; write {name}")
        return name, None
    try:
        strength = float(given) if given else usual
    except ValueError:
        strength = -1.0
    if not 0 < strength <= 1:
        raise UsageError(
            f"calibration method {text!r}: {name} takes a strength above 0, at most 1, got {given!r};"
            f" write {name}:{usual}"
        )
    return name, strength
