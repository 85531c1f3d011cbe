"""Python layers: which class a layer runs, and the user's functions that say such classes in ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING

import onnx_ir as ir

from exporters.caffe.layers import PYTHON_LAYERS, Handler
from runtime.errors import HarnessError, UsageError, unknown_name
from runtime.foreign import Foreign

if TYPE_CHECKING:
    from exporters.caffe.builder import LayerBuilder
    from exporters.caffe.network import Layer, Network

OTHERS = "*"
"""In a mapping of handlers: the one for Python layers whose class has none of its own."""


def class_of(layer: Layer) -> str:
    """Module and class that a Python layer runs, such as "rpn.proposal_layer.ProposalLayer"."""
    parameter = layer.parameter.python_param
    return f"{parameter.module}.{parameter.layer}"


def handlers_of(network: Network, given: Mapping[str, Handler]) -> dict[str, Handler]:
    """The handlers that the Python layers of `network` are converted with, by the names of their classes.

    given: by class name, with or without its module; OTHERS stands for classes that have none otherwise.
    Each checks what the user's function returns. Raises UsageError for a handler that no layer asks for.
    """
    classes = dict.fromkeys(class_of(layer) for layer in network.layers if layer.type == "Python")
    for name in given:
        if name != OTHERS and not any(name in _names(full) for full in classes):
            raise unknown_name("Python layer of this network", name, classes)
    handlers = {name: _checked(handler) for name, handler in given.items() if name != OTHERS}
    left = [full for full in classes if not _has_handler(full, handlers)]
    if OTHERS in given and not left:
        raise UsageError(
            f"no Python layer of this network is left for {_name(given[OTHERS])}: it has"
            f" {', '.join(classes) or 'none'}; leave the function out"
        )
    return handlers | {full: _checked(given[OTHERS]) for full in left if OTHERS in given}


def _names(full: str) -> tuple[str, str]:
    return full, full.rpartition(".")[2]


def _has_handler(full: str, handlers: Iterable[str]) -> bool:
    return full in PYTHON_LAYERS or any(name in handlers for name in _names(full))


def _checked(handler: Handler) -> Handler:
    """The user's function, whose every mistake is an ExportError that names the layer."""

    @wraps(handler)
    def convert(build: LayerBuilder, bottoms: Sequence[ir.Value]) -> Sequence[ir.Value]:
        def failed(reason: str) -> HarnessError:
            return build.error(f"{_name(handler)} failed: {reason}")

        with Foreign(failed):
            made = handler(build, bottoms)
        _check(build, handler, made)
        return made

    return convert


def _check(build: LayerBuilder, handler: Handler, made: object) -> None:
    if not isinstance(made, Sequence) or not all(isinstance(value, ir.Value) for value in made):
        raise build.error(
            f"{_name(handler)} returned {_told(made)}; a list of what build.node or build.constant made is"
            f" wanted, one for each of {build.tops} tops"
        )
    if len(made) != build.tops:
        raise build.error(f"{_name(handler)} returned {len(made)} values for {build.tops} tops")
    for index, value in enumerate(made):
        if value.shape is None or value.dtype is not ir.DataType.FLOAT:
            raise build.error(
                f"{_name(handler)} returned for top {index} a value of type {value.dtype} and shape"
                f" {value.shape}; a blob is FLOAT and has a shape: make it with build.node, Cast what is not"
            )


def _told(made: object) -> str:
    kinds = [type(part).__name__ for part in made] if isinstance(made, list | tuple) else []
    return f"{type(made).__name__}{f' of {kinds[0]}' if kinds else ''}"


def _name(handler: Handler) -> str:
    kind = type(handler)
    module = getattr(handler, "__module__", kind.__module__)
    return f"{module}:{getattr(handler, '__qualname__', kind.__qualname__)}"
