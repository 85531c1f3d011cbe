"""What every session of ours does alike: check the feed, place it, run once, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from runtime.backend import Boundary, Executed, Query
from runtime.tensors import Array, Feed, TensorSpec, check_feed


class CheckedSession(ABC):
    """The base checks, the backend's own session is the formula.

    A subclass places a checked feed (`_place`), and tells what executed once a query has run.
    """

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs = inputs
        self.outputs = outputs

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

    def _first_run(self, query: Query, feed: Feed) -> None:
        """The run that makes buffers exist; a runtime that can tell what it does is asked here."""
        query.run()

    @abstractmethod
    def _place(self, feed: Feed, boundary: Boundary) -> Query: ...

    @abstractmethod
    def executed(self) -> Executed: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
