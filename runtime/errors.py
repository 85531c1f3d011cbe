"""Everything the harness says no with.

    HarnessError                 base; only the command line catches it, and shows its one line
    |- UsageError                a value the user gave is wrong: unknown name, bad flag, unreadable file
    |- GraphError                a model file is broken, hostile or cannot be expressed
    |- FeedError                 an input does not fit the graph, or holds NaN or infinity
    |- UnavailableError          a backend, device, package or archive is not on this machine
    |- UnsupportedError          the backend is here, but cannot run this graph
    |- CrashedError              the process a backend ran in came to its end: a crash, or all memory taken
    |- TimedOutError             a backend gave no answer in time
    |- ExportError               a source model could not be turned into ONNX
    |- CalibrationError          ranges could not be found for a graph
    |- StoreError                the store cannot be read or written: full, read-only, locked
    `- CheckFailed               everything worked and the answer is no: a gate, parity, attestation

A message says what was received, what was expected, where, and what to do next, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Base of every expected failure; `exit_code` is what the command line ends with."""

    exit_code = 2


class UsageError(HarnessError):
    """A value that came from the user is wrong."""


class GraphError(HarnessError):
    """A model file is broken, hostile, or says something ONNX cannot."""


class FeedError(HarnessError):
    """An input does not fit the graph it is meant for."""


class UnavailableError(HarnessError):
    """Something this machine would need is not here."""


class UnsupportedError(HarnessError):
    """The backend is here but cannot run this graph."""


class CrashedError(HarnessError):
    """The process that a backend ran in came to its end, or had to."""


class TimedOutError(HarnessError):
    """A backend gave no answer in time."""


class ExportError(HarnessError):
    """A source model could not be turned into ONNX."""


class CalibrationError(HarnessError):
    """Ranges could not be found for a graph."""


class StoreError(HarnessError):
    """A file of the store, or one asked for by the user, cannot be read or written."""


class CheckFailed(HarnessError):  # noqa: N818 - a verdict, not a malfunction
    """Everything ran, and the answer is no."""

    exit_code = 1


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """The error for a name that is not in a table: offers the nearest ones, then all of them."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}valid: {', '.join(names)}")
