"""What the exams of several models share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from model_zoo.metrics import get_measure
from runtime.errors import GraphError, UnavailableError
from runtime.tensors import Array, Feed

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """As many at a time, fewer at the end."""
    source = iter(items)
    while part := list(islice(source, size)):
        yield part


def slices(rows: int, size: int) -> Iterator[slice]:
    """As many rows at a time, fewer at the end."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def column_of(feed: Feed, outputs: Mapping[str, Array], column: int = 0, output: str = "") -> Array:
    """[samples]: one value of each sample, of the output named or the only one, [samples, values].

    Raises GraphError for outputs of another kind. NaN is left to the metrics, which count it.
    """
    samples = len(next(iter(feed.values())))
    name = output or next(iter(outputs), "")
    values = outputs.get(name) if output or len(outputs) == 1 else None
    if values is None or values.size % samples or values.size // samples <= column:
        found = {key: list(array.shape) for key, array in outputs.items()}
        raise GraphError(
            f"{samples} samples want {output or 'one output'} with value {column} of each, the graph gives"
            f" {found}"
        )
    found_values: Array = values.reshape(samples, -1)[:, column]
    return found_values


def judged(metrics: Sequence[str], truths: Iterable[Any], answers: Iterable[Any]) -> Mapping[str, float]:
    """The value of each metric, by its title, on answers that are all there."""
    pairs = list(zip(truths, answers, strict=True))
    found = {}
    for measure in map(get_measure, metrics):
        metric = measure.make()
        for truth, answer in pairs:
            metric.add(truth, answer)
        found[measure.title] = metric.value()
    return found


def refuse_folder(folder: Path | None, what: str) -> None:
    """Raises UnavailableError where a data set is given to an exam that has none to read."""
    if folder is not None:
        raise UnavailableError(f"{folder}: {what} are what the harness fetches itself; leave --data out")


def wanted_folder(folder: Path | None, title: str) -> Path:
    """The data set's folder; raises UnavailableError where none is given."""
    if folder is None:
        raise UnavailableError(f"{title} cannot be fetched: give the folder it was unpacked in with --data")
    return folder
