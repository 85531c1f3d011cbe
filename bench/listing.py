"""What `bench list` tells, as lines of text; each from the one table that everything else reads."""

from __future__ import annotations

from collections.abc import Iterator

from calibration.precision import Precision
from model_zoo import catalog
from model_zoo.spec import ModelSpec
from runtime.backends import backend_names, get_backend
from runtime.errors import UnavailableError


def model_lines() -> Iterator[str]:
    """A line a network: name, variant, frameworks, what it is."""
    rows = [row for name in sorted(catalog.MODELS) for row in _rows(catalog.get_model(name))]
    names, frameworks = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, built_in, description in rows:
        yield f"{name:<{names}}  {built_in:<{frameworks}}  {description}"


def _rows(spec: ModelSpec) -> Iterator[tuple[str, str, str]]:
    """Of the reference, its own name too, if it has one, in brackets; then the other variants."""
    for variant, network in spec.variants.items():
        called = f"{spec.name} --variant {variant}" if variant else spec.name
        if variant and variant == spec.reference:
            called = f"{spec.name} [--variant {variant}]"
        yield called, ", ".join(network.build), network.description
    if spec.at_size is not None:
        called = f"{spec.name} --variant {catalog.SIZE_NAME}"
        yield called, ", ".join(spec.variants[spec.reference].build), "the same for images of that size"


def precision_lines() -> Iterator[str]:
    """A line a precision: name, and what a file at it is."""
    width = max(map(len, Precision))
    for precision in Precision:
        yield f"{precision.value:<{width}}  {precision.description}"


def backend_lines() -> Iterator[str]:
    """A line a backend: name, and its version or what it lacks."""
    for name in backend_names():
        try:
            backend = get_backend(name)
        except UnavailableError as error:
            yield f"{name:<12} not available: {error}"
            continue
        reason = backend.unavailable()
        yield f"{name:<12} {backend.version() if reason is None else f'not available: {reason}'}"


def device_lines() -> Iterator[str]:
    """A line a device of each backend that works."""
    for name in backend_names():
        try:
            devices = get_backend(name).devices()
        except UnavailableError:
            continue
        for device in devices:
            yield f"{name:<12} {device.name:<10} {device.description}"
