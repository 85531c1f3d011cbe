"""Wide & Deep that reads words as they are in the data (MODELS.md 16).

TensorFlow hashes any word; ONNX has no such operator. But the census has 16 educations and 15 occupations, so
the buckets of all their combinations are tables in the graph, behind ai.onnx.ml's LabelEncoder. The function
that it is checked against hashes. A word of no vocabulary has no value in either; an unknown education or
occupation has a hash in TensorFlow and none in the graph, so `check` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from model_zoo.census import AGE_BOUNDARIES, NUMBERS, OCCUPATIONS, VOCABULARIES, WORDS
from model_zoo.census_hashes import bucket_of, crossed_bucket_of
from model_zoo.wide_deep_network import BUCKETS, COLUMNS
from model_zoo.wide_deep_tensorflow import OUTPUTS, probabilities, scaled, scales, variables_of
from runtime.errors import FeedError
from runtime.tensors import Array, Feed, TensorSpec

if TYPE_CHECKING:
    from exporters.tensorflow import TensorFlowSource

Tensor = Any  # TensorFlow ships no types

INPUTS = (
    *(TensorSpec(name, "float32", ("batch",)) for name in NUMBERS),
    *(TensorSpec(name, "str", ("batch",)) for name in WORDS),
)

HASHED: Mapping[str, Sequence[str]] = {
    "education": VOCABULARIES["education"],
    "occupation": OCCUPATIONS,
}
"""The words whose hashes the graph holds."""

_MISSING = ""


def check(feed: Feed) -> None:
    """Raises FeedError for an education or an occupation that the graph has no hash of; "" is missing."""
    for name, words in HASHED.items():
        unknown = np.flatnonzero(~np.isin(feed[name].astype(np.str_), [*words, _MISSING]))
        if unknown.size:
            row = int(unknown[0])
            raise FeedError(
                f"input {name!r} is {str(feed[name][row])!r} in row {row}, expected one of"
                f" {', '.join(words)}, or nothing: the graph holds the hashes of these alone; hash it"
                " outside, and give it to the variant that takes ids"
            )


def tensorflow_source(weights: Mapping[str, Array]) -> TensorFlowSource:
    """The network with these weights: a float32 [batch] for each number, text [batch] for each word."""
    from exporters.tensorflow import TensorFlowSource

    variables = variables_of(weights)

    def function(*columns: Tensor) -> tuple[Tensor]:
        numbers, words = _by_name(columns)
        ids = _hashed_ids(numbers["age"], words)
        return (probabilities(_as_columns(numbers), ids, variables),)

    def convertible(*columns: Tensor) -> tuple[Tensor]:
        numbers, words = _by_name(columns)
        in_units = {name: numbers[name] * scale for name, scale in zip(NUMBERS, scales(), strict=True)}
        ids = _tabled_ids(numbers["age"], words)
        return (probabilities(_as_columns(in_units), ids, scaled(variables)),)

    return TensorFlowSource(function, INPUTS, OUTPUTS, tuple(variables.values()), convertible=convertible)


def _by_name(columns: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    named = {spec.name: column for spec, column in zip(INPUTS, columns, strict=True)}
    return {name: named[name] for name in NUMBERS}, {name: named[name] for name in WORDS}


def _as_columns(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    import tensorflow as tf

    return {name: tf.expand_dims(number, 1) for name, number in numbers.items()}


def _hashed_ids(age: Tensor, words: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The ids of wide_deep.COLUMNS as TensorFlow's feature columns find them."""
    import tensorflow as tf

    education, occupation = words["education"], words["occupation"]
    bucket = tf.cast(tf.raw_ops.Bucketize(input=age, boundaries=list(AGE_BOUNDARIES)), tf.int64)

    def found(ids: Tensor, *of: Tensor) -> Tensor:
        missing = tf.reduce_any(tf.equal(tf.stack(of), _MISSING), axis=0)
        return tf.where(missing, tf.constant(BUCKETS, tf.int64), ids)

    def crossed(*columns: Tensor) -> Tensor:
        ids = tf.sparse.cross_hashed([tf.expand_dims(column, 1) for column in columns], BUCKETS).values
        return found(ids, education, occupation)

    return {
        **{name: _place(words[name], vocabulary) for name, vocabulary in VOCABULARIES.items()},
        "occupation": found(tf.strings.to_hash_bucket_fast(occupation, BUCKETS), occupation),
        "age_bucketized": bucket,
        "education_X_occupation": crossed(education, occupation),
        "age_bucketized_X_education_X_occupation": crossed(bucket, education, occupation),
    }


def _place(words: Tensor, vocabulary: Sequence[str]) -> Tensor:
    """int64 [batch]: what `_label` finds, by comparing."""
    import tensorflow as tf

    equal = tf.equal(tf.expand_dims(words, 1), tf.constant(vocabulary))
    none = tf.constant(len(vocabulary), tf.int64)
    return tf.where(tf.reduce_any(equal, axis=1), tf.argmax(equal, axis=1), none)


def _tabled_ids(age: Tensor, words: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, with operators that ONNX has and tables of every known combination's bucket."""
    import tensorflow as tf

    occupation = _label(words["occupation"], OCCUPATIONS)
    numbered = {name: _label(words[name], vocabulary) for name, vocabulary in VOCABULARIES.items()}
    above = tf.greater_equal(tf.expand_dims(age, 1), tf.constant(AGE_BOUNDARIES, tf.float32))
    bucket = tf.reduce_sum(tf.cast(above, tf.int64), axis=1)
    pair = numbered["education"] * (len(OCCUPATIONS) + 1) + occupation
    pairs = (len(VOCABULARIES["education"]) + 1) * (len(OCCUPATIONS) + 1)
    return {
        **numbered,
        "occupation": tf.gather(occupation_buckets(), occupation),
        "age_bucketized": bucket,
        "education_X_occupation": tf.gather(crossed_buckets([()]), pair),
        "age_bucketized_X_education_X_occupation": tf.gather(
            crossed_buckets([(number,) for number in range(COLUMNS["age_bucketized"])]), bucket * pairs + pair
        ),
    }


def occupation_buckets() -> Array:
    """int64 [16]: the bucket of each occupation, and BUCKETS, which is none, behind the last."""
    return np.array([*(bucket_of(word, BUCKETS) for word in OCCUPATIONS), BUCKETS])


def crossed_buckets(before: Sequence[tuple[int, ...]]) -> Array:
    """int64 [before x 17 x 16], the last fastest: of `before`, every education and every occupation.

    Behind the last word of each there is none, whose bucket is BUCKETS.
    """
    combinations = product(before, (*VOCABULARIES["education"], _MISSING), (*OCCUPATIONS, _MISSING))
    return np.array(
        [
            BUCKETS if _MISSING in words else crossed_bucket_of((*first, *words), BUCKETS)
            for first, *words in combinations
        ]
    )


def _label(words: Tensor, vocabulary: Sequence[str]) -> Tensor:
    """int64 [batch]: each word's number, and the one after the last for a word of no vocabulary."""
    import tensorflow as tf

    from exporters.tensorflow_marked import onnx_operator

    attributes = {
        "keys_strings": list(vocabulary),
        "values_int64s": list(range(len(vocabulary))),
        "default_int64": len(vocabulary),
    }
    (labels,) = onnx_operator(
        "LabelEncoder", [words], [words.shape], attributes, domain="ai.onnx.ml", dtype=tf.int64
    )
    return labels
