"""What a reference model would not take, said in a line: of feeds that are the user's own."""

from __future__ import annotations

import numpy as np

from runtime.errors import FeedError
from runtime.tensors import Array


def check_numbers(name: str, numbers: Array, count: int, what: str = "number", least: int = 0) -> None:
    """Raises FeedError, naming the place, for a number of an input that is not within `least` to `count` - 1.

    what: what the numbers stand for ("item"): runtimes differ in what they read where there is none.
    """
    bad = np.argwhere((numbers < least) | (numbers >= count))
    if bad.size:
        place = tuple(bad[0].tolist())
        raise FeedError(
            f"input {name!r} at {list(place)}: {what} {numbers[place]} is not within {least} to {count - 1};"
            f" mend {'it' if len(bad) == 1 else f'this and {len(bad) - 1} others'}"
        )
