"""The table of backends; importing it loads none of them.

A vendor adds one without touching this repository: a distribution with an entry point in the group
`aimatrix.backends` whose value is a function without arguments that returns a Backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from runtime.errors import UnavailableError, unknown_name

if TYPE_CHECKING:
    from runtime.backend import Backend

ENTRY_POINTS = "aimatrix.backends"


def _ort() -> Backend:
    from runtime.ort import OnnxRuntimeBackend

    return OnnxRuntimeBackend()


def _trt() -> Backend:
    from runtime.trt import TensorRTBackend

    return TensorRTBackend()


def _trt_rtx() -> Backend:
    from runtime.trt import TensorRTBackend
    from runtime.trt_library import RTX

    return TensorRTBackend(RTX)


def _openvino() -> Backend:
    from runtime.openvino import OpenVINOBackend

    return OpenVINOBackend()


def _reference() -> Backend:
    from runtime.reference import ReferenceBackend

    return ReferenceBackend()


def _null() -> Backend:
    from runtime.null import NullBackend

    return NullBackend()


BACKENDS: Mapping[str, Callable[[], Backend]] = {
    "ort": _ort,
    "trt": _trt,
    "trt-rtx": _trt_rtx,
    "openvino": _openvino,
    "reference": _reference,
    "null": _null,
}


def backend_names() -> tuple[str, ...]:
    """Our own, then those that installed packages bring."""
    return tuple(dict.fromkeys((*BACKENDS, *_vendors())))


def get_backend(name: str) -> Backend:
    """Raises UsageError with the nearest names, or UnavailableError for a vendor's that does not load."""
    if name in BACKENDS:
        return BACKENDS[name]()
    vendors = _vendors()
    if name not in vendors:
        raise unknown_name("backend", name, backend_names())
    try:
        factory: Callable[[], Backend] = vendors[name].load()
    except (ImportError, AttributeError) as error:
        raise UnavailableError(
            f"backend {name!r} of {vendors[name].value} does not load: {error}; reinstall its package"
        ) from error
    return factory()


def _vendors() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
