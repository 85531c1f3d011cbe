"""--python-layer: functions of the user's that say a Caffe network's Python layers in ONNX."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.caffe.python_layers import OTHERS
from runtime.errors import UsageError
from runtime.foreign import Foreign

if TYPE_CHECKING:
    from exporters.caffe.layers import Handler

_FLAG = "--python-layer"


def read_python_layers(specs: Sequence[str]) -> dict[str, Handler]:
    """From CLASS=MODULE:FUNCTION, or MODULE:FUNCTION for all other classes, to functions by class.

    Modules are looked for in the current folder first, as `python -m` does. Raises UsageError for a value of
    another form, two functions for one class, and what cannot be imported or called.
    """
    handlers: dict[str, Handler] = {}
    for spec in specs:
        name, module, function = _parts(spec)
        if name in handlers:
            classes = "every other Python layer" if name == OTHERS else f"the Python layer {name}"
            raise UsageError(f"{_FLAG} {spec} is the second function for {classes}; give one")
        handlers[name] = _function(spec, module, function)
    return handlers


def _parts(spec: str) -> tuple[str, str, str]:
    left, assigned, right = spec.rpartition("=")
    module, colon, function = right.partition(":")
    if not (module and colon and function.isidentifier()) or bool(assigned) != bool(left):
        raise UsageError(
            f"{_FLAG} {spec}: give MODULE:FUNCTION, or CLASS=MODULE:FUNCTION for one class of Python layers,"
            " such as rpn.mine.Layer=my_layers:mine"
        )
    return left or OTHERS, module, function


def _function(spec: str, module_name: str, name: str) -> Handler:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # it stays, as the module may import others when it is called
    with Foreign(lambda reason: _not_imported(spec, module_name, reason)):
        module = importlib.import_module(module_name)
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, dir(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{_FLAG} {spec}: {_place(module)} has no {name!r}{hint}")
    handler: Handler = getattr(module, name)
    if not callable(handler):
        raise UsageError(
            f"{_FLAG} {spec}: {name} of {_place(module)} is {type(handler).__name__}, not a function that"
            " takes a LayerBuilder and the values of the bottoms (docs/python-layers.md)"
        )
    return handler


def _not_imported(spec: str, module_name: str, reason: str) -> UsageError:
    return UsageError(
        f"{_FLAG} {spec}: cannot import {module_name}: {reason}; give a module that Python finds from the"
        " current folder or in this environment"
    )


def _place(module: object) -> str:
    return str(getattr(module, "__file__", None) or module)
