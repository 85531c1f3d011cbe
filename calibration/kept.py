"""What a conversion leaves in float32, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """A node that could have been converted and was not.

    tensor, minimum, maximum: what decided, or else its result, and the least and the greatest value seen in
    it, 0 counted in; None where nothing was observed.
    """

    node: str
    reason: str
    tensor: str | None = None
    minimum: float | None = None
    maximum: float | None = None
