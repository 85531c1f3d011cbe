"""Runs a backend on one graph after the other in a process of its own; after a crash the next one goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.backend import Backend, Executed, SessionOptions
from runtime.errors import CrashedError, TimedOutError
from runtime.isolation import Worker
from runtime.tensors import Array, Feed

_WHOLE = 1e-6
"""How far shares may be from adding up to 1: rounding of sums."""


@dataclass(frozen=True)
class Job:
    """A graph and its feeds for a session of `backend`."""

    backend: Backend
    graph: Path
    device: str
    feeds: tuple[Feed, ...]
    options: SessionOptions


@dataclass(frozen=True)
class Answer:
    """What a session made of the feeds, and what it says that it executed."""

    outputs: tuple[dict[str, Array], ...]
    executed: Executed


def answer(job: Job) -> Answer:
    """Open, run from host to host, ask what executed, close; raises what a backend raises."""
    with job.backend.open(job.graph, job.device, job.options) as session:
        outputs = tuple(dict(session.run(feed)) for feed in job.feeds)
        return Answer(outputs, session.executed())


class Runs:
    """Answers of a worker, which is started anew after it crashed or hung; a context manager.

    limit_seconds: for one job.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._worker: Worker | None = None

    def answer(self, doing: str, job: Job) -> Answer:
        """Raises what a backend raises, CrashedError and TimedOutError."""
        if self._worker is None:
            self._worker = Worker(self._limit_seconds)
        try:
            return self._worker.call(doing, answer, job)
        except (CrashedError, TimedOutError):
            self.close()
            raise

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def misattested(executed: Executed) -> str | None:
    """What no attestation can say, in a few words; None where it may be true."""
    shares = executed.macs_by_type
    outside = [share for share in (executed.on_device_macs, *shares.values()) if not 0 <= share <= 1 + _WHOLE]
    if outside:
        return f"it attests a share of {outside[0]:g}, shares are 0 to 1"
    if shares and abs(sum(shares.values()) - 1) > _WHOLE:
        return f"the shares it attests add up to {sum(shares.values()):g}, not to 1"
    return None
