"""The sizes a TensorRT engine is built for: least, best and most of each open dimension, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.errors import FeedError, UsageError
from runtime.tensors import TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SizeRange:
    """Sizes of one open dimension: an engine takes `least` to `most`, and is fastest at `best`."""

    least: int
    best: int
    most: int

    @classmethod
    def up_to(cls, size: int) -> SizeRange:
        return cls(min(1, size), size, size)

    @classmethod
    def from_text(cls, option: str, text: str) -> SizeRange:
        """Of "8" or "1:8:32"; raises UsageError, which names the `option`."""
        parts = text.split(":")
        sizes = [int(part) for part in parts if part.isdecimal()]
        if len(parts) not in (1, 3) or len(sizes) != len(parts) or sizes != sorted(sizes) or not sizes[0]:
            raise UsageError(
                f"{option}={text}: expected a size, or least:best:most in that order, from 1 up; for example"
                f" {option}=1:8:32"
            )
        return cls(*sizes * (3 if len(sizes) == 1 else 1))

    def __str__(self) -> str:
        return f"{self.least}:{self.best}:{self.most}"


@dataclass(frozen=True)
class InputShapes:
    """What an engine takes of one input."""

    name: str
    least: Shape
    best: Shape
    most: Shape


Profile = tuple[InputShapes, ...]
"""One optimisation profile: each input with open dimensions."""


def make_profile(
    specs: Sequence[TensorSpec], sizes: Mapping[str, int], ranges: Mapping[str, SizeRange]
) -> Profile:
    """Where `ranges` has nothing for a dimension, up to its size in `sizes`, or 1, and fastest there.

    NOTE: not that size alone, though an engine is not used for others: with shapes that are all known,
    TensorRT-RTX 1.7 builds no loop over a sentence in 16 bits ("Mismatched number of elements in reshape").
    """
    chosen = {**{name: SizeRange.up_to(size) for name, size in sizes.items()}, **ranges}
    return tuple(
        InputShapes(
            spec.name,
            _shape(spec, {name: each.least for name, each in chosen.items()}),
            _shape(spec, {name: each.best for name, each in chosen.items()}),
            _shape(spec, {name: each.most for name, each in chosen.items()}),
        )
        for spec in specs
        if any(isinstance(size, str) for size in spec.shape)
    )


def check_sizes(sizes: Mapping[str, int], ranges: Mapping[str, SizeRange]) -> None:
    """Raises FeedError for a size that its range leaves out."""
    for name, size in sizes.items():
        allowed = ranges.get(name)
        if allowed is not None and not allowed.least <= size <= allowed.most:
            raise FeedError(
                f"the feed has {name} {size}, the engine takes {allowed.least} to {allowed.most} as"
                f" profile.{name} says: widen that, or leave it out"
            )


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> Shape:
    return tuple(size if isinstance(size, int) else sizes.get(size, 1) for size in spec.shape)
