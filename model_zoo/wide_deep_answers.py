"""What Wide & Deep says of people, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from model_zoo.census import NUMBERS, People, adult, read_people
from model_zoo.probability import PROBABILITY
from model_zoo.spec import Ask, Split, Told
from runtime.tensors import Array

ABOVE = 1
"""The column of the probability of more than 50,000 dollars."""


def tell(columns: Callable[[People], dict[str, Array]], data: Path | None, ask: Ask) -> Iterator[Told]:
    """Everybody in a file of UCI's form, or in the held-out part of Adult.

    columns: from people to the inputs of the network. Raises UsageError for a file that is none,
    UnavailableError where there is no archive.
    """
    people = adult().of(Split.EVALUATION) if data is None else read_people(data)
    for row in range(len(people)):
        one = people[np.array([row])]
        outputs = ask(columns(one))
        PROBABILITY.answers(outputs)  # raises for outputs that are no probabilities
        (probabilities,) = outputs.values()
        share = float(probabilities[0, ABOVE])
        yield Told(
            described(one),
            f"{'more' if share > 0.5 else 'not more'} than 50,000 dollars a year ({share:.1%} for more)",
            (f"had {'more' if one.rich[0] else 'not more'}",),
        )


def described(one: People) -> str:
    age = int(one.numbers[0, NUMBERS.index("age")])
    words = ", ".join(str(column[0]) or "unknown" for column in one.words.values())
    return f"{age} years, {words}"
