"""Names that are made once."""

from __future__ import annotations


def unique(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with the first free number after it where it is taken; the answer is taken from now on."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name
