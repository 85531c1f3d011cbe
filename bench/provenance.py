"""What something was made from, as facts by name, and what makes two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_DIGEST = 64
"""Characters of a SHA-256, which says nothing to a reader."""

_TOOL = "tool "
"""What the names of facts that are versions begin with."""

Facts = Mapping[str, str]


def nearest(facts: Facts, others: Iterable[Facts]) -> Facts | None:
    """The one of `others` that the fewest facts tell from `facts`, the last of equals; None without any."""
    chosen = None
    for other in others:
        if chosen is None or len(changed(other, facts)) <= len(changed(chosen, facts)):
            chosen = other
    return chosen


def changed(old: Facts, new: Facts) -> list[str]:
    """Names of the facts that are not the same in both, in the order of the new ones."""
    return [name for name in dict.fromkeys([*new, *old]) if old.get(name) != new.get(name)]


def changes(old: Facts, new: Facts) -> str:
    """What changed, such as "feeds changed, onnxruntime 1.31.0 -> 1.32.0"."""
    return ", ".join(_change(name, old.get(name), new.get(name)) for name in changed(old, new))


def _change(name: str, old: str | None, new: str | None) -> str:
    shown = name.removeprefix(_TOOL)
    if max(len(old or ""), len(new or "")) >= _DIGEST:
        return f"{shown} changed"
    return f"{shown} {old or 'none'} -> {new or 'none'}"
