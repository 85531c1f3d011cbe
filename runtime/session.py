"""What every session of ours does alike: check the feed, place it, run once, attest, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from runtime.backend import Boundary, Executed, Query
from runtime.errors import UsageError
from runtime.tensors import Array, Feed, TensorSpec, check_feed, open_dimensions


def _is_open(size: int | str) -> bool:
    return isinstance(size, str)


class CheckedSession(ABC):
    """The base checks, the backend's own session is the formula.

    A subclass places a checked feed (`_place`), and tells what a query executed (`_attest`).
    """

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._executed: Executed | None = None

    def bind(self, feed: Feed, boundary: Boundary) -> Query:
        check_feed(feed, self.inputs)
        query = self._place(feed, boundary)
        self._first_run(query, feed)
        return query

    def run(self, feed: Feed) -> dict[str, Array]:
        check_feed(feed, self.inputs)
        query = self._place(feed, Boundary.HOST)
        self._first_run(query, feed)
        return query.outputs()

    def executed(self) -> Executed:
        if self._executed is None:
            raise UsageError("what executed is known only after a query has run; call bind or run first")
        return self._executed

    def _first_run(self, query: Query, feed: Feed) -> None:
        """The run that makes buffers exist, and after which a runtime can tell what it did."""
        self._run_unproven(query)
        if self._executed is None:
            self._executed = self._attest(feed, self._sizes(query, feed))

    def _sizes(self, query: Query, feed: Feed) -> dict[str, int]:
        """What the query gives to the open dimensions of inputs, and to those that only outputs have."""
        given = open_dimensions(self.inputs, feed)
        fed = {size for spec in self.inputs for size in spec.shape}
        decided = [spec for spec in self.outputs if set(filter(_is_open, spec.shape)) - fed]
        return {**open_dimensions(decided, query.outputs() if decided else {}), **given}

    def _run_unproven(self, query: Query) -> None:
        """Run a query that may fail on its feed; override to say so as a FeedError."""
        query.run()

    @abstractmethod
    def _place(self, feed: Feed, boundary: Boundary) -> Query: ...

    @abstractmethod
    def _attest(self, feed: Feed, sizes: Mapping[str, int]) -> Executed:
        """What the query just run on `feed` executed; `sizes` of its open dimensions, by name."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
