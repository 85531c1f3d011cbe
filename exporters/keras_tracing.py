"""How a Keras model is traced to be converted: layers with other methods than their own, for that long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

Methods = Mapping[str, Callable[..., Any]]
"""By name, what stands in for methods of one layer."""


@contextmanager
def replaced(methods: Iterable[tuple[Any, Methods]]) -> Iterator[None]:
    """While it lasts, layers have these methods; they go past Keras's own __setattr__, which tracks."""
    pairs = list(methods)
    for layer, made in pairs:
        vars(layer).update(made)
    try:
        yield
    finally:
        for layer, made in pairs:
            for name in made:
                vars(layer).pop(name, None)


def scopes_of_layers(model: Any) -> Iterator[tuple[Any, Methods]]:
    """Every layer's operations under the names of the layers around it, and its own.

    Keras opens a scope twice for each call, so that TensorFlow numbers what is in it: the operations of
    "lstm" would be called after "lstm_1".
    """
    import tensorflow as tf

    for layer, path in _paths(model, ""):
        # a name that ends in a slash is taken as it is
        yield layer, {"_open_name_scope": partial(tf.name_scope, f"{path}/")}


def _paths(layer: Any, prefix: str) -> Iterator[tuple[Any, str]]:
    for inner in layer._layers:
        yield inner, f"{prefix}{inner.name}"
        yield from _paths(inner, f"{prefix}{inner.name}/")
