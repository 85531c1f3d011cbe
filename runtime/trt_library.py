"""TensorRT and TensorRT-RTX as one: which are here, and what differs between them and their versions.

Versions 10.13 and later, 11 and RTX 1.7 share every name that our modules use; a test holds each name
against the real bindings (tests/runtime/test_trt_bindings.py).
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime import cuda
from runtime.errors import UnavailableError

TENSORRT, RTX = "tensorrt", "tensorrt_rtx"

FLAVOURS: Mapping[str, str] = {TENSORRT: ".[trt]", RTX: ".[trt-rtx]"}
"""Python package to the extra that brings it."""

_ALWAYS_STRONGLY_TYPED_FROM = 11
_LINE = 300
_KEPT = 100
"""Messages: a session may run for days."""


def missing(flavour: str) -> str | None:
    """One line that says what this machine lacks to build a plan, or None.

    TensorRT is asked last: without a driver its builder cannot be made and its runtime crashes the
    process. TensorRT-RTX builds without either.
    """
    return (cuda.missing() if flavour == TENSORRT else None) or _not_importable(flavour)


@dataclass(frozen=True)
class Library:
    """One of the packages, imported, with a logger that keeps what it says; see `library`.

    module: the Python package.     logger: see make_logger.
    """

    module: Any
    logger: Any

    @property
    def title(self) -> str:
        """Name and version ("tensorrt 11.4.0")."""
        return f"{self.module.__name__} {self.module.__version__}"

    @property
    def is_rtx(self) -> bool:
        return bool(self.module.__name__ == RTX)

    @property
    def network_flags(self) -> int:
        """That make a network strongly typed; 11 and RTX know no others."""
        major = int(self.module.__version__.split(".")[0])
        if self.is_rtx or major >= _ALWAYS_STRONGLY_TYPED_FROM:
            return 0
        return 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def builder(self) -> Any:
        """Raises UnavailableError where the libraries give none."""
        try:
            return self.module.Builder(self.logger)
        except TypeError as error:  # pybind11 got a null pointer; the log says why
            raise UnavailableError(
                f"{self.module.__name__} makes no builder: {self.logger.told()}; check its libraries"
            ) from error


def library(flavour: str) -> Library:
    """Raises UnavailableError."""
    reason = missing(flavour)
    if reason:
        raise UnavailableError(reason)
    module = importlib.import_module(flavour)
    return Library(module, make_logger(module))


def make_logger(trt: Any) -> Any:
    """A logger that keeps warnings and errors instead of printing them."""

    class KeepingLogger(trt.ILogger):  # type: ignore[misc]  # the package ships no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_KEPT)
            self.warnings: deque[str] = deque(maxlen=_KEPT)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message)

        def told(self) -> str:
            return one_line(self.errors[-1]) if self.errors else "it gives no reason"

    return KeepingLogger()


def one_line(text: str) -> str:
    return " ".join(text.split())[:_LINE]


def _not_importable(flavour: str) -> str | None:
    extra = FLAVOURS[flavour]
    try:
        importlib.import_module(flavour)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed: pip install '{extra}' in the clone"
    except (ImportError, OSError) as error:
        return (
            f"{flavour}'s libraries do not load ({one_line(str(error))}): install TensorRT from NVIDIA's"
            f" package index (pip install '{extra}'), or put its lib folder on LD_LIBRARY_PATH"
        )
    return None
