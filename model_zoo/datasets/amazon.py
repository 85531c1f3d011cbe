"""Amazon product reviews, 5-core: what each user reviewed, as DIN and DIEN read it (MODELS.md 14).

Of every user the last product is to be told from one at random, given all before it. Users, products and
categories are numbered in the order of their names, as in DIN's own preparation.
"""

from __future__ import annotations

import ast
import gzip
import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from model_zoo.datasets.contract import DataSet, Part, Sample, Tell, first_of
from model_zoo.samples import uniforms
from runtime.errors import StoreError, UsageError

_REVIEWS = ("reviews_*_5.json", "reviews_*_5.json.gz")
_PRODUCTS = ("meta_*.json", "meta_*.json.gz")
_NO_CATEGORY = -1

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """A user before two products.

    items, categories: of what was reviewed before, in the order of time.
    candidates, candidate_categories: the product reviewed next, and one that this user never reviewed.
    """

    user: int
    items: Numbers
    categories: Numbers
    candidates: Numbers
    candidate_categories: Numbers


@dataclass(frozen=True)
class _Reviews:
    """One entry a review, in the order of the file; names in the order of their numbers."""

    users: Numbers
    items: Numbers
    times: Numbers
    user_names: tuple[str, ...]
    item_names: tuple[str, ...]


def _samples(root: Path, tell: Tell) -> Iterator[Sample]:
    """truth: which of the two candidates was reviewed, [2]; which of them stands first is left to lots."""
    reviews = _read_reviews(_there(root, _REVIEWS), tell)
    categories = _read_categories(_there(root, _PRODUCTS), reviews.item_names, tell)
    order = np.lexsort((reviews.times, reviews.users))
    items = reviews.items[order]
    ends = np.cumsum(np.bincount(reviews.users, minlength=len(reviews.user_names)))
    for user, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end - start < 2:
            tell("a user has one review only", reviews.user_names[user])
            continue
        choice = _choice(user, items[start:end], categories)
        if choice is None:
            tell("a user has reviewed every product", reviews.user_names[user])
        else:
            yield Sample(choice, choice.candidates == items[end - 1], reviews.user_names[user])


def _choice(user: int, items: Numbers, categories: Numbers) -> Choice | None:
    """Of a user's products in the order of time; None where no other is left."""
    others = len(categories) - len(np.unique(items))
    if not others:
        return None
    place = int(uniforms(1, "never reviewed", user)[0] * others)
    # the place-th product that is not in the history, without making the list of those that are not
    for taken in np.unique(items):
        place += int(taken <= place)
    first = uniforms(1, "first of two", user)[0] < 0.5
    candidates = np.array([items[-1], place] if first else [place, items[-1]], np.int64)
    return Choice(user, items[:-1], categories[items[:-1]], candidates, categories[candidates])


def _read_reviews(path: Path, tell: Tell) -> _Reviews:
    users, items, times = array("q"), array("q"), array("q")
    user_numbers: dict[str, int] = {}
    item_numbers: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            review = json.loads(line)
            user, item, time = str(review["reviewerID"]), str(review["asin"]), int(review["unixReviewTime"])
        except (ValueError, KeyError, TypeError):
            tell("a line is no review", f"{path.name}, line {number}")
            continue
        users.append(user_numbers.setdefault(user, len(user_numbers)))
        items.append(item_numbers.setdefault(item, len(item_numbers)))
        times.append(time)
    user_names, by_user = _by_name(user_numbers)
    item_names, by_item = _by_name(item_numbers)
    return _Reviews(
        by_user[np.array(users, np.int64)],
        by_item[np.array(items, np.int64)],
        np.array(times, np.int64),
        user_names,
        item_names,
    )


def _by_name(numbers: Mapping[str, int]) -> tuple[tuple[str, ...], Numbers]:
    """Names in their order, and for each number the place of its name in it."""
    names = tuple(sorted(numbers))
    places = np.empty(len(names), np.int64)
    places[[numbers[name] for name in names]] = np.arange(len(names))
    return names, places


def _read_categories(path: Path, items: tuple[str, ...], tell: Tell) -> Numbers:
    """Of each product the last and narrowest of its last categories; lines are Python's, or JSON."""
    wanted = {item: place for place, item in enumerate(items)}
    names: dict[int, str] = {}
    for number, line in _lines(path):
        try:
            product = ast.literal_eval(line)
            place = wanted.get(str(product["asin"]))
            if place is not None:
                names[place] = str(product["categories"][-1][-1])
        except (ValueError, SyntaxError, KeyError, TypeError, IndexError):
            tell("a line is no product with categories", f"{path.name}, line {number}")
    for place in sorted(set(range(len(items))) - names.keys()):
        tell("a product has no category", items[place])
    known = {name: number for number, name in enumerate(sorted(set(names.values())))}
    return np.array([known.get(names.get(place, ""), _NO_CATEGORY) for place in range(len(items))], np.int64)


def _there(root: Path, patterns: tuple[str, ...]) -> Path:
    path = first_of(root, *patterns)
    if path is None:
        raise UsageError(f"{root} holds none of {', '.join(patterns)}")
    return path


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers."""
    try:
        with _opened(path) as stream:
            yield from ((number, line) for number, line in enumerate(stream, 1) if line.strip())
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read {path} to its end: {error}; fetch it again") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


AMAZON = DataSet(
    name="amazon",
    title="Amazon product reviews, 5-core",
    folders=("", "amazon", "raw_data"),
    parts=(
        Part(_REVIEWS, "a review a line, such as reviews_Electronics_5.json"),
        Part(_PRODUCTS, "a product a line, such as meta_Electronics.json"),
    ),
    published={"Electronics": 192_403, "Books": 603_668},
    unit="users",
    metrics=("gauc", "auc"),
    terms="J. McAuley, UCSD; for research",
    samples=_samples,
    digest=lambda choice: f"{choice.user}",
    amounts=lambda sample: {"reviews": len(sample.raw.items) + 1},
)
