"""Names that are made once."""

from __future__ import annotations


def unique(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with a free number after it where it is taken; the answer is taken from now on."""
    name = f"{wanted}_{_free_number(wanted, taken)}" if wanted in taken else wanted
    taken.add(name)
    return name


def _free_number(wanted: str, taken: set[str]) -> int:
    """The first free one from 2 on, where those before it have no gaps; few of them are looked at."""
    low, free = 1, 2
    while f"{wanted}_{free}" in taken:
        low, free = free, 2 * free
    while free - low > 1:
        middle = (low + free) // 2
        if f"{wanted}_{middle}" in taken:
            low = middle
        else:
            free = middle
    return free
