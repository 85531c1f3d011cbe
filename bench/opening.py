"""What works here and fits, and the way to a session: of this process, or of one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.isolated import opened_apart
from bench.opened import Ready, open_here
from bench.store import StoredGraph
from runtime.backend import HOST, Backend, ChecksOptions, Device, SessionOptions
from runtime.backends import get_backend
from runtime.errors import UnavailableError, unknown_name
from runtime.memory import MemoryEstimate, check_memory


def usable_backend(
    name: str, devices: Iterable[str], options: SessionOptions | None = None
) -> tuple[Backend, dict[str, Device]]:
    """The backend, and its devices by name, if it works here, has those and takes the options for them.

    Found out before a long build. Raises UnavailableError, and UsageError for an unknown backend, device or
    option.
    """
    backend = get_backend(name)
    reason = backend.unavailable()
    if reason is not None:
        raise UnavailableError(f"backend {name!r} is not available here: {reason}")
    found = {device.name: device for device in backend.devices()}
    for device in devices:
        if device not in found:
            raise unknown_name(f"device of {name}", device, found)
        if options is not None and isinstance(backend, ChecksOptions):
            backend.check_options(device, options)
    return backend, found


def check_fits(graphs: Iterable[StoredGraph], device: str, batch_size: int, what: str) -> None:
    """Raises UnsupportedError where the graphs do not fit into the machine's memory together."""
    known = [graph.entry.memory for graph in graphs if graph.entry.memory is not None]
    if device == HOST and known:
        needs = [MemoryEstimate(facts.fixed, facts.per_sample) for facts in known]
        check_memory(sum(needs[1:], needs[0]), batch_size, what)


@contextmanager
def opened(
    backend: Backend,
    graph: Path,
    device: str,
    options: SessionOptions,
    limit_seconds: float | None,
    listen: Callable[[str], None] | None = None,
) -> Iterator[Ready]:
    """`graph` in a session; raises what Backend.open raises.

    limit_seconds: of each step of a process of its own, where a crash ends nothing else; None: in this one.
    listen: is told how far a long build in that process is.
    """
    if limit_seconds is not None:
        with opened_apart(backend, graph, device, options, limit_seconds, listen) as apart:
            yield apart
        return
    session = open_here(backend, graph, device, options)
    try:
        yield session
    finally:
        session.close()
