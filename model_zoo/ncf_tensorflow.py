"""NCF in TensorFlow: variables, and a function from users and items to logits (MODELS.md 18)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from model_zoo.ncf_network import LAYERS, PREDICT, Lookup, Ncf
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.tensorflow import TensorFlowSource

Tensor = Any  # TensorFlow ships no types
Weights = Mapping[str, Tensor]

INPUTS = ("user", "item")
"""int32 [batch]: numbers from 0."""


def tensorflow_source(network: Ncf, weights: Iterable[tuple[str, Array]]) -> TensorFlowSource:
    """The network with these weights, one at a time: a table of gigabytes is then held once, not twice."""
    from exporters.tensorflow import TensorFlowSource, shared_variable

    variables = {name: shared_variable(name, array) for name, array in weights}

    def function(users: Tensor, items: Tensor) -> tuple[Tensor]:
        return (logits(network, users, items, variables),)

    inputs = tuple(TensorSpec(name, "int32", ("batch",)) for name in INPUTS)
    return TensorFlowSource(function, inputs, ("logit",), tuple(variables.values()))


def logits(network: Ncf, users: Tensor, items: Tensor, weights: Weights) -> Tensor:
    """How likely each user [batch] takes the item [batch] beside it, before the sigmoid: float32 [batch]."""
    import tensorflow as tf

    find = _LOOKUPS[network.lookup]
    user, item = find(users, network.users), find(items, network.items)
    with tf.name_scope("embed/"):
        user_factors, user_features = (_layer(user, f"user_embed_{part}", weights) for part in ("GMF", "MLP"))
        item_factors, item_features = (_layer(item, f"item_embed_{part}", weights) for part in ("GMF", "MLP"))
    with tf.name_scope("GMF/"):
        products = user_factors * item_factors
    with tf.name_scope("MLP/"):
        features = tf.concat([user_features, item_features], axis=-1)
        for name in LAYERS:
            features = _layer(_times(features), name, weights)
    with tf.name_scope("concatenation/"):
        both = tf.concat([products, features], axis=-1)
        return tf.squeeze(_affine(_times(both), PREDICT, weights), axis=-1)


Product = Callable[[Tensor], Tensor]
"""From a kernel [inputs, outputs] to what it makes of a batch of vectors: [batch, outputs]."""


def _one_hot(ids: Tensor, size: int) -> Product:
    import tensorflow as tf

    with tf.name_scope("input/"):
        return _times(tf.one_hot(ids, size))


def _gather(ids: Tensor, size: int) -> Product:
    import tensorflow as tf

    return lambda kernel: tf.gather(kernel, ids)


_LOOKUPS: Mapping[Lookup, Callable[[Tensor, int], Product]] = {
    Lookup.ONE_HOT: _one_hot,
    Lookup.GATHER: _gather,
}


def _times(vectors: Tensor) -> Product:
    import tensorflow as tf

    return lambda kernel: tf.matmul(vectors, kernel)


def _layer(product: Product, name: str, weights: Weights) -> Tensor:
    import tensorflow as tf

    return tf.nn.relu(_affine(product, name, weights), name=f"{name}/Relu")


def _affine(product: Product, name: str, weights: Weights) -> Tensor:
    import tensorflow as tf

    with tf.name_scope(f"{name}/"):
        return product(weights[f"{name}/kernel"]) + weights[f"{name}/bias"]
