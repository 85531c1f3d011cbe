"""The forms in which a GNMT is exported: encoder and step of the decoder apart, or whole translations.

A host that loops over the step feeds its outputs `next_...` back as the inputs `...` (model_zoo.translation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from model_zoo.gnmt import Beam, Gnmt
from runtime.tensors import Array, TensorSpec

if TYPE_CHECKING:
    from exporters.tensorflow import TensorFlowSource
    from model_zoo.gnmt_tensorflow import Run, Weights

Tensor = Any  # TensorFlow ships no types


class Form(StrEnum):
    """What of a GNMT is in the graph; the values are variants' names."""

    ENCODER = "encoder"
    STEP = "decoder-step"
    GREEDY = "greedy"
    BEAM = "beam"


SENTENCES = (
    TensorSpec("source", "int32", ("batch", "source")),
    TensorSpec("source_length", "int32", ("batch",)),
)
"""Words of sentences filled with `</s>`, and how many of them are no filling."""

WORDS = TensorSpec("words", "int32", ("batch",))
"""What the decoder said last; `<s>` at first."""

NEXT = "next_"
"""Begins the name of a state as a step leaves it."""


def states(network: Gnmt) -> tuple[str, ...]:
    """Names of what the decoder carries from step to step: h and c of every layer, then the attention."""
    cells = (f"{part}_{layer}" for layer in range(network.layers) for part in ("hidden", "cell"))
    return (*cells, "attention")


def source_of(network: Gnmt, form: Form, weights: Mapping[str, Array]) -> TensorFlowSource:
    """One form of the network in TensorFlow; all weights are counted, those it does not need left out."""
    from exporters.tensorflow import TensorFlowSource, import_tensorflow

    tensorflow = import_tensorflow()
    from model_zoo.gnmt_tensorflow import as_operators, looped, read

    variables = {name: tensorflow.Variable(array, name=name) for name, array in weights.items()}

    def function(run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
        return _FUNCTIONS[form](network, read(variables), run, *tensors)

    return TensorFlowSource(
        partial(function, looped),
        inputs_of(network, form),
        outputs_of(network, form),
        tuple(variables.values()),
        convertible=None if form is Form.STEP else partial(function, as_operators),
    )


def inputs_of(network: Gnmt, form: Form) -> tuple[TensorSpec, ...]:
    """What a form is fed."""
    if form is not Form.STEP:
        return SENTENCES
    state = (TensorSpec(name, "float32", ("batch", network.units)) for name in states(network))
    seen = (TensorSpec(name, "float32", ("batch", "source", network.units)) for name in ("memory", "keys"))
    return (WORDS, *state, *seen, SENTENCES[1])


def outputs_of(network: Gnmt, form: Form) -> tuple[str, ...]:
    """What a form answers with.

    greedy: `target`, int32 [batch, target].     beam: `target` [batch, target, 10] and `scores` [batch, 10].
    encoder: `memory` and `keys` [batch, source, units], and the first states but the attention, which is 0.
    decoder-step: `logits` [batch, vocabulary] and the states that it leaves.
    """
    match form:
        case Form.ENCODER:
            return ("memory", "keys", *states(network)[:-1])
        case Form.STEP:
            return ("logits", *(f"{NEXT}{name}" for name in states(network)))
        case Form.GREEDY:
            return ("target",)
        case Form.BEAM:
            return ("target", "scores")


def _encoder(network: Gnmt, weights: Weights, run: Run, source: Tensor, length: Tensor) -> tuple[Tensor, ...]:
    from model_zoo.gnmt_tensorflow import encode

    sentence, (cells, _) = encode(network, source, length, weights, run)
    return (sentence.memory, sentence.keys, *(part for cell in cells for part in cell))


def _step(network: Gnmt, weights: Weights, _: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
    from model_zoo.gnmt_tensorflow import Sentence, step

    words, *given, attention, memory, keys, length = tensors
    cells = tuple(zip(given[::2], given[1::2], strict=True))
    sentence = Sentence(memory, keys, length)
    logits, (new, attention) = step(network, words, (cells, attention), sentence, weights)
    return (logits, *(part for cell in new for part in cell), attention)


def _greedy(network: Gnmt, weights: Weights, run: Run, source: Tensor, length: Tensor) -> tuple[Tensor, ...]:
    from model_zoo.gnmt_decoding import greedy

    return greedy(network, source, length, weights, run)


def _beam(network: Gnmt, weights: Weights, run: Run, source: Tensor, length: Tensor) -> tuple[Tensor, ...]:
    from model_zoo.gnmt_beam import search

    return search(network, source, length, weights, run, Beam())


_FUNCTIONS: Mapping[Form, Callable[..., tuple[Tensor, ...]]] = {
    Form.ENCODER: _encoder,
    Form.STEP: _step,
    Form.GREEDY: _greedy,
    Form.BEAM: _beam,
}
