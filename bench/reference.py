"""FP32 outputs on the evaluation samples, computed once and spooled to disk for every precision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bench.agreement import AgreementMeter
from bench.artefacts import Artefacts
from bench.feeds import available
from bench.opening import opened
from bench.plan import BenchPlan
from bench.progress import Display
from bench.record import AccuracyRecord
from model_zoo.spec import Split
from runtime.backend import HOST, Backend, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnsupportedError
from runtime.tensors import Array, Feed

_REFERENCE = "ort"

Run = Callable[[Feed], dict[str, Array]]
"""A query from host to host, wherever the session lives."""


@dataclass(frozen=True)
class Place:
    """A backend and one of its devices."""

    backend: Backend
    device: str

    def __str__(self) -> str:
        return f"{self.backend.name}, {self.device}"


def reference_place(backend: Backend, device: str) -> Place:
    """Where the answers come from that all others are compared with: one runtime for all backends.

    Where it is not installed, a backend is its own reference.
    """
    ours = get_backend(_REFERENCE)
    return Place(ours, HOST) if ours.unavailable() is None else Place(backend, device)


class Reference:
    """What the FP32 graph answers; a context manager, since its spool is temporary."""

    def __init__(self, backend: Backend, artefacts: Artefacts, plan: BenchPlan, display: Display) -> None:
        self._backend = backend
        self._artefacts = artefacts
        self._plan = plan
        self._display = display
        self._spool = tempfile.TemporaryDirectory(prefix="aimatrix-reference-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.cleanup()

    def judge(self, run: Run, device: str, batch_size: int) -> AccuracyRecord:
        """Put the evaluation samples to `run` and compare with FP32."""
        place, folder = self._outputs(device, batch_size)
        meter = AgreementMeter(self._artefacts.subject.task, f"fp32 graph on {place}")
        feeds = self._display(self._feeds(batch_size), "comparing with fp32", self._count(batch_size))
        for index, feed in enumerate(feeds):
            meter.add(_load(folder / f"{index}.npz"), run(feed), batch_size)
        return meter.result(self._artefacts.feeds)

    def _outputs(self, device: str, batch_size: int) -> tuple[Place, Path]:
        """Where the reference ran, and the folder of its outputs."""
        place = reference_place(self._backend, device)
        try:
            return place, self._spooled(place, batch_size)
        except UnsupportedError:  # as of a user's graph in BF16, which ONNX Runtime's CPU provider cannot run
            if place.backend.name == self._backend.name:
                raise
        place = Place(self._backend, device)
        return place, self._spooled(place, batch_size)

    def _spooled(self, place: Place, batch_size: int) -> Path:
        folder = (
            Path(self._spool.name) / f"{place.backend.name}-{place.device.replace(':', '-')}-{batch_size}"
        )
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            partial.mkdir(exist_ok=True)
            self._compute(partial, place, batch_size)
            partial.rename(folder)
        return folder

    def _compute(self, folder: Path, place: Place, batch_size: int) -> None:
        options = self._plan.session
        if place.backend.name == _REFERENCE:  # the reference itself, whatever is measured
            options = SessionOptions(threads=options.threads)
        feeds = self._display(self._feeds(batch_size), "running fp32 for reference", self._count(batch_size))
        path, limit = self._artefacts.base.path, self._plan.limit_seconds
        with opened(place.backend, path, place.device, options, limit) as session:
            for index, feed in enumerate(feeds):
                arrays = session.run(feed)
                np.savez(folder / f"{index}.npz", allow_pickle=False, **_numbered(arrays))
                (folder / f"{index}.names").write_text("\n".join(arrays), encoding="utf-8")

    def _feeds(self, batch_size: int) -> Iterator[Feed]:
        return islice(self._artefacts.feeds.batches(batch_size, Split.EVALUATION), self._count(batch_size))

    def _count(self, batch_size: int) -> int:
        wanted = available(self._artefacts.feeds, Split.EVALUATION, self._plan.evaluation_samples)
        return -(-wanted // batch_size)


def _numbered(arrays: dict[str, Array]) -> dict[str, Array]:
    # Names of tensors may hold what names of files may not.
    return {f"output_{index}": array for index, array in enumerate(arrays.values())}


def _load(path: Path) -> dict[str, Array]:
    names = path.with_suffix(".names").read_text(encoding="utf-8").split("\n")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[f"output_{index}"] for index, name in enumerate(names)}
